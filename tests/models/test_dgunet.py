"""DGUNet and DGUNet+ are the published networks: same numbers, same names, any image size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unfold import create_model, list_models
from unfold.errors import UnfoldError
from unfold.models.dgunet import DGUNet, DGUNetPlus
from unfold.models.golden.dgunet_golden import dgunet_rule
from unfold.models.golden.golden_rules import fill
from unfold.report.models_list import count_parameters

GOLDEN = Path(__file__).parents[1] / "golden" / "dgunet.npz"
PARAMETERS = {
    "dgunet_deblur": 17_331_512,
    "dgunet_plus_deblur": 69_572_915,
    "dgunet_derain": 3_661_912,
    "dgunet_plus_derain": 12_176_107,
    "dgunet_denoise": 17_331_512,
    "dgunet_plus_denoise": 48_361_987,
}
NARROW = {"width": 8, "growth": 4, "stages": 3, "operator_width": 4}


def narrow(plus: bool = False) -> DGUNet | DGUNetPlus:
    net = DGUNetPlus(**NARROW) if plus else DGUNet(**NARROW, tail=4)
    return fill(net, dgunet_rule).eval()


def differences_from_golden(name: str, dtype: torch.dtype) -> list[float]:
    golden = np.load(GOLDEN)[name]
    y = torch.from_numpy(np.random.RandomState(0).rand(1, 3, 64, 64).astype(np.float32)).to(dtype)
    with torch.inference_mode():
        stages = fill(create_model(name), dgunet_rule).to(dtype)(y, return_stages=True)
    assert len(stages) == len(golden) == 7
    return [float(np.abs(x[0, :, ::2, 1::2].numpy() - g).max()) for x, g in zip(stages, golden, strict=True)]


@pytest.mark.parametrize("name", ["dgunet_deblur", "dgunet_derain", "dgunet_plus_derain", "dgunet_plus_denoise"])
def test_every_stage_equals_the_published_code_in_float32(name: str) -> None:
    assert max(differences_from_golden(name, torch.float32)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dgunet_deblur", "dgunet_derain", "dgunet_plus_derain", "dgunet_plus_denoise"])
def test_every_stage_equals_the_published_code_in_float64(name: str) -> None:
    assert max(differences_from_golden(name, torch.float64)) <= 1e-9


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_published_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        assert count_parameters(create_model(name)) == PARAMETERS[name]


@pytest.mark.parametrize(("name", "entries"), [("dgunet_deblur", 216), ("dgunet_plus_deblur", 666)])
def test_the_state_dict_has_the_published_names(name: str, entries: int) -> None:
    with torch.device("meta"):
        state = create_model(name).state_dict()
    assert len(state) == entries
    dgunet = [
        "r6",
        "basic.r1",
        "basic.concat12.weight",
        "basic.merge12.subnet.bias",
        "phi_6.body.2.bias",
        "tail.weight",
    ]
    plus = ["r6", "phit_3.body.1.weight", "stage6_encoder.body.2.csff_dec.weight", "merge67.conv_block.weight"]
    for key in plus if "plus" in name else dgunet:
        assert key in state


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (13, 13), (31, 31), (64, 37), (9, 40)])
def test_any_size_from_8x8_comes_back_in_its_size(plus: bool, size: tuple[int, int]) -> None:
    y = torch.rand(2, 3, *size)
    with torch.inference_mode():
        for x in narrow(plus)(y, return_stages=True):
            assert x.shape == y.shape
            assert x.isfinite().all()


def test_padding_is_the_networks_own_reflection_to_a_multiple_of_8() -> None:
    y = torch.rand(1, 3, 21, 34, dtype=torch.float64)
    padded = torch.from_numpy(np.pad(y.numpy(), ((0, 0), (0, 0), (0, 3), (0, 6)), mode="reflect"))
    net = narrow().double()
    with torch.inference_mode():
        assert torch.equal(net(y), net(padded)[..., :21, :34])


@pytest.mark.parametrize("shape", [(1, 3, 5, 5), (1, 3, 64, 7), (1, 1, 16, 16), (3, 16, 16)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        narrow()(torch.rand(shape))


@pytest.mark.parametrize("plus", [False, True])
def test_a_batch_equals_its_images_one_by_one(plus: bool) -> None:
    y = torch.rand(3, 3, 24, 32)
    net = narrow(plus)
    with torch.inference_mode():
        singles = torch.cat([net(image[None]) for image in y])
        assert (net(y) - singles).abs().max() <= 1e-5


@pytest.mark.parametrize("plus", [False, True])
def test_one_prelu_is_shared_within_a_network_and_never_between_two(plus: bool) -> None:
    a, b = narrow(plus), narrow(plus)
    operators = [net.modules_of(k) for net in (a, b) for k in range(3)]
    mine, other = ({id(m.operator.body[1]) for m in part} for part in (operators[:3], operators[3:]))
    assert len(mine) == len(other) == 1
    assert mine != other
    assert {id(p) for p in a.parameters()}.isdisjoint({id(p) for p in b.parameters()})
    shallow = [id(m.shallow[1].body[1]) for m in operators[:3]]
    assert len(set(shallow)) == (1 if plus else 2), "the first and the last share one, DGUNet's middle has its own"


@pytest.mark.parametrize("plus", [False, True])
def test_every_parameter_learns_but_the_published_dead_one(plus: bool) -> None:
    net = narrow(plus).train()
    torch.stack(net(torch.rand(2, 3, 16, 24), return_stages=True)).square().sum().backward()
    without = {name for name, p in net.named_parameters() if p.grad is None}
    assert without == (set() if plus else {"basic.concat12.weight"})


@pytest.mark.parametrize("plus", [False, True])
def test_gradients_agree_with_finite_differences(plus: bool) -> None:
    net = fill(DGUNetPlus(4, 2, 3, 2) if plus else DGUNet(4, 2, 2, 3, 2), dgunet_rule).double()
    y = torch.rand(1, 3, 8, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda image: net(image).mean(dim=(2, 3)), y, fast_mode=True)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_images_stay_finite_though_their_subspace_is_degenerate(value: float) -> None:
    y = torch.full((1, 3, 64, 64), value)
    for plus in (False, True):
        net = narrow(plus)
        net(y).sum().backward()
        assert net(y).isfinite().all()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("plus", [False, True])
def test_bfloat16_autocast_stays_close_to_float32_and_solves_with_the_gram_matrix_in_float32(
    plus: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    solve = torch.linalg.solve_ex
    monkeypatch.setattr(torch.linalg, "solve_ex", lambda a, b: seen.append(a.dtype) or solve(a, b))
    net, y = narrow(plus), torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        exact = net(y)
        with torch.autocast("cpu", torch.bfloat16):
            half = net(y)
    assert set(seen) == {torch.float32}
    assert (half - exact).square().mean().sqrt() < 0.01 * exact.std() + 1e-3
    seen.clear()
    net.double()(y.double())
    assert set(seen) == {torch.float64}


def test_names_and_arguments_that_do_not_exist_are_one_clear_error() -> None:
    assert list_models() == sorted(list_models())
    with pytest.raises(UnfoldError, match="did you mean dgunet_denoise"):
        create_model("dgunet_denose")
    with pytest.raises(UnfoldError, match="takes no argument 'tail'"):
        create_model("dgunet_plus_denoise", tail=4)
    for wrong in ({"stages": 2}, {"width": 0}, {"width": 2}, {"growth": 5}, {"growth": -2}):
        with pytest.raises(UnfoldError, match="cannot be built"):
            create_model("dgunet_denoise", **wrong)
