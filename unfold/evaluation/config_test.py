"""`unfold test`: a network beside classical baselines on the test images, as a table, numbers and pictures."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from yacs.config import CfgNode

import unfold
from unfold.config import options_of, part_of, plain
from unfold.data.images import EXTENSIONS, check_images
from unfold.errors import UnfoldError
from unfold.evaluation.classical_methods import CLASSICAL, tune, tuning_cases
from unfold.evaluation.run_protocol import distinct, evaluate_network
from unfold.from_config import build_degradation, build_network, build_test, check_parts, model_name, smallest_image
from unfold.models.on_arrays import Image
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.protocol import Case, Protocol, Sample, windowed
from unfold.registry import Part
from unfold.report.numbers import finite
from unfold.report.strip import Panel, draw_strip, some_stages
from unfold.report.text_table import Score, format_table, mean_score
from unfold.user_files import their_errors
from unfold.util.device import pick_device, place
from unfold.util.progress import progress
from unfold.weights.load_model import load_state, model_record
from unfold.weights.read_checkpoint import read_checkpoint
from unfold.weights.resolve_weights import find_weights

logger = logging.getLogger("unfold")
INPUT = "noisy input"  # the measurement itself, where it is as large as the target
STAGES_SHOWN = 2


def run_test(cfg: CfgNode, weights: str | Path, output: Path, *, key: str | None = None) -> str:
    """Evaluate the config's network with these weights (a file, or a published name); returns the table as text.

    key: which of several networks in the file.
    Writes results.json and strips/<image>.png into ``output``. Raises UnfoldError for bad input.
    """
    device = pick_device(cfg.DEVICE)
    check_parts(cfg)
    net = build_network(cfg)
    degradation = build_degradation(cfg, net)
    protocol = build_test(cfg, net, degradation)
    if cfg.TEST.BASELINES and not isinstance(protocol, GaussianDenoising):
        raise UnfoldError(
            f"TEST.BASELINES {', '.join(cfg.TEST.BASELINES)} remove white noise of known strength: leave them out for "
            f"{protocol.name}"
        )
    weights = find_weights(weights)
    checkpoint = read_checkpoint(weights, key, like=lambda: net)
    load_state(net, checkpoint.state, weights)
    net = place(net.eval(), device)
    part = part_of(cfg, "MODEL")
    tested = {"model": model_record(part, options_of(cfg, "MODEL")), "protocol": protocol.options()}
    told = checkpoint.content if checkpoint.model else {}  # other trainers mean other things by these words
    trained = {what: told.get(what) or value for what, value in tested.items()}
    for what, value in _differing(part, protocol, trained, tested).items():
        if not (what == "protocol" and options_of(cfg, "DATA").get("blind")):
            logger.warning("note: the weights were trained as %s %s and are tested as %s", what, trained[what], value)

    with their_errors(f"the protocol {protocol.name}"):
        cases = distinct(protocol.cases(cfg.DATA.TEST, "test"))
    grey = not isinstance(protocol, GaussianDenoising) or protocol.grey
    check_images(_pictures(cases), smallest_image(net), grey)
    tuning = tuning_cases(protocol.cases(cfg.DATA.TRAIN, "train")) if cfg.TEST.BASELINES else []
    check_images(_pictures(tuning), smallest_image(net), grey)
    _clear(output)
    strengths = {name: tune(name, cast(GaussianDenoising, protocol), tuning) for name in cfg.TEST.BASELINES}

    rows = {}
    for case in progress(cases, "testing", "image"):
        with their_errors(f"the protocol {protocol.name}"):
            sample = protocol.sample(case)
            rows[case.name], stages = _evaluate(net, model_name(cfg), protocol, sample, strengths, device)
        if not np.isfinite(stages[-1]).all():
            raise UnfoldError(
                f"the network's result on {case.files[0]} is not finite: the weights in {weights} are not usable"
            )
        _draw(output / "strips" / f"{case.name}.png", sample, rows[case.name], model_name(cfg), protocol, stages)
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


def _differing(part: Part, protocol: Protocol, trained: dict[str, Any], tested: dict[str, Any]) -> dict[str, Any]:
    """What is tested otherwise than it was trained. What is not said has its default, as of options that are newer."""

    def in_full(said: dict[str, Any]) -> dict[str, Any]:
        model, options = said["model"], said["protocol"]
        defaults = {n: p.default for n, p in inspect.signature(type(protocol)).parameters.items()}
        full = {**part.full(model["arguments"])} if isinstance(model, dict) and "arguments" in model else model
        name = model.get("name") if isinstance(model, dict) else None
        known = {
            key: value for key, value in defaults.items() if isinstance(options, dict) and key in tested["protocol"]
        }
        return {
            "model": plain((name, full)),
            "protocol": plain({**known, **options} if isinstance(options, dict) else options),
        }

    before, now = in_full(trained), in_full(tested)
    return {key: tested[key] for key in tested if before[key] != now[key]}


def _pictures(cases: Sequence[Case]) -> list[Path]:
    return [path for case in cases for path in case.files if path.suffix.lower() in EXTENSIONS]


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
    net: UnfoldingNetwork,
    model: str,
    protocol: Protocol,
    sample: Sample,
    strengths: dict[str, float],
    device: torch.device,
) -> tuple[dict[str, Score], list[Image]]:
    assert sample.target is not None
    y = sample.inputs.get("y")
    row = {}
    if y is not None and windowed(y, sample.window).shape == sample.target.shape:  # else it is no picture of that size
        row[INPUT] = _score(protocol.score(protocol.finish(windowed(y, sample.window)), sample.target))
    for name, strength in strengths.items():
        assert isinstance(protocol, GaussianDenoising)
        assert y is not None
        start = time.perf_counter()
        result = protocol.finish(CLASSICAL[name][0](y, protocol.sigma / 255, strength))
        seconds = time.perf_counter() - start
        row[name] = _score(protocol.score(result, sample.target), seconds)
    row[model], stages = evaluate_network(net, protocol, sample, device)
    return row, stages


def _score(scores: dict[str, float], seconds: float = 0) -> Score:
    return Score(scores["psnr"], scores["ssim"], seconds)


def _draw(
    path: Path,
    sample: Sample,
    row: dict[str, Score],
    model: str,
    protocol: Protocol,
    stages: list[Image],
) -> None:
    assert sample.target is not None
    quality = row[model].stages
    panels = (
        [] if INPUT not in row else [Panel(_shown(windowed(sample.inputs["y"], sample.window)), INPUT, row[INPUT].psnr)]
    )
    shown = [_shown(windowed(x, sample.window)) for x in stages]
    panels += [Panel(shown[k], f"stage {k + 1}", quality[k]) for k in some_stages(len(shown), STAGES_SHOWN)]
    panels += [
        Panel(shown[-1], f"result (stage {len(shown)})", quality[-1]),
        Panel(_shown(sample.target), "target", None),
    ]
    draw_strip(path, panels)


def _shown(image: Image) -> Image:
    """In [0,1], and of one channel or three: of others the first and the last are left out evenly."""
    image = image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image
    channels = image.shape[2]
    return image if channels in (1, 3) else image[..., np.linspace(0, channels - 1, 3).round().astype(int)]
