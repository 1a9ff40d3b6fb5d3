"""The learning rate is the published one in every epoch, before and after a resume."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from unfold.training.schedule import Constant, Cosine, MultiStep, Rate, Schedule, Step


def rates(epochs: int, warmup: int, done: int = 0, rate: Rate | None = None) -> list[float]:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        units = epochs - warmup
        schedule = Schedule(optimizer, lambda t: (rate or Cosine()).factor(t, units, 1e-3), warmup, done)
        found = []
        for _ in range(epochs - done):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return found


@pytest.mark.parametrize(("epochs", "warmup"), [(12, 3), (5, 0), (4, 1), (3, 3), (2, 5), (250, 3)])
def test_warm_up_then_cosine(epochs: int, warmup: int) -> None:
    def published(e: int) -> float:
        if e <= warmup:
            return 1e-3 * e / warmup
        return 1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * (e - warmup - 1) / (epochs - warmup))) / 2

    assert rates(epochs, warmup) == pytest.approx([published(e) for e in range(1, epochs + 1)], abs=1e-12)


@pytest.mark.parametrize("done", [1, 3, 4, 9])
def test_a_resumed_schedule_goes_on_where_it_was(done: int) -> None:
    assert rates(12, 3, done) == rates(12, 3)[done:]
    assert rates(12, 0, done, MultiStep([4, 9], 0.5)) == rates(12, 0, 0, MultiStep([4, 9], 0.5))[done:]


def test_a_rate_that_falls_at_milestones_in_steps_or_never() -> None:
    halved = [1e-3] * 3 + [5e-4] * 4 + [2.5e-4] * 3
    assert rates(10, 0, 0, MultiStep([3, 7], 0.5)) == pytest.approx(halved, rel=1e-12)
    assert rates(6, 0, 0, Step(2, 0.9)) == pytest.approx([1e-3 * 0.9**n for n in (0, 0, 1, 1, 2, 2)], rel=1e-12)
    assert rates(5, 0, 0, Constant()) == [1e-3] * 5
    with_warm_up = [5e-4, 1e-3, 1e-3, 1e-3, 9e-4]
    assert rates(5, 2, 0, Step(2, 0.9)) == pytest.approx(with_warm_up, rel=1e-12), "milestones count from its end"


def test_the_published_denoising_schedule_ends_far_above_its_least_rate() -> None:
    last = rates(80, 3, 0, Cosine(117))[-1]
    assert last == pytest.approx(1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * 76 / 117)) / 2, rel=1e-9)


def test_a_milestone_has_no_effect_from_the_end_of_the_run_on() -> None:
    rate = MultiStep([2, 5, 9])
    assert rates(5, 0, 0, rate)[-1] == 1e-3 * rate.gamma, "the second never counts in 5 units"
    assert rate.without_effect(5, "epochs") == ["milestones [5, 9] lie beyond the run, 5 epochs after the warm-up"]
    assert rates(6, 0, 0, rate)[-1] == 1e-3 * rate.gamma**2
    assert rate.without_effect(6, "epochs") == ["milestones [9] lie beyond the run, 6 epochs after the warm-up"]
    assert rate.without_effect(10, "epochs") == []
