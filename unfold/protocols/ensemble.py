"""The geometric self-ensemble: a method on the eight turned and mirrored images, averaged."""

from __future__ import annotations

from typing import Any

import numpy as np

from unfold.errors import UnfoldError
from unfold.protocols.protocol import Image, Method


def ensembled(method: Method, number: int) -> Method:
    """The mean of a method's results (not clamped) on y, turned by 0 to 3 quarters and mirrored, and turned back.

    number: 8, or 1 for the method itself. The other inputs are handed on as they are: for methods whose only image or
    kernel is y.
    """
    if number == 1:
        return method

    def mean(inputs: dict[str, Any]) -> Image:
        y = inputs["y"]
        total = np.zeros((), np.float32)
        for mirrored in (False, True):
            for quarters in range(4):
                turned = np.rot90(y[:, ::-1] if mirrored else y, quarters)
                result = np.rot90(method({**inputs, "y": turned}), -quarters)
                total = total + (result[:, ::-1] if mirrored else result)
        return total / np.float32(8)

    return mean


def check_number(ensemble: int) -> None:
    """UnfoldError for anything but 1 and 8."""
    if ensemble not in (1, 8):
        raise UnfoldError(f"ensemble is 8, the mean over turned and mirrored images, or 1, without it, not {ensemble}")
