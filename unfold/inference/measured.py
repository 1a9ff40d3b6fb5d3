"""Files of measurements that are no pictures, for networks that take them: ``net.measurement`` says which."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.errors import UnfoldError, out_of_memory
from unfold.inference.restore import NOT_FINITE
from unfold.inference.validate_inputs import check_inputs
from unfold.models.run_on_arrays import as_tensors
from unfold.models.unfolding import UnfoldingNetwork
from unfold.user_files import their_errors
from unfold.util.arrays import Array, Named
from unfold.util.device import device_of
from unfold.util.matrix_files import PACKED, OtherContentError, read_measurement
from unfold.util.precision import Precision, autocast_for
from unfold.util.value_checks import unchecked

logger = logging.getLogger("unfold")
PLANES = 2  # the real and the imaginary part


class Reading(NamedTuple):
    """Whether a file is read as a measurement, not as a picture, and whether its shape leaves that open."""

    measured: bool
    doubtful: bool = False


def is_measurement(path: Path, net: UnfoldingNetwork) -> bool:
    """Whether a file is to be read as the network's measurement, not as a picture: see :func:`reading_of`."""
    return reading_of(path, net).measured


def reading_of(path: Path, net: UnfoldingNetwork) -> Reading:
    """How a file is read for a network, by its name and header.

    Measurements are .npz and .mat, which no picture is; and .npy of complex numbers or, where the network takes those,
    of two planes (H,W,2) or (2,H,W), or of measurements (M,h,w). A .npy whose last axis is 1 or 3 may be a picture, as
    one of two axes. It is a measurement where the network says how long its first axis is, this one is so long, and
    holds no unsigned integers of 8 or 16 bits; else it is a picture. Both are doubtful.
    """
    fact, ending = net.measurement, path.suffix.lower()
    if fact is None or ending in PACKED:
        return Reading(fact is not None)
    if ending != ".npy":
        return Reading(False)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, kind = array.shape, array.dtype
    except Exception:  # the reader of pictures says what is wrong
        return Reading(False)
    if kind.kind == "c":
        return Reading(True)
    planes = len(shape) == 3 and PLANES in (shape[0], shape[-1])
    measured = planes if fact.complex else len(shape) == fact.axes
    picture = (len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3))) and not net.not_for_pictures
    if not (measured and picture):
        return Reading(measured)
    if fact.axes == 3 and fact.first and not fact.complex:
        return Reading(shape[0] == fact.first and not _in_bytes(kind), shape[0] == fact.first)
    return Reading(False, True)


def _in_bytes(kind: np.dtype[Any]) -> bool:
    """Whether numbers of that kind are those of pictures: unsigned, of 8 or 16 bits."""
    return kind.kind == "u" and kind.itemsize <= 2


def log_doubts(paths: Sequence[Path], net: UnfoldingNetwork) -> None:
    """Log how the files are read whose shape fits a picture and the network's measurement, and how to say it."""
    fact = net.measurement
    doubtful = [(path, one.measured) for path in paths if (one := reading_of(path, net)).doubtful]
    for as_measured in (True, False):
        found = [path for path, measured in doubtful if measured == as_measured]
        if found and fact is not None:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            shape = np.load(found[0], mmap_mode="r").shape
            says = f"{found[0]}{more}: by its shape, {shape}, it may be a picture or {fact.name}"
            if as_measured:
                how = "a picture is one in unsigned 8 or 16 bits, or .png"
                logger.warning("note: %s; it is read as %s; %s", says, fact.name, how)
            else:
                logger.info("note: %s; it is read as a picture; in .npz or .mat it is %s", says, fact.name)


def read_measured(path: Path, net: UnfoldingNetwork, largest: float = float("inf")) -> Array:
    """The measurement in a file, channels first, float32 or complex64: in .npz and .mat the array of the network's name
    for it, or the only one. largest: bytes that the file may take. UnfoldError for what it is not, OtherContentError
    where the file is sound and holds something else, such as a mask.
    """
    fact = net.measurement
    assert fact is not None
    if path.is_file() and path.stat().st_size > largest:
        raise UnfoldError(f"{path} takes {path.stat().st_size / 1e9:.1f} GB: more than memory allows here")
    array = read_measurement(path, fact.name, (2, 3) if fact.axes == 2 else (3,))
    given = f"{path} holds {array.dtype} of shape {array.shape}"
    if not fact.complex and array.dtype.kind == "c":
        raise OtherContentError(f"{given}, and {fact.name} is of real numbers: {fact.about}")
    if fact.complex and array.dtype.kind != "c":
        if array.ndim != fact.axes + 1 or PLANES not in (array.shape[0], array.shape[-1]):
            raise OtherContentError(
                f"{given}, and {fact.name} is of complex numbers, or their real and imaginary parts as the last or the "
                f"first of its axes: {fact.about}"
            )
        real, imaginary = np.moveaxis(array, -1 if array.shape[-1] == PLANES else 0, 0)
        array = real + 1j * imaginary
    if array.ndim == fact.axes == 2:
        array = array[None]
    first = 1 if fact.axes == 2 else fact.first
    long = f", its first axis of length {fact.first}" if fact.axes == 3 and fact.first else ""
    wanted = f"{given}, and what is wanted is {fact.name}, {fact.about}, without the axis B{long}"
    if array.ndim != 3:
        raise OtherContentError(wanted)
    if first and len(array) != first:  # a measurement, but of another ratio
        raise UnfoldError(wanted)
    return np.ascontiguousarray(array, np.complex64 if fact.complex else np.float32)


def restore_measured(
    measured: Array, net: UnfoldingNetwork, inputs: Named, precision: Precision = "float32"
) -> NDArray[np.float32]:
    """The picture (H,W,C) in [0,1] of a measurement, channels first, on the network's device, at once.

    inputs: beside it, as :func:`unfold.restore` takes them. UnfoldError for what the network does not take, and where
    memory does not suffice.
    """
    fact = net.measurement
    assert fact is not None
    given = check_inputs(net, inputs, measured.shape[1:] if fact.axes == 2 else None)
    if fact.check is not None:
        images = {name: given[name] for name, one in net.inputs.items() if one.kind == "image" and name in given}
        fact.check(fact.name, measured, images)
    device = device_of(net)
    tensors = as_tensors(given, net, device) | {fact.name: torch.from_numpy(measured)[None].to(device)}
    try:
        with torch.inference_mode(), autocast_for(device, precision), their_errors(type(net).__name__), unchecked():
            image = net(**tensors)[0].permute(1, 2, 0).float().cpu().numpy()
    except ValueError as error:  # of the network's own check of shapes
        raise UnfoldError(str(error)) from None
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UnfoldError("out of memory: a measurement is restored at once") from None
    if not np.isfinite(image).all():
        raise UnfoldError(NOT_FINITE)
    return image.clip(0, 1)
