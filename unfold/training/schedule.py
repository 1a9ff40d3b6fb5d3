"""The learning rate over a run, in epochs or in steps."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from unfold.errors import UnfoldError

Factor = Callable[[int], float]  # units done -> factor of the initial rate


class Rate(ABC):
    """A learning-rate schedule after the warm-up. Its options are the arguments of its constructor (SCHEDULE.ARGS)."""

    @abstractmethod
    def factor(self, t: int, units: int, lr: float) -> float:
        """The rate over OPTIM.LR when t units are done; units: epochs or steps of the run after the warm-up; lr:
        OPTIM.LR.

        A function of these alone, so that a resumed run has the same rates.
        """

    def check(self, lr: float) -> None:  # noqa: B027  (most accept any)
        """UnfoldError for an OPTIM.LR that the schedule does not accept."""

    def without_effect(self, units: int, unit: str) -> list[str]:
        """A line for each option without effect in a run of so many units after the warm-up."""
        return []


class Cosine(Rate):
    """Half a cosine from LR down to lr_min.

    length: of the half cosine, in units, 0 for all units after the warm-up. Beyond it the rate rises again (DGUNet's
    denoising). lr_min: the last rate, from 0 to OPTIM.LR.
    """

    def __init__(self, length: int = 0, lr_min: float = 1e-6) -> None:
        if length < 0 or lr_min < 0:
            raise UnfoldError(f"length and lr_min must not be negative, and are {length} and {lr_min:g}")
        self.length, self.lr_min = length, lr_min

    def factor(self, t: int, units: int, lr: float) -> float:
        floor = self.lr_min / lr
        return floor + (1 - floor) * (1 + math.cos(math.pi * t / (self.length or max(units, 1)))) / 2

    def check(self, lr: float) -> None:
        if self.lr_min > lr:
            raise UnfoldError(f"lr_min must not exceed OPTIM.LR, {lr}, and is {self.lr_min}")


class MultiStep(Rate):
    """gamma^n, n the number of milestones that are passed (USRNet; compressive sensing's second phase).

    milestones: in units after the warm-up, above 0 and rising; gamma: factor of the rate at each, above 0.
    """

    def __init__(self, milestones: Sequence[int], gamma: float = 0.5) -> None:
        stones = list(milestones)
        if not all(stone > 0 for stone in stones) or sorted(set(stones)) != stones or not stones:
            raise UnfoldError(
                f"milestones is a list of whole numbers above 0, each larger than the one before, not {stones}"
            )
        self.milestones, self.gamma = stones, checked_gamma(gamma)

    def factor(self, t: int, units: int, lr: float) -> float:
        return self.gamma ** bisect_right(self.milestones, t)

    def without_effect(self, units: int, unit: str) -> list[str]:
        late = [stone for stone in self.milestones if stone >= units]
        return [f"milestones {late} lie beyond the run, {units} {unit} after the warm-up"] if late else []


class Step(Rate):
    """gamma^n after n times ``step`` units (NRL-GDN).

    step: units between two changes of the rate, at least 1; gamma: factor of the rate at each, above 0.
    """

    def __init__(self, step: int = 1, gamma: float = 0.5) -> None:
        if step < 1:
            raise UnfoldError(f"step must be greater than 0, not {step}")
        self.step, self.gamma = step, checked_gamma(gamma)

    def factor(self, t: int, units: int, lr: float) -> float:
        return self.gamma ** (t // self.step)


class Constant(Rate):
    """Always 1 (compressive sensing's first phase)."""

    def factor(self, t: int, units: int, lr: float) -> float:
        return 1.0


def checked_gamma(gamma: float) -> float:
    if gamma <= 0:
        raise UnfoldError(f"gamma must be greater than 0, not {gamma:g}")
    return gamma


class Schedule:
    """The rate of each unit, an epoch or a step: linear warm-up, then ``factor`` of the units after that.

    Unit u = 1, 2, ... runs at LR u / warmup while u <= warmup, and after that at LR factor(u - warmup - 1): with a
    cosine the published schedule of DGUNet.

    optimizer: at its initial learning rate, which is set for the first unit (or the one after ``done`` units). A
    resumed run builds the schedule again and replays it: that is exact, and no schedule state is pickled.
    """

    def __init__(self, optimizer: Optimizer, factor: Factor, warmup: int = 0, done: int = 0) -> None:
        from warmup_scheduler import GradualWarmupScheduler

        # Not CosineAnnealingLR: warmup-scheduler asks it for its rate before its first step. Since torch 2.15 its
        # recursion answers with base / ((1 + cos(pi / length)) / 2), which is up to several per cent too much in every
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
            self.step()  # the warm-up starts at rate 0
            for _ in range(done):
                self.step()

    def step(self) -> None:
        """Go to the next unit's rate; call it when one ends."""
        with warnings.catch_warnings():
            # warmup-scheduler steps once before the first optimizer.step() and reads its inner schedule by get_lr().
            # Both are intended here, and torch warns of both.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            warnings.filterwarnings("ignore", message="To get the last learning rate")
            self._schedule.step()
