"""The host queues a whole forward and a training step on the GPU without waiting for it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.gpu.published import published
from tests.gpu.setting import random_inputs
from tests.narrow import ARGUMENTS, NAMES, OURS
from unfold import create_model, list_models
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import Charbonnier
from unfold.models.unfolding import Output
from unfold.util.device import place

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
Record = Callable[[str, object], None]

PUBLISHED = [name for name in list_models() if name not in OURS]  # of the papers


class Transfers(TorchDispatchMode):
    """Notes every operation whose tensors lie on two devices; a host's number in an operation is no transfer."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        if len({t.device for t in tensors}) > 1:
            self.found.append(str(function))
        return result


@pytest.mark.parametrize("name", NAMES)
def test_nothing_moves_between_host_and_gpu_in_a_forward_and_no_number_is_read(name: str) -> None:
    """With tensors that say to lie on a GPU and hold no numbers: where one is read, this raises."""
    with FakeTensorMode():
        device = torch.device("cuda")
        with device:
            net = create_model(name, **ARGUMENTS[name]).train()
        given = random_inputs(net, 1, 64, 64, device)
        with Transfers() as transfers:
            result = net(**given)
    assert result.device.type == "cuda"
    assert transfers.found == []


@contextlib.contextmanager
def synchronisation(mode: str) -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", [CUDA], indirect=True)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_forward_does_not_wait(name: str, device: torch.device) -> None:
    """In training mode, where NRL-GDN does not look whether to stop."""
    net = place(create_model(name).train(), device)
    given = random_inputs(net, 1, 64, 64, device)
    with torch.no_grad():
        net(**given)
        with synchronisation("error"):
            net(**given)


@pytest.mark.parametrize("device", [CUDA], indirect=True)
@pytest.mark.parametrize("name", ["dgunet_derain", "dgunet_cs", "usrnet_tiny", "nrl_gdn"])
def test_a_training_step_does_not_wait(name: str, device: torch.device) -> None:
    net = place(create_model(name).train(), device)
    given = random_inputs(net, 1, 64, 64, device)
    optimizer = torch.optim.Adam(p for p in net.parameters() if p.requires_grad)

    def step() -> None:
        stages = net(**given, return_stages=True)
        loss = TotalLoss([Term(Charbonnier(), every_stage=True)])(
            Output(stages, {}), {"target": torch.zeros_like(stages[-1])}
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    step()
    with synchronisation("error"):
        step()


@pytest.mark.parametrize("device", [CUDA], indirect=True)
@pytest.mark.parametrize("name", ["nrl_gdn", "nrl_gdn_y0", "rgdn_uniform"])
def test_at_evaluation_nrl_gdn_waits_once_per_stage_from_the_sixth_on(
    name: str, device: torch.device, record_property: Record
) -> None:
    """It has to: whether to stop is in the numbers. No stage before the sixth can be the last, so none waits."""
    net, given = published(name, device)
    with torch.no_grad():
        stages = len(net(**given, return_stages=True))
        with warnings.catch_warnings(record=True) as caught, synchronisation("warn"):
            warnings.simplefilter("always")
            net(**given)
    waits = sum("called a synchronizing" in str(warning.message) for warning in caught)
    record_property("stages", stages)
    record_property("waits", waits)
    assert waits == stages - 5
