"""unfold.restore takes pictures as people have them, and networks in what torch wraps them in."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.narrow import narrow
from tests.synthetic import scene
from unfold import restore
from unfold.errors import UnfoldError
from unfold.facts import image as image_input
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.kernels import gaussian_kernel

PICTURE = scene(20, 26)
FLOATS = (PICTURE / 255).astype(np.float32)
KERNEL = gaussian_kernel(5, 1.0)
GIVEN: dict[str, Any] = {"kernel": KERNEL, "scale": 1, "sigma": 0.02}


def first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def refused(expected: str, *args: Any, **given: Any) -> None:
    with pytest.raises(UnfoldError, match=expected) as caught:
        restore(*args, **given)
    assert "\n" not in str(caught.value)


def test_a_tensor_gives_a_tensor_of_its_shape_and_type_with_the_arrays_numbers() -> None:
    net = narrow("dgunet_deblur")
    for array in (
        PICTURE,
        FLOATS,
        FLOATS.astype(np.float64),
        FLOATS.astype(np.float16),
        PICTURE.astype(np.uint16) * 257,
    ):
        expected, tensor = first(restore(array, net)), first(array)
        for given, wanted in (
            (tensor, expected),
            (tensor[None], expected[None]),
            (tensor.expand(2, -1, -1, -1), expected.expand(2, -1, -1, -1)),
        ):
            found = restore(given, net)
            assert found.dtype == given.dtype
            assert torch.equal(found, wanted)
    grey = first(FLOATS)[0]
    assert torch.equal(restore(grey, net), torch.from_numpy(restore(FLOATS[..., 0], net)))
    assert torch.equal(restore(grey[None], net)[0], restore(grey, net))
    tensor = first(FLOATS)
    learned = restore(tensor.clone().requires_grad_(), net)
    assert not learned.requires_grad
    assert restore(tensor.bfloat16(), net).dtype == torch.bfloat16
    assert torch.equal(restore(tensor[None].contiguous(memory_format=torch.channels_last), net)[0], learned)


def test_a_batch_has_a_kernel_a_sigma_and_images_for_each_or_one_for_all() -> None:
    net, batch = narrow("usrnet"), torch.stack([first(FLOATS), first(FLOATS[::-1])])
    kernels = torch.from_numpy(np.stack([KERNEL, gaussian_kernel(5, 0.6)]))[:, None]
    found = restore(batch, net, kernel=kernels, scale=2, sigma=torch.tensor([0.02, 0.05]))
    for i, sigma in enumerate((0.02, 0.05)):
        one = restore(batch[i], net, kernel=kernels[i, 0].numpy(), scale=2, sigma=float(torch.tensor(sigma)))
        assert torch.equal(found[i], one)
    same = restore(batch, net, **{**GIVEN, "kernel": kernels[:1]})
    assert torch.equal(same[1], restore(batch[1], net, **GIVEN))
    refused("there are 3 of kernel for 2 pictures", batch, net, **{**GIVEN, "kernel": kernels[[0, 1, 0]]})


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "I;16"])
def test_a_pil_image_gives_one_of_its_mode_with_the_arrays_numbers(mode: str) -> None:
    net, colour = narrow("usrnet"), Image.fromarray(PICTURE)
    deep = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257)
    picture = deep if mode == "I;16" else colour.convert("L").convert(mode) if mode == "LA" else colour.convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.fromarray(PICTURE[..., 1]))
    found = restore(picture, net, **{**GIVEN, "scale": 2})
    assert found.mode == {"P": "RGB", "1": "L"}.get(mode, mode)
    assert found.size == (52, 40)
    if mode in ("RGB", "L", "I;16"):
        np.testing.assert_array_equal(np.asarray(found), restore(np.asarray(picture), net, **{**GIVEN, "scale": 2}))


@pytest.mark.parametrize("mode", ["CMYK", "F", "I", "HSV", "YCbCr"])
def test_other_modes_of_pil_are_refused_with_what_to_do(mode: str) -> None:
    refused(rf'mode {mode} is not taken: .*convert\("RGB"\)', Image.new(mode, (20, 20)), narrow("dgunet_deblur"))


def test_a_path_gives_an_array_and_a_list_a_list(tmp_path: Path) -> None:
    net, path = narrow("dgunet_deblur"), tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    expected = restore(PICTURE, net)
    for given in (path, str(path)):
        np.testing.assert_array_equal(restore(given, net), expected)
    array, tensor, read, picture = restore([PICTURE, first(PICTURE), path, Image.fromarray(PICTURE)], net)
    assert torch.equal(tensor, first(expected))
    for found in (array, read, np.asarray(picture)):
        np.testing.assert_array_equal(found, expected)
    assert len(restore((PICTURE, PICTURE), net)) == 2
    refused("there is no picture", tmp_path / "none.png", net)
    refused("is a folder", tmp_path, net)


def test_how_an_array_lies_in_memory_changes_nothing() -> None:
    net = narrow("dgunet_deblur")
    expected = restore(FLOATS, net)
    frozen = FLOATS.copy()
    frozen.setflags(write=False)
    for array in (frozen, np.asfortranarray(FLOATS), FLOATS[::-1, ::-1].copy()[::-1, ::-1], FLOATS.astype(">f4")):
        np.testing.assert_array_equal(restore(array, net), expected)


def test_pictures_and_numbers_that_do_not_fit_are_refused_in_one_line() -> None:
    net, usrnet = narrow("dgunet_deblur"), narrow("usrnet")
    tensor = first(FLOATS)
    for picture, expected in (
        (tensor[None][:0], r"not \(0, 3, 20, 26\)"),
        (torch.from_numpy(FLOATS), r"channels last: give it by .permute\(2, 0, 1\)"),
        (torch.from_numpy(FLOATS)[None], r"channels last: give it by .permute\(0, 3, 1, 2\)"),
        (tensor[None, None], r"not \(1, 1, 3, 20, 26\)"),
        (FLOATS.transpose(2, 0, 1), r"channels come last, image.transpose\(1, 2, 0\)"),
        (255 * tensor, "values from .*divide by 255"),
        (tensor - 4, "values from [^:]*$"),
        (tensor * float("nan"), "has numbers that are not finite [^:]*$"),
        ((255 * tensor).long(), "not int64"),
        (FLOATS > 0.5, "not bool"),
        (None, "not of the type NoneType"),
        ({"y": FLOATS}, "not of the type dict"),
        ([0.1, 0.2], "not of the type float"),
    ):
        refused(expected, picture, net)
    for change, expected in (
        ({"sigma": np.array([0.1, 0.2])}, r"sigma is a number, not 2 of them"),
        ({"sigma": np.float32(25)}, "sigma is a standard deviation in"),
        ({"sigma": "0.1"}, "sigma is a number"),
        ({"scale": "2"}, "scale must be a whole number of at least 1, not '2'"),
        ({"scale": None}, "scale must be a whole number of at least 1, not None"),
        ({"kernel": "gauss:1.6"}, "kernel is a matrix of numbers, not str"),
        ({"kernel": None}, "kernel is a matrix"),
        ({"device": 0}, "the device 0 cannot be used"),
    ):
        refused(expected, FLOATS, usrnet, **{**GIVEN, **change})


def test_numbers_and_kernels_may_be_arrays_or_tensors_and_the_device_torchs() -> None:
    net = narrow("usrnet")
    expected = restore(FLOATS, net, **GIVEN, device="cpu")
    for change in (
        {"sigma": np.array(0.02)},
        {"sigma": torch.tensor([0.02], dtype=torch.float64)},
        {"scale": torch.tensor(1)},
        {"scale": 1.0},
        {"kernel": torch.from_numpy(KERNEL).requires_grad_()},
        {"kernel": KERNEL[None, None]},
        {"device": torch.device("cpu")},
    ):
        np.testing.assert_array_equal(restore(FLOATS, net, **{**GIVEN, **change}), expected)


def test_networks_are_found_in_what_torch_wraps_them_in() -> None:
    net = narrow("dgunet_deblur")
    expected = restore(FLOATS, net, device="cpu")
    compiled = torch.compile(net, backend="eager")
    for wrapped in (
        nn.DataParallel(net),
        torch.optim.swa_utils.AveragedModel(net),
        compiled,
        nn.DataParallel(compiled),
        torch.compile(nn.DataParallel(net), backend="eager"),
    ):
        np.testing.assert_allclose(restore(FLOATS, wrapped), expected, atol=1e-5)
    for other in (nn.Conv2d(3, 3, 3), "usrnet_tiny", None):
        refused("is no network of unfold: unfold.load_model", FLOATS, other)


def test_a_network_in_float64_restores_and_one_in_half_precision_is_refused() -> None:
    net = narrow("usrnet")
    exact = restore(FLOATS, copy.deepcopy(net).double(), **GIVEN)
    assert 0 < np.abs(exact - restore(FLOATS, net, **GIVEN)).max() < 1e-4
    refused('precision="bf16"', FLOATS, net.half(), **GIVEN)


def test_further_images_are_arrays_tensors_or_pil_images_in_range() -> None:
    class Masked(UnfoldingNetwork):
        @property
        def inputs(self) -> dict[str, Any]:
            return {"y": image_input(3), "mask": image_input(1)}

        def begin(self, y: torch.Tensor, *, mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
            return y * mask, None

        def stage(self, k: int, x: torch.Tensor, memory: Any, context: Any) -> tuple[torch.Tensor, Any]:
            return x, None

    mask = np.arange(20 * 26).reshape(20, 26) % 3 > 0
    for given in (
        mask,
        mask[..., None].astype(np.float32),
        mask.astype(np.uint8) * 255,
        torch.from_numpy(mask),
        torch.from_numpy(mask)[None, None],
        Image.fromarray(mask),
    ):
        np.testing.assert_array_equal(restore(PICTURE, Masked(1), mask=given), PICTURE * mask[..., None])
    batch = torch.from_numpy(np.stack([mask, ~mask]))[:, None].float()
    found = restore(first(FLOATS).expand(2, -1, -1, -1), Masked(1), mask=batch)
    assert torch.equal(found, first(FLOATS) * batch)
    refused(r"mask is in \[0,1\], and this one has values from 0 to 255", PICTURE, Masked(1), mask=255.0 * mask)
    refused("mask is as large as the picture", PICTURE, Masked(1), mask=mask[:5])
