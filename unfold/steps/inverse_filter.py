"""An initial estimate for deblurring: the inverse filter with a penalty on gradients (NRL-GDN, Eq. 22)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unfold.physics.blur import kernel_spectrum
from unfold.physics.edge_taper import edge_taper
from unfold.util.device import for_fourier

GRADIENT_PENALTY = 0.002


def inverse_filter(y: Tensor, kernel: Tensor) -> Tensor:
    """argmin_x ||k * x - y||^2 + 0.002 ||grad x||^2, on y with replicated borders and edge taper.

    y (B,C,H,W); kernel (B|1,1,s,s) for true convolution, s odd -> (B,C,H,W), not clamped.
    """
    margin = kernel.shape[-1] // 2
    wide = edge_taper(F.pad(y, (margin,) * 4, mode="replicate"), kernel)
    size = (wide.shape[-2], wide.shape[-1])
    otf = kernel_spectrum(kernel, size)
    # [-1, 1], computed on the device: copying a list there makes the host wait.
    difference = torch.arange(-1, 2, 2, dtype=kernel.dtype, device=kernel.device)
    gradients = [kernel_spectrum(difference.view(1, 1, *shape), size).abs().square() for shape in ((1, 2), (2, 1))]
    power = otf.abs().square() + GRADIENT_PENALTY * (gradients[0] + gradients[1])
    x = torch.fft.irfft2(otf.conj() * torch.fft.rfft2(for_fourier(wide)) / power, s=size).to(y.device)
    return x[..., margin : size[0] - margin, margin : size[1] - margin]
