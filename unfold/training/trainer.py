"""The training loop. It knows no task: samples are dicts of a target and the network's own named inputs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from unfold.data.batches import BatchSampler, to_device
from unfold.errors import UnfoldError
from unfold.metrics import psnr
from unfold.models.unfolding import UnfoldingNetwork
from unfold.training.checkpoint import save_checkpoint
from unfold.training.log import RunLog
from unfold.training.schedule import WarmupCosine


@dataclass
class Trainer:
    """Trains a network on a loader and writes log, curve and checkpoints into the run folder.

    loader: batches of samples, by a BatchSampler; render: a batch on the device -> {"target": (B,C,H,W), **inputs};
    loss: (stages, target) -> scalar; validate: the network's quality in dB, called every ``validate_every`` epochs and
    after the last; autocast: run the network in bfloat16; about: plain values that go into every checkpoint, "model"
    among them; epoch, best: epochs done and the highest validation PSNR so far.
    """

    net: UnfoldingNetwork
    loader: DataLoader[dict[str, Any]]
    render: Callable[[dict[str, Any]], dict[str, Any]]
    loss: Callable[[list[Tensor], Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    schedule: WarmupCosine
    validate: Callable[[], float]
    log: RunLog
    folder: Path
    device: torch.device
    epochs: int
    validate_every: int
    autocast: bool
    about: dict[str, Any]
    epoch: int = 0
    best: float = -math.inf

    def fit(self, until: int | None = None) -> None:
        """Train to the last epoch, or to the end of epoch ``until``."""
        per_epoch = self._sampler().length
        last = self.epochs if until is None else min(until, self.epochs)
        with tqdm(
            total=self.epochs * per_epoch,
            initial=self.epoch * per_epoch,
            desc="training",
            unit="image",
            mininterval=0.5 if sys.stderr.isatty() else 20,
            dynamic_ncols=True,
        ) as bar:
            while self.epoch < last:
                row = self._train_epoch(bar)
                if row["epoch"] % self.validate_every == 0 or row["epoch"] == self.epochs:
                    row["val_psnr"] = self.validate()
                self._keep(row)
                self._show(bar, row["loss"], row["train_psnr"])

    def _train_epoch(self, bar: tqdm[Any]) -> dict[str, Any]:
        self._sampler().start(self.epoch)
        self.net.train()
        start, patches = time.perf_counter(), 0
        # Sums stay on the device: reading them at every step would make the host wait for it.
        total = torch.zeros(2, dtype=torch.float64, device=self.device)
        for step, batch in enumerate(self.loader):
            batch = self.render(to_device(batch, self.device))
            target = batch.pop("target")
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                stages = self.net(**batch, return_stages=True)
            loss = self.loss(stages, target)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()

            quality = psnr(stages[-1].detach().clamp(0, 1), target)
            total += len(target) * torch.stack([loss.detach().double(), quality.mean()])
            patches += len(target)
            bar.update(len(target))
            if step % 10 == 0:
                self._show(bar, *(total / patches).tolist())
        seconds = time.perf_counter() - start
        mean_loss, mean_psnr = (total / patches).tolist()
        if not (math.isfinite(mean_loss) and all(p.isfinite().all() for p in self.net.parameters())):
            raise UnfoldError(
                f"loss or weights became infinite or NaN in epoch {self.epoch + 1} (mean loss {mean_loss}): nothing of "
                f"that epoch is kept; begin anew with a lower OPTIM.LR (--overwrite, or another OUTPUT)"
            )
        return {
            "epoch": self.epoch + 1,
            "loss": mean_loss,
            "train_psnr": mean_psnr,
            "val_psnr": None,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": round(seconds, 2),
            "images_per_s": round(patches / seconds, 2),
        }

    def _sampler(self) -> BatchSampler:
        assert isinstance(self.loader.batch_sampler, BatchSampler)
        return self.loader.batch_sampler

    def _show(self, bar: tqdm[Any], loss: float, quality: float) -> None:
        best = f"{self.best:.2f}" if math.isfinite(self.best) else "-"
        bar.set_postfix_str(f"loss {loss:.4f}, psnr {quality:.2f}, best val {best}", refresh=False)

    def _keep(self, row: dict[str, Any]) -> None:
        self.schedule.step()
        better = row["val_psnr"] is not None and row["val_psnr"] > self.best
        if better:
            self.best = row["val_psnr"]
        content = {
            **self.about,
            "epoch": row["epoch"],
            "best": self.best,
            "state_dict": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if better:
            save_checkpoint(self.folder / "checkpoints" / "best.pth", content)
        self.log.add(row)
        # Last, for it ends the epoch: a run killed before this line repeats the epoch and its row of the log.
        save_checkpoint(self.folder / "checkpoints" / "last.pth", content)
        self.epoch = row["epoch"]
        self.log.draw()

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Take over the optimiser's state and the counters; the network's weights and the schedule are the caller's."""
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.epoch, self.best = checkpoint["epoch"], checkpoint["best"]
