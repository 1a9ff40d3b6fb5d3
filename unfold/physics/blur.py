"""Blur by a kernel, and its exact adjoint, with three boundary conditions. On torch tensors."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unfold.util.device import for_fourier

Boundary = Literal["zero", "circular", "replicate"]
_PAD_MODE = {"zero": "constant", "circular": "circular", "replicate": "replicate"}


def blur(x: Tensor, kernel: Tensor, boundary: Boundary = "zero") -> Tensor:
    """k * x: true convolution of every channel by the sample's kernel, output of the same size.

    x (B,C,H,W); kernel (B|1,1,kh,kw), its centre the pixel (kh//2, kw//2). A circular border needs kh <= H, kw <= W.
    """
    kh, kw = kernel.shape[-2:]
    padded = F.pad(x, _margins(kh, kw), mode=_PAD_MODE[boundary])
    batch, channels = padded.shape[:2]
    weight = _weight(kernel, batch)
    return (
        F.conv2d(padded.transpose(0, 1), weight, groups=batch).transpose(0, 1).reshape(batch, channels, *x.shape[-2:])
    )


def blur_adjoint(v: Tensor, kernel: Tensor, boundary: Boundary = "zero") -> Tensor:
    """A^T v for A x = blur(x, kernel, boundary); shapes as there."""
    kh, kw = kernel.shape[-2:]
    batch = v.shape[0]
    wide = F.conv_transpose2d(v.transpose(0, 1), _weight(kernel, batch), groups=batch).transpose(0, 1)
    left, right, top, bottom = _margins(kh, kw)
    return _fold_back(_fold_back(wide, -2, top, bottom, boundary), -1, left, right, boundary)


def _weight(kernel: Tensor, batch: int) -> Tensor:
    """The kernel flipped for correlation, one per sample."""
    if kernel.ndim != 4 or kernel.shape[1] != 1 or len(kernel) not in (1, batch):
        raise ValueError(f"kernel must have shape ({batch}, 1, kh, kw) or (1, 1, kh, kw), not {tuple(kernel.shape)}")
    return kernel.flip(-2, -1).expand(batch, -1, -1, -1)


def _margins(kh: int, kw: int) -> tuple[int, int, int, int]:
    """left, right, top, bottom: extent of the flipped kernel around its centre."""
    return (kw - 1) - kw // 2, kw // 2, (kh - 1) - kh // 2, kh // 2


def _fold_back(wide: Tensor, dim: int, before: int, after: int, boundary: Boundary) -> Tensor:
    """The adjoint of padding along one axis: the margins are added to the pixels that they were copied from."""
    size = wide.shape[dim] - before - after
    core = wide.narrow(dim, before, size).clone()
    if boundary == "zero":
        return core
    head, tail = wide.narrow(dim, 0, before), wide.narrow(dim, before + size, after)
    if boundary == "circular":
        core.narrow(dim, size - before, before).add_(head)
        core.narrow(dim, 0, after).add_(tail)
    else:
        core.narrow(dim, 0, 1).add_(head.sum(dim, keepdim=True))
        core.narrow(dim, size - 1, 1).add_(tail.sum(dim, keepdim=True))
    return core


def decimate(x: Tensor, scale: int) -> Tensor:
    """S: keep the upper left pixel of every scale x scale block. (B,C,H,W) -> (B,C,H/s,W/s)."""
    return x[..., ::scale, ::scale]


def kernel_spectrum(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Half spectrum (B|1,1,H,W//2+1) of a kernel (B|1,1,kh,kw) whose centre, pixel (kh//2, kw//2), lies at the origin.

    Multiplying an image's half spectrum by it is blur with a circular border. As all spectra, it is on the CPU where
    the kernel's device has no Fourier transforms. ValueError if the kernel is larger.
    """
    kh, kw = kernel.shape[-2:]
    if kh > size[0] or kw > size[1]:
        raise ValueError(f"the kernel, {kh}x{kw}, is larger than the image, {size[0]}x{size[1]}")
    padded = kernel.new_zeros(*kernel.shape[:2], *size)
    padded[..., :kh, :kw] = kernel
    return torch.fft.rfft2(for_fourier(padded).roll((-(kh // 2), -(kw // 2)), (-2, -1)))
