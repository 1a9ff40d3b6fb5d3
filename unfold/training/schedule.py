"""The learning rate over a run, in epochs or in steps."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

Factor = Callable[[int], float]  # units done -> factor of the initial rate


def cosine(length: int, floor: float) -> Factor:
    """Half a cosine from 1 down to ``floor`` after ``length`` units; it comes up again beyond that."""
    return lambda t: floor + (1 - floor) * (1 + math.cos(math.pi * t / length)) / 2


def multistep(milestones: Sequence[int], gamma: float) -> Factor:
    """gamma^n, n the number of milestones that are done (USRNet; compressive sensing's second phase)."""
    return lambda t: gamma ** bisect_right(milestones, t)


def step(length: int, gamma: float) -> Factor:
    """gamma^n after n times ``length`` units (NRL-GDN)."""
    return lambda t: gamma ** (t // length)


def constant(t: int) -> float:
    """1 always (compressive sensing's first phase)."""
    return 1.0


class Schedule:
    """The rate of each unit, an epoch or a step: linear warm-up, then ``factor`` of the units after that.

    Unit u = 1, 2, ... runs at LR u / warmup while u <= warmup, and after that at LR factor(u - warmup - 1): with a
    cosine the published schedule of DGUNet.

    optimizer: at its initial learning rate, which is set for the first unit (or the one after ``done`` units). A
    resumed run builds the schedule anew and replays its warm-up: that is exact, and nothing of it is ever pickled.
    """

    def __init__(self, optimizer: Optimizer, factor: Factor, warmup: int = 0, done: int = 0) -> None:
        from warmup_scheduler import GradualWarmupScheduler

        # Not CosineAnnealingLR: warmup-scheduler asks it for its rate before its first step, which its recursion
        # answers with base / ((1 + cos(pi / length)) / 2) since torch 2.15: up to several per cent too much in every
        # later epoch.
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        after = max(done - warmup, 0)
        inner = LambdaLR(optimizer, factor, last_epoch=after - 1)
        self._schedule: LRScheduler = inner
        if warmup > 0 and done <= warmup:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            self._schedule = GradualWarmupScheduler(optimizer, 1, warmup, inner)
            self.step()  # it begins at rate 0
            for _ in range(done):
                self.step()

    def step(self) -> None:
        """Go to the next unit's rate; call it when one ends."""
        with warnings.catch_warnings():
            # warmup-scheduler steps once before the first optimizer.step() and reads its inner schedule by get_lr():
            # both on purpose here, and both warned of by torch.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            warnings.filterwarnings("ignore", message="To get the last learning rate")
            self._schedule.step()
