"""The prompted DGUNet begins as DGUNet, and then does what its input chooses."""

from __future__ import annotations

import pytest
import torch

from tests.narrow import ARGUMENTS, narrow
from unfold import create_model
from unfold.errors import UnfoldError
from unfold.models.registry import skeleton
from unfold.report.models_list import count_parameters
from unfold.weights.recognise import recognise


def test_it_begins_as_the_dgunet_of_the_same_weights() -> None:
    plain = narrow("dgunet_deblur")
    net = create_model("dgunet_prompt", **ARGUMENTS["dgunet_prompt"])
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {key.split(".")[0] for key in missing} == {"prompts", "describe", "choose", "first", "middle", "last"}
    y = torch.rand(2, 3, 21, 33)
    with torch.inference_mode():
        assert torch.equal(net(y), plain(y))


def test_every_map_of_every_stage_moves_the_result() -> None:
    y = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        before = narrow("dgunet_prompt")(y)
        for stage in ("first", "middle", "last"):
            for what in ("operator", "adjoint", "features"):
                net = narrow("dgunet_prompt")
                net.get_parameter(f"{stage}.{what}.weight").add_(0.3)
                assert (net(y) - before).abs().max() > 1e-5, (stage, what)


def test_the_input_chooses_the_prompt_and_not_the_batch() -> None:
    net = narrow("dgunet_prompt")
    y = torch.rand(2, 3, 16, 24) * torch.tensor([1.0, 0.2])[:, None, None, None]
    with torch.inference_mode():
        both = net.begin(y)[1].prompt
        alone = net.begin(y[1:])[1].prompt
    assert (both[0] - both[1]).abs().max() > 1e-4
    assert torch.allclose(both[1:], alone, atol=1e-6)
    assert both.shape == (2, 4, 3, 3)


@pytest.mark.parametrize(
    ("name", "plain", "more"),
    [
        ("dgunet_prompt", {}, 0.005),
        ("dgunet_prompt_narrow", {"width": 16, "growth": 8, "tail": 8}, 0.013),
    ],
)
def test_it_is_as_large_as_a_dgunet_but_for_little(name: str, plain: dict[str, int], more: float) -> None:
    share = count_parameters(skeleton(name, {})) / count_parameters(skeleton("dgunet_denoise", plain)) - 1
    assert 0 < share < more


def test_it_is_distinguished_from_a_dgunet_and_has_any_number_of_stages() -> None:
    net = narrow("dgunet_prompt")
    found = recognise(net.state_dict())
    assert found is not None
    assert set(found[0]) == {"dgunet_prompt", "dgunet_prompt_narrow"}
    rebuilt = create_model("dgunet_prompt", **found[1])
    assert rebuilt.state_dict().keys() == net.state_dict().keys()
    net.stages = 5
    assert len(net(torch.rand(1, 3, 16, 16), return_stages=True)) == 5
    with pytest.raises(UnfoldError, match="prompts, prompt_width and prompt_size must be at least 1"):
        create_model("dgunet_prompt", prompts=0)


def test_its_residual_is_of_the_operator_that_the_stage_applies() -> None:
    net = narrow("dgunet_prompt")
    y = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        x, context = net.begin(y)
        stage = net.modules_of(0)
        operator, adjoint = net.operators(stage, context.prompt)
        residual = net.residual(0, x, context)
        assert residual is not None
        assert torch.allclose(net.data_step(stage, x, context), x - stage.step * adjoint(residual))
        assert not torch.allclose(operator(x), stage.operator(x))
