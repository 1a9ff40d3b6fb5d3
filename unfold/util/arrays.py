"""Type aliases for arrays and named values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # any number type; a stricter alias says which
# Tensors or arrays and numbers by name: the inputs of a network, a sample or a batch.
Named = dict[str, Any]


def white(kind: np.dtype[Any]) -> float:
    """The largest value of a picture of that kind: of unsigned integers their largest, of floats 1."""
    return float(np.iinfo(kind).max) if kind.kind == "u" else 1.0


def is_grey(image: Array) -> bool:
    """Whether all channels of an image (H,W,C) are equal."""
    return bool((image == image[..., :1]).all())


def width_x_height(shape: Sequence[int]) -> str:
    """The size of a picture as people write it, such as 481x321, from the shape (H,W,...) of its array."""
    return f"{shape[1]}x{shape[0]}"
