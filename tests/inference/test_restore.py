"""unfold.restore: one picture of any size and kind, whole or in tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import unfold
from tests.narrow import narrow
from tests.synthetic import scene
from unfold import restore
from unfold.errors import UnfoldError
from unfold.inference import restore as module
from unfold.inference import tile_size
from unfold.inference.restore import restore_with_tiles
from unfold.inference.tile_error import tile_difference
from unfold.inference.tile_size import bytes_per_pixel, choose_tiles
from unfold.inference.tiling import Tiles
from unfold.models.dgunet import DGUNet
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.kernels import gaussian_for, gaussian_kernel
from unfold.protocols.protocol import Case
from unfold.protocols.usrnet_evaluations import USRNetReal

CPU = torch.device("cpu")


def given_to(name: str, scale: int = 1) -> dict[str, Any]:
    if name.startswith("dgunet"):
        return {}
    kernel = {"kernel": gaussian_kernel(7, 1.0)}
    return kernel if name != "usrnet" else {**kernel, "scale": scale, "sigma": 0.02}


class Invert(DGUNet):
    """Gives 1 - y, and says what it saw; out of memory above a number of pixels."""

    def __init__(self, most: float = float("inf")) -> None:
        super().__init__(width=4, growth=2, tail=2, operator_width=1, stages=3)
        self.most, self.seen = most, list[tuple[int, ...]]()

    def forward(self, y: Tensor) -> Tensor:  # type: ignore[override]
        if y.device.type != "meta":
            self.seen.append(tuple(y.shape[-2:]))
            if y[0, 0].numel() > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return 1 - y


def test_a_picture_mostly_below_0_is_restored_and_its_range_is_said_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = (scene(24, 30) / 255).astype(np.float32)
    for shifted in (2 * image**2 - 1, torch.from_numpy(2 * image.transpose(2, 0, 1) ** 2 - 1)):
        assert restore(shifted, Invert()).shape == shifted.shape
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert f"values from {float(shifted.min()):g} to {float(shifted.max()):g}" in record.message
        assert "(x + 1) / 2 makes [0,1] of [-1,1]" in record.message
        caplog.clear()
    noisy = image + 0.1 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    assert noisy.min() < 0
    restore(noisy, Invert())
    assert not caplog.records


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (97, 101, 3), (31, 37, 1), (130, 67)])
def test_kind_and_size_stay_and_so_do_numbers_whole_and_in_tiles(dtype: type, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape)
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (image * peak).astype(dtype)
    for tile in (None, 64, "auto"):
        result = restore(image, Invert(), tile=tile)
        assert (result.shape, result.dtype) == (image.shape, image.dtype)
        tolerance = 0 if dtype in (np.uint8, np.uint16) else 1e-6
        np.testing.assert_allclose(result.astype(float), peak - image.astype(float), atol=tolerance)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (61, 17), (8, 8)])
@pytest.mark.parametrize("name", ["dgunet_deblur", "usrnet", "nrl_gdn"])
def test_every_size_is_restored_also_below_the_kernel_and_what_the_network_takes(
    name: str, size: tuple[int, int]
) -> None:
    scale = 3 if name == "usrnet" else 1
    result = restore(scene(*size), narrow(name), **given_to(name, scale))
    assert result.shape == (scale * size[0], scale * size[1], 3)
    assert result.dtype == np.uint8


def test_usrnet_restores_a_picture_as_the_published_script_does(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(scene(40, 33)).save(tmp_path / "a.png")
    net = narrow("usrnet")
    protocol = USRNetReal(scale=3)
    sample = protocol.sample(Case("a", (tmp_path / "a.png",)))
    with torch.inference_mode():
        y = torch.from_numpy(sample.inputs["y"]).permute(2, 0, 1)[None]
        kernel = torch.from_numpy(sample.inputs["kernel"])[None, None]
        expected = net(y, kernel=kernel, scale=3, sigma=2 / 255)[0].permute(1, 2, 0).numpy()
    result = restore(scene(40, 33), net, kernel=gaussian_for(1.5, 3), scale=3, sigma=2 / 255)
    np.testing.assert_array_equal(result, protocol.finish(expected[sample.window]))


def test_a_kernel_larger_than_the_picture_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    net, inputs = narrow("usrnet"), {"scale": 2, "sigma": 0.02}
    with caplog.at_level("INFO", "unfold"):
        restore(scene(12, 20), net, kernel=gaussian_kernel(23, 1.0), **inputs)
        assert not caplog.messages
        restore(scene(12, 20), net, kernel=gaussian_kernel(25, 1.0), **inputs)
    (expected,) = caplog.messages
    assert expected.startswith("note: the kernel, 25x25, is larger than the result, 40x24,")


def test_nrl_gdn_restores_a_picture_continued_by_the_kernels_side() -> None:
    net, kernel, image = narrow("nrl_gdn"), gaussian_kernel(5, 1.0), scene(33, 41)
    wide = np.pad(image / np.float32(255), ((5, 5), (5, 5), (0, 0)), mode="edge").astype(np.float32)
    with torch.inference_mode():
        y = torch.from_numpy(wide).permute(2, 0, 1)[None]
        expected = net(y, kernel=torch.from_numpy(kernel).float()[None, None])[0].permute(1, 2, 0).numpy()
    result = restore((image / np.float32(255)).astype(np.float32), net, kernel=kernel)
    np.testing.assert_allclose(result, expected[5:-5, 5:-5].clip(0, 1), atol=2e-6)


def test_tiles_equal_the_whole_where_the_halo_holds_all_that_all_stages_look_at() -> None:
    """NRL-GDN from y on, without its stopping rule: two stages, of a prior without residual blocks."""
    net = narrow("nrl_gdn_y0", stop="never", stages=2, depth=0)
    image, inputs = (scene(248, 248) / np.float32(255)).astype(np.float32), given_to("nrl_gdn_y0")
    whole = restore_with_tiles(image, net, inputs=inputs, tile=None).image
    tiles = Tiles(232, 80, 8, 20)
    tiled = restore_with_tiles(image, net, inputs=inputs, tile=tiles)
    assert tiled.parts == 4
    np.testing.assert_allclose(tiled.image, whole, atol=2e-6)
    near = restore_with_tiles(image, net, inputs=inputs, tile=Tiles(96, 8, 8, 2)).image
    assert np.abs(near - whole).max() > 1e-3, "or the test would show nothing"


def test_tiles_of_usrnet_come_close_to_the_whole_with_the_halo_at_every_scale() -> None:
    net = narrow("usrnet")
    for scale in (1, 2, 3):
        image = (scene(264 // scale, 240 // scale) / np.float32(255)).astype(np.float32)
        inputs = {**given_to("usrnet", scale), "kernel": gaussian_for(1.0, scale)}
        whole = restore_with_tiles(image, net, inputs=inputs, tile=None).image
        tile = Tiles(240, 64, 24, 16)
        tiled = restore_with_tiles(image, net, inputs=inputs, tile=tile)
        assert tiled.parts > 1
        assert np.abs(tiled.image - whole)[64:-64, 64:-64].max() < 1e-3


def test_the_difference_reported_is_that_of_tiles_to_the_whole() -> None:
    net, image = narrow("dgunet_deblur", width=4, growth=2), scene(90, 70)
    expected = tile_difference(image, net, Tiles(64, 16, 8, 4), {})
    pixels = (image / 255).astype(np.float32)
    whole, tiled = (restore_with_tiles(pixels, net, inputs={}, tile=t).image for t in (None, Tiles(64, 16, 8, 4)))
    assert (expected.height, expected.width) == (90, 70)
    assert expected.largest == pytest.approx(255 * np.abs(whole - tiled).max(), abs=1e-3)
    assert expected.largest > 0
    assert tile_difference(image, Invert(), Tiles(64, 16, 8, 4), {}).largest < 1e-3
    assert tile_difference(scene(20, 20), Invert(), Tiles(64, 16, 8, 4), {}).inside is None


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_ensemble_turns_the_kernel_with_the_picture(scale: int) -> None:
    """The mean over all turns does not depend on how the picture and its kernel were turned to begin with."""
    net, kernel = narrow("usrnet"), np.random.default_rng(0).random((5, 5))
    from unfold.models.self_ensemble import turned_kernel
    from unfold.physics.degrade import blur_array

    large = np.random.default_rng(1).random((24, 36, 3))
    y = blur_array(large, kernel / kernel.sum())[::scale, ::scale]
    for mirrored in (False, True):
        for quarters in range(4):
            turned = np.rot90(large[:, ::-1] if mirrored else large, quarters)
            k = turned_kernel(kernel / kernel.sum(), scale, mirrored, quarters)
            expected = np.rot90(y[:, ::-1] if mirrored else y, quarters)
            np.testing.assert_allclose(blur_array(turned, k)[::scale, ::scale], expected, atol=1e-12)
    if scale < 3:
        image = (scene(24, 32) / np.float32(255)).astype(np.float32)
        one = restore(image, net, ensemble=True, kernel=kernel, scale=scale, sigma=0.1)
        assert one.shape == (24 * scale, 32 * scale, 3)
        assert np.abs(one - restore(image, net, kernel=kernel, scale=scale, sigma=0.1)).max() > 1e-4


def test_out_of_memory_halves_the_tile_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    image = scene(300, 260)
    net = Invert(most=100**2)
    with caplog.at_level("INFO", "unfold"):
        expected = restore_with_tiles(image, net, inputs={})
    np.testing.assert_array_equal(expected.image, 255 - image)
    assert expected.tiles.side == 75
    assert [h * w > 100**2 for h, w in net.seen].count(True) == 2
    assert "continuing with tiles of 75 pixels" in caplog.text


def test_out_of_memory_half_way_keeps_what_is_done() -> None:
    image, small, net = scene(1000, 128), Invert(), Invert()
    restore(image, small, tile=128)
    ran = net.forward

    def forward(y: Tensor) -> Tensor:
        net.most = 0 if len(net.seen) == 4 else float("inf")
        return ran(y)

    net.forward = forward  # type: ignore[method-assign]
    announced, done = list[int](), list[int]()

    def announce(pixels: int) -> Callable[[int], None]:
        announced.append(pixels)
        done.clear()
        return done.append

    expected = restore_with_tiles(image, net, inputs={}, tile=256, announce=announce)
    assert announced[0] > announced[1] == sum(done) > 0
    np.testing.assert_array_equal(expected.image, 255 - image)
    assert expected.tiles.side == 128
    assert 0 < len(net.seen) - 5 <= len(small.seen) / 2


def test_out_of_memory_for_all_at_once_or_the_smallest_tile_is_reported() -> None:
    with pytest.raises(UnfoldError, match="at once"):
        restore(scene(100, 100), Invert(most=50**2), tile=None)
    with pytest.raises(UnfoldError, match="even for a tile of"):
        restore(scene(100, 100), Invert(most=10))


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    net = Invert()
    net.forward = lambda y: torch.ones(2) @ torch.ones(3)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="size"):
        restore(scene(30, 30), net)


def test_auto_takes_all_where_it_fits_and_else_what_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    net, inputs = narrow("usrnet"), {"kernel": np.ones((7, 7), np.float32) / 49, "scale": 2, "sigma": 0.0}
    each = bytes_per_pixel(net, inputs, CPU)
    for pixels, size in ((2000, (900, 1800)), (500, (1800, 1800))):
        monkeypatch.setattr(tile_size, "available", lambda device, n=pixels: int(each * n**2 / tile_size.SHARE["cpu"]))
        tiles = choose_tiles(net, inputs, size, CPU)
        if pixels == 2000:
            assert len(tiles.spans(size[0])) == len(tiles.spans(size[1])) == 1
        else:
            assert 440 < tiles.side <= 500
            assert tiles.halo == 64
            assert all(s.window.stop - s.window.start <= 500 for s in tiles.spans(1800))
    assert choose_tiles(net, inputs, (3000, 3000), CPU, 1000).halo == 97 + 3


def test_bytes_per_pixel_do_not_depend_on_the_picture_and_grow_with_the_network() -> None:
    few, many = (bytes_per_pixel(narrow("dgunet_deblur", width=w), {}, CPU) for w in (16, 32))
    assert 1.5 * few < many < 2.5 * few


def test_bf16_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    net = narrow("dgunet_deblur")
    image = (scene(64, 64) / np.float32(255)).astype(np.float32)
    a, b = (restore(image, net, precision=p) for p in ("float32", "bf16"))
    assert 0 < np.abs(a - b).max() < 0.05


def test_what_does_not_fit_is_reported() -> None:
    net, image, blind = narrow("usrnet"), scene(32, 32), narrow("dgunet_deblur")
    good = given_to("usrnet")
    for call, expected in [
        (lambda: restore(image[..., :2], blind), r"not \(32, 32, 2\)"),
        (lambda: restore(image.astype(np.int32), blind), "not int32"),
        (lambda: restore(image.astype(np.float32), blind), "in \\[0,1\\]; this one has values from"),
        (lambda: restore(np.full((9, 9), np.nan), blind), "not finite"),
        (lambda: restore(image, blind, kernel=good["kernel"]), "DGUNet does not take kernel"),
        (lambda: restore(image, net, scale=2), "USRNet also takes kernel, sigma: give them"),
        (lambda: restore(image, net, **{**good, "scale": 1.5}), "whole number"),
        (lambda: restore(image, net, **{**good, "sigma": 2.55}), "sigma is a standard deviation in"),
        (lambda: restore(image, net, **{**good, "kernel": -good["kernel"]}), "positive sum"),
        (lambda: restore(image, blind, tile=63), "at least 64 pixels"),
        (lambda: restore(image, blind, precision="half"), "float32 or bf16"),
        (lambda: restore(image, narrow("dgunet_cs")), "compressed measurements"),
    ]:
        with pytest.raises(UnfoldError, match=expected) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_result_that_is_not_finite_is_no_result() -> None:
    net = narrow("dgunet_deblur")
    with torch.no_grad():
        net.tail.weight.fill_(float("nan"))
    with pytest.raises(UnfoldError, match="not finite"):
        restore(scene(32, 32), net)


def test_a_network_that_nobody_registered_and_without_numbers_restores() -> None:
    class Own(UnfoldingNetwork):
        def begin(self, y: Tensor) -> tuple[Tensor, Any]:
            return y, None

        def stage(self, k: int, x: Tensor, memory: Any, context: Any) -> tuple[Tensor, Any]:
            return x, None

    picture = scene(32, 32)
    assert (restore(picture, Own(1)) == picture).all()
    assert (restore(picture, Own(1), tile=16) == picture).all()


def test_the_public_name_is_this_function() -> None:
    assert unfold.restore is module.restore
