"""What people give to networks: values, types and sizes that no network takes are refused in one line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.narrow import ARGUMENTS, NAMES, inputs, narrow
from unfold import create_model, load_model, restore
from unfold.config import load_config
from unfold.facts import image, kernel, level, number, whole
from unfold.from_config import build_network
from unfold.models.registry import for_people, plain_model
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.kernels import bicubic_kernel
from unfold.steps.closed_form import prepare
from unfold.util.value_checks import unchecked
from unfold.weights.load_model import load_named


def picture_of(name: str) -> str:
    return "image" if name.endswith("_cs") or name.startswith("ista_net") else "y"


def called(name: str, batch: int = 2, **change: Any) -> Any:
    with torch.no_grad():
        return narrow(name)(**{**inputs(name, batch, 24, 24), **change})


def refused(call: Callable[[], Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_that_no_network_takes_are_refused(name: str) -> None:
    key = picture_of(name)
    y = inputs(name, 2, 24, 24)[key]
    for wrong, expected in (
        (255 * y, r"values from .* to 2\d\d.*divide by 255"),
        (65535 * y, "divide by 255"),
        (y - 3, r"values from -\d"),
        (torch.where(y > 0.9, float("nan"), y), "not finite"),
        (torch.where(y > 0.9, float("inf"), y), "not finite"),
        (y.double(), rf"{key} is float64 and the network float32: give {key}.float\(\)"),
        ((255 * y).int(), "must hold floats in .0,1., not int32: divide by 255"),
        (y > 0.5, "not bool"),
        (y + 0j, "not complex64"),
        (y[0], rf"must have shape .*: {key}\[None\] is a batch of one"),
        (y.permute(0, 2, 3, 1), r"channels come first, .*permute\(0, 3, 1, 2\)"),
        (y[:0], "is empty"),
        (y[..., :0], "is empty"),
        (y.numpy(), "NumPy array, .*torch.from_numpy"),
        (Image.new("RGB", (24, 24)), "not a Image: unfold.restore takes"),
        ("a.png", "not 'a.png'"),
        ([1.0], "not a list"),
    ):
        refused(lambda wrong=wrong: called(name, **{key: wrong}), expected)


@pytest.mark.parametrize("name", NAMES)
def test_legal_pictures_pass_with_the_numbers_that_they_had(name: str) -> None:
    given, key = inputs(name, 2, 24, 24), picture_of(name)
    net, plain = narrow(name), narrow(name)
    plain.checks_inputs = False
    noisy = given[key] * 4.9 - 1.95
    for y in (
        given[key],
        noisy,
        noisy.contiguous(memory_format=torch.channels_last),
        noisy.flip(-1),
        noisy.expand(2, -1, -1, -1),
    ):
        with torch.no_grad():
            assert torch.equal(net(**{**given, key: y}), plain(**{**given, key: y}))
    half = given[key].half()
    with torch.no_grad():
        assert torch.equal(net(**{**given, key: half}), net(**{**given, key: half.float()})), "taken up without loss"
        assert net.double()(**{**given, key: given[key]}).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_refused_with_what_to_use(name: str, kind: torch.dtype) -> None:
    given = inputs(name, 1, 24, 24)
    for taken in (given, {key: v.to(kind) if isinstance(v, Tensor) else v for key, v in given.items()}):
        refused(
            lambda taken=taken: narrow(name).to(kind)(**taken), 'torch.autocast, in unfold.restore precision="bf16"'
        )


@pytest.mark.parametrize("name", ["usrnet", "nrl_gdn"])
def test_kernels_that_are_no_blurs_are_refused(name: str) -> None:
    k = inputs(name, 2, 24, 24)["kernel"]
    one_of_two = k * torch.tensor([1.0, 2.0])[:, None, None, None]
    for wrong, expected in (
        (9 * k, r"sum 9, .*kernel / kernel.sum\(\(-2, -1\), keepdim=True\)"),
        (0.5 * k, "sum 0.5"),
        (one_of_two, "sum 2"),
        (-k, "sum -1.* no blur"),
        (0 * k, "sum 0"),
        (k * float("nan"), "sum nan"),
        ((255 * k).to(torch.uint8), r"sum 2\d\d"),
        (k.numpy(), r"NumPy array, .*torch.from_numpy\(kernel\)\[None, None\].float\(\)"),
        (k[0, 0], "kernel must have shape"),
        (k[:1].repeat(3, 1, 1, 1), "there are 3 kernels for 2 samples"),
        (k[..., :0], "empty"),
        (k + 0j, "real numbers"),
        (None, "kernel is a tensor of shape .*, not None"),
    ):
        refused(lambda wrong=wrong: called(name, kernel=wrong), expected)
    for fine in (k * 0.9999, k * 1.05, k.double(), k.half(), k[:1], torch.ones(1, 1, 1, 1, dtype=torch.long)):
        assert called(name, kernel=fine).isfinite().all()


def test_bicubic_kernels_and_prepared_ones_pass() -> None:
    for scale in (2, 3, 4):
        k = torch.from_numpy(bicubic_kernel(scale)).float()[None, None]
        assert called("usrnet", kernel=k, scale=scale).isfinite().all()
        prepared = prepare(k, (24 * scale, 24 * scale), scale)
        assert called("usrnet", kernel=prepared, scale=scale).isfinite().all()


@pytest.mark.parametrize(
    "of",
    [
        float,
        np.float32,
        np.float64,
        np.array,
        lambda v: np.array([v]),
        torch.tensor,
        lambda v: torch.tensor([v]),
        lambda v: torch.tensor([0.1, v]),
        lambda v: [0.1, v],
    ],
)
@pytest.mark.parametrize("value", [25.0, 2.55, 1.01, -1.0, float("nan"), float("inf")])
def test_a_sigma_in_other_units_is_refused_whatever_holds_it(of: Callable[[float], Any], value: float) -> None:
    refused(
        lambda: called("usrnet", sigma=of(value)), r"standard deviation in \[0,1\] units, not .*divide 255 units by 255"
    )


def test_numbers_of_all_kinds_mean_the_same() -> None:
    given = inputs("usrnet", 2, 24, 24)
    expected = called("usrnet", **{**given, "sigma": float(np.float32(0.1))})
    two = np.array([0.1, 0.1], np.float32)
    for sigma in (two[0], two[:1], two, two.tolist(), np.array(0.1, np.float32), *map(torch.tensor, (0.1, [0.1], two))):
        assert torch.equal(called("usrnet", **{**given, "sigma": sigma}), expected), sigma
    for scale in (2.0, np.int64(2), np.array(2), torch.tensor(2), torch.tensor([2])):
        found = called("usrnet", **{**given, "sigma": two[0], "scale": scale})
        assert torch.equal(found, expected), scale


def test_what_is_no_number_is_refused() -> None:
    for sigma in ("0.1", None, True, torch.tensor([True]), 1 + 0j, object()):
        refused(lambda sigma=sigma: called("usrnet", sigma=sigma), "sigma is a number")
    refused(lambda: called("usrnet", sigma=torch.full((3,), 0.1)), "one number or one per sample, 2, not 3")
    for scale in ("2", None, 2.5, 0, -1, True, float("nan"), float("inf"), [2], torch.tensor([2, 2])):
        refused(lambda scale=scale: called("usrnet", scale=scale), "scale must be a whole number of at least 1, not")
    for scale in ("2", None, float("nan"), 2.5):
        refused(lambda scale=scale: prepare(torch.ones(1, 1, 1, 1), (8, 8), scale), "scale must be a whole number")


class Own(UnfoldingNetwork):
    """A network of a person's own, without any look at what it is given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.layer = nn.Conv2d(3, 3, 1)

    @property
    def inputs(self) -> dict[str, Any]:
        return {
            "y": image(3),
            "mask": image(1),
            "blur": kernel(),
            "noise": level(),
            "times": whole(),
            "weight": number(),
        }

    def begin(
        self, y: Tensor, *, mask: Any, blur: Any = None, noise: Any = 0.0, times: Any = 1, weight: Any = 0.0
    ) -> Any:
        return y * mask, None

    def stage(self, k: int, x: Tensor, memory: Any, context: Any) -> tuple[Tensor, Any]:
        return self.layer(x), None


