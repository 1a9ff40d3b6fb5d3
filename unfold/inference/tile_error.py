"""Measure how far tiles are from the whole, on a part of the picture itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from unfold.inference.restore import restore_with_tiles
from unfold.inference.tiling import Tiles
from unfold.metrics import psnr
from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.arrays import Array, Named
from unfold.util.precision import Precision

CROP, TILE = 768, 512  # pixels of the result; more where the halo is large


class Difference(NamedTuple):
    """Difference between tiles and the whole on a part of height x width pixels of the result. largest: in 255 units;
    inside: the largest at least a halo away from the part's borders (None where there is no such pixel); psnr: in dB.
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
    """Restore the middle of the picture at once and in tiles, which are no larger than those of the restoration.

    Borders differ where a data step is circular: each tile is extended towards its own opposite border. Tiles are at
    most about two thirds of the part. For a network that uses statistics of all it sees, the measured difference is
    therefore larger than with larger tiles.
    """
    scale = int(inputs.get("scale", 1))
    crop = max(CROP, 6 * tiles.halo) // scale
    window = tuple(slice((n - min(n, crop)) // 2, (n - min(n, crop)) // 2 + min(n, crop)) for n in image.shape[:2])
    part = image[window].astype(np.float32) / (np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)
    images = [name for name, one in net.inputs.items() if one.kind == "image" and name in inputs]
    inputs = {**inputs, **{name: inputs[name][window] for name in images}}
    small = Tiles(min(tiles.side, max(TILE, 4 * tiles.halo)), tiles.halo, tiles.multiple, tiles.ramp)
    whole, tiled = (
        restore_with_tiles(part, net, inputs=inputs, tile=tile, precision=precision).image for tile in (None, small)
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
