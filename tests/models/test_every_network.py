"""What holds for every network: any size, any batch, both precisions, gradients where there should be some."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from tests.narrow import NAMES, OURS, inputs, narrow, of_sample
from tests.watching import watch_precision
from unfold import create_model, list_models
from unfold.metrics import psnr
from unfold.util.value_checks import unchecked

GUESTS = ("ista_net", "ista_net_plus", "ista_net_plus_mri")
PUBLISHED = [name for name in list_models() if name not in (*OURS, *GUESTS)]  # of the papers


def dead_in_compressive_sensing(stages: list[str]) -> set[str]:
    """The learned operators (Phi is known), and the pathways of the first stage (there is no previous one)."""
    layers = ("body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias")
    operators = {f"{stage}.{operator}.{layer}" for stage in stages for operator in ("phi", "phit") for layer in layers}
    pathways = {f"stage1_encoder.body.{i}.csff_{side}" for i in range(3) for side in ("enc", "dec")}
    shared_act = {f"{stages[0]}.phi.body.1.weight"}
    return operators | shared_act | {f"{path}.{kind}" for path in pathways for kind in ("weight", "bias")}


DEAD = {
    "dgunet_deblur": {"basic.concat12.weight"},
    "dgunet_prompt": {"basic.concat12.weight"},
    "dgunet_cs": dead_in_compressive_sensing(["stage_model"]),
    "dgunet_plus_cs": dead_in_compressive_sensing(["body.0", "body.1"]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(8, 8), (13, 13), (31, 31), (64, 37), (100, 100)])
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_and_a_batch_equals_its_images_one_by_one(name: str, size: tuple[int, int], batch: int) -> None:
    net, given = narrow(name), inputs(name, batch, *size)
    with torch.inference_mode():
        result = net(**given)
        singles = torch.cat([net(**of_sample(given, i)) for i in range(batch)])
    scale = given.get("scale", 1)
    assert result.shape[-2:] == (size[0] * scale, size[1] * scale)
    assert result.isfinite().all()
    assert (result - singles).abs().max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_computed_in_float64(name: str) -> None:
    given = inputs(name, 2, 24, 20)
    double = {key: value.double() if isinstance(value, torch.Tensor) else value for key, value in given.items()}
    with torch.inference_mode():
        exact, rounded = narrow(name).double()(**double), narrow(name)(**given)
    assert exact.dtype == torch.float64
    assert 0 < (exact - rounded).abs().max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient_but_those_dead_by_design(name: str) -> None:
    net = narrow(name).train()
    stages = net(**inputs(name, 2, 16, 24), return_stages=True)
    torch.stack(list(stages)).square().sum().backward()
    without = {key for key, parameter in net.named_parameters() if parameter.grad is None}
    assert without == DEAD.get(name, set())
    gradients = {key: p.grad for key, p in net.named_parameters() if p.grad is not None}
    learning = {key: gradient for key, gradient in gradients.items() if "CA.conv_du" not in key}
    if name in ("ista_net", "ista_net_plus"):  # Phi Q = 1 to rounding, so that x_0 fits y already
        vanishing = learning.pop("fcs.0.lambda_step")
        assert vanishing.abs() < 1e-4 * learning["fcs.1.lambda_step"].abs()
    assert all(gradient.any() for gradient in learning.values()), "attention gates apart, which random ReLUs can close"
    assert all(not p.requires_grad for key, p in net.named_parameters() if key in without), (
        "the optimiser is not given them either"
    )


@pytest.mark.parametrize("name", NAMES)
def test_stages_do_something(name: str) -> None:
    """So that what is compared elsewhere is more than an input handed through."""
    net, given = narrow(name), inputs(name, 2, 24, 20)
    with torch.inference_mode():
        begun = net.begin(**given)
        x = net.finish(*begun) if name.startswith("ista") else begun[0]  # blocks, put together
        stages = net(**given, return_stages=True)
    moved = [(b[..., :24, :20] - a[..., :24, :20]).abs().max() for a, b in zip([x, *stages], stages, strict=False)]
    assert min(moved) > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_all_physics_and_the_last_layers_stay_float32(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, given = narrow(name), inputs(name, 2, 32, 24)
    seen = watch_precision(net, monkeypatch)
    with torch.inference_mode():
        exact = net(**given)
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16):
            half = net(**given)
    assert len(seen) > 1
    for where, dtypes in seen.items():
        assert dtypes <= {torch.float32, torch.complex64}, where
    assert half.dtype == torch.float32
    assert half.isfinite().all()
    with unchecked():  # random weights make no images
        assert psnr(half, exact).min() > 40, "with random weights; at published widths see unfold check"


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_inputs_are_taken_up_to_float32(name: str) -> None:
    if name.startswith("dgunet") and not name.endswith("_cs"):
        pytest.skip("has no physics in it: inputs are of the weights' type, or under autocast")
    net, given = narrow(name), inputs(name, 1, 24, 24)
    halved = {key: value.bfloat16() if isinstance(value, torch.Tensor) else value for key, value in given.items()}
    with torch.inference_mode():
        assert net(**halved).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_checkpointed_stages_give_the_same_gradients(name: str) -> None:
    given = inputs(name, 1, 16, 16)
    found = []
    for checkpointed in (False, True):
        net = narrow(name).train()
        net.checkpoint_stages = checkpointed
        torch.stack(list(net(**given, return_stages=True))).square().mean().backward()
        found.append({key: p.grad for key, p in net.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for key, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][key], rtol=1e-5, atol=1e-7), key


@pytest.mark.parametrize("name", NAMES)
def test_stages_can_be_set_anew_where_weights_are_tied_and_only_there(name: str) -> None:
    net, given = narrow(name).train(), inputs(name, 1, 16, 16)
    fixed = len(net(**given, return_stages=True))
    if net.tied and not name.startswith(("nrl", "rgdn")):
        net.stages = fixed + 2
        assert len(net(**given, return_stages=True)) == fixed + 2
    elif not net.tied:
        with pytest.raises(ValueError, match="their number is set when it is built"):
            net.stages = fixed + 1
        assert len(net(**given, return_stages=True)) == fixed
    with pytest.raises(ValueError, match="at least"):
        net.stages = 0


def test_names_are_those_of_the_papers_of_guests_and_our_own() -> None:
    assert list_models() == sorted(
        [f"dgunet_{task}" for task in ("deblur", "derain", "denoise", "cs")]
        + [f"dgunet_plus_{task}" for task in ("deblur", "derain", "denoise", "cs")]
        + ["usrnet", "usrnet_tiny", "nrl_gdn", "nrl_gdn_y0", "rgdn_uniform", *GUESTS, *OURS]
    )
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in create_model(name).parameters()) for name in PUBLISHED}
    assert counts["usrnet"] == 17_016_016
    assert counts["usrnet_tiny"] == 590_332
    assert counts["nrl_gdn"] == counts["nrl_gdn_y0"] == counts["rgdn_uniform"] == 33_683_584


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dicts_have_the_published_names_shapes_and_order(name: str) -> None:
    published = json.loads((Path(__file__).parents[1] / "golden" / "manifests.json").read_text())
    with torch.device("meta"):
        state = create_model(name).state_dict()
    manifest = json.dumps([[key, list(value.shape)] for key, value in state.items()])
    assert hashlib.sha256(manifest.encode()).hexdigest() == published[name]


@pytest.mark.parametrize("name", NAMES)
def test_images_in_integers_are_refused(name: str) -> None:
    """They would be taken as floats far beyond [0,1]."""
    given = inputs(name, 1, 32, 32)
    key = "image" if "image" in given else "y"
    with pytest.raises(ValueError, match="must hold floats in \\[0,1\\], not uint8: divide by 255"):
        narrow(name)(**{**given, key: (255 * given[key]).to(torch.uint8)})


@pytest.mark.parametrize("sigma", [2.55, -1.0, float("nan")])
def test_a_sigma_in_255_units_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="divide 255 units by 255"):
        narrow("usrnet")(**{**inputs("usrnet", 1, 24, 24), "sigma": sigma})
