"""Training on the device: the CPU's numbers, resumed runs, checkpoints that load anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.narrow import NAMES, inputs, narrow
from unfold import load_model
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import Charbonnier
from unfold.models.unfolding import Output
from unfold.training.setup.build_run import build_trainer
from unfold.util.device import pick_device, place

on_cuda = pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
slow_on_cpu = pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
    indirect=True,
)


@pytest.fixture
def _repeatable() -> Iterator[None]:
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = False


def one_step(name: str, given: dict[str, Any], device: torch.device) -> tuple[list[float], Tensor]:
    """The loss before and after one optimiser step, and the gradient."""
    net = place(narrow(name).train(), device)
    placed = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in given.items()}
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-4)
    losses = []
    for _ in range(2):
        stages = net(**placed, return_stages=True)
        loss = TotalLoss([Term(Charbonnier(), every_stage=True)])(
            Output(stages, {}), {"target": torch.full_like(stages[-1], 0.5)}
        )
        losses.append(loss.item())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).cpu()
        optimizer.step()
    return losses, gradient


@on_cuda
@pytest.mark.parametrize("name", NAMES)
def test_an_optimiser_step_gives_the_loss_and_the_gradient_of_the_cpu(name: str, device: torch.device) -> None:
    given = inputs(name, 2, 32, 48)
    here, gradient = one_step(name, given, torch.device("cpu"))
    there, found = one_step(name, given, device)
    assert here[1] < here[0]
    assert there == pytest.approx(here, rel=1e-4, abs=1e-4)
    assert (found - gradient).norm() <= 1e-3 * gradient.norm()


@slow_on_cpu
@pytest.mark.usefixtures("_repeatable")
def test_a_run_can_be_resumed_and_its_weights_give_the_same_on_the_cpu(
    recipe: Path, tmp_path: Path, device: torch.device
) -> None:
    def train(folder: str, *words: str, until: int | None = None, resume: bool = False) -> Path:
        overrides = ["DEVICE", str(device), "TRAIN.WORKERS", "1", "OUTPUT", str(tmp_path / folder), *words]
        trainer = build_trainer(load_config(recipe, overrides), resume=resume)
        assert next(trainer.update.net.parameters()).device.type == device.type
        trainer.fit(until)
        return tmp_path / folder / "checkpoints" / "last.pth"

    whole = load_model(train("whole"))
    train("part", until=2)
    resumed = load_model(train("part", resume=True))
    for key, value in whole.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.allclose(value, resumed.state_dict()[key], rtol=0, atol=1e-5), key
    y = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        here = whole(y)
        assert torch.allclose(place(whole, device)(y.to(device)).cpu(), here, rtol=0, atol=1e-5)
    half = load_model(train("bfloat16", "TRAIN.PRECISION", "bfloat16")).state_dict()
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in half.values())


@on_cuda
def test_cuda_is_picked_where_it_is_and_a_missing_gpu_is_one_clear_error(device: torch.device) -> None:
    assert pick_device("auto").type == pick_device("cuda:0").type == device.type
    with pytest.raises(UnfoldError, match="the device cuda:99 cannot be used here"):
        pick_device("cuda:99")
    assert torch.ones(1, device=device).item() == 1, "and the GPU is usable after it"
