"""How far tiles are from the whole, measured on a part of the very picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from unfold.inference.restore import restore_and_tell
from unfold.inference.tiling import Tiles
from unfold.metrics import psnr
from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.arrays import Array, Named
from unfold.util.precision import Precision

CROP, TILE = 768, 512  # pixels of the result; more where the halo is large


class Difference(NamedTuple):
    """Between tiles and the whole on a part of height x width pixels of the result: the largest, in 255 units, of all
    and of what lies a halo and more away from the part's borders (None where nothing does), and the PSNR in dB.
    """

    height: int
    width: int
    largest: float
    inside: float | None
    psnr: float


def tile_difference(
    image: Array,
    net: UnfoldingNetwork,
    tiles: Tiles,
    inputs: Named,
    precision: Precision = "float32",
) -> Difference:
    """Restore the middle of the picture at once and in tiles of no more than those with which it was restored.

    Borders of a picture differ where a data step is circular: each tile continues them towards its own other end. No
    tile is larger than about two thirds of the part, so that where statistics of all that is seen count, this shows
    more than tiles that are larger would.
    """
    scale = int(inputs.get("scale", 1))
    crop = max(CROP, 6 * tiles.halo) // scale
    window = tuple(slice((n - min(n, crop)) // 2, (n - min(n, crop)) // 2 + min(n, crop)) for n in image.shape[:2])
    part = image[window].astype(np.float32) / (np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)
    images = [name for name, one in net.inputs.items() if one.kind == "image" and name in inputs]
    inputs = {**inputs, **{name: inputs[name][window] for name in images}}
    small = Tiles(min(tiles.side, max(TILE, 4 * tiles.halo)), tiles.halo, tiles.multiple, tiles.ramp)
    whole, tiled = (
        restore_and_tell(part, net, inputs=inputs, tile=tile, precision=precision).image for tile in (None, small)
    )
    far = np.abs(tiled - whole) * 255
    height, width = far.shape[:2]
    inside = far[tiles.halo : height - tiles.halo, tiles.halo : width - tiles.halo]
    return Difference(
        height,
        width,
        float(far.max()),
        float(inside.max()) if inside.size else None,
        psnr(tiled, whole, channels=whole.shape[2]),
    )
