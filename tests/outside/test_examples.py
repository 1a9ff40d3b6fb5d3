"""The examples in docs/examples are outside the package, and do what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import unfold
from unfold import registry, user_files
from unfold.data.images import find_images, read_grey
from unfold.metrics import psnr

Command = Callable[..., tuple[int, str, str]]
BLIND = Path(__file__).parents[2] / "docs" / "examples" / "blind_deblurring"


@pytest.mark.slow
def test_the_blind_network_learns_to_find_kernels_and_to_deblur(tmp_path: Path, command: Command) -> None:
    words = ("OUTPUT", tmp_path / "run", "TRAIN.EPOCHS", 1, "TRAIN.PATCHES", 1600, "TRAIN.VALIDATE_EVERY", 1)
    code, _, err = command("train", "--config", BLIND / "recipe.yaml", *words)
    assert code == 0, err
    net = unfold.load_model(tmp_path / "run" / "checkpoints" / "last.pth", name=f"{BLIND / 'blind.py'}:Blind")
    degradation = registry.find(registry.DEGRADATION, f"{BLIND / 'blind.py'}:UnknownBlur").build({})
    rng, gains, before, errors = np.random.default_rng(0), [], [], []
    begun = user_files.load_file(BLIND / "blind.py").gaussian(1.5, 1.5, 0.0)
    for path in find_images("photographs", "test")[:2]:
        target = (read_grey(path)[:128, :128, None] / np.float32(255)).astype(np.float32)
        for _ in range(4):
            made = degradation.degrade(target, rng)
            with torch.inference_mode():
                y = torch.from_numpy(made["y"]).permute(2, 0, 1)[None]
                output = net(y.clamp(0, 1), return_output=True)
            x = output.stages[-1][0].permute(1, 2, 0).numpy().clip(0, 1)
            gains.append(psnr(x, target) - psnr(made["y"].clip(0, 1), target))
            true = made["kernel"]
            before.append(np.abs(begun - true).sum())
            errors.append([np.abs(k[0, 0].numpy() - true).sum() for k in output.extras["kernel"]])
    last = np.mean(errors, axis=0)[-1]
    expected = (
        f"gain {np.mean(gains):.2f} dB, error of the kernel {np.mean(before):.3f} at first, {last:.3f} in the end"
    )
    assert np.mean(gains) > 1, expected
    assert last < np.mean(before), expected
