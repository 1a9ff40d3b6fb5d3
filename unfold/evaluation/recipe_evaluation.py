"""`unfold test`: a network beside classical baselines on the test images, as a table, numbers and pictures."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from yacs.config import CfgNode

import unfold
from unfold.config import options_of, part_of
from unfold.data.images import EXTENSIONS, check_images
from unfold.errors import UnfoldError
from unfold.evaluation.classical_methods import CLASSICAL, tune, tuning_cases
from unfold.evaluation.run_protocol import distinct, evaluate_stages, scored
from unfold.from_config import (
    bare_network,
    build_degradation,
    build_network,
    build_test,
    check_parts,
    smallest_image,
)
from unfold.models.registry import network_part, same_network
from unfold.models.run_on_arrays import Image
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.protocol import Case, Protocol, Sample, sample_of, windowed
from unfold.protocols.sidd import SIDD
from unfold.protocols.synthetic_validation import Mixed
from unfold.registry import NETWORK, Part, is_known, short
from unfold.report.numbers import finite
from unfold.report.picture_strip import Panel, draw_strip, some_stages
from unfold.report.text_table import Score, format_table, mean_score
from unfold.settings import settings_of
from unfold.user_files import their_errors
from unfold.util.device import pick_device, place
from unfold.util.nested import plain
from unfold.util.progress import progress
from unfold.weights.load_model import (
    MisfitError,
    check_files,
    identify,
    in_words,
    load_named,
    load_state,
    model_record,
    open_weights,
)
from unfold.weights.read_checkpoint import read_checkpoint
from unfold.weights.resolve_weights import find_weights, published

logger = logging.getLogger("unfold")
INPUT, NOISY = "input", "noisy input"  # the measurement itself, where it is as large as the target
STAGES_SHOWN = 2


def run_test(
    cfg: CfgNode,
    weights: str | Path | Sequence[str | Path],
    output: Path,
    *,
    data: str | None = None,
    key: str | None = None,
) -> str:
    """Evaluate the config's network with these weights (files, or published names); returns the table as text.

    The images are those of DATA.TEST, or of ``data`` instead. The protocol is TEST.PROTOCOL, else that of the
    degradation, else that of validation. Several weights stand side by side, each in a column named after its file.
    key: which of several networks in a file.
    Writes results.json and strips/<image>.png into ``output``. Raises UnfoldError for bad input.
    """
    settings = settings_of(cfg)
    source, baselines = settings.data.test if data is None else data, settings.test.baselines
    device = pick_device(settings.device)
    check_parts(cfg)
    bare = bare_network(cfg)
    degradation = build_degradation(cfg, bare)
    protocol = build_test(cfg, bare, degradation)
    if baselines and not isinstance(protocol, GaussianDenoising):
        raise UnfoldError(
            f"TEST.BASELINES {', '.join(baselines)} remove white noise of known strength: leave them out for "
            f"{protocol.name}"
        )
    files = _named(weights, settings.model.short_name)
    nets, trained, tested = {}, {}, {}
    for name, (wish, file) in files.items():
        one = _network(cfg, wish, file, key, alone=len(files) == 1)
        nets[name] = place(one.net.eval(), device)
        tested[name] = {"model": model_record(one.part, one.options), "protocol": protocol.options()}
        content = one.content  # other trainers use these keys with other meanings
        trained[name] = {what: content.get(what) or value for what, value in tested[name].items()}
        which = f" {name}" if len(files) > 1 else ""
        for what, value in _differing(one.part, protocol, trained[name], tested[name]).items():
            if not (what == "protocol" and options_of(cfg, "DATA").get("blind")):
                before = trained[name][what]
                logger.warning(
                    "note: the weights%s were trained as %s %s and are tested as %s", which, what, before, value
                )
        if one.other:
            words = f" with {in_words(one.options)}" if one.options else ""
            logger.info("column %s: %s%s, another network than the recipe's", name, short(one.part.name), words)
            _check_beside(protocol, name, one.net, bare)
    smallest = max(smallest_image(net) for net in nets.values())

    if data is not None and isinstance(protocol, Mixed) and any("test" in own for own in protocol.sets.values()):
        raise UnfoldError(
            f"--data {data} replaces DATA.TEST, but parts of DATA.MIX have a TEST of their own: leave --data "
            "out, or test one part by --protocol"
        )
    said = "DATA.TEST" if data is None else "--data"
    hint = "; --data names the test images" if data is None and source == "photographs" else ""
    cases = _cases(protocol, source, said, hint)
    check_images(_pictures(cases), smallest, bare.channels)
    tuning = tuning_cases(protocol.cases(settings.data.training_set, "train")) if baselines else []
    check_images(_pictures(tuning), smallest, bare.channels)
    options = ", ".join(f"{key} {value}" for key, value in protocol.options().items())
    logger.info("tested by %s%s on %s", protocol.name, options and f" ({options})", source)
    _clear(output)
    strengths = {one: tune(one, cast(GaussianDenoising, protocol), tuning) for one in baselines}

    rows = {}
    given = NOISY if isinstance(protocol, GaussianDenoising | SIDD) else INPUT  # haze, rain and blur are no noise
    for case in progress(cases, "testing", "image"):
        with their_errors(f"the protocol {protocol.name}"):
            own, alone = protocol.of(case)
            sample = sample_of(own, alone)
            row = rows[case.name] = _without_network(own, given, sample, strengths)
            stages = {}
            for name, net in nets.items():
                row[name], stages[name] = evaluate_stages(net, own, alone, sample, device, files[name][1])
        _draw(output / "strips" / f"{case.name}.png", given, sample, row, stages)
    means = _means(rows, list(protocol.parts) if isinstance(protocol, Mixed) else [])
    mean = means.pop("")
    results = {
        "unfold": unfold.__version__,
        "torch": torch.__version__,
        "device": str(device),
        "weights": _alone({name: str(file) for name, (_, file) in files.items()}),
        "tested_as": next(iter(tested.values())) if _all_one(tested) else tested,
        "trained_as": _alone(trained),
        "source": source,
        "baselines": strengths,
        "images": {image: {method: _plain(score) for method, score in row.items()} for image, row in rows.items()},
        "mean": {method: _plain(score) for method, score in mean.items()},
        **({"parts": {name: {m: _plain(s) for m, s in row.items()} for name, row in means.items()}} if means else {}),
    }
    (output / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False, default=str) + "\n")
    return format_table({**rows, **{f"mean of {name}": row for name, row in means.items()}}, mean)


def _means(rows: dict[str, dict[str, Score]], parts: list[str]) -> dict[str, dict[str, Score]]:
    """Means by part, and at "" the mean of all: over images, or over parts where there are some."""
    methods = list(next(iter(rows.values())))
    groups = {part: [row for name, row in rows.items() if name.startswith(f"{part}/")] for part in parts}
    means = {part: {m: mean_score([row[m] for row in own]) for m in methods} for part, own in groups.items()}
    over = list(means.values()) or list(rows.values())
    return {**means, "": {m: mean_score([row[m] for row in over]) for m in methods}}


class _Loaded(NamedTuple):
    """A column's network, with its weights: what it is made of, what the file says, whether it is not the recipe's."""

    net: UnfoldingNetwork
    part: Part
    options: Mapping[str, object]
    content: Mapping[str, Any]
    other: bool


def _network(cfg: CfgNode, source: str, file: Path, key: str | None, *, alone: bool) -> _Loaded:
    """The recipe's network where the weights are its, and beside others also one that the file itself says."""
    part, options = part_of(cfg, "MODEL"), options_of(cfg, "MODEL")
    named = published(source)
    said = named.model if named else None
    if alone or said is None or same_network(said, cfg.MODEL.NAME):
        checkpoint = read_checkpoint(file, key, like=partial(build_network, cfg))
        content = checkpoint.content if checkpoint.model else {}
        name = checkpoint.model[0] if checkpoint.model else cfg.MODEL.NAME
        if alone or not is_known(NETWORK, name) or same_network(name, cfg.MODEL.NAME):
            net = build_network(cfg)
            try:
                check_files(part, checkpoint, file, options)
                load_state(net, checkpoint.state, file, checkpoint.model)
                return _Loaded(net, part, options, content, other=False)
            except MisfitError as misfit:
                if alone:
                    raise UnfoldError(f"{misfit}{misfit.remedy()}") from None
                try:
                    identify(checkpoint, file, said)
                except UnfoldError:
                    raise misfit from None
    checkpoint = open_weights(source, said, key)[1]
    name, arguments = identify(checkpoint, file, said)
    _, _, net = load_named(source, said, key=key)
    content = checkpoint.content if checkpoint.model else {}
    return _Loaded(net, network_part(name), arguments, content, other=True)


