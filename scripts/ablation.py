"""The contribution of each part of an unfolding network: a small ablation with several seeds and one figure.

    python scripts/ablation.py FOLDER [KEY VALUE ...]

Non-blind deblurring of photographs, noise of 1 %, by networks of 26 thousand parameters and more: ``Composed`` of
closed-form data steps and a small ResUNet. One thing at a time differs from 4 stages that share one prior, judged by
the last: the number of stages, tied or untied weights, the loss, and whether there is a data step at all (for any
kernel, and for a single one, which a network without data step can learn as well). Every run has the same number of
steps, with the same sampling of patches. Runs are tested on held-out photographs, with equal patches and noise,
and kernels that were not in training (a single kernel is that of training).

Data are those of configs/small.yaml (BSDS500 below UNFOLD_DATA), or KEY VALUE: DATA.TRAIN photographs DATA.VAL
photographs. Writes FOLDER/ablation.json after every run, from which a second start goes on, ablation.md and
ablation.png.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from unfold.config import altered, load_config
from unfold.data.batches import Key, collate
from unfold.data.patches import Images, Patches
from unfold.data.stores.image_stores import Store
from unfold.degradations.blur_downscale import USRNET_MOTION
from unfold.degradations.degradation import Rng, unit
from unfold.degradations.gaussian_noise import GaussianNoise
from unfold.degradations.random_kernels import random_kernel
from unfold.errors import UnfoldError
from unfold.from_config import build_store
from unfold.metrics import psnr
from unfold.models.composed import Composed
from unfold.physics.batched_degrade import degrade
from unfold.priors.resunet import ResUNet
from unfold.report.curve import ticks
from unfold.report.draw import ACCENT, GRID, INK, PAPER, SOFT, text
from unfold.settings import settings_of
from unfold.steps.data_step import ClosedForm
from unfold.util.atomic_files import make_folder, whole_file
from unfold.util.progress import progress

RECIPE = Path(__file__).parent.parent / "configs" / "small.yaml"
SEEDS = (0, 1)
STEPS, BATCH, PATCH = 800, 16, 48
LR, STEERING = 2e-3, 10  # of the priors; alpha, which may have to change a thousandfold, learns this much faster
JUDGED, JUDGED_PATCH = 96, 96  # how many patches judge, and their side
SIGMA, KERNELS = 0.01, 1000  # standard deviation of the noise; how many kernels are in training
WIDTHS, NARROW = (8, 12, 16, 16), (4, 6, 8, 8)  # NARROW: four of them have about the parameters of one of WIDTHS


class NoDataStep(ClosedForm):
    """z = x: the measurement is where the stages begin, and is not looked at again."""

    def forward(self, k: int, x: Tensor, context: Any) -> Tensor:
        return x


@dataclass(frozen=True)
class Variant:
    title: str
    stages: int = 4
    shared: bool = True
    widths: tuple[int, ...] = WIDTHS
    loss: str = "last"
    data: bool = True
    one_kernel: bool = False

    def network(self) -> Composed:
        data = (ClosedForm if self.data else NoDataStep)(self.stages)
        net = Composed(data, partial(ResUNet, 3, 3, self.widths, 1), self.stages, shared=self.shared)
        for prior in net.priors:
            prior.start_as_identity()
        return net


GROUPS = {
    "stages": [Variant(f"{k} stage{'s' if k > 1 else ''}", stages=k) for k in (1, 2, 4, 8)],
    "weights": [
        Variant("tied"),
        Variant("untied", shared=False),
        Variant("untied, narrow", shared=False, widths=NARROW),
    ],
    "loss": [Variant("last stage"), Variant("all stages", loss="all")],
    "any kernel": [Variant("data step"), Variant("none", data=False)],
    "one kernel": [Variant("data step", one_kernel=True), Variant("none", data=False, one_kernel=True)],
}


@cache
def drawn(count: int, seed: int) -> list[NDArray[np.float32]]:
    """Kernels as USRNet is trained with."""
    rng = np.random.default_rng(seed)
    return [random_kernel(rng, USRNET_MOTION) for _ in range(count)]


def make(kernels: list[NDArray[np.float32]], images: Images, rng: Rng, scale: int) -> dict[str, Any]:
    target, kernel = images["target"], kernels[rng.integers(len(kernels))]
    return {"target": target, "kernel": kernel, "noise": rng.standard_normal(target.shape, dtype=np.float32)}


def rendered(patches: Patches, epoch: int, numbers: range) -> tuple[Tensor, Tensor, Tensor]:
    """Measurement, kernel and target of a batch."""
    batch = collate([patches[Key(epoch, number)] for number in numbers])
    y = degrade(batch["target"], batch["kernel"], torch.tensor(SIGMA), batch["noise"])
    return y, batch["kernel"], unit(batch["target"])


def train(net: Composed, patches: Patches, every_stage: bool) -> None:
    steering, weights = list(net.data.parameters()), list(net.priors.parameters())
    optimizer = torch.optim.Adam([{"params": weights}, {"params": steering, "lr": LR * STEERING}], LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        y, kernel, target = rendered(patches, step, range(BATCH))
        stages = net(y, kernel=kernel, return_stages=True)
        losses = [(x - target).abs().mean() for x in (stages if every_stage else stages[-1:])]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def judged(net: Composed, patches: Patches) -> tuple[float, float]:
    """Mean PSNR in dB of the held-out patches: of the network, and of its input."""
    found: list[tuple[float, float]] = []
    for first in range(0, JUDGED, BATCH):
        y, kernel, target = rendered(patches, 0, range(first, min(first + BATCH, JUDGED)))
        scores = [psnr(x.clamp(0, 1), target) for x in (net(y, kernel=kernel), y)]
        found += zip(*(score.tolist() for score in scores), strict=True)
    ours, given = zip(*found, strict=True)
    return statistics.mean(ours), statistics.mean(given)


def run(variant: Variant, seed: int, stores: tuple[Store, Store]) -> dict[str, float]:
    torch.manual_seed(seed)
    net, begun = variant.network(), time.perf_counter()
    kernels = (drawn(1, 0),) * 2 if variant.one_kernel else (drawn(KERNELS, 1), drawn(JUDGED, 2))
    train(net, Patches(stores[0], PATCH, seed, partial(make, kernels[0])), variant.loss == "all")
    seconds = time.perf_counter() - begun
    ours, given = judged(net.eval(), Patches(stores[1], JUDGED_PATCH, 1000, partial(make, kernels[1])))
    parameters = sum(p.numel() for p in net.priors.parameters())
    return {"psnr": ours, "input": given, "parameters": parameters, "seconds": seconds}


def same(variant: Variant) -> str:
    """What a run is known by: variants that differ in their title alone are one."""
    return repr([value for name, value in vars(variant).items() if name != "title"])


def table(found: dict[str, list[dict[str, float]]]) -> str:
    lines = ["| | | parameters | PSNR of seeds (dB) | mean | input |", "|---|---|---|---|---|---|"]
    for group, variants in GROUPS.items():
        for variant in variants:
            runs = found.get(same(variant), [])
            if runs:
                seeds = ", ".join(f"{one['psnr']:.2f}" for one in runs)
                mean = statistics.mean(one["psnr"] for one in runs)
                lines.append(
                    f"| {group} | {variant.title} | {runs[0]['parameters']:,.0f} | {seeds} | {mean:.2f} "
                    f"| {runs[0]['input']:.2f} |"
                )
    return "\n".join(lines) + "\n"


def figure(path: Path, found: dict[str, list[dict[str, float]]]) -> None:
    """A row for each variant: a dot for each seed, a line at their mean."""
    left, width, line, edge, scale = 210, 760, 24, 34, 2  # in pixels; drawn at twice the size, for smooth dots
    rows = [(group, variant) for group, variants in GROUPS.items() for variant in variants if same(variant) in found]
    groups = list(dict.fromkeys(group for group, _ in rows))
    height = edge * 2 + line * len(rows) + 10 * len(groups)
    values = [one["psnr"] for _, variant in rows for one in found[same(variant)]]
    marks = ticks(min(values), max(values), 8)
    picture = Image.new("RGB", (width * scale, height * scale), PAPER)
    draw = ImageDraw.Draw(picture)

    def at(value: float) -> float:
        return scale * (left + (width - left - 24) * (value - marks[0]) / (marks[-1] - marks[0]))

    for mark in marks:
        draw.line([(at(mark), edge * scale), (at(mark), (height - edge) * scale)], fill=GRID, width=scale)
        text(draw, (at(mark), (height - edge + 5) * scale), f"{mark:g}", 11 * scale, SOFT, "ma")
    text(
        draw,
        (at(marks[-1]), 10 * scale),
        "PSNR in dB: a dot for each seed, a line at their mean",
        12 * scale,
        INK,
        "ra",
    )
    y, before = edge, ""
    for group, variant in rows:
        y += 10 if group != before else 0
        middle = (y + line / 2) * scale
        if group != before:
            text(draw, (12 * scale, middle), group, 12 * scale, INK, "lm")
        text(draw, ((left - 12) * scale, middle), variant.title, 12 * scale, SOFT, "rm")
        scores = [one["psnr"] for one in found[same(variant)]]
        mean = at(statistics.mean(scores))
        draw.line([(mean, middle - 8 * scale), (mean, middle + 8 * scale)], fill=INK, width=scale)
        for score in scores:
            x, radius = at(score), 3.5 * scale
            draw.ellipse([x - radius, middle - radius, x + radius, middle + radius], fill=ACCENT)
        y, before = y + line, group
    picture.resize((width, height), Image.Resampling.LANCZOS).save(path)


def written(path: Path, content: str) -> None:
    with whole_file(path) as file:
        file.write(content.encode())


def ablate(folder: Path, overrides: list[str]) -> str:
    """Run what is not in the folder yet; returns the table. UnfoldError for bad settings and data."""
    for key in overrides[::2]:
        if key not in ("DATA.TRAIN", "DATA.VAL"):
            raise UnfoldError(
                f"{key} is no setting of the ablation: DATA.TRAIN and DATA.VAL are, and constants in {__file__}"
            )
    cfg = load_config(RECIPE, overrides)
    settings = {"train": cfg.DATA.TRAIN, "val": cfg.DATA.VAL, "steps": STEPS}
    log, found = folder / "ablation.json", {}
    if log.exists():
        try:
            content = json.loads(log.read_text())
            found, before = content["runs"], content["settings"]
        except (ValueError, TypeError, KeyError):
            raise UnfoldError(f"{log} is damaged: remove it, or give another folder") from None
        if before != settings:
            raise UnfoldError(f"{log} is of other settings, {before}: give another folder")
    clean = GaussianNoise()  # reads clean images in colour; what is made of them is made here
    held_out = altered(cfg, {"DATA.TRAIN": cfg.DATA.VAL})
    stores = tuple(build_store(settings_of(one).data, clean)[0] for one in (cfg, held_out))
    make_folder(folder)
    unique = {same(variant): variant for variants in GROUPS.values() for variant in variants}
    runs = [(key, seed) for seed in SEEDS for key in unique if len(found.get(key, [])) <= seed]
    print(f"{len(runs)} runs of {STEPS} steps", file=sys.stderr)
    for key, seed in progress(runs, "ablation", "run"):
        found.setdefault(key, []).append(run(unique[key], seed, stores))
        written(log, json.dumps({"settings": settings, "runs": found}, indent=1) + "\n")
        written(folder / "ablation.md", table(found))
        figure(folder / "ablation.png", found)
    return table(found)


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(ablate(Path(sys.argv[1]), sys.argv[2:]), end="")
    except UnfoldError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
