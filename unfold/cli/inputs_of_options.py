"""The network's inputs beside the picture, from the options of restore and trace: those given, and assumptions for the
rest.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unfold.data.formats.open_picture import EXTENSIONS
from unfold.errors import UnfoldError
from unfold.facts import Input
from unfold.inference.kernel_and_noise import NOISE, SCALE_1_WIDTH, gaussian, named_kernel
from unfold.inference.photographs.tasks import SCALES
from unfold.inference.picture_files import read_picture
from unfold.models.registry import network_part
from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.arrays import Named, width_x_height
from unfold.util.matrix_files import ENDINGS as MATRICES
from unfold.util.matrix_files import find_beside, read_mask
from unfold.util.paths import as_path

logger = logging.getLogger("unfold")


def pairs_of(others: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE of --input by name. UnfoldError for what is not of that form, or given twice."""
    said: dict[str, str] = {}
    for text in others:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise UnfoldError(f"--input {text}: write NAME=VALUE, such as mask=holes.png")
        if key in said:
            raise UnfoldError(f"{key} is given twice")
        said[key] = value
    return said


def without_files(others: Sequence[str], name: str) -> list[str]:
    """The items of --input that are inputs of the network, not files that its weights need."""
    files = network_part(name).files()
    return [text for text in others if text.partition("=")[0] not in files]


def given_inputs(
    name: str,
    net: UnfoldingNetwork,
    scale: int | None,
    kernel: str | None,
    sigma: str | None,
    others: Sequence[str] = (),
) -> dict[str, Any]:
    """The network's inputs beside the picture: those given, and logged assumptions for the rest.

    others: NAME=VALUE of any input; one that is as large as the picture stays the name of a file or a folder.
    """
    said = {
        key: str(value) for key, value in (("kernel", kernel), ("scale", scale), ("sigma", sigma)) if value is not None
    }
    for key, value in pairs_of(others).items():
        if key in said:
            raise UnfoldError(f"{key} is given twice")
        said[key] = value
    known = {key: one for key, one in net.inputs.items() if key != net.picture}
    for key in said:
        if key not in known:
            option = f"--{key}" if key in ("kernel", "scale", "sigma") else f"--input {key}"
            takes = f"; it takes {', '.join(known)}" if known and option.startswith("--input") else ""
            raise UnfoldError(f"{name} does not take {option}{takes}")
    times = _whole("scale", said.get("scale", "1"), 1)
    unknown = lacks_kernel(net, {**said, "scale": times})
    inputs: Named = {}
    for key, one in known.items():
        if key in said:
            inputs |= _as_said(key, one, said[key], times)
        elif key in net.required:
            inputs |= _assumed(name, key, one, times, alone="scale" not in known, unknown=unknown)
    return inputs


def lacks_kernel(net: UnfoldingNetwork, inputs: Named) -> bool:
    """Whether a kernel that the network needs is chosen from the evidence in each picture."""
    return int(inputs.get("scale", 1)) > 1 and "kernel" in net.required and "kernel" not in inputs


def _as_said(key: str, one: Input, text: str, times: int) -> Named:
    if one.kind == "kernel":
        return {} if text == "grid" else {key: named_kernel(text, times)}
    if one.kind == "level":
        return {key: _level(key, text)}
    if one.kind == "whole":
        return {key: _whole(key, text, int(one.least or 0))}
    if one.kind == "number":
        try:
            return {key: float(text)}
        except ValueError:
            raise UnfoldError(f"--input {key} is a number, not {text!r}") from None
    if text.lower().endswith(MATRICES):
        return {key: find_beside(text)}
    if not as_path(text).exists():
        raise UnfoldError(f"--input {key}={text}: there is no such picture or folder")
    return {key: as_path(text)}


def _assumed(name: str, key: str, one: Input, times: int, *, alone: bool, unknown: bool) -> Named:
    """alone: the network takes no scale; unknown: it enlarges, and no kernel is given."""
    if key == "scale":
        return {key: times}
    if one.kind == "kernel" and not alone:
        if unknown and key == "kernel":  # chosen for each picture
            if times not in SCALES:
                raise UnfoldError(f"no kernel is assumed for scale {times}, only for 1 to {SCALES[-1]}: give --kernel")
            logger.info("note: no --kernel is given; it is estimated from each picture")
            return {}
        if times > 1:
            raise UnfoldError(f"{name} needs {key}, a kernel: give --input {key}=gauss:WIDTH or a file")
        logger.info(
            "note: no --kernel is given; assuming a Gaussian of %g pixels (gauss:%g), which at scale 1 is hardly a "
            "blur, and next to nothing will change: give --kernel",
            *(SCALE_1_WIDTH, SCALE_1_WIDTH),
        )
        return {key: gaussian(SCALE_1_WIDTH, 1)}
    if one.kind == "kernel":
        raise UnfoldError(f"{name} needs --kernel, gauss:WIDTH or a file")
    if key == "sigma" and unknown:  # as the kernel
        return {}
    if one.kind == "level" and key == "sigma":  # for other levels no harmless value is known
        logger.info("note: no --%s is given; assuming noise of %g (of 255)", key, NOISE)
        return {key: NOISE / 255}
    raise UnfoldError(f"{name} needs {key} ({one.about}): give --input {key}=...")


def _whole(key: str, text: str, least: int) -> int:
    value = int(text) if text.lstrip("-").isdecimal() else None
    if value is None or value < least:
        raise UnfoldError(f"--{key} is a whole number from {least}, not {text}")
    return value


def _level(key: str, text: str) -> float:
    if text == "estimate":
        if key != "sigma":
            raise UnfoldError(f"--input {key}: sigma alone can be estimated; give a number from 0 to 255")
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 255:
        raise UnfoldError(f"--{key} is a noise level from 0 to 255, or estimate, not {text!r}")
    if 0 < value < 0.1:
        logger.info("note: %s is on the scale 0 to 255, on which %g is almost no noise and 25 is much", key, value)
    return value / 255


def with_images(inputs: Named, source: Path, size: tuple[int, ...]) -> Named:
    """Read the inputs that are as large as the picture: from a file, or from a folder the file with the picture's
    name. UnfoldError if there is none, or of another size.
    """
    read: Named = {}
    for key, value in inputs.items():
        if not isinstance(value, Path):
            continue
        file = value
        if value.is_dir():
            found = sorted(
                path for path in value.iterdir() if path.stem == source.stem and path.suffix.lower() in EXTENSIONS
            )
            if len(found) != 1:
                what = "no picture" if not found else f"{len(found)} pictures"
                raise UnfoldError(f"--input {key}: {value} holds {what} called {source.stem}")
            file = found[0]
        pixels = read_mask(file) if file.suffix.lower() in MATRICES else read_picture(file).pixels
        if pixels.shape[:2] != size[:2]:
            raise UnfoldError(
                f"--input {key}: {file} is {width_x_height(pixels.shape)}, and the picture {width_x_height(size)}"
            )
        read[key] = pixels
    return {**inputs, **read}