def _check_beside(protocol: Protocol, column: str, net: UnfoldingNetwork, bare: UnfoldingNetwork) -> None:
    """UnfoldError if another network cannot be measured on the very samples that the recipe's is."""
    name, wanted, bands = type(net).__name__, set(net.required), protocol.channels
    if missing := sorted(wanted - set(protocol.inputs)):
        raise UnfoldError(
            f"--weights {column}: {name} takes {', '.join(missing)}, which {protocol.name} does not give: test it "
            "by a recipe of its own"
        )
    protocol.fit(net)
    if protocol.channels != bands:
        raise UnfoldError(
            f"--weights {column}: {name} takes images of {net.measured_channels} channels, and the recipe's network "
            f"{bare.measured_channels}: test it by a recipe of its own"
        )


def _all_one(of: Mapping[str, Any]) -> bool:
    first = next(iter(of.values()))
    return all(plain(one) == plain(first) for one in of.values())


def _alone(of: dict[str, Any]) -> Any:
    """The value of the only network's column, else the values by column name."""
    return of if len(of) > 1 else next(iter(of.values()))


def _differing(part: Part, protocol: Protocol, trained: dict[str, Any], tested: dict[str, Any]) -> dict[str, Any]:
    """Options that differ between training and test. Missing options have their defaults, as for newer options."""

    def in_full(said: dict[str, Any]) -> dict[str, Any]:
        model, options = said["model"], said["protocol"]
        if isinstance(options, dict):
            options = {key: value for key, value in options.items() if key not in protocol.places}
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
    """The picture files of the cases, each once: many cases may share one."""
    return list(dict.fromkeys(path for case in cases for path in case.files if path.suffix.lower() in EXTENSIONS))


