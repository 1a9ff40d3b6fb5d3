"""Edge taper: make the border of an image periodic, so that inverse filters do not ring from it."""

from __future__ import annotations

import torch
from torch import Tensor

from unfold.physics.blur import kernel_spectrum
from unfold.util.device import for_fourier


def taper_weights(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Weights (B|1,1,H,W) that fall to 0 at the border, by the kernel's autocorrelation along each axis."""
    rows, columns = (_profile(kernel.sum(dim=dim), length) for dim, length in ((-1, size[0]), (-2, size[1])))
    return rows[..., :, None] * columns[..., None, :]


def _profile(projection: Tensor, length: int) -> Tensor:
    # The period is length - 1, and its first value is repeated at the end: both ends of the axis get weight 0.
    power = torch.fft.rfft(for_fourier(projection), n=length - 1).abs().square()
    correlation = torch.fft.irfft(power, n=length - 1).to(projection.device)
    correlation = torch.cat([correlation, correlation[..., :1]], dim=-1)
    return 1 - correlation / correlation.amax(dim=-1, keepdim=True)


def edge_taper(y: Tensor, kernel: Tensor, passes: int = 3) -> Tensor:
    """Blend y (B,C,H,W) with its circularly blurred self towards the border, ``passes`` times. kernel (B|1,1,kh,kw)."""
    size = (y.shape[-2], y.shape[-1])
    weights, otf = taper_weights(kernel, size), kernel_spectrum(kernel, size)
    for _ in range(passes):
        blurred = torch.fft.irfft2(otf * torch.fft.rfft2(for_fourier(y)), s=size).to(y.device)
        y = weights * y + (1 - weights) * blurred
    return y
