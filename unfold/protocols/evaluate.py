"""Running a network over the images of a protocol."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.data.patches import to_tensor
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.gaussian_denoising import GaussianDenoising

Image = NDArray[np.float32]


@dataclass
class Score:
    """One method on one image: PSNR in dB, SSIM, wall time in seconds, PSNR after each stage (networks only)."""

    psnr: float
    ssim: float
    seconds: float = 0.0
    stages: list[float] = field(default_factory=list)


@torch.inference_mode()
def restore_stages(net: UnfoldingNetwork, inputs: dict[str, Image], device: torch.device) -> list[Image]:
    """The estimate after each stage, (H,W,3) arrays, not clamped. inputs: (H,W,C) arrays by the network's names."""
    batch = {name: to_tensor(image)[None].to(device) for name, image in inputs.items()}
    return [x[0].permute(1, 2, 0).float().cpu().numpy() for x in net.iterate(**batch)]


def evaluate_network(
    net: UnfoldingNetwork, protocol: GaussianDenoising, sample: dict[str, Image], device: torch.device
) -> tuple[Score, list[Image]]:
    """Score a network on one sample of the protocol; also its stages' estimates, first to last."""
    inputs = {name: image for name, image in sample.items() if name != "target"}
    start = time.perf_counter()
    stages = restore_stages(net, inputs, device)
    seconds = time.perf_counter() - start
    scores = [protocol.score(x, sample["target"]) for x in stages]
    return Score(*scores[-1], seconds, [quality for quality, _ in scores]), stages


def validate(net: UnfoldingNetwork, protocol: GaussianDenoising, files: Sequence[Path], device: torch.device) -> float:
    """Mean PSNR over the images, in dB. Leaves the network in the mode it was in."""
    training = net.training
    net.eval()
    scores = [evaluate_network(net, protocol, protocol.sample(path), device)[0].psnr for path in files]
    net.train(training)
    return float(np.mean(scores))
