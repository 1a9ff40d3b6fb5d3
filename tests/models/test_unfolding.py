"""The loop: stages in order, the same result however it is run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unfold.models.dgunet import DGUNet
from unfold.models.golden.dgunet_golden import dgunet_rule
from unfold.models.golden.golden_rules import fill
from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.padding import crop_to, pad_to_multiple


class Halving(UnfoldingNetwork):
    """x_{k+1} = w x_k + k, counting its stages in memory."""

    def __init__(self, stages: int) -> None:
        super().__init__(stages)
        self.w = nn.Parameter(torch.tensor(0.5))
        self.calls = 0

    def begin(self, y: Tensor) -> tuple[Tensor, Any]:
        return y, None

    def stage(self, k: int, x: Tensor, memory: Any, context: Any) -> tuple[Tensor, Any]:
        assert memory == (None if k == 0 else k)
        self.calls += 1
        return self.w * x + k, k + 1


def test_stages_come_first_to_last_and_the_last_is_the_result() -> None:
    net, y = Halving(3), torch.tensor([8.0])
    assert [x.item() for x in net(y, return_stages=True)] == [4.0, 3.0, 3.5]
    assert net(y).item() == 3.5


def test_iterate_runs_one_stage_at_a_time() -> None:
    net = Halving(3)
    stages = net.iterate(torch.tensor([8.0]))
    assert (next(stages).item(), net.calls) == (4.0, 1)
    assert (next(stages).item(), net.calls) == (3.0, 2)


def test_states_begin_with_the_first_estimate() -> None:
    assert [state.x.item() for state in Halving(3).states(torch.tensor([8.0]))] == [8.0, 4.0, 3.0, 3.5]


def test_a_network_has_at_least_one_stage() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Halving(0)


def test_checkpointed_stages_give_the_same_gradients_and_are_computed_again() -> None:
    net = fill(DGUNet(8, 4, 4, 4, 4), dgunet_rule)
    y = torch.rand(2, 3, 16, 16)
    gradients = []
    for net.checkpoint_stages in (False, True):
        net.zero_grad()
        stages = net(y, return_stages=True)
        torch.stack(stages).square().mean().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-6, atol=1e-8), name

    counting = Halving(3)
    counting.checkpoint_stages = True
    counting(torch.tensor([1.0])).backward()
    assert counting.calls == 6
    with torch.no_grad():
        counting(torch.tensor([1.0]))
    assert counting.calls == 9


@pytest.mark.parametrize("size", [(16, 8), (17, 9), (3, 5), (1, 1)])
def test_padding_keeps_the_image_and_reaches_the_multiple(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    padded = pad_to_multiple(x, 8)
    assert padded.shape[-2] % 8 == padded.shape[-1] % 8 == 0
    assert all(0 <= p - n < 8 for p, n in zip(padded.shape[-2:], size, strict=True))
    assert torch.equal(crop_to(padded, size), x)
    if size == (16, 8):
        assert padded is x
