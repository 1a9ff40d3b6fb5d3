"""The closed-form data step of half-quadratic splitting for blur and decimation (USRNet, CVPR 2020).

    z = argmin_z ||S(k * z) - y||^2 + alpha ||z - x||^2

with circular true convolution by k and S keeping the upper left pixel of every s x s block. In the Fourier domain, with
K the kernel's spectrum, "fold" the mean over the s x s aliases of each low-resolution frequency, and "tile" its adjoint
up to the factor s^2 (a low-resolution spectrum repeated s x s times),

    Z = X + conj(K) tile( (Y - fold(K X)) / (fold(|K|^2) + alpha) ).

This is the published solution, written as a correction of x by the spectrum of the residual y - S(k * x). The published
form, (R - conj(K) tile(fold(K R) / (fold(|K|^2) + alpha))) / alpha with R = conj(K) F(S^T y) + alpha X, divides a
difference of nearly equal numbers by an alpha that trained networks drive down to 1e-6. On a photograph at alpha 3e-6
its float32 error against float64 is 8e-3 to 2e-2, and 3e-6 to 4e-5 in this form, which takes 0.36 to 0.44 of the time
(docs/data_step.md: both figures, other settings, and the command).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unfold.physics.blur import kernel_spectrum
from unfold.precision import at_least_float32


@dataclass(frozen=True)
class PreparedKernel:
    """What depends on kernel, size and scale alone. Made by :func:`prepare`; can be used for any number of images.

    otf: half spectrum of the kernel (B|1,1,H,W//2+1); power: fold(|K|^2), (B|1,1,h,w), or its half spectrum at scale 1;
    size: (H,W) of the restored image, multiples of scale.
    """

    otf: Tensor
    power: Tensor
    size: tuple[int, int]
    scale: int

    def spectrum(self, y: Tensor) -> Tensor:
        """Y, for :meth:`solve`: the spectrum of the measurement (B,C,h,w), the same in every stage."""
        return torch.fft.rfft2(y) if self.scale == 1 else torch.fft.fft2(y)

    def solve(self, x: Tensor, spectrum: Tensor, alpha: Tensor) -> Tensor:
        """z for the estimate x (B,C,H,W), the measurement's spectrum and alpha (B,1,1,1) > 0."""
        fx = torch.fft.rfft2(x)
        residual = (spectrum - self._fold(self.otf * fx)) / (self.power + alpha)
        return torch.fft.irfft2(fx + self.otf.conj() * self._tile(residual), s=self.size)

    def _fold(self, half: Tensor) -> Tensor:
        """Mean over aliases. Keeping every s-th pixel does just that, and spares the whole spectrum."""
        return half if self.scale == 1 else decimated_spectrum(half, self.size, self.scale)

    def _tile(self, spectrum: Tensor) -> Tensor:
        if self.scale == 1:
            return spectrum
        return spectrum.repeat(1, 1, self.scale, self.scale)[..., : self.size[1] // 2 + 1]


def decimated_spectrum(half: Tensor, size: tuple[int, int], scale: int) -> Tensor:
    """Half spectrum of an image of that size -> full spectrum of the image's every scale-th pixel."""
    return torch.fft.fft2(torch.fft.irfft2(half, s=size)[..., ::scale, ::scale])


def prepare(kernel: Tensor, size: tuple[int, int], scale: int) -> PreparedKernel:
    """Do once what does not change between stages, or between images of one size blurred alike.

    kernel (B|1,1,kh,kw), for true convolution; size (H,W) of the restored image; scale s >= 1, a divisor of both.
    Computed in float32 or better: half precision cannot hold a spectrum. ValueError where these do not fit together.
    """
    if kernel.ndim != 4 or kernel.shape[1] != 1:
        raise ValueError(f"kernel must have shape (B, 1, kh, kw) or (1, 1, kh, kw), not {tuple(kernel.shape)}")
    if scale < 1 or size[0] % scale or size[1] % scale:
        raise ValueError(f"size {size[0]}x{size[1]} is no multiple of scale {scale}")
    otf = kernel_spectrum(at_least_float32(kernel), size)
    power = otf.abs().square()
    if scale > 1:
        power = decimated_spectrum(power, size, scale).real
    return PreparedKernel(otf, power, size, scale)
