"""Valid ranges of image values, and whether inputs are checked: for users they are, inside the package not.

Checking values takes a pass over them and, on a GPU, makes the host wait. Training, protocols, tables, benchmarks and
the inside of :func:`unfold.restore` run :func:`unchecked`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from unfold.errors import UnfoldError

LEAST, MOST = -2.0, 3.0  # for an image in [0,1] with noise, or an unclamped estimate
_off: ContextVar[bool] = ContextVar("unchecked", default=False)


@contextmanager
def unchecked() -> Iterator[None]:
    """Inside, metrics and networks do not check their inputs."""
    token = _off.set(True)
    try:
        yield
    finally:
        _off.reset(token)


def checking() -> bool:
    """Whether inputs are checked now."""
    return not _off.get()


def in_range(least: float, most: float) -> bool:
    """Whether the smallest and the largest value are valid for an image; False for NaN."""
    return least >= LEAST and most <= MOST


def found_range(least: float, most: float) -> str:
    """ "values from A to B", or a text about values that are not finite, for a message."""
    if math.isfinite(least) and math.isfinite(most):
        return f"values from {least:g} to {most:g}"
    return "numbers that are not finite (NaN or infinite)"


def check_dense(what: str, value: Any) -> None:
    """UnfoldError for a tensor that does not hold its numbers one by one, with the call that makes one that does."""
    layout = str(value.layout).removeprefix("torch.")
    if value.is_nested:
        kind, remedy = "a nested tensor", ".to_padded_tensor(0)"
    elif value.is_quantized:
        kind, remedy = "quantized", ".dequantize()"
    elif layout != "strided":
        kind, remedy = f"a tensor of layout {layout}", ".to_dense()"
    else:
        return
    raise UnfoldError(f"{what} is {kind} and must be a dense tensor: {remedy} makes one")