def test_networks_of_peoples_own_get_the_same_looks_by_the_kinds_of_their_inputs() -> None:
    net = for_people(Own(), None).eval()
    y, mask = torch.rand(2, 3, 9, 7), torch.ones(2, 1, 9, 7)

    def run(**change: Any) -> Tensor:
        return net(**{"y": y, "mask": mask, **change})

    for change, message in (
        ({"y": 255 * y}, "y has values"),
        ({"y": y.double()}, "y is float64"),
        ({"y": y[:, :2]}, "y must have shape"),
        ({"mask": mask[..., :5]}, r"mask is as large as the picture, \(2, 1, 9, 7\), and this one is \(2, 1, 9, 5\)"),
        ({"mask": mask[:1].repeat(3, 1, 1, 1)}, "as large as the picture"),
        ({"mask": mask[0]}, "as large as the picture"),
        ({"mask": mask.numpy()}, "mask is a NumPy array"),
        ({"mask": 255 * mask}, "mask has values from 255 to 255"),
        ({"mask": mask.to(torch.uint8)}, "mask must hold floats"),
        ({"blur": torch.ones(1, 1, 3, 3)}, "blur has the sum 9"),
        ({"blur": torch.ones(3, 1, 1, 1)}, "3 kernels for 2 samples"),
        ({"noise": np.float32(25)}, "noise is a standard deviation"),
        ({"times": "2"}, "times must be a whole number"),
        ({"times": 1.5}, "times must be a whole number"),
        ({"weight": "x"}, "weight is a number"),
        ({"weight": float("nan")}, "weight is a finite number"),
    ):
        refused(lambda change=change: run(**change), message)
    expected = run()
    for fine in (mask.bool(), mask[:1], mask.half()):
        assert torch.equal(run(mask=fine), expected)
    assert torch.equal(run(blur=None), expected), "an input with a default"
    assert torch.equal(run(weight=torch.ones(2)), expected)
    assert torch.equal(net(y, mask=mask), expected), "by its place"
    assert copy.deepcopy(net).half()(y.half(), mask=mask.half()).dtype == torch.float16, (
        "which computes in any precision"
    )
    refused(lambda: copy.deepcopy(net).half()(y, mask=mask), r"y is float32 and the network float16: give y.half\(\)")


