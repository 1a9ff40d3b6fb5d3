"""Tile sizes from the network's capabilities and the free memory."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch

from unfold.errors import UnfoldError
from unfold.inference.tile_memory import available, needed
from unfold.inference.tiling import Tiles
from unfold.models.run_on_arrays import as_tensors
from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.arrays import Named

Tile = int | Literal["auto"] | None
# Share of the free memory: libraries need workspaces besides the tensors.
SHARE = {"cpu": 0.5, "cuda": 0.7}
WRAPPING = 24  # pixels that making a tile periodic adds at most
# Bytes per pixel of the result for arrays outside the network: input, result, and their periodic extension.
ARRAYS, PERIODIC = 48, 120

# Measured with usrnet_tiny, gauss:1.6, noise 2.55, on a photograph of 512x512 (a wide blur for it, so that it rings) in
# tiles of 320. The largest difference to the whole, at least 64 pixels from its borders, falls with the halo (16, 32,
# 48, 64): 80, 13, 2.7, 0.8 of 255. Blending over a quarter of the halo gives 0.6 and smaller steps; blending over all
# of it uses pixels too near to the tiles' ends: 1.3.
USEFUL_HALO, RAMP = 64, 4


def choose_tiles(
    net: UnfoldingNetwork,
    inputs: Named,
    size: tuple[int, int],
    device: torch.device,
    tile: Tile = "auto",
    spare: int = 0,
) -> Tiles:
    """Tiles for a result of that size, by the network's capabilities and the free memory less ``spare`` bytes.

    UnfoldError if the tile leaves nothing beside its halo.
    """
    check_tile(net, inputs, tile)
    multiple = _multiple(net, inputs)
    if net.tiling.whole:
        side = max(size)
    elif tile == "auto":
        side = affordable_side(net, inputs, size, device, spare=spare)
    elif tile is None:
        side = max(size)
    else:
        side = tile
    return _tiles(side, wanted_halo(net, inputs), multiple, exact=net.tiling.exact)


def wanted_halo(net: UnfoldingNetwork, inputs: Named) -> int:
    """Overlap in pixels that the network asks for; for an exact one, the receptive field of all its stages."""
    return net.tiling.halo(kernel_side(net, inputs) or 1, net.count())


def kernel_side(net: UnfoldingNetwork, inputs: Named) -> int:
    """Side of the largest kernel among the inputs, 0 where there is none."""
    return max((len(inputs[k]) for k, one in net.inputs.items() if one.kind == "kernel" and k in inputs), default=0)


def affordable_side(
    net: UnfoldingNetwork,
    inputs: Named,
    size: tuple[int, int],
    device: torch.device,
    *,
    spare: int = 0,
    each: int = 0,
) -> int:
    """Side of the largest square tile that fits into memory; the longer side of ``size`` where everything fits.

    Host memory kept free: ``spare`` bytes, and ``each`` bytes per pixel of the result.
    """
    on_cpu = device.type == "cpu"
    free = available(device) - (spare if on_cpu else 0)
    pixels = (
        SHARE.get(device.type, SHARE["cpu"]) * free / (bytes_per_pixel(net, inputs, device) + (each if on_cpu else 0))
    )
    if each and not on_cpu:
        pixels = min(pixels, SHARE["cpu"] * available(torch.device("cpu")) / each)
    if math.prod(n + WRAPPING for n in size) <= pixels:
        return max(size)
    return max(math.isqrt(max(int(pixels), 0)) - WRAPPING, smallest_tile(_multiple(net, inputs)))


def _multiple(net: UnfoldingNetwork, inputs: Named) -> int:
    """Tiles begin at multiples of this, in pixels of the result: on pixels of y, and on the grid of the network's
    levels.
    """
    return math.lcm(net.size_multiple, int(inputs.get("scale", 1)))


def check_tile(net: UnfoldingNetwork, inputs: Named, tile: Tile) -> None:
    """UnfoldError for a tile that leaves nothing beside the halo, or for a network that needs the whole picture."""
    if isinstance(tile, int) and net.tiling.whole:
        raise UnfoldError(f"{type(net).__name__} restores in one piece, without a tile: {net.tiling.whole}")
    least = smallest_tile(_multiple(net, inputs))
    if isinstance(tile, int) and tile < least:
        raise UnfoldError(f"tile is at least {least} pixels for this network, not {tile}")


def smallest_tile(multiple: int) -> int:
    return 8 * multiple


def _tiles(side: int, halo: int, multiple: int, *, exact: bool = False) -> Tiles:
    """The halo takes at most an eighth of the tile on each side, or 64 pixels where that is less than a quarter.

    exact: tiles with the full halo equal the whole picture, so the halo may take up to three eighths, and neighbours
    are not blended where it fits.
    """
    if exact and halo <= 3 * side // 8:
        return Tiles(side, halo, multiple, ramp=0)
    halo = min(halo, max(side // 8, min(USEFUL_HALO, side // 4)))
    return Tiles(side, halo, multiple, ramp=halo // RAMP)


def halved(tiles: Tiles, size: tuple[int, int]) -> Tiles:
    side = min(tiles.side, max(size)) // 2
    if side < smallest_tile(tiles.multiple):
        raise UnfoldError(f"out of memory even for a tile of {min(tiles.side, max(size))} pixels")
    return _tiles(side, tiles.halo, tiles.multiple)


def bytes_per_pixel(net: UnfoldingNetwork, inputs: Named, device: torch.device) -> float:
    """Memory in bytes per pixel of the result, counted on a small picture without computing."""
    scale = int(inputs.get("scale", 1))
    side = -(-max(256, kernel_side(net, inputs)) // scale)
    small = {
        name: np.zeros((side, side, one.channels), np.float32)
        for name, one in net.inputs.items()
        if one.kind == "image" and (name in inputs or name == net.picture)
    }
    given = as_tensors({**inputs, **small}, net, torch.device("cpu"))
    arrays = 0 if device.type != "cpu" else ARRAYS + (PERIODIC if net.border == "circular" else 0)
    return needed(net, given) / (side * scale) ** 2 + arrays
