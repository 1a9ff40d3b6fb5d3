"""The learning rate is the published one in every epoch, before and after a resume."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from unfold.training.schedule import WarmupCosine


def rates(epochs: int, warmup: int, done: int = 0) -> list[float]:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = WarmupCosine(optimizer, epochs, warmup, 1e-6, done)
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
