"""LPIPS, from its authors' package. An optional extra: pip install "unfold-restoration[perceptual]".

None of the three papers reports it. NIQE is not offered: its values differ between implementations, and the collection
that follows MATLAB's, pyiqa, has a non-commercial licence.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import overload

import torch
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.metrics.pair import Image, as_pair
from unfold.util.arrays import Array

SMALLEST = 31  # side length below which AlexNet has no output


@overload
def lpips(a: Tensor, b: Tensor, *, round8: bool = False, peak: float | None = None) -> Tensor: ...
@overload
def lpips(a: Array, b: Array, *, round8: bool = False, peak: float | None = None) -> float: ...
def lpips(a: Image, b: Image, *, round8: bool = False, peak: float | None = None) -> float | Tensor:
    """Learned perceptual distance of two colour images, 0 for equal ones: LPIPS 0.1 with AlexNet.

    Zhang, Isola, Efros, Shechtman, Wang: The unreasonable effectiveness of deep features as a perceptual metric, CVPR
    2018. a, b, round8, peak, the result's form and errors as for :func:`unfold.metrics.psnr`: arrays (H,W,3) or tensors
    (B,3,H,W) in [0,1], computed in float32 where the tensors are. AlexNet's weights (about 230 MB) are downloaded by
    torchvision on first use; they stay in memory after that.
    UnfoldError also if the package or its weights are not available, or the image is too small.
    """
    x, y = (2 * image.float() - 1 for image in as_pair(a, b, 0, "rgb", round8, peak, channels=0))
    if x.shape[1] != 3:
        raise UnfoldError(f"LPIPS takes colour images of three channels, not {x.shape[1]}")
    if min(x.shape[-2:]) < SMALLEST:
        raise UnfoldError(f"LPIPS needs at least {SMALLEST}x{SMALLEST} pixels, not {x.shape[-1]}x{x.shape[-2]}")
    values: Tensor = _network(x.device)(x, y).flatten()
    return values if isinstance(a, Tensor) else values.item()


@functools.cache  # reading the weights takes longer than many images
def _network(device: torch.device) -> torch.nn.Module:
    try:
        package = importlib.import_module("lpips")
    except ImportError:
        raise UnfoldError('LPIPS comes with the package lpips: pip install "unfold-restoration[perceptual]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about old names of torchvision's arguments
            network: torch.nn.Module = package.LPIPS(net="alex", verbose=False)
    except OSError as error:
        raise UnfoldError(f"the weights of LPIPS could not be downloaded: {error}") from None
    return network.eval().requires_grad_(False).to(device)
