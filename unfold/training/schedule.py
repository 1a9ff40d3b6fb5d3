"""The learning rate over the epochs."""

from __future__ import annotations

import math
import warnings

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


class WarmupCosine:
    """Linear warm-up, then half a cosine down to ``lr_min``.

    Epoch e = 1, 2, ... runs at LR e / warmup while e <= warmup, and after that at
    lr_min + (LR - lr_min) (1 + cos(pi (e - warmup - 1) / (epochs - warmup))) / 2: the published schedule of DGUNet.

    optimizer: at its initial learning rate, which is set for the first epoch (or the one after ``done`` epochs). A
    resumed run builds the schedule anew and replays its steps: that is exact, and nothing of it is ever pickled.
    """

    def __init__(self, optimizer: Optimizer, epochs: int, warmup: int, lr_min: float, done: int = 0) -> None:
        from warmup_scheduler import GradualWarmupScheduler

        floor, length = lr_min / optimizer.param_groups[0]["lr"], max(epochs - warmup, 1)
        # Not CosineAnnealingLR: warmup-scheduler asks it for its rate before its first step, which its recursion
        # answers with base / ((1 + cos(pi / length)) / 2) since torch 2.15: up to several per cent too much in every
        # later epoch.
        cosine = LambdaLR(optimizer, lambda e: floor + (1 - floor) * (1 + math.cos(math.pi * e / length)) / 2)
        self._schedule: LRScheduler = cosine
        if warmup > 0:
            self._schedule = GradualWarmupScheduler(optimizer, 1, warmup, cosine)
            self.step()  # it begins at rate 0
        for _ in range(done):
            self.step()

    def step(self) -> None:
        """Go to the next epoch's rate; call it when an epoch ends."""
        with warnings.catch_warnings():
            # warmup-scheduler steps once before the first optimizer.step() and reads its inner schedule by get_lr():
            # both on purpose here, and both warned of by torch.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            warnings.filterwarnings("ignore", message="To get the last learning rate")
            self._schedule.step()
