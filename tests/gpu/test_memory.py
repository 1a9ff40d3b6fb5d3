"""A run of more stages needs no more memory, and checkpointed stages train in less. Published width on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from scripts.compare_memory import published_order
from tests.gpu.setting import computed_in, peak_memory
from tests.narrow import inputs, narrow
from unfold import create_model
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import Charbonnier
from unfold.models.unfolding import Output, UnfoldingNetwork
from unfold.util.device import place

NAMES = ("dgunet_deblur", "dgunet_plus_deblur", "dgunet_cs", "dgunet_plus_cs", "usrnet", "nrl_gdn")
Record = Callable[[str, object], None]


def build(name: str, device: torch.device, stages: int) -> tuple[UnfoldingNetwork, dict[str, Any]]:
    """A network that runs just so many stages, and inputs for it."""
    fixed = {"train_stages": stages} if name.startswith(("nrl_gdn", "rgdn")) else {"stages": stages}
    net = narrow(name, **fixed) if device.type == "cpu" else create_model(name, **fixed)
    given = inputs(name, 1, 32, 32) if device.type == "cpu" else inputs(name, 1, 128, 128)
    placed = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in given.items()}
    return place(net.train(), device), placed


@pytest.mark.parametrize("name", NAMES)
def test_the_peak_of_a_forward_does_not_grow_with_the_number_of_stages(
    name: str, device: torch.device, record_property: Record
) -> None:
    peaks = []
    for stages in (4, 8):
        net, given = build(name, device, stages)
        with torch.no_grad():
            peaks.append(peak_memory(lambda net=net, given=given: net(**given), device))
        record_property(f"{stages} stages, MiB", peaks[-1] / 2**20)
    assert peaks[0] > 0
    assert peaks[1] <= 1.01 * peaks[0]


@pytest.mark.parametrize("name", ["dgunet_deblur", "dgunet_plus_deblur"])
def test_a_forward_keeps_alive_what_the_next_stage_needs_and_no_more(
    name: str, device: torch.device, record_property: Record
) -> None:
    net, given = build(name, device, 5)
    with torch.no_grad():
        assert torch.equal(net(**given), published_order(net, given["y"])[0])
        ours, theirs = (
            peak_memory(run, device) for run in (lambda: net(**given), lambda: published_order(net, given["y"]))
        )
    record_property("of the published order", ours / theirs)
    assert ours <= 0.8 * theirs


@pytest.mark.parametrize("name", NAMES)
def test_checkpointed_stages_lower_the_peak_of_a_training_step_and_keep_the_gradients(
    name: str, device: torch.device, record_property: Record
) -> None:
    net, given = build(name, device, 6)

    def step() -> None:
        net.zero_grad(set_to_none=False)  # gradients are there before and after: what is left is the activations
        with computed_in("float32", device):  # in TF32 gradients differ by some 1e-4 from run to run
            stages = net(**given, return_stages=True)
            TotalLoss([Term(Charbonnier(), every_stage=True)])(
                Output(stages, {}), {"target": torch.full_like(stages[-1], 0.5)}
            ).backward()

    step()
    peaks, gradients = [], []
    for net.checkpoint_stages in (False, True):
        peaks.append(peak_memory(step, device))
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
        record_property(f"{'checkpointed' if net.checkpoint_stages else 'plain'}, MiB", peaks[-1] / 2**20)
    assert peaks[1] < 0.7 * peaks[0]
    plain, checkpointed = gradients
    assert plain.norm() > 0
    assert (plain - checkpointed).norm() <= 1e-4 * plain.norm(), "backward convolutions on CUDA differ from run to run"
