"""Tiles cover an image once, lie where the network wants them, and are put together as they were cut."""

from __future__ import annotations

import numpy as np
import pytest

from unfold.inference.tile_size import halved, smallest_tile
from unfold.inference.tiling import Tiles, assemble


def random_tiles(rng: np.random.Generator) -> tuple[Tiles, int]:
    multiple = int(rng.choice([1, 2, 8, 12, 24]))
    side = int(rng.integers(smallest_tile(multiple), smallest_tile(multiple) + 200))
    halo = int(rng.integers(0, side // 4 + 1))
    return Tiles(side, halo, multiple, int(rng.integers(0, 2 * halo + 1))), int(rng.integers(1, 1500))


@pytest.mark.parametrize("seed", range(60))
def test_weights_of_every_pixel_sum_to_one_and_windows_hold_the_halo(seed: int) -> None:
    tiles, length = random_tiles(np.random.default_rng(seed))
    spans = tiles.spans(length)
    total = np.zeros(length)
    for span in spans:
        assert 0 <= span.window.start <= span.used.start < span.used.stop <= span.window.stop <= length
        assert span.window.start % tiles.multiple == 0
        assert span.window.stop % tiles.multiple == 0 or span.window.stop == length
        assert span.window.stop - span.window.start <= tiles.side
        inner = slice(
            span.used.start + tiles.ramp // 2, span.used.stop - tiles.ramp // 2
        )  # at least what it stands for
        assert span.window.start == 0 or inner.start - span.window.start >= tiles.halo
        assert span.window.stop == length or span.window.stop - inner.stop >= tiles.halo
        total[span.used] += span.weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert spans[0].used.start == 0
    assert spans[-1].used.stop == length
    assert len(spans) == 1 or length > tiles.side


@pytest.mark.parametrize("seed", range(20))
def test_what_is_cut_and_put_together_is_as_before_also_when_begun_below_the_top(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiles, height = random_tiles(rng)
    width = int(rng.integers(1, 700))
    image = rng.random((height, width, 1), dtype=np.float32)
    begin = int(rng.integers(0, height)) if seed % 2 else 0
    result, order, done = np.full_like(image, np.nan), [begin], []

    def write(first: int, rows: np.ndarray) -> None:
        assert first == order[-1], "rows come in order, none twice"
        order.append(first + len(rows))
        result[first : first + len(rows)] = rows

    assemble(lambda r, c: image[r, c].copy(), write, (height, width), tiles, begin, done.append)
    np.testing.assert_allclose(result[begin:], image[begin:], atol=1e-6)
    assert np.isnan(result[:begin]).all()
    assert order[-1] == height


def test_blending_goes_evenly_from_one_tile_to_the_next() -> None:
    upper, lower = Tiles(64, 16, 1, 8).spans(80)
    assert upper.used.stop - lower.used.start == 8
    np.testing.assert_allclose(upper.weight[-8:], (np.arange(8)[::-1] + 0.5) / 8)
    np.testing.assert_allclose(lower.weight[:8], (np.arange(8) + 0.5) / 8)


def test_a_tile_is_halved_down_to_the_smallest_and_no_further() -> None:
    tiles = halved(Tiles(10**6, 100, 8, 25), (300, 200))
    assert (tiles.side, tiles.halo) == (150, 37)
    tiles = halved(tiles, (300, 200))
    assert tiles.spans(1000)
    with pytest.raises(ValueError, match="out of memory even for a tile of 75"):
        halved(tiles, (300, 200))
