"""`unfold restore --kernel grid`: one detail of a picture restored with several kernels, to choose from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unfold.data.crop_to_show import busiest_crop
from unfold.errors import UnfoldError
from unfold.inference.collect_files import Job
from unfold.inference.kernel_and_noise import gaussian
from unfold.inference.photographs.evidence import Evidence, gather
from unfold.inference.photographs.guard import implausible
from unfold.inference.photographs.reductions import LENS, WAYS, kernel_of
from unfold.inference.photographs.tasks import fitting_level
from unfold.inference.picture_files import in_integers, read_picture
from unfold.inference.restore import restore_with_tiles
from unfold.models.unfolding import UnfoldingNetwork
from unfold.report.contact_sheet import draw_sheet
from unfold.util.arrays import Array, Named
from unfold.util.atomic_files import whole_file
from unfold.util.precision import Precision
from unfold.util.progress import progress

WIDTHS = (0.4, 0.7, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0)  # pixels of the result
PANEL = 240
SEARCHED = 2048  # the detail is looked for in the middle of a large picture
AROUND = 48  # pixels of the result that are restored around the detail


def write_grid(
    jobs: Sequence[Job],
    net: UnfoldingNetwork,
    inputs: Named,
    *,
    fitting: bool,
    precision: Precision,
    overwrite: bool,
) -> str:
    """Write the contact sheet of one picture as a PNG; returns the report. UnfoldError for bad input.

    Panels: Gaussians of WIDTHS and, where the network enlarges, the kernels of common reductions. The one that fits the
    picture is marked.
    inputs: all that the network takes besides y and the kernel; fitting: replace sigma by the one that fits the
    picture.
    """
    if len(jobs) != 1:
        raise UnfoldError(f"--kernel grid takes one picture, and there are {len(jobs)}")
    job = jobs[0]
    target = job.target.with_suffix(".png")
    if target.exists() and not overwrite:
        raise UnfoldError(f"{target} already exists; --overwrite replaces it")
    picture = in_integers(read_picture(job.source).pixels)
    evidence = gather(picture, job.source)
    if fitting:
        inputs = {**inputs, "sigma": fitting_level(evidence) / 255}
    level = 255 * inputs.get("sigma", fitting_level(evidence) / 255)
    scale = int(inputs.get("scale", 1))
    window = _detail(picture, scale)
    refused = ": edges are sharp"
    panels = [("input", _enlarged(picture[window], scale))]
    gaussians = {f"gauss:{width:g}": width for width in (WIDTHS if scale == 1 else WIDTHS[1:-1])}
    kernels = {name: gaussian(width, scale) for name, width in gaussians.items()}
    if scale > 1:
        kernels |= {way: kernel_of(way, scale) for way in WAYS}
    favoured = _favoured(evidence, scale)
    for name, kernel in progress(list(kernels.items()), "trying kernels", "kernel"):
        result = _restored(picture, window, net, {**inputs, "kernel": kernel}, precision)
        width = gaussians.get(name, 0.0) / scale
        if name == favoured and (why := implausible(picture[window], result, scale, level, width)):
            favoured, refused = None, f": with {name} {why}"
        panels.append((name + (" (favoured)" if name == favoured else ""), _enlarged(result, 1)))
    with whole_file(target) as file:
        draw_sheet(panels, PANEL, 3 if scale == 1 else 5).save(file, format="PNG")
    given = f", at noise of {level:.1f} (of 255)" if "sigma" in inputs else ""
    verdict = f"the picture speaks for {favoured}" if favoured else f"nothing helps here{refused}"
    return f"{target}: the same detail with several kernels{given}; {evidence.sentence()}: {verdict}"


def _favoured(evidence: Evidence, scale: int) -> str | None:
    """The panel that fits the evidence: the widest Gaussian within the blur, or the likeliest reduction."""
    if evidence.blur > LENS:
        within = [width for width in WIDTHS[scale > 1 :] if width <= 1.1 * evidence.blur * scale]
        return f"gauss:{within[-1]:g}" if within else None
    return evidence.ways[0] if scale > 1 else None


def _detail(picture: Array, scale: int) -> tuple[slice, slice]:
    """The busiest square of a panel's size, in the middle of the picture."""
    starts = [max(0, (n - SEARCHED) // 2) for n in picture.shape[:2]]
    middle = picture[starts[0] : starts[0] + SEARCHED, starts[1] : starts[1] + SEARCHED]
    rows, columns = busiest_crop(middle.astype(np.float32), PANEL // scale)
    return (
        slice(starts[0] + rows.start, starts[0] + rows.stop),
        slice(starts[1] + columns.start, starts[1] + columns.stop),
    )


def _enlarged(part: Array, scale: int) -> NDArray[np.float32]:
    pixels = (part / np.iinfo(part.dtype).max).astype(np.float32)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _restored(
    picture: Array,
    window: tuple[slice, slice],
    net: UnfoldingNetwork,
    inputs: Named,
    precision: Precision,
) -> Array:
    """The detail, restored together with its surroundings."""
    scale = int(inputs.get("scale", 1))
    around = -(-AROUND // scale)
    wide = tuple(slice(max(0, s.start - around), s.stop + around) for s in window)
    result = restore_with_tiles(picture[wide], net, inputs=inputs, tile=None, precision=precision).image
    rows, columns = (
        slice(scale * (s.start - w.start), scale * (s.stop - w.start)) for s, w in zip(window, wide, strict=True)
    )
    return result[rows, columns]
