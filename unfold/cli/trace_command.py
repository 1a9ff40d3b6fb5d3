"""`unfold trace`: one picture through a network, stage by stage, as a page, a strip and numbers."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unfold.cli.inputs_of_options import given_inputs, lacks_kernel, pairs_of, with_images, without_files
from unfold.cli.restore_command import MEMORY
from unfold.data.crop_to_show import busiest_crop
from unfold.errors import UnfoldError
from unfold.inference.kernel_and_noise import estimated_sigma
from unfold.inference.photographs.evidence import gather, jpeg_error_of
from unfold.inference.photographs.tasks import assumption, first_assumption, first_way
from unfold.inference.picture_files import in_integers, read_picture
from unfold.inference.restore import to_network
from unfold.inference.tile_memory import available
from unfold.inference.tile_size import affordable_side
from unfold.inference.trace import trace
from unfold.inference.validate_inputs import check_inputs
from unfold.models.number_of_stages import with_stages
from unfold.models.unfolding import UnfoldingNetwork
from unfold.registry import short
from unfold.report.picture_strip import Panel, draw_strip, some_stages
from unfold.report.stage_table import StageRecord, format_stages, stages_as_json
from unfold.report.trace_page import trace_page
from unfold.util.arrays import Array, Named, width_x_height
from unfold.util.atomic_files import make_folder, whole_file
from unfold.util.device import device_of, pick_device, place
from unfold.util.paths import as_path
from unfold.util.precision import Precision
from unfold.weights.load_model import load_named

logger = logging.getLogger("unfold")

FILES = ("trace.html", "trace.json", "strip.png")
KEPT = 16  # bytes per pixel and stage for an estimate and its copy on the page
PANELS = 10  # stages in the strip at most
SEARCHED = 1024  # pixels of a reduced picture in which the busiest part of a large one is looked for


def run_trace(
    source: str,
    output: Path,
    weights: str,
    model: str | None = None,
    *,
    key: str | None = None,
    scale: int | None = None,
    kernel: str | None = None,
    sigma: str | None = None,
    others: Sequence[str] = (),
    target: str | None = None,
    stages: int | None = None,
    precision: Precision = "float32",
    device: str = "auto",
    overwrite: bool = False,
) -> str:
    """Write trace.html, trace.json and strip.png into the folder; returns the table to print.

    A picture that memory cannot hold with all its estimates is cut to its busiest part, and the report says so. Raises
    UnfoldError for bad arguments.
    """
    _check_places(as_path(source), output, overwrite)
    if kernel == "grid":
        raise UnfoldError("--kernel grid is for `unfold restore`: give gauss:WIDTH, bicubic or a file")
    name, _, net = load_named(weights, model, key=key, files=pairs_of(others))
    others = without_files(others, name)
    place(net, pick_device(device))
    if net.not_for_pictures:
        raise UnfoldError(net.not_for_pictures)
    inputs = given_inputs(short(name), net, scale, kernel, sigma, others)
    _, count = with_stages(net, stages)
    times = int(inputs.get("scale", 1))
    largest = MEMORY * available(torch.device("cpu"))
    picture = read_picture(as_path(source), largest).pixels
    inputs = with_images(inputs, as_path(source), picture.shape)
    if chosen := lacks_kernel(net, inputs):
        evidence = gather(in_integers(picture), as_path(source))
        assumed = first_assumption(evidence, times)
        # --sigma estimate goes by the evidence here, as in restore.
        own = {key for key in inputs if key != "sigma" or sigma != "estimate"}
        inputs |= {key: value for key, value in assumed.items() if key in net.inputs and key not in own}
    given = check_inputs(net, inputs, picture.shape)
    wanted = None if target is None else read_picture(as_path(target), largest).pixels
    if wanted is not None and wanted.shape[:2] != (expected := tuple(times * n for n in picture.shape[:2])):
        raise UnfoldError(
            f"--target {target} is {width_x_height(wanted.shape)}, and the result {width_x_height(expected)}"
        )
    if sigma == "estimate" and not chosen:
        inputs["sigma"] = min(estimated_sigma(picture, jpeg_error_of(picture, as_path(source))), 1)
        logger.info("%s: estimated noise %.2f (of 255)", Path(source).name, 255 * inputs["sigma"])
    notes = []
    if window := affordable_part(picture, net, given, count):
        rows, columns = window
        notes.append(
            f"All of it, {width_x_height(picture.shape)}, does not fit into memory with its estimates: this is "
            f"the part of most detail, rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}."
        )
        picture = picture[window]
        images = [key for key, one in net.inputs.items() if one.kind == "image" and key in inputs]
        inputs = {**inputs, **{key: inputs[key][window] for key in images}}
        if wanted is not None:
            wanted = wanted[times * rows.start : times * rows.stop, times * columns.start : times * columns.stop]
    if chosen:
        kernel = f"{first_way(evidence)}, assumed"
        found = assumption(evidence, first_way(evidence), 255 * inputs.get("sigma", assumed["sigma"]))
        notes.append(
            f"Kernel and noise are the first that `unfold restore` tries, which may refuse the result: {found}."
        )
    records = trace(picture, net, wanted, stages=stages, precision=precision, **inputs)
    if len(records) <= count:
        notes.append(f"The network's own rule ended it after stage {records[-1].k} of at most {count}.")
    settings = {
        "picture": Path(source).name,
        "size": list(picture.shape[:2]),
        "network": short(name),
        **{key: value for key, value in inputs.items() if key == "scale"},
        **({"kernel": kernel or "assumed"} if "kernel" in inputs else {}),
        **({"sigma": round(255 * inputs["sigma"], 3)} if "sigma" in inputs else {}),
        "precision": precision,
        "device": str(device_of(net)),
        **({} if target is None else {"target": Path(target).name}),
    }
    make_folder(output)
    _write(output, records, picture, wanted, net, settings, notes)
    last = f"psnr in dB, residual and change of 255, seconds so far. To look at: {output / FILES[0]}"
    return "\n".join([format_stages(records), *notes, last])


def _check_places(source: Path, output: Path, overwrite: bool) -> None:
    """UnfoldError where a file would be overwritten that must stay."""
    for path in (output / name for name in FILES):
        if path.exists() and source.exists() and path.samefile(source):
            raise UnfoldError(f"{path} is the picture itself: let the trace go to another folder")
        if path.exists() and not overwrite:
            raise UnfoldError(f"{path} is there already; --overwrite makes it anew")


def affordable_part(picture: Array, net: UnfoldingNetwork, inputs: Named, count: int) -> tuple[slice, slice] | None:
    """The part of most detail that memory holds with count + 1 estimates; None where it holds the whole."""
    scale = int(inputs.get("scale", 1))
    size = (scale * picture.shape[0], scale * picture.shape[1])
    side = affordable_side(net, inputs, size, device_of(net), each=KEPT * (count + 1)) // scale
    if side * scale >= max(size):
        return None
    step = -(-max(picture.shape[:2]) // SEARCHED)
    found = busiest_crop(picture[::step, ::step].astype(np.float32), -(-side // step))
    starts = [min(s.start * step, max(n - side, 0)) for s, n in zip(found, picture.shape[:2], strict=True)]
    rows, columns = (slice(a, min(a + side, n)) for a, n in zip(starts, picture.shape[:2], strict=True))
    return rows, columns


def _write(
    output: Path,
    records: list[StageRecord],
    picture: Array,
    target: Array | None,
    net: UnfoldingNetwork,
    settings: dict[str, Any],
    notes: list[str],
) -> None:
    others = {"input": to_network(picture)} | ({} if target is None else {"target": to_network(target)})
    content = {**settings, "notes": notes, "stages": stages_as_json(records)}
    with whole_file(output / "trace.json") as file:
        file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    chosen = [records[i] for i in some_stages(len(records), PANELS - 1)] + [records[-1]]
    panels = [Panel(record.image, f"x_{record.k}", record.psnr) for record in chosen]
    draw_strip(output / "strip.png", panels + ([] if target is None else [Panel(others["target"], "target", None)]))
    units = {"sigma": " (of 255)"}
    named = (f"{key} {value}{units.get(key, '')}" for key, value in settings.items() if key not in ("picture", "size"))
    page = trace_page(
        records,
        others,
        title=f"{settings['picture']}, stage by stage",
        about=f"{width_x_height(settings['size'])} pixels, {', '.join(named)}",
        notes=notes,
        meanings=net.meanings,
    )
    with whole_file(output / "trace.html") as file:
        file.write(page.encode("utf-8", "backslashreplace"))  # file names may be invalid UTF-8
