"""Blind deblurring with a kernel that is estimated in the loop: two variables, updated in turn, in every stage.

After the alternation of unfolded blind methods such as UDKE (Zheng, Yong, Zhang, ECCV 2022), narrow and simplified: the
splitting is theirs, the networks and the projection are ours, and no parity is claimed.

    Stage k:  z = argmin_z ||k * z - y||^2 + alpha_k ||z - x||^2       image, in the Fourier domain
              x = z + P_k(z)                                          prior
              k = argmin_k ||k * grad x - grad y||^2 + beta_k ||k - k_old||^2, cut to its support, positive, sum 1

with a circular border, x_0 = y, and k_0 a Gaussian. The kernel passes from stage to stage as memory, and is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfold.degradations.degradation import Degradation
from unfold.facts import image
from unfold.losses.loss import Loss
from unfold.models.unfolding import Output, UnfoldingNetwork
from unfold.physics.blur import blur, kernel_spectrum
from unfold.steps.closed_form import begin

SIDE = 9  # of kernels


def gaussian(wide: float, high: float, angle: float) -> np.ndarray:
    """A kernel (9,9) of these standard deviations in pixels, turned, sum 1."""
    y, x = np.mgrid[-(SIDE // 2) : SIDE // 2 + 1, -(SIDE // 2) : SIDE // 2 + 1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    k = np.exp(-(u**2) / (2 * wide**2) - v**2 / (2 * high**2))
    return (k / k.sum()).astype(np.float32)


def gradients(x: Tensor) -> Tensor:
    """(B,1,H,W) -> (B,2,H,W), differences of neighbours, circular."""
    return torch.cat([x - x.roll(1, -1), x - x.roll(1, -2)], dim=1)


class Blind(UnfoldingNetwork):
    """stages: K; width: of the priors. Grey images."""

    channels, border, min_size, takes_half = 1, "circular", 2 * SIDE, False

    def __init__(self, stages: int = 4, width: int = 24) -> None:
        super().__init__(stages)
        self.alpha = nn.Parameter(torch.full((stages,), -4.0))  # logarithms
        self.beta = nn.Parameter(torch.full((stages,), 0.0))
        self.priors = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, 1, 3, padding=1),
            )
            for _ in range(stages)
        )

    @property
    def inputs(self) -> dict[str, Any]:
        return {"y": image(1)}

    def begin(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y, y

    def stage(self, k: int, x: Tensor, memory: Any, context: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        y = context
        kernel = memory
        if kernel is None:
            kernel = torch.from_numpy(gaussian(1.5, 1.5, 0.0)).to(y).expand(len(y), 1, SIDE, SIDE)
        z = begin(y, kernel, 1)[1].solve(x, self.alpha[k].exp())
        x = z + self.priors[k](z)
        kernel = self.estimated(x, y, kernel, self.beta[k].exp())
        return x, kernel, {"kernel": kernel}

    @staticmethod
    def estimated(x: Tensor, y: Tensor, old: Tensor, beta: Tensor) -> Tensor:
        """The kernel (B,1,9,9) nearest to the old one that blurs x to y."""
        size = (x.shape[-2], x.shape[-1])
        fx, fy = torch.fft.rfft2(gradients(x)), torch.fft.rfft2(gradients(y))
        weight = beta * fx.abs().square().sum(1, keepdim=True).mean((-2, -1), keepdim=True)
        above = (fx.conj() * fy).sum(1, keepdim=True) + weight * kernel_spectrum(old, size)
        found = torch.fft.irfft2(above / (fx.abs().square().sum(1, keepdim=True) + weight), s=size)
        half = SIDE // 2
        found = found.roll((half, half), (-2, -1))[..., :SIDE, :SIDE].clamp_min(0) + 1e-6
        return found / found.sum((-2, -1), keepdim=True)

    def numbers(self, k: int, context: Tensor) -> dict[str, Tensor]:
        return {"alpha": self.alpha[k].exp(), "beta": self.beta[k].exp()}


class UnknownBlur(Degradation):
    """y = k * x + n with a random Gaussian kernel (circular border), which the loss knows and the network does not.

    noise: standard deviation of n in 255 units.
    """

    blends = False

    def __init__(self, noise: float = 1.0) -> None:
        self.noise = noise

    def degrade(self, target: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        kernel = gaussian(*rng.uniform(0.6, 3.0, 2), rng.uniform(0, np.pi))
        sharp = torch.from_numpy(target.copy()).permute(2, 0, 1)[None]
        y = blur(sharp, torch.from_numpy(kernel)[None, None], "circular")[0].permute(1, 2, 0).numpy()
        noise = rng.standard_normal(y.shape, dtype=np.float32) * np.float32(self.noise / 255)
        return {"y": y + noise, "kernel": kernel}


class KernelError(Loss):
    """Mean over stages of the sum of |k - k*|, at most 2."""

    needs = ("kernel",)

    def forward(self, output: Output, batch: Mapping[str, Any]) -> Tensor:
        true = batch["kernel"]
        found = [F.l1_loss(k, true.to(k), reduction="sum") / len(k) for k in output.extras["kernel"]]
        return torch.stack(found).mean()
