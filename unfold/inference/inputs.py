"""What can be restored, and what a network is told beside the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.models.dgunet_cs import DGUNetCS
from unfold.models.registry import info_of
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.kernels import centred_in_odd_square


def check_image(image: NDArray[Any]) -> None:
    """UnfoldError where :func:`restore` does not take this array."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)) or image.size == 0:
        raise UnfoldError(f"an image is (H,W), (H,W,1) or (H,W,3), not {image.shape}")
    if image.dtype in (np.uint8, np.uint16):
        return
    if image.dtype.kind != "f":
        raise UnfoldError(f"an image is uint8, uint16 or floating-point in [0,1], not {image.dtype}")
    least, most = float(image.min()), float(image.max())
    if not (least >= -1 and most <= 2):  # noise may reach a little beyond [0,1]
        raise UnfoldError(f"a floating-point image is in [0,1]; this one has values from {least:g} to {most:g}")


def check_inputs(net: UnfoldingNetwork, given: dict[str, Any]) -> dict[str, Any]:
    """The inputs beside y in the form that the network takes; UnfoldError for one too many, missing or unfit."""
    name = type(net).__name__
    if isinstance(net, DGUNetCS):
        raise UnfoldError(
            "DGUNet-CS restores compressed measurements, and a picture is none: see `unfold test --protocol "
            "compressive_sensing`"
        )
    wanted = set(info_of(net).example(8)) - {"y"}
    if wrong := sorted(set(given) - wanted):
        raise UnfoldError(f"{name} does not take {', '.join(wrong)}")
    if missing := sorted(wanted - set(given)):
        raise UnfoldError(f"{name} also takes {', '.join(missing)}: give {'it' if len(missing) == 1 else 'them'}")
    inputs = dict(given)
    if "kernel" in inputs:
        kernel = np.asarray(inputs["kernel"], np.float64)
        if kernel.ndim != 2 or not np.isfinite(kernel).all() or not kernel.sum() > 0:
            raise UnfoldError(f"kernel is a matrix of finite numbers with a positive sum, not of shape {kernel.shape}")
        inputs["kernel"] = centred_in_odd_square(kernel / kernel.sum()).astype(np.float32)
    if "scale" in inputs and (inputs["scale"] != int(inputs["scale"]) or inputs["scale"] < 1):
        raise UnfoldError(f"scale is a whole number of at least 1, not {inputs['scale']}")
    if "sigma" in inputs and not 0 <= inputs["sigma"] <= 1:
        raise UnfoldError(f"sigma is a standard deviation in [0,1] units, not {inputs['sigma']:g}")
    return inputs
