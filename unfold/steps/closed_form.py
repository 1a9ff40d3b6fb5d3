"""The closed-form data step of half-quadratic splitting for blur and decimation (USRNet, CVPR 2020).

    z = argmin_z ||S(k * z) - y||^2 + alpha ||z - x||^2

with circular true convolution by k and S keeping the upper left pixel of every s x s block. In the Fourier domain, with
K the kernel's spectrum, "fold" the mean over the s x s aliases of each low-resolution frequency, and "tile" its adjoint
up to the factor s^2 (a low-resolution spectrum repeated s x s times),

    Z = X + conj(K) tile( (Y - fold(K X)) / (fold(|K|^2) + alpha) ).

This is the published solution, written as a correction of x by the spectrum of the residual y - S(k * x). The published
form, (R - conj(K) tile(fold(K R) / (fold(|K|^2) + alpha))) / alpha with R = conj(K) F(S^T y) + alpha X, divides a
difference of nearly equal numbers by an alpha that trained networks drive down to 1e-6. On a photograph at alpha 3e-6
its float32 error against float64 is 8e-3 to 2e-2, and 3e-6 to 3e-5 in this form, which takes 0.39 to 0.46 of the time
(docs/data_step.md: both figures, other settings, and the command).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unfold.physics.blur import kernel_spectrum
from unfold.util.device import for_fourier
from unfold.util.precision import at_least_float32, full_precision


@dataclass(frozen=True)
class PreparedKernel:
    """Quantities that depend only on kernel, size and scale. Made by :func:`prepare`; reusable for many images.

    otf: half spectrum of the kernel (B|1,1,H,W//2+1); power: fold(|K|^2), (B|1,1,h,w), or its half spectrum at scale 1;
    size: (H,W) of the restored image, multiples of scale.
    """

    otf: Tensor
    power: Tensor
    size: tuple[int, int]
    scale: int

    def spectrum(self, y: Tensor) -> Tensor:
        """Y, for :meth:`solve`: the spectrum of the measurement (B,C,h,w), the same in every stage."""
        y = for_fourier(y)
        return torch.fft.rfft2(y) if self.scale == 1 else torch.fft.fft2(y)

    def solve(self, x: Tensor, spectrum: Tensor, alpha: Tensor) -> Tensor:
        """z for the estimate x (B,C,H,W), the measurement's spectrum and alpha (B,1,1,1) > 0."""
        fx = torch.fft.rfft2(for_fourier(x))
        residual = (spectrum - self._fold(self.otf * fx)) / (self.power + alpha.to(self.power.device))
        return torch.fft.irfft2(fx + self.otf.conj() * self._tile(residual), s=self.size).to(x.device)

    def residual(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """S(k * x) - y (B,C,h,w) for an estimate x (B,C,H,W) and the measurement's spectrum."""
        difference = self._fold(self.otf * torch.fft.rfft2(for_fourier(x))) - spectrum
        found = torch.fft.irfft2(difference, s=self.size) if self.scale == 1 else torch.fft.ifft2(difference).real
        return found.to(x.device)

    def _fold(self, half: Tensor) -> Tensor:
        """Mean over aliases. Decimating in the image domain is equivalent, and needs only half of the spectrum."""
        if self.scale == 1:
            return half
        return torch.fft.fft2(torch.fft.irfft2(half, s=self.size)[..., :: self.scale, :: self.scale])

    def _tile(self, spectrum: Tensor) -> Tensor:
        if self.scale == 1:
            return spectrum
        return spectrum.repeat(1, 1, self.scale, self.scale)[..., : self.size[1] // 2 + 1]


def whole_number(scale: float) -> int:
    """The scale as an int; ValueError where it is not a whole number of at least 1."""
    number = isinstance(scale, (int, float, Tensor, np.generic)) and math.isfinite(scale)
    if not number or scale != int(scale) or scale < 1:
        raise ValueError(f"scale must be a whole number of at least 1, not {scale!r}")
    return int(scale)


def prepare(kernel: Tensor, size: tuple[int, int], scale: int) -> PreparedKernel:
    """Prepare what is constant between stages, and between images of one size with the same blur.

    kernel (B|1,1,kh,kw), for true convolution; size (H,W) of the restored image; scale s >= 1, a divisor of both.
    Computed in float32 or better: half precision cannot hold a spectrum. ValueError if these do not fit together.
    """
    if kernel.ndim != 4 or kernel.shape[1] != 1:
        raise ValueError(f"kernel must have shape (B, 1, kh, kw) or (1, 1, kh, kw), not {tuple(kernel.shape)}")
    scale, (height, width) = whole_number(scale), size
    if height % scale or width % scale:
        raise ValueError(f"size {height}x{width} is no multiple of scale {scale}")
    otf = kernel_spectrum(at_least_float32(kernel), (height, width))
    power = otf.abs().square()
    if scale > 1:
        # Not by decimation as in _fold: its rounding error is relative to the largest value, and alpha can be far
        # smaller.
        columns = torch.arange(width, device=power.device)
        whole = power[..., torch.minimum(columns, width - columns)]  # |K|^2 is even: the right half mirrors the left,
        rows = (-torch.arange(height, device=power.device)) % height  # upside down
        whole = torch.where(columns <= width // 2, whole, whole[..., rows, :])
        power = whole.unflatten(-2, (scale, -1)).unflatten(-1, (scale, -1)).mean(dim=(-4, -2))
    return PreparedKernel(otf, power, (height, width), scale)


class Measurement(NamedTuple):
    """A measurement and its operator, ready for the data step."""

    kernel: PreparedKernel
    spectrum: Tensor

    def solve(self, x: Tensor, alpha: Tensor) -> Tensor:
        """The data step for the estimate x (B,C,H,W), in float32 or better."""
        with full_precision(x.device):
            return self.kernel.solve(at_least_float32(x), self.spectrum, alpha)

    def residual(self, x: Tensor) -> Tensor:
        """S(k * x) - y, in float32 or better."""
        with full_precision(x.device):
            return self.kernel.residual(at_least_float32(x), self.spectrum)


def begin(y: Tensor, kernel: Tensor | PreparedKernel, scale: int) -> tuple[Tensor, Measurement]:
    """x_0, the nearest neighbour interpolation of y (B,C,h,w), and the measurement prepared for the data step.

    kernel (B|1,1,kh,kw), or what :func:`prepare` made of one. ValueError if they do not fit together.
    """
    y, scale = at_least_float32(y), whole_number(scale)
    size = (y.shape[-2] * scale, y.shape[-1] * scale)
    with full_precision(y.device):
        if isinstance(kernel, Tensor):
            kernel = prepare(kernel.to(y), size, scale)
        if (kernel.size, kernel.scale) != (size, scale):
            raise ValueError(
                f"the kernel was prepared for size {kernel.size[0]}x{kernel.size[1]} at scale {kernel.scale}, "
                f"and the image asks for {size[0]}x{size[1]} at scale {scale}"
            )
        if len(kernel.otf) not in (1, len(y)):
            raise ValueError(f"there are {len(kernel.otf)} kernels for {len(y)} samples: give one, or one each")
        if (kernel.power.dtype, kernel.power.device) != (y.dtype, y.device):
            raise ValueError(
                f"the kernel was prepared in {kernel.power.dtype} on {kernel.power.device}, "
                f"and the image is in {y.dtype} on {y.device}"
            )
        measurement = Measurement(kernel, kernel.spectrum(y))
    return F.interpolate(y, scale_factor=scale, mode="nearest"), measurement
