"""Example images of a table: those that gain most and least."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfold.models.run_on_arrays import Image
from unfold.protocols.protocol import Case, Protocol, Sample, sample_of, to_uint8
from unfold.tables.find_sets import image_of
from unfold.tables.measure import Runner
from unfold.tables.open_weights import Net
from unfold.tables.results import Cell, ImageScore, Shown
from unfold.tables.work_plan import Planned
from unfold.util.atomic_files import whole_file
from unfold.util.progress import progress

logger = logging.getLogger("unfold")
EACH = 6  # number of best images, and of worst ones
SAME = 0.01  # dB: two restorations of the same image agree within this PSNR


class Candidate(NamedTuple):
    """A restored image: its gain in dB, the cell, the case, its score and the score's key."""

    gain: float
    planned: Planned
    cell: Cell
    case: Case
    image: ImageScore
    key: str


def candidates(cells: Sequence[tuple[Planned, Cell]], baseline: str) -> list[Candidate]:
    """All candidate images.

    Those of networks; without networks, those of methods without weights. The gain is in PSNR over the table's first
    baseline on the same case; the PSNR itself where there is none, or nothing else was measured.
    """
    measured = [(planned, cell) for planned, cell in cells if cell.metric == "psnr" and cell.images]
    reference = {
        (planned.setting, image.name): image.scores["psnr"]
        for planned, cell in measured
        if planned.method.label == baseline
        for image in cell.images
    }
    others = [pair for pair in measured if pair[0].method.label != baseline]
    networks = [pair for pair in others if isinstance(pair[0].method.runs, Net)]
    found = []
    for planned, cell in networks or others or measured:
        by_name = {image.name: image for image in cell.images}
        for case, key in zip(planned.cases, planned.keys, strict=True):
            if (image := by_name.get(case.name)) is not None:
                less = reference.get((planned.setting, case.name), 0.0) if others else 0.0
                found.append(Candidate(image.scores["psnr"] - less, planned, cell, case, image, key))
    return [one for one in found if np.isfinite(one.gain)]


def choose(found: Sequence[Candidate]) -> list[Candidate]:
    """From best to worst: EACH of both, no photograph twice among them, no restoration in both."""
    ranked = sorted(found, key=lambda one: one.gain, reverse=True)
    best = _distinct(ranked)[: max(1, min(EACH, len(found) // 2))]
    worst = _distinct([one for one in ranked[::-1] if one not in best])[:EACH]
    return [one for one in ranked if one in best or one in worst]


def _distinct(ranked: Sequence[Candidate]) -> list[Candidate]:
    first: dict[tuple[object, ...], Candidate] = {}
    for one in ranked:
        first.setdefault(image_of(one.case), one)
    return list(first.values())


def pictures(chosen: Sequence[Candidate], runner: Runner, folder: Path) -> Iterator[Shown]:
    """Restore each again, stage by stage; earlier restorations are read from the folder."""
    for one in progress(chosen, "restoring what is shown", "image"):
        path = folder / f"{one.key[:24]}.npz"
        parts = _read(path)
        if parts is None:
            parts = _restore(one, runner)
            with whole_file(path) as file:
                np.savez_compressed(file, **parts)  # type: ignore[arg-type]
        image = one.image._replace(stages=parts["stages"].tolist())
        yield Shown(one.cell, image, parts["input"], parts["result"], parts.get("target"))


def _read(path: Path) -> dict[str, NDArray[np.uint8]] | None:
    try:
        with np.load(path) as file:
            return dict(file)
    except Exception:  # missing, or damaged, which raises any error
        return None


def _restore(one: Candidate, runner: Runner) -> dict[str, Image]:
    protocol, runs = one.planned.protocol, one.planned.method.runs
    sample = sample_of(protocol, one.case)
    target = sample.target
    assert target is not None
    assert runs is not None
    stages = runner.stages(runs, protocol, sample) if isinstance(runs, Net) else []
    result = stages[-1] if stages else runner.result(runs, protocol, sample)
    quality = [protocol.score(stage, target)["psnr"] for stage in stages]
    if quality and abs(quality[-1] - one.image.scores["psnr"]) > SAME:
        logger.warning(
            "note: %s (%s) has %.3f dB when restored again, and %.3f dB in the table",
            *(one.case.name, one.cell.protocol, quality[-1], one.image.scores["psnr"]),
        )
    seen = _input(protocol, sample, stages, target)
    return {"input": seen, "result": _eight_bits(result), "target": _eight_bits(target), "stages": np.array(quality)}


def _input(protocol: Protocol, sample: Sample, stages: Sequence[Image], target: Image) -> NDArray[np.uint8]:
    """The method's input at the size of the result, with repeated pixels; for measurements that are not a picture, the
    first stage's estimate."""
    if "y" not in protocol.inputs:
        return _eight_bits(stages[0] if stages else target)
    y, scale = sample.inputs["y"], sample.inputs.get("scale", 1)
    return to_uint8(y.repeat(scale, axis=0).repeat(scale, axis=1)[: target.shape[0], : target.shape[1]])


def _eight_bits(image: Image) -> NDArray[np.uint8]:
    return image if image.dtype == np.uint8 else to_uint8(image)