def test_every_way_to_run_looks_and_wrong_arguments_are_pythons_own() -> None:
    net, given = narrow("usrnet"), inputs("usrnet", 1, 24, 24)
    wrong = {**given, "y": 255 * given["y"]}
    for run in (lambda: net(**wrong, return_stages=True), lambda: net.run(**wrong), lambda: list(net.iterate(**wrong))):
        refused(run, "y has values")
    with pytest.raises(TypeError, match="kernel"):
        net(given["y"])
    with pytest.raises(TypeError, match="nothing"):
        net(**given, nothing=1)


def test_the_switch_is_on_for_people_and_off_inside_the_package(tmp_path: Any) -> None:
    name, arguments = "usrnet", ARGUMENTS["usrnet"]
    made = create_model(name, **arguments)
    torch.save({"state_dict": made.state_dict(), "model": {"name": name, "arguments": arguments}}, tmp_path / "w.pth")
    (tmp_path / "r.yaml").write_text(
        "MODEL: {NAME: usrnet, ARGS: {widths: [4, 6, 8, 8], depth: 1}}\nDATA: {KIND: usrnet}\n"
    )
    assert made.checks_inputs
    assert create_model(name, **arguments, device="cpu").checks_inputs
    assert load_model(tmp_path / "w.pth").checks_inputs
    inside = [
        plain_model(name, **arguments),
        load_named(tmp_path / "w.pth")[2],
        build_network(load_config(tmp_path / "r.yaml")),
    ]
    given = inputs(name, 1, 24, 24)
    wrong = {**given, "y": 255 * given["y"]}
    for net in inside:
        assert not net.checks_inputs
        assert net(**wrong).isfinite().all()
    with unchecked():
        assert made(**wrong).isfinite().all()
    made.checks_inputs = False
    assert made(**wrong).isfinite().all(), "a switch"


def test_tensors_without_numbers_of_their_own_pass() -> None:
    net = narrow("dgunet_deblur")
    y = torch.rand(2, 3, 16, 16)
    assert torch.func.vmap(lambda one: net(one[None])[0])(y).shape == y.shape
    assert copy.deepcopy(net).to("meta")(y.to("meta")).shape == y.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert net(y.bfloat16()).isfinite().all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dgunet_deblur", "usrnet"])
def test_tensors_without_numbers_of_their_own_are_one_line_for_every_input(name: str) -> None:
    given = {key: value for key, value in inputs(name, 1, 24, 24).items() if isinstance(value, Tensor)}
    for key, value in given.items():
        refused(lambda k=key, v=value: called(name, 1, **{k: v.to_sparse()}), rf"{key} is .*sparse_coo.*to_dense")  # type: ignore[misc]
        refused(lambda k=key, v=value: called(name, 1, **{k: v.to("meta")}), f"{key} is on the device meta")  # type: ignore[misc]
    for wrong, expected in (
        (torch.quantize_per_tensor(given["y"], 0.1, 0, torch.quint8), "dequantize"),
        (torch.nested.nested_tensor([given["y"][0]]), "to_padded_tensor"),
    ):
        refused(lambda w=wrong: called(name, 1, y=w), expected)  # type: ignore[misc]
    bare = narrow(name).to("meta")
    refused(lambda: bare(**inputs(name, 1, 24, 24)), "the network is on the device meta")
    net = narrow(name)
    beside = {key: value for key, value in inputs(name, 1, 24, 24).items() if key != "y"}
    refused(lambda: restore(given["y"].to_sparse(), net, **beside), "the picture is .*to_dense")
    refused(lambda: restore(given["y"].to("meta"), net, **beside), "the device meta has no numbers")
