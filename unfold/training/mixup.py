"""Mixup: blends of samples as further samples (Zhang et al., ICLR 2018; DGUNet's denoising)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unfold.util.arrays import Named


def mixed(batch: Named, alpha: float, seed: tuple[int, ...]) -> Named:
    """Blend each sample with another of its batch, w x_i + (1 - w) x_j with w from Beta(alpha, alpha), target and
    inputs likewise. A pure function of the batch and the seed.

    batch: images (B,C,H,W), "target" among them; the configuration refuses batches with other inputs.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    target = batch["target"]
    order = torch.from_numpy(rng.permutation(len(target))).to(target.device)
    share = torch.from_numpy(rng.beta(alpha, alpha, len(target))).to(target.device, torch.float32).view(-1, 1, 1, 1)

    def blend(x: Tensor) -> Tensor:
        return share * x + (1 - share) * x[order]

    return {name: blend(x) for name, x in batch.items()}
