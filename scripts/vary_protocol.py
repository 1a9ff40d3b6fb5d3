"""The effect of single choices of a protocol on PSNR: the example of docs/protocols.md.

    UNFOLD_DATA=... python scripts/vary_protocol.py --weights usrnet_tiny [--data Set5]

USRNet's Table 1 at scale 4, kernel 3, noise 2.55: mean PSNR over the images as published, and with a single choice
changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import torch

from unfold import load_model
from unfold.errors import UnfoldError
from unfold.metrics import psnr
from unfold.models.run_on_arrays import Image, network
from unfold.physics.degrade import blur_array, decimate_array
from unfold.physics.kernels import normalised, shift_kernel
from unfold.protocols.protocol import Sample
from unfold.protocols.usrnet_evaluations import USRNetTable1

PROTOCOL = USRNetTable1(scale=4, kernel=3, noise=2.55)
Score = Callable[[Image, Image], float]


def published(result: Image, target: Image) -> float:
    return PROTOCOL.score(PROTOCOL.finish(result), target)["psnr"]


def another_input(sample: Sample, **inputs: Any) -> Sample:
    return replace(sample, inputs={**sample.inputs, **inputs})


def rounded_blur(sample: Sample) -> Sample:
    """Rounded to 8 bits, where the protocol truncates."""
    return another_input(sample, y=_degraded(sample, np.rint))


def float_blur(sample: Sample) -> Sample:
    return another_input(sample, y=_degraded(sample, lambda x: x))


def _degraded(sample: Sample, rounding: Callable[[Image], Image], seed: int = 0) -> Image:
    assert sample.target is not None
    blurred = rounding(blur_array(sample.target, sample.inputs["kernel"].astype(np.float64)))
    small = decimate_array(blurred, PROTOCOL.scale) / 255
    noise = np.random.RandomState(seed).normal(0, PROTOCOL.noise / 255, small.shape)
    return (small + noise).astype(np.float32)


def another_seed(sample: Sample) -> Sample:
    return another_input(sample, y=_degraded(sample, np.trunc, seed=1))


def given_no_noise(sample: Sample) -> Sample:
    return another_input(sample, sigma=0.0)


def shifted_kernel(sample: Sample) -> Sample:
    """Give the network a kernel shifted as for block means, by 1.5 pixels."""
    kernel = normalised(shift_kernel(sample.inputs["kernel"].astype(np.float64), PROTOCOL.scale))
    return another_input(sample, kernel=kernel.astype(np.float32))


SCORES: dict[str, Score] = {
    "as published: RGB, border 16, rounded to 8 bits": published,
    "on Y (rgb2ycbcr, rounded)": lambda r, t: psnr(PROTOCOL.finish(r), t, 16, "y"),
    "on Y, not rounded": lambda r, t: psnr(PROTOCOL.finish(r), t, 16, "y_float"),
    "on 0.299 R + 0.587 G + 0.114 B": lambda r, t: psnr(PROTOCOL.finish(r), t, 16, "luma"),
    "mean of the channels' PSNR": lambda r, t: float(
        np.mean([psnr(PROTOCOL.finish(r)[..., c], t[..., c], 16) for c in range(3)])
    ),
    "border 4": lambda r, t: psnr(PROTOCOL.finish(r), t, 4),
    "no border": lambda r, t: psnr(PROTOCOL.finish(r), t),
    "result not rounded": lambda r, t: psnr(r.clip(0, 1), t / np.float32(255), 16),
    "result neither rounded nor clamped": lambda r, t: psnr(r, t / np.float32(255), 16),
    "result truncated to 8 bits": lambda r, t: psnr(np.trunc(r.clip(0, 1) * 255).astype(np.uint8), t, 16),
}
DEGRADATIONS: dict[str, Callable[[Sample], Sample]] = {
    "blur rounded to 8 bits, not truncated": rounded_blur,
    "blur in floats": float_blur,
    "noise of another seed": another_seed,
    "network given sigma 0": given_no_noise,
    "network given a kernel shifted by 1.5 pixels": shifted_kernel,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--weights", required=True, metavar="FILE|NAME")
    parser.add_argument("--data", default="Set5", metavar="SET|FOLDER")
    arguments = parser.parse_args()
    method = network(load_model(arguments.weights), torch.device("cpu"))
    found: dict[str, list[float]] = {name: [] for name in [*SCORES, *DEGRADATIONS]}
    for case in PROTOCOL.cases(arguments.data):
        sample = PROTOCOL.sample(case)
        assert sample.target is not None
        result = method(sample.inputs)
        for name, score in SCORES.items():
            found[name].append(score(result, sample.target))
        for name, change in DEGRADATIONS.items():
            found[name].append(published(method(change(sample).inputs), sample.target))
    base = float(np.mean(found[next(iter(SCORES))]))
    print("| one choice changed | PSNR, dB | difference |\n|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {np.mean(values):.3f} | {np.mean(values) - base:+.3f} |")


if __name__ == "__main__":
    try:
        main()
    except UnfoldError as error:
        raise SystemExit(f"vary_protocol: {error}") from None
