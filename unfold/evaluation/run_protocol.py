"""Run methods over the cases of a protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from unfold.errors import UnfoldError
from unfold.models.run_on_arrays import Image, Method, as_tensors, channelwise, network
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Case, Protocol, Sample, sample_of, windowed
from unfold.report.text_table import Score
from unfold.user_files import line_of, their_errors
from unfold.util.arrays import Named, width_x_height
from unfold.util.progress import progress
from unfold.util.value_checks import unchecked


class Result(NamedTuple):
    """The result of a method on a case: scores by name (none without a reference), seconds, the image."""

    case: Case
    scores: dict[str, float]
    seconds: float
    image: Image


def evaluate(protocol: Protocol, method: Method, cases: Sequence[Case]) -> Iterator[Result]:
    """Degrade, restore and score case by case. UnfoldError if a result does not have the form that the protocol asks
    for.
    """
    for case in progress(distinct(cases), "testing", "image"):
        yield evaluate_case(protocol, method, case, sample_of(protocol, case))


def evaluate_case(protocol: Protocol, method: Method, case: Case, sample: Sample) -> Result:
    """Restore and score one case, already degraded to ``sample``. UnfoldError as for :func:`evaluate`."""

    def finite(inputs: Named) -> Image:
        image = method(inputs)
        if not np.isfinite(image).all():
            raise UnfoldError("the result is not finite: the weights are not usable")
        return image

    start = time.perf_counter()
    with _naming(case):
        image = protocol.restore(finite, sample)
    seconds = time.perf_counter() - start
    if sample.target is None:
        return Result(case, {}, seconds, image)
    if image.shape != sample.target.shape:
        raise UnfoldError(
            f"the result on {case.name} is {_size(image)} and the target {_size(sample.target)}: "
            f"the method does not do what {protocol.name} asks for"
        )
    with _naming(case):
        scores = scored(protocol, image, sample.target)
    return Result(case, scores, seconds, image)


def scored(protocol: Protocol, image: Image, target: Image) -> dict[str, float]:
    """The protocol's scores by name, "psnr" and "ssim" among them; UnfoldError, with the line of the method, if they
    are missing, or one is NaN for a finite image (a diverging training has NaN images, and reports that itself).
    """
    with their_errors(f"the score of {protocol.name}"), unchecked():
        scores = protocol.score(image, target)
    if isinstance(scores, dict) and {"psnr", "ssim"} <= scores.keys():
        try:
            found = {str(name): float(value) for name, value in scores.items()}
        except (TypeError, ValueError):
            pass
        else:
            if bad := [name for name, value in found.items() if math.isnan(value) and np.isfinite(image).all()]:
                raise UnfoldError(
                    f"{line_of(protocol.score)}: score of {type(protocol).__name__} returns NaN for {bad[0]}, though "
                    "the image is finite: no mean can be made of it"
                )
            return found
    what = f"a dict of {', '.join(map(str, scores))}" if isinstance(scores, dict) else type(scores).__name__
    kind = type(protocol).__name__
    raise UnfoldError(
        f"{line_of(protocol.score)}: score of {kind} returns {what}, and a dict of psnr and ssim is wanted"
    )


@contextmanager
def _naming(case: Case) -> Iterator[None]:
    """Add the file's name to errors of networks and metrics, which are mostly about sizes."""
    try:
        yield
    except ValueError as error:
        path = case.files[0]
        name = str(path) if case.name == path.stem else f"{path} ({case.name})"
        raise UnfoldError(str(error) if str(path) in str(error) else f"{name}: {error}") from None


def distinct(cases: Sequence[Case]) -> Sequence[Case]:
    """The cases; UnfoldError if two have one name."""
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise UnfoldError(f"{cases[0].files[0].parent} holds two images called {double}; results are filed by name")
    return cases


def _size(image: Image) -> str:
    return "x".join(map(str, image.shape))


