"""The prompted DGUNet begins as DGUNet, and then does what its input chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.narrow import ARGUMENTS, narrow
from unfold import create_model
from unfold.errors import UnfoldError
from unfold.facts import Tiling
from unfold.inference.restore import restore
from unfold.inference.tiling import resized_part
from unfold.models.dgunet_prompt import DGUNetPrompt
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


class Shaded(DGUNetPrompt):
    """Only the prompt's work: y times the prompt at its place. Nothing else of it has a reach."""

    tiling = Tiling(exact=True, reach=0)

    def stage(self, k: int, x: Tensor, memory: Any, context: Any) -> tuple[Tensor, Any]:
        return x * F.interpolate(context.prompt[:, : x.shape[1]], x.shape[-2:], mode="bilinear"), None


@pytest.mark.parametrize("channels", [3, 1])
def test_tiles_share_the_prompt_of_the_picture_each_at_its_place(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tile of this picture, which is dark above and bright below, would choose another prompt."""
    torch.manual_seed(0)
    net = Shaded(4, 0, 2, 3, 4, channels, prompt_width=4, prompt_size=3)
    torch.nn.init.normal_(net.choose.weight, 0, 5)
    rng = np.random.default_rng(0)
    y = rng.random((133, 91, 3), np.float32) * np.linspace(0, 1, 133, dtype=np.float32)[:, None, None] ** 4
    y = y if channels == 3 else np.repeat(y[..., :1], 3, axis=2)
    asked: list[tuple[int, ...]] = []
    survey = net.survey
    monkeypatch.setattr(net, "survey", lambda y: (asked.append(tuple(y.shape)), survey(y))[1])
    whole = restore(y, net, tile=None)
    assert not asked, "a picture at once is the network's own business"
    tiled = restore(y, net, tile=64)
    assert asked == [(1, channels, 133, 91)], "once for all tiles"
    assert np.abs(tiled - whole).max() < 1e-6
    assert np.abs(restore(y, net, tile=64, precision="bf16") - whole).max() < 0.05
    together = restore(y, net, tile=None, ensemble=True)
    assert np.abs(restore(y, net, tile=64, ensemble=True) - together).max() < 1e-6
    monkeypatch.setattr(Shaded, "of_whole", ())
    assert np.abs(restore(y, net, tile=64) - whole).max() > 0.05, "tiles alone would differ"


@pytest.mark.parametrize("found", [{}, {"shade": torch.ones(1, 4, 2, 2)}, {"prompt": torch.ones(4, 2, 2)}])
def test_a_survey_that_returns_something_else_is_one_line(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = narrow("dgunet_prompt")
    monkeypatch.setattr(net, "survey", lambda y: found)
    with pytest.raises(UnfoldError, match=r"survey returns images \(1,C,h,w\) named prompt, not "):
        restore(np.zeros((72, 40, 3), np.float32), net, tile=64)


def test_a_self_ensemble_in_tiles_turns_the_prompt_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    net = narrow("dgunet_prompt")
    y = np.random.default_rng(0).random((72, 40, 3), np.float32)
    seen: list[tuple[torch.Size, torch.Size]] = []
    begin = net.begin

    def spied(y: Tensor, prompt: Tensor | None = None) -> Any:
        if prompt is not None:
            seen.append((y.shape[2:], prompt.shape[2:]))
        return begin(y, prompt)

    monkeypatch.setattr(net, "begin", spied)
    restore(y, net, tile=64, ensemble=True)
    assert len(seen) == 8 * 3, "three tiles"
    assert all(of_tile == of_prompt for of_tile, of_prompt in seen)


def test_a_part_of_a_resized_image_is_that_of_torch() -> None:
    small = np.random.default_rng(0).random((3, 5, 2), np.float32)
    whole = F.interpolate(torch.tensor(small).permute(2, 0, 1)[None], (37, 64), mode="bilinear")[0].permute(1, 2, 0)
    part = resized_part(small, (37, 64), slice(5, 31), slice(60, 64))
    assert np.allclose(part, whole[5:31, 60:], atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (33, 8), (17, 40)])
def test_it_restores_one_picture_of_any_size(size: tuple[int, int]) -> None:
    net = narrow("dgunet_prompt").eval()
    y = torch.rand(1, 3, *size)
    with torch.inference_mode():
        assert net(y).shape == y.shape
        assert torch.equal(net(y), net.train()(y))
