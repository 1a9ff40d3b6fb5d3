"""`unfold test`: a network beside classical baselines on the test images, as a table, numbers and pictures."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from yacs.config import CfgNode

import unfold
from unfold.build import build_network, build_protocol, smallest_image
from unfold.checkpoints.known import find_weights
from unfold.checkpoints.load import load_state
from unfold.checkpoints.read import read_checkpoint
from unfold.config import model_arguments
from unfold.data.images import check_images
from unfold.device import pick_device, place
from unfold.errors import UnfoldError
from unfold.progress import progress
from unfold.protocols.classical import CLASSICAL, tune, tuning_cases
from unfold.protocols.evaluate import Score, distinct, evaluate_network
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.protocol import Image, Sample
from unfold.report.numbers import finite
from unfold.report.strip import Panel, draw_strip, some_stages
from unfold.report.table import format_table, mean_score

logger = logging.getLogger("unfold")
INPUT = "noisy input"
STAGES_SHOWN = 2


def run_test(cfg: CfgNode, weights: str | Path, output: Path) -> str:
    """Evaluate the config's network with these weights (a file, or a published name); returns the table as text.

    Writes results.json and strips/<image>.png into ``output``. Raises UnfoldError for bad input.
    """
    device = pick_device(cfg.DEVICE)
    net, protocol = build_network(cfg), build_protocol(cfg)
    weights = find_weights(weights)
    checkpoint = read_checkpoint(weights)
    load_state(net, checkpoint.state, weights)
    net = place(net.eval(), device)
    tested = {"model": {"name": cfg.MODEL.NAME, "arguments": model_arguments(cfg)}, "protocol": asdict(protocol)}
    trained = {key: checkpoint.content.get(key) or value for key, value in tested.items()}
    for key, value in tested.items():
        if trained[key] != value and not (key == "protocol" and cfg.DATA.BLIND):
            logger.warning("note: the weights were trained as %s %s and are tested as %s", key, trained[key], value)

    cases = distinct(protocol.cases(cfg.DATA.TEST, "test"))
    check_images([case.files[0] for case in cases], smallest_image(cfg))
    tuning = tuning_cases(protocol.cases(cfg.DATA.TRAIN, "train")) if cfg.TEST.BASELINES else []
    check_images([case.files[0] for case in tuning], smallest_image(cfg))
    _clear(output)
    strengths = {name: tune(name, protocol, tuning) for name in cfg.TEST.BASELINES}

    rows = {}
    for case in progress(cases, "testing", "image"):
        sample = protocol.sample(case)
        rows[case.name], stages = _evaluate(net, cfg.MODEL.NAME, protocol, sample, strengths, device)
        if not np.isfinite(stages[-1]).all():
            raise UnfoldError(
                f"the network's result on {case.files[0]} is not finite: the weights in {weights} are not usable"
            )
        _draw(output / "strips" / f"{case.name}.png", sample, rows[case.name], cfg.MODEL.NAME, stages)
    mean = {method: mean_score([row[method] for row in rows.values()]) for method in next(iter(rows.values()))}
    results = {
        "unfold": unfold.__version__,
        "torch": torch.__version__,
        "device": str(device),
        "weights": str(weights),
        "tested_as": tested,
        "trained_as": trained,
        "source": cfg.DATA.TEST,
        "baselines": strengths,
        "images": {name: {method: _plain(score) for method, score in row.items()} for name, row in rows.items()},
        "mean": {method: _plain(score) for method, score in mean.items()},
    }
    (output / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False, default=str) + "\n")
    return format_table(rows, mean)


def _plain(score: Score) -> dict[str, Any]:
    """For JSON, which knows no infinity: the PSNR of a perfect result becomes null."""
    return {**vars(score), "psnr": finite(score.psnr), "stages": [finite(value) for value in score.stages]}


def _clear(output: Path) -> None:
    """Make the folder, without what an earlier test left in it."""
    try:
        (output / "strips").mkdir(parents=True, exist_ok=True)
        (output / "results.json").unlink(missing_ok=True)
        for old in (output / "strips").glob("*.png"):
            old.unlink()
    except OSError as error:
        raise UnfoldError(f"the folder {output} cannot be written: {error.strerror or error}") from None


def _evaluate(
    net: Any,
    model: str,
    protocol: GaussianDenoising,
    sample: Sample,
    strengths: dict[str, float],
    device: torch.device,
) -> tuple[dict[str, Score], list[Image]]:
    assert sample.target is not None
    y = sample.inputs["y"]
    row = {INPUT: _score(protocol.score(protocol.finish(y), sample.target))}
    for name, strength in strengths.items():
        start = time.perf_counter()
        result = protocol.finish(CLASSICAL[name][0](y, protocol.sigma / 255, strength))
        seconds = time.perf_counter() - start
        row[name] = _score(protocol.score(result, sample.target), seconds)
    row[model], stages = evaluate_network(net, {"y"}, protocol, sample, device)
    return row, stages


def _score(scores: dict[str, float], seconds: float = 0) -> Score:
    return Score(scores["psnr"], scores["ssim"], seconds)


def _draw(
    path: Path,
    sample: Sample,
    row: dict[str, Score],
    model: str,
    stages: list[Image],
) -> None:
    assert sample.target is not None
    quality = row[model].stages
    panels = [Panel(sample.inputs["y"], INPUT, row[INPUT].psnr)]
    panels += [Panel(stages[k], f"stage {k + 1}", quality[k]) for k in some_stages(len(stages), STAGES_SHOWN)]
    panels += [
        Panel(stages[-1], f"result (stage {len(stages)})", quality[-1]),
        Panel(sample.target, "target", None),
    ]
    draw_strip(path, panels)
