"""Subsampled measurements in the Fourier domain: magnetic resonance imaging with one coil."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_fourier(x: Tensor, mask: Tensor) -> Tensor:
    """A x = mask . FFT2(x): x (B,C,H,W) real; mask (B|1,C|1,H,W) in [0,1], the zero frequency at [0,0] -> complex."""
    return mask * torch.fft.fft2(x)


def masked_fourier_adjoint(k: Tensor, mask: Tensor) -> Tensor:
    """A^T k = Re IFFT2(mask . k), for k (B,C,H,W) complex -> real.

    Adjoint to :func:`masked_fourier` where frequencies are weighted by 1/(HW): <A x, k> / (HW) = <x, A^T k>, real parts
    of both, as FFT2 has no factor and IFFT2 has 1/(HW). So A^T A has the norm 1.
    """
    return torch.fft.ifft2(mask * k).real