def _estimates(net: UnfoldingNetwork, inputs: Named, device: torch.device) -> list[Image]:
    """The estimate after every stage."""
    stages: list[list[Image]] = []  # per channel, where the network takes one

    def run(given: Named) -> Image:
        with their_errors(type(net).__name__), unchecked():
            found = [x[0].permute(1, 2, 0).float().cpu().numpy() for x in net.iterate(**as_tensors(given, net, device))]
        stages.append(found)
        return found[-1]

    count = channelwise(run, net)(inputs).shape[2]
    each = stages * (count // len(stages)) if count > 1 and net.channels == 1 else stages
    return [np.concatenate(parts, axis=2) for parts in zip(*each, strict=False)] if len(each) > 1 else each[0]


@torch.inference_mode()
def evaluate_network(
    net: UnfoldingNetwork, protocol: Protocol, sample: Sample, device: torch.device
) -> tuple[Score, list[Image]]:
    """Score the estimate of every stage on the whole picture, ignoring the protocol's tiles; also returns the
    estimates, first to last. For monitoring a training; :func:`evaluate_stages` follows the protocol.
    """
    assert sample.target is not None
    start = time.perf_counter()
    stages = _estimates(net, sample.inputs, device)
    seconds = time.perf_counter() - start
    scores = [scored(protocol, protocol.finish(windowed(x, sample.window)), sample.target) for x in stages]
    return Score(scores[-1]["psnr"], scores[-1]["ssim"], seconds, [score["psnr"] for score in scores]), stages


def evaluate_stages(
    net: UnfoldingNetwork, protocol: Protocol, case: Case, sample: Sample, device: torch.device, weights: Path
) -> tuple[Score, list[Image]]:
    """Score a network after every stage as the protocol restores; also returns the finished images, first stage to
    last.

    seconds: of the network alone. UnfoldError, with case or weights, if a result is not finite or not as large as
    the target.
    """
    assert sample.target is not None
    spent: list[float] = []

    def finite(estimates: list[Image]) -> None:
        if not np.isfinite(estimates[-1]).all():
            raise UnfoldError(
                f"the network's result on {case.files[0]} is not finite: the weights in {weights} are not usable"
            )

    with _naming(case):
        stages = stage_results(net, protocol, sample, device, spent, finite)
    if stages[-1].shape != sample.target.shape:
        raise UnfoldError(
            f"the result on {case.name} is {_size(stages[-1])} and the target {_size(sample.target)}: "
            f"{type(net).__name__} does not do what {protocol.name} asks for"
        )
    with _naming(case):
        scores = [scored(protocol, x, sample.target) for x in stages]
    return Score(scores[-1]["psnr"], scores[-1]["ssim"], sum(spent), [score["psnr"] for score in scores]), stages


@torch.inference_mode()
def stage_results(
    net: UnfoldingNetwork,
    protocol: Protocol,
    sample: Sample,
    device: torch.device,
    spent: list[float] | None = None,
    look: Callable[[list[Image]], None] | None = None,
) -> list[Image]:
    """The finished image of the protocol for the estimate after every stage, first to last.

    The network runs once (once for every part, where the protocol restores parts), and the protocol gets its estimates
    one after the other. spent: receives the seconds of each run; look: called with the estimates of each run.
    """
    parts: list[list[Image]] = []

    def record(inputs: Named) -> Image:
        start = time.perf_counter()
        parts.append(_estimates(net, inputs, device))
        if spent is not None:
            spent.append(time.perf_counter() - start)
        if look is not None:
            look(parts[-1])
        return parts[-1][-1]

    def after(stage: int) -> Image:
        rest = iter(parts)
        return protocol.restore(lambda inputs: next(rest)[stage], sample)

    result = protocol.restore(record, sample)
    return [*(after(stage) for stage in range(min(map(len, parts)) - 1)), result]


def validate(net: UnfoldingNetwork, protocol: Protocol, cases: Sequence[Case], device: torch.device) -> list[float]:
    """PSNR of each case in dB. Restores the network's train or eval mode."""
    training = net.training
    net.eval()
    restore, scores = network(net, device), []
    for case in cases:
        own, alone = protocol.of(case)
        sample = sample_of(own, alone)
        assert sample.target is not None
        scores.append(scored(own, own.restore(restore, sample), sample.target)["psnr"])
    net.train(training)
    return scores


def check_cases(protocol: Protocol, cases: Sequence[Case], smallest: int) -> None:
    """Degrade every case once, so that a bad image is found before hours of work.

    Raises UnfoldError for an image that cannot be used or has a side below ``smallest``.
    """
    for case in progress(cases, "checking images", "image"):
        target = sample_of(protocol, case).target
        if target is not None and min(target.shape[:2]) < smallest:
            raise UnfoldError(
                f"{case.files[0]} is {width_x_height(target.shape)} pixels, and at least {smallest}x{smallest} "
                "are needed"
            )
