"""unfold.inference.trace: every stage of one picture; the last one equals the result of restore."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from tests.inference.test_restore import given_to
from tests.narrow import narrow
from tests.synthetic import scene
from unfold import metrics, restore
from unfold.errors import UnfoldError
from unfold.inference.trace import trace
from unfold.models.number_of_stages import with_stages
from unfold.physics.boundary import periodic

NETWORKS = ["dgunet_deblur", "dgunet_plus_deblur", "usrnet", "nrl_gdn", "nrl_gdn_y0", "rgdn_uniform"]


def enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


@pytest.mark.parametrize("shape", [(33, 42, 3), (20, 31), (5, 6, 1)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_stage_is_what_restore_gives_for_the_whole_picture(name: str, shape: tuple[int, ...]) -> None:
    net, inputs = narrow(name), given_to(name, 3)
    image = scene(*shape[:2])[..., : shape[2] if len(shape) == 3 else 1].reshape(shape)
    records = trace(image, net, **inputs)
    result = restore(image, net, tile=None, **inputs)
    last = np.rint(records[-1].image.clip(0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(last.reshape(result.shape), result)
    assert [record.k for record in records] == list(range(len(records)))
    assert len(records) > 2


def test_in_bfloat16_too() -> None:
    net, image = narrow("dgunet_deblur"), scene(24, 24)
    half, full = (trace(image, net, precision=precision) for precision in ("bf16", "float32"))
    np.testing.assert_array_equal(
        np.rint(half[-1].image.clip(0, 1) * 255), restore(image, net, tile=None, precision="bf16")
    )
    assert np.abs(half[-1].image - full[-1].image).max() > 0
    with pytest.raises(UnfoldError, match="precision is float32 or bf16"):
        trace(image, net, precision="int8")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_usrnets_residual_is_that_of_circular_blur_and_decimation(scale: int) -> None:
    net, inputs = narrow("usrnet"), given_to("usrnet", scale)
    image = scene(21, 26)
    y = periodic(image / 255, scale)
    first, *others = trace(image, net, **inputs)
    with torch.inference_mode():
        tensor = torch.from_numpy(y).permute(2, 0, 1)[None].float()
        kernel = torch.from_numpy(inputs["kernel"]).float()[None, None]
        stages = net(tensor, kernel=kernel, scale=scale, sigma=0.02, return_stages=True)
    estimates = [enlarged(y, scale), *(x[0].permute(1, 2, 0).numpy() for x in stages)]
    for record, x in zip([first, *others], estimates, strict=True):
        blurred = convolve(x.astype(float), inputs["kernel"][..., None], mode="wrap")[::scale, ::scale]
        difference = (blurred - y)[:21, :26]
        assert record.residual == pytest.approx(255 * np.sqrt(np.mean(difference**2)), rel=1e-3)


@pytest.mark.parametrize("name", ["nrl_gdn", "rgdn_uniform"])
def test_the_residual_of_nrl_gdn_is_that_of_blur_with_zeros_beyond_the_continued_picture(name: str) -> None:
    net, inputs = narrow(name), given_to(name)
    image, side = scene(25, 30), len(inputs["kernel"])
    y = np.pad(image / np.float32(255), ((side, side), (side, side), (0, 0)), mode="edge").astype(np.float32)
    with torch.inference_mode():
        kernel = torch.from_numpy(inputs["kernel"]).float()[None, None]
        stages = net(torch.from_numpy(y).permute(2, 0, 1)[None], kernel=kernel, return_stages=True)
    for record, stage in zip(trace(image, net, **inputs)[1:], stages, strict=True):
        x = stage[0].permute(1, 2, 0).numpy().astype(float)
        difference = (convolve(x, inputs["kernel"][..., None], mode="constant") - y)[side:-side, side:-side]
        assert record.residual == pytest.approx(255 * np.sqrt(np.mean(difference**2)), rel=1e-3)


def test_the_residual_of_dgunet_is_by_the_operator_of_the_next_stage() -> None:
    net: Any = narrow("dgunet_deblur")
    image = scene(19, 24)
    records = trace(image, net)
    with torch.inference_mode():
        y = torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None]
        padded = torch.nn.functional.pad(y, (0, 0, 0, 5), mode="reflect")
        estimates = [padded, *net(padded, return_stages=True)]
        for record, x, operator in zip(records, estimates, [net.phi_0, net.basic.phi_1, net.phi_6], strict=False):
            difference = (operator(x) - padded)[..., :19, :]
            assert record.residual == pytest.approx(255 * difference.square().mean().sqrt().item(), rel=1e-4)
    assert [record.residual is None for record in records] == [False, False, False, True]


def test_numbers_are_those_of_the_network() -> None:
    net: Any = narrow("usrnet")
    records = trace(scene(16, 16), net, **given_to("usrnet", 2))
    alphas, betas = net.h(torch.tensor([0.02]), 2)
    assert records[0].numbers == {}
    np.testing.assert_allclose([r.numbers["alpha"] for r in records[1:]], alphas.flatten().tolist(), rtol=1e-6)
    np.testing.assert_allclose([r.numbers["beta"] for r in records[1:]], betas.flatten().tolist(), rtol=1e-6)
    net = narrow("dgunet_plus_deblur")
    with torch.no_grad():
        for k, step in enumerate((0.1, 0.2, 0.3)):
            net.get_parameter(f"r{k}").fill_(step)
    assert [r.numbers["r"] for r in trace(scene(16, 16), net)[1:]] == pytest.approx([0.1, 0.2, 0.3])
    assert trace(scene(16, 16), narrow("nrl_gdn"), **given_to("nrl_gdn"))[1].numbers == {}


def test_psnr_and_change_are_those_of_the_estimates_and_time_goes_on() -> None:
    net, target = narrow("usrnet"), scene(32, 40, seed=1)
    records = trace(scene(16, 20), net, target, **given_to("usrnet", 2))
    for record in records:
        assert record.psnr == metrics.psnr(record.image.clip(0, 1), target / np.float32(255))
    for before, after in pairwise(records):
        difference = after.image.astype(float) - before.image
        assert after.change == pytest.approx(255 * np.sqrt(np.mean(difference**2)))
        assert after.seconds > before.seconds > 0
    np.testing.assert_array_equal(records[0].image, enlarged(scene(16, 20) / np.float32(255), 2))
    assert records[0].change is None
    assert trace(scene(16, 20), net, **given_to("usrnet", 2))[0].psnr is None


def test_a_grey_target_is_compared_with_every_colour() -> None:
    net, image, grey = narrow("dgunet_deblur"), scene(16, 16), scene(16, 16, seed=2)[..., 0]
    records = trace(image, net, grey)
    whole = np.repeat(grey[..., None], 3, axis=2) / np.float32(255)
    assert records[1].psnr == metrics.psnr(records[1].image.clip(0, 1), whole)


def test_another_number_of_stages_where_the_weights_are_tied() -> None:
    net, image = narrow("dgunet_deblur"), scene(24, 24)
    records = trace(image, net, stages=5)
    assert net.stages == 3, "the network itself stays as it was"
    net.stages = 5
    result = restore(image, net, tile=None)
    assert len(records) == 6
    np.testing.assert_array_equal(np.rint(records[-1].image.clip(0, 1) * 255), result)


def test_nrl_gdn_with_a_number_of_stages_runs_beyond_its_stop_rule() -> None:
    net: Any = narrow("nrl_gdn")
    own = trace(scene(24, 24), net, **given_to("nrl_gdn"))
    assert len(own) - 1 < net.stages == 40, "it has ended by its rule"
    more = trace(scene(24, 24), net, stages=len(own) + 2, **given_to("nrl_gdn"))
    assert len(more) == len(own) + 3
    np.testing.assert_array_equal(more[len(own) - 1].image, own[-1].image)
    assert net.stop == "sample"


@pytest.mark.parametrize("name", ["usrnet", "dgunet_plus_deblur"])
def test_stages_with_numbers_or_weights_of_their_own_are_the_first_of_the_whole_run(name: str) -> None:
    net, image = narrow(name), scene(16, 24)
    whole, part = (trace(image, net, stages=stages, **given_to(name)) for stages in (None, 2))
    assert len(part) == 3
    for a, b in zip(whole, part, strict=False):
        np.testing.assert_array_equal(a.image, b.image)
        assert a._replace(image=b.image, seconds=b.seconds) == b
    with pytest.raises(UnfoldError, match="each its own: stages is 1 to 3, not 4"):
        trace(image, net, stages=4, **given_to(name))


def test_inputs_that_do_not_fit_a_trace_are_one_line() -> None:
    image, net = scene(16, 16), narrow("dgunet_deblur")
    for attempt, expected in [
        (lambda: trace(image, net, stages=0), "stages is a whole number from 1"),
        (lambda: trace(image, net, stages=2), "at least 3"),
        (lambda: trace(image, net, scene(16, 17)), "the target is 17x16, and the result 16x16"),
        (lambda: trace(image[..., :1], net, image), "the target has colours"),
        (lambda: trace(image, net, kernel=np.ones((3, 3))), "does not take kernel"),
        (lambda: trace(image.astype(int), net), "an image is uint8"),
        (lambda: trace(image, narrow("dgunet_cs")), "DGUNet-CS restores compressed"),
        (lambda: trace(image, narrow("nrl_gdn")), "also takes kernel"),
    ]:
        with pytest.raises(UnfoldError, match=expected) as error:
            attempt()
        assert "\n" not in str(error.value)
    with torch.no_grad():
        net.get_parameter("tail.weight").fill_(float("nan"))
    with pytest.raises(UnfoldError, match="not finite"):
        trace(image, net)


def test_without_a_number_the_network_is_the_one_given() -> None:
    net = narrow("nrl_gdn")
    assert with_stages(net, None) == (net, 40)