def _cases(protocol: Protocol, source: str, key: str, hint: str) -> Sequence[Case]:
    """The cases of the test images. UnfoldError names their key, with a hint on how to set it."""
    try:
        with their_errors(f"the protocol {protocol.name}"):
            return distinct(protocol.cases(source, "test"))
    except UnfoldError as error:
        if str(error).startswith("DATA.MIX "):  # names the part and its set
            raise
        raise UnfoldError(f"{key} {source} (for the protocol {protocol.name}): {error}{hint}") from None


def _named(weights: str | Path | Sequence[str | Path], model: str) -> dict[str, tuple[str, Path]]:
    """The given text and the file, by column name: for one, the network's name; for several, the file's name, preceded
    by the first folder above in which all differ where file names are equal. UnfoldError for a file given twice.
    """
    said = [str(one) for one in ([weights] if isinstance(weights, str | Path) else weights)]
    files = [find_weights(one) for one in said]
    if len(files) == 1:
        return {model: (said[0], files[0])}
    real = [file.resolve() for file in files]
    if double := next((file for i, file in enumerate(files) if real[i] in real[:i]), None):
        raise UnfoldError(f"--weights names {double} twice: each is one column")
    names = [file.stem for file in real]
    for depth in range(2, max(len(file.parts) for file in real) + 1):
        if len(set(names)) == len(names):
            break
        names = [f"{file.parts[-depth] if depth < len(file.parts) else ''}/{file.stem}" for file in real]
    if len(set(names)) < len(names):
        names = [str(file) for file in real]
    taken = (INPUT, NOISY, *CLASSICAL)
    names = [name if name not in taken else f"{name} (weights)" for name in names]
    return dict(zip(names, zip(said, files, strict=True), strict=True))


def _plain(score: Score) -> dict[str, Any]:
    """For JSON, which knows no infinity: the PSNR of a perfect result becomes null."""
    return {**vars(score), "psnr": finite(score.psnr), "stages": [finite(value) for value in score.stages]}


def _clear(output: Path) -> None:
    """Make the folder, without what an earlier test left in it."""
    try:
        (output / "strips").mkdir(parents=True, exist_ok=True)
        (output / "results.json").unlink(missing_ok=True)
        for old in (output / "strips").rglob("*.png"):
            old.unlink()
    except OSError as error:
        raise UnfoldError(f"the folder {output} cannot be written: {error.strerror or error}") from None


def _without_network(protocol: Protocol, given: str, sample: Sample, strengths: dict[str, float]) -> dict[str, Score]:
    """The scores of the measurement itself (where it has the target's size) and of the baselines."""
    assert sample.target is not None
    y = sample.inputs.get("y")
    row = {}
    if y is not None and windowed(y, sample.window).shape == sample.target.shape:  # else it is no picture of that size
        row[given] = _score(scored(protocol, protocol.finish(windowed(y, sample.window)), sample.target))
    for name, strength in strengths.items():
        assert isinstance(protocol, GaussianDenoising)
        assert y is not None
        start = time.perf_counter()
        result = protocol.finish(CLASSICAL[name][0](y, protocol.sigma / 255, strength))
        seconds = time.perf_counter() - start
        row[name] = _score(scored(protocol, result, sample.target), seconds)
    return row


def _score(scores: dict[str, float], seconds: float = 0) -> Score:
    return Score(scores["psnr"], scores["ssim"], seconds)


def _draw(path: Path, given: str, sample: Sample, row: dict[str, Score], stages: dict[str, list[Image]]) -> None:
    """Draw one network with some of its stages, or the results of several networks."""
    assert sample.target is not None
    y = None if given not in row else windowed(sample.inputs["y"], sample.window)
    panels = [] if y is None else [Panel(_shown(y), given, row[given].psnr)]
    for name, images in stages.items():
        alone, quality = len(stages) == 1, row[name].stages
        few = some_stages(len(images), STAGES_SHOWN) if alone else []
        panels += [Panel(_shown(images[k]), f"stage {k + 1}", quality[k]) for k in few]
        result = f"result (stage {len(images)})" if alone else name
        panels.append(Panel(_shown(images[-1]), result, quality[-1]))
    panels.append(Panel(_shown(sample.target), "target", None))
    path.parent.mkdir(parents=True, exist_ok=True)  # names of cases may hold folders
    draw_strip(path, panels)


def _shown(image: Image) -> Image:
    """The image in [0,1] with one or three channels; of others, three evenly spaced channels, the first and the last
    among them.
    """
    image = image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image
    channels = image.shape[2]
    return image if channels in (1, 3) else image[..., np.linspace(0, channels - 1, 3).round().astype(int)]
