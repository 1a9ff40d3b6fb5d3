"""A trace: the estimate after every stage of a network, for one picture."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.inference.restore import NOT_FINITE, continued, framed, measurement
from unfold.inference.validate_inputs import check_image, check_inputs, check_measurement
from unfold.metrics import psnr
from unfold.models.number_of_stages import with_stages
from unfold.models.run_on_arrays import as_tensors
from unfold.models.unfolding import UnfoldingNetwork
from unfold.report.stage_table import UNITS, StageRecord
from unfold.util.arrays import Array, width_x_height
from unfold.util.device import device_of, wait_for
from unfold.util.precision import Precision, autocast_for
from unfold.util.value_checks import unchecked


def trace(
    image: Array,
    net: UnfoldingNetwork,
    target: Array | None = None,
    *,
    stages: int | None = None,
    precision: Precision = "float32",
    **inputs: Any,
) -> list[StageRecord]:
    """Restore one picture at once and return every estimate, from the initial x_0 to x_K.

    image, inputs: as :func:`unfold.restore` takes them. The picture is framed as there, so the last estimate, clamped
    and rounded, equals ``restore(..., tile=None)``; figures are over the picture's own pixels. target: the ground
    truth, of the size of the result, in any type that an image may have; gives PSNR.
    stages: another number of them, see :func:`unfold.models.number_of_stages.with_stages`.
    precision: "float32", or "bf16" by autocast. Runs where the network is; on CUDA twice, as the first run includes
    loading. Raises UnfoldError for bad input.
    """
    check_measurement(image, net)
    inputs = check_inputs(net, inputs, image.shape)
    scale = int(inputs.get("scale", 1))
    count = image.shape[2] if image.ndim == 3 else 1
    count = net.channels if net.measured_channels != net.channels else count
    grey = count == 1
    if net.channels == 1 and not grey:
        raise UnfoldError("the network takes one channel, and a trace shows one run of it: give a grey picture")
    large = (image.shape[0] * scale, image.shape[1] * scale)
    wanted = None if target is None else _target(target, (*large, count))
    net, count = with_stages(net, stages)
    device = device_of(net)
    autocast = autocast_for(device, precision)
    padded, (top, left), inputs = framed(image, net, inputs)
    whole = continued({**inputs, net.picture: measurement(padded, net)}, net, scale)
    given = as_tensors(whole, net, device)
    own = slice(top, top + image.shape[0]), slice(left, left + image.shape[1])
    own_large = slice(scale * top, scale * top + large[0]), slice(scale * left, scale * left + large[1])

    records: list[StageRecord] = []
    seconds, context = 0.0, None
    with torch.inference_mode(), autocast, unchecked():
        if device.type == "cuda":
            for _ in itertools.islice(net.states(**given), count + 1):
                pass
        states = net.states(**given)
        for k in range(count + 1):
            start = _now(device)
            state = next(states, None)
            seconds += _now(device) - start
            if state is None:  # the network's stopping rule ended it
                break
            x, context = state.x, state.context
            residual = net.residual(k, x, context)
            estimate = net.finish(x, context)[0].permute(1, 2, 0).float().cpu().numpy()[own_large]
            if not np.isfinite(estimate).all():
                raise UnfoldError(NOT_FINITE)
            estimate = estimate.mean(axis=2, keepdims=True) if grey else estimate.copy()
            numbers = {} if k == 0 else net.numbers(k - 1, context)
            records.append(
                StageRecord(
                    k,
                    estimate,
                    seconds,
                    residual=None if residual is None else _rms(residual[0, :, own[0], own[1]].float().cpu().numpy()),
                    change=None if k == 0 else _rms(estimate - records[-1].image),
                    psnr=None if wanted is None else psnr(estimate.clip(0, 1), wanted, channels=wanted.shape[2]),
                    numbers={
                        **{name: float(value.flatten()[0]) for name, value in numbers.items()},
                        **{_name(name): _of_extra(value) for name, value in state.extras.items()},
                    },
                )
            )
    return records


def _target(target: Array, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The target in [0,1] in the given shape; a grey target is compared with each colour channel."""
    check_image(target)
    pixels = target.astype(np.float32) / np.float32(np.iinfo(target.dtype).max if target.dtype.kind == "u" else 1)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[:2] != shape[:2]:
        raise UnfoldError(f"the target is {width_x_height(pixels.shape)}, and the result {width_x_height(shape)}")
    if pixels.shape[2] > shape[2]:
        raise UnfoldError("the target has colours, and the picture is grey: give a grey target")
    return np.broadcast_to(pixels, shape)


def _name(extra: str) -> str:
    """Name of a stage's extra output, distinct from the figures that every stage has."""
    return f"own {extra}" if extra in (*UNITS, "k") else extra


def _of_extra(value: torch.Tensor) -> float:
    """A stage's extra output as one figure: a number itself, else the root mean square."""
    return float(value) if value.numel() == 1 else float(value.float().square().mean().sqrt())


def _rms(values: Array) -> float:
    """Root mean square, in 255 units."""
    return 255 * float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _now(device: torch.device) -> float:
    wait_for(device)
    return time.perf_counter()
