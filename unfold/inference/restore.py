"""One picture of any size through a network: `unfold.restore`."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unfold.errors import UnfoldError, out_of_memory
from unfold.inference.picture_kinds import restore_any
from unfold.inference.tile_size import Tile, choose_tiles, halved, kernel_side
from unfold.inference.tiling import Pixels, Span, Tiles, assemble, resized_part
from unfold.inference.validate_inputs import check_inputs, check_measurement
from unfold.models.run_on_arrays import Method, as_tensors, network, unwrapped
from unfold.models.self_ensemble import ensembled
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.boundary import periodic
from unfold.user_files import their_errors
from unfold.util.arrays import Array, Named
from unfold.util.device import device_of, pick_device, place, release_memory
from unfold.util.precision import Precision, autocast_for

logger = logging.getLogger("unfold")

Image = Array
NOT_FINITE = "the result is not finite: the weights are not usable for this picture"


class TooLargeError(Exception):
    """Memory does not suffice beside other processes. One process alone may have enough."""


class Restored(NamedTuple):
    """The picture, the last tiles used, and their number; 1 means the whole picture at once."""

    image: Image
    tiles: Tiles
    parts: int


def restore(
    image: object,
    net: nn.Module,
    *,
    tile: Tile = "auto",
    ensemble: bool = False,
    precision: Precision = "float32",
    device: str | torch.device | None = None,
    **inputs: object,
) -> Any:
    """Restore one picture of any size in bounded memory.

    image: an array (H,W), (H,W,1) or (H,W,3), or (H,W,C) for a network of C channels, uint8, uint16 or floating-point
    in [0,1] (with noise, in [-2,3]) -> the same type, scale times as large, clamped, integers rounded. A grey picture
    is given to a colour network as three equal channels, and the result is their mean; a network of one channel
    restores each channel separately. Or
      a tensor (H,W), (C,H,W) or (B,C,H,W) -> a tensor of as many axes, of the same type, on the same device, without
        gradients; a kernel (B,1,kh,kw), a sigma (B,) and images (B,C,H,W) then hold one for each picture;
      a PIL image -> a PIL image, of its mode; palettes are expanded, an alpha channel is kept (enlarged by itself);
      a path -> an array (H,W,3), or (H,W,1) of a grey picture, read as `unfold restore` reads it, without alpha;
      a list or a tuple of these -> a list, each restored with the same inputs.
    net: any network but DGUNet-CS (it takes measurements), bare or wrapped in DataParallel, DistributedDataParallel,
    AveragedModel or torch.compile.
    inputs: the network's other inputs (``net.inputs``), as arrays, tensors or numbers: kernel (kh,kw), for true
    convolution (it is normalised to sum 1), scale, sigma in [0,1] units, and images as large as the picture, such as a
    mask.
    tile: side of the square of the result, in pixels, that the network sees at once; None: everything at once; "auto":
    everything, or as much as memory allows. Tiles overlap by the network's halo (less in small tiles) and are blended.
    No network of the package is exact in tiles, see :func:`unfold.inference.tile_error.tile_difference`. If memory runs
    out, the tile is halved.
    ensemble: self-ensemble, the mean over the eight rotated and mirrored pictures, with the kernel and other images.
    precision: "float32", or "bf16" by autocast. device: "auto", "cpu", "cuda" or a torch.device; None: the network's
    device.

    Borders follow ``net.border``. USRNet's data step is circular, so picture and tiles are extended to be periodic.
    NRL-GDN assumes zeros beyond the border, so the picture is padded on each side by its edge pixels, as far as the
    kernel's side, as in the published scripts for real pictures.
    Raises UnfoldError for bad input, and if memory does not suffice for the smallest tile.
    """
    bare = unwrapped(net)

    def run(array: Image, given: Named) -> Image:
        return restore_with_tiles(
            array, bare, tile=tile, ensemble=ensemble, precision=precision, device=device, inputs=given
        ).image

    return restore_any(image, run, inputs)


def restore_with_tiles(
    image: Image,
    net: UnfoldingNetwork,
    *,
    inputs: Named,
    tile: Tile | Tiles = "auto",
    ensemble: bool = False,
    precision: Precision = "float32",
    device: str | torch.device | None = None,
    announce: Callable[[int], Callable[[int], object]] = lambda pixels: lambda done: None,
    alone: bool = True,
) -> Restored:
    """As :func:`restore`, with the tiles that were used.

    tile: also a Tiles object. announce: called with the number of pixels to restore, returns a function that is called
    with each tile's pixels when done; called again where tiles become smaller. alone: no other process shares the
    memory; else TooLargeError is raised where the picture needs tiles, or smaller ones.
    """
    check_measurement(image, net)
    inputs = check_inputs(net, inputs, image.shape)
    if ensemble and net.measures:
        raise UnfoldError(f"{type(net).__name__} measures the picture itself, and an ensemble would measure it 8 times")
    scale = int(inputs.get("scale", 1))
    where = device_of(net)
    if device is not None:
        where = pick_device(device)
        place(net, where)
    padded, offset, inputs = framed(image, net, inputs)
    size = (padded.shape[0] * scale, padded.shape[1] * scale)
    count = image.shape[2:] if net.measured_channels == net.channels else (net.channels,)
    result = np.empty((image.shape[0] * scale, image.shape[1] * scale, *count), image.dtype)
    if (side := kernel_side(net, inputs)) > min(result.shape[:2]):
        logger.info(
            "note: the kernel, %dx%d, is larger than the result, %dx%d, which is continued by its edge to hold it",
            *(side, side, result.shape[1], result.shape[0]),
            extra={"kind": "a kernel larger than the result"},  # a command logs it once for all its pictures
        )
    tiles = tile if isinstance(tile, Tiles) else choose_tiles(net, inputs, size, where, tile, spare=result.nbytes)
    if not alone and tile == "auto" and max(len(tiles.spans(n)) for n in size) > 1:
        raise TooLargeError
    images = [
        name for name, one in net.inputs.items() if one.kind == "image" and name != net.picture and name in inputs
    ]
    method = ensembled(_method(net, where, precision), 8 if ensemble else 1, net.picture, [*images, *net.of_whole])
    alike = cache(partial(_surveyed, padded, net, where, precision))

    def run(rows: slice, columns: slice) -> Pixels:
        window = tuple(slice(part.start // scale, part.stop // scale) for part in (rows, columns))
        cut = {name: inputs[name][window] for name in images}
        # With an ensemble also at once: its views share what tiles share.
        if net.of_whole and (ensemble or (rows.stop - rows.start, columns.stop - columns.start) != size):
            whole = tuple(-(-n // net.size_multiple) * net.size_multiple for n in padded.shape[:2])
            cut |= {name: resized_part(small, whole, *window) for name, small in alike().items()}
        estimate = method({**inputs, **cut, net.picture: measurement(padded[window], net)})
        if not np.isfinite(estimate).all():
            raise UnfoldError(NOT_FINITE)
        return estimate.mean(axis=2, keepdims=True) if result.ndim == 2 or result.shape[2] == 1 else estimate

    written = 0

    def write(first: int, rows: Pixels) -> None:
        nonlocal written
        top, left = (scale * n for n in offset)
        from_row, to_row = max(first, top), min(first + len(rows), top + len(result))
        if from_row < to_row:
            part = rows[from_row - first : to_row - first, left : left + result.shape[1]]
            result[from_row - top : to_row - top] = _to_image(part, result.dtype).reshape(-1, *result.shape[1:])
        written = first + len(rows)

    while written < size[0]:
        done = announce(_length(tiles.spans(size[0], written)) * _length(tiles.spans(size[1])))
        if not _finished(partial(assemble, run, write, size, tiles, written, done), where):
            if not alone:
                raise TooLargeError
            if tile is None or net.tiling.whole:
                raise UnfoldError('out of memory for the whole picture at once; restore it in tiles (tile="auto")')
            tiles = halved(tiles, size)
            logger.info("note: out of memory; continuing with tiles of %d pixels", tiles.side)
    return Restored(result, tiles, len(tiles.spans(size[0])) * len(tiles.spans(size[1])))


def _finished(work: Callable[[], None], device: torch.device) -> bool:
    """Do the work; False where memory ran out, after freeing all that it held."""
    try:
        work()
        return True
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    gc.collect()
    release_memory(device)
    return False


def _length(spans: list[Span]) -> int:
    return sum(len(span.weight) for span in spans)


def framed(image: Image, net: UnfoldingNetwork, inputs: Named) -> tuple[Image, tuple[int, int], Named]:
    """The picture extended by its edge pixels, the position of the picture in it, and the inputs, where images as large
    as the picture are extended likewise.

    It is extended by the kernel's side where the network assumes zeros beyond the border, and to the size that it
    needs.
    """
    side = kernel_side(net, inputs)
    before = side if net.border == "zero" else 0
    least = max(net.min_size, -(-side // int(inputs.get("scale", 1))))
    margins = [(before, max(before, least - before - n)) for n in image.shape[:2]]
    if not np.any(margins):
        return image, (0, 0), inputs

    def padded(one: Image) -> Image:
        return np.pad(one, [*margins, (0, 0)][: one.ndim], mode="edge")

    more = {name: padded(inputs[name]) for name, one in net.inputs.items() if one.kind == "image" and name in inputs}
    return padded(image), (before, before), {**inputs, **more}


def _surveyed(picture: Image, net: UnfoldingNetwork, device: torch.device, precision: Precision) -> Named:
    """What tiles of the picture share: small images (h,w,c) by name."""
    y = as_tensors({net.picture: measurement(picture, net)}, net, device)[net.picture]
    if y.shape[1] > net.channels == 1:  # channels are restored one by one
        y = y.mean(dim=1, keepdim=True)
    with torch.inference_mode(), autocast_for(device, precision), their_errors(type(net).__name__):
        found = net.survey(y)
    if set(found) != set(net.of_whole) or any(small.ndim != 4 or len(small) != 1 for small in found.values()):
        shapes = {name: tuple(small.shape) for name, small in found.items()}
        raise UnfoldError(
            f"{type(net).__name__}.survey returns images (1,C,h,w) named {', '.join(net.of_whole)}, not {shapes}"
        )
    return {name: small[0].permute(1, 2, 0).float().cpu().numpy() for name, small in found.items()}


def _method(net: UnfoldingNetwork, device: torch.device, precision: Precision) -> Method:
    """The network as a function on arrays. Results are cropped where the measurement was extended."""
    autocast = autocast_for(device, precision)
    plain = network(net, device)

    def run(inputs: Named) -> Image:
        y = inputs[net.picture]
        scale = int(inputs.get("scale", 1))
        with autocast:
            result = plain(continued(inputs, net, scale))
        return result[: y.shape[0] * scale, : y.shape[1] * scale]

    return run


def continued(inputs: Named, net: UnfoldingNetwork, scale: int) -> dict[str, object]:
    """The inputs with the measurement (h,w,C), and images of its size, extended to the right and below until they are
    periodic, for networks that assume it.
    """
    if net.border != "circular":
        return inputs
    large = [name for name, one in net.inputs.items() if one.kind == "image" and name in inputs]
    large += [name for name in net.of_whole if name in inputs]
    return {**inputs, **{name: periodic(inputs[name], scale).astype(np.float32) for name in large}}


def to_network(window: Image, channels: int = 3) -> NDArray[np.float32]:
    """(H,W) or (H,W,C), integers or floats, -> (H,W,C) float32 in [0,1]; grey as three equal channels for a network
    that takes so many.
    """
    y = np.asarray(window).astype(np.float32)
    if window.dtype.kind == "u":
        y /= np.float32(np.iinfo(window.dtype).max)
    y = y.reshape(*y.shape[:2], -1)
    return np.repeat(y, channels, axis=2) if y.shape[2] == 1 else y


def measurement(window: Image, net: UnfoldingNetwork) -> NDArray[np.float32]:
    """A part of a picture as the network takes it; one of three equal channels for a network that takes grey."""
    y = to_network(window, net.measured_channels)
    return y[..., :1] if net.measured_channels == 1 < net.channels else y


def _to_image(part: Pixels, dtype: np.dtype[Any]) -> Image:
    part = part.clip(0, 1)
    return np.rint(part * np.iinfo(dtype).max).astype(dtype) if dtype.kind == "u" else part.astype(dtype)
