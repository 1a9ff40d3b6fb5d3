"""The training loop. It knows no task: samples are dicts of a target and the network's own named inputs."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from unfold.data.batches import BatchSampler, to_device
from unfold.errors import UnfoldError
from unfold.training.checkpoint import save_checkpoint
from unfold.training.log import RunLog
from unfold.training.processes.batch_loading import WorkerDied, batches
from unfold.training.processes.distributed import Processes
from unfold.training.processes.run_lock import only_training
from unfold.training.processes.signals import Request, Stopped, requests_to_stop
from unfold.training.progress_line import Line
from unfold.training.schedule import Schedule
from unfold.training.tensorboard import Board
from unfold.training.train_step import SUMS, Update
from unfold.util.arrays import Named
from unfold.util.device import can

DIED = 1000  # no signal's number
BAD_IN_A_ROW = 10  # steps that are skipped before the run stops
LOOK_EVERY = 10  # steps between two readings of values from the GPU


@dataclass
class Trainer:
    """Trains a network on a loader and writes log, curve and checkpoints into the run folder.

    update: one step of the optimiser; loader: batches of samples, with a BatchSampler; render: a batch on the device,
    with its epoch and step -> {"target": (B,C,H,W), **inputs}; validate: PSNR in dB of each validation image, called
    every ``validate_every`` epochs and after the last step; about: plain values that go into every checkpoint,
    "model" among them.

    steps: of the whole run; per_epoch: steps of an epoch; schedule_in_steps: whether the rate changes per step;
    save_every: steps between checkpoints inside an epoch, 0 for none; keep: how many checkpoints stay; board: for
    TensorBoard, in the process that writes.
    step, best: steps done, and the highest validation PSNR so far; pending: the steps of an epoch are done, but its end
    (validation and log) is not.
    """

    update: Update
    loader: DataLoader[Named]
    render: Callable[[Named, int, int], Named]
    schedule: Schedule
    validate: Callable[[], dict[str, float]]
    log: RunLog
    folder: Path
    device: torch.device
    steps: int
    per_epoch: int
    validate_every: int
    about: dict[str, object]
    schedule_in_steps: bool = False
    save_every: int = 0
    keep: int = 2
    board: Board | None = None
    processes: Processes = field(default_factory=Processes)
    step: int = 0
    pending: bool = False
    best: float = -math.inf
    spent: tuple[float, float] = (0.0, 0.0)  # seconds of this epoch so far, and those spent waiting for data

    def __post_init__(self) -> None:
        self.names, self.mixture = self.update.names, self.update.mixture
        self.sums = torch.zeros(len(self.names) + 3 * len(self.mixture), dtype=torch.float64)

    def fit(self, until: int | None = None) -> None:
        """Train to the last step, or to the end of epoch ``until``.

        Raises Stopped where a signal asked for it, with the whole state of the run saved; UnfoldError if it cannot
        continue, or another training is writing into the folder.
        """
        last = self.steps if until is None else min(until * self.per_epoch, self.steps)
        self.sums = self.sums.to(self.device if can(self.device, "float64") else "cpu")
        with (
            only_training(self.folder) if self.processes.first else nullcontext(),
            requests_to_stop() as request,
            Line(self._patches(0, self.steps), self._patches(0, self.step), self.processes.first) as bar,
        ):
            while self.step < last or self.pending:
                if not self.pending:
                    self._train_epoch(bar, request)
                self._end_epoch(bar, request)

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.step // self.per_epoch

    def _train_epoch(self, bar: Line, request: Request) -> None:
        """Train the current epoch from its current step to its end, or to the end of the run."""
        epoch = self.epoch
        self.sampler.start(epoch, self.step % self.per_epoch)
        self.update.net.train()
        before, begin = self.spent, time.perf_counter()
        waited = before[1]
        source = batches(self.loader)
        while not self.pending:
            died = ""
            try:
                batch, wait = next(source)
            except WorkerDied as death:
                died = f"a process that loads data died ({death}); stopped"
            self._stop_if_asked(request, died)
            patches = self.sampler.batch_size(self.step % self.per_epoch)
            given = self.render(to_device(batch, self.device), epoch, self.step % self.per_epoch)
            # Gradients are averaged over processes, so a part larger than the even share gets a larger weight.
            self.sums += self.update(given, self.sampler.share(self.step % self.per_epoch))
            self.step += 1
            waited += wait
            if self.schedule_in_steps:
                self.schedule.step()
            self._look()
            self.spent = (before[0] + time.perf_counter() - begin, waited)
            bar.update(patches)
            self._show(bar)
            self.pending = self.step % self.per_epoch == 0 or self.step == self.steps
            if not self.pending and self.save_every and self.step % self.save_every == 0:
                self.save()
        self._stop_if_asked(request)

    def __str__(self) -> str:
        return f"after step {self.step} of {self.steps}; --resume auto continues from there"

    def _stop_if_asked(self, request: Request, died: str = "") -> None:
        """Save the run's state and raise Stopped where any process was asked to stop, or cannot load its data.

        Called before each step, so that all stop at the same one, and a dead process is noticed before waiting for the
        GPU.
        """
        number = self.processes.highest(DIED if died else request.signal or 0)
        if not number:
            return
        if self.pending or self.step % self.per_epoch:  # otherwise it was saved at the end of the epoch
            self.save()
        reasons = self.processes.gather(died)
        raise Stopped(f"{max(reasons) or f'stopped by {signal.Signals(number).name}'} {self}")

    def _look(self) -> None:
        """Stop after many skipped steps in a row. Reading this waits for the GPU, so it is not done at every step."""
        if self.device.type != "cpu" and self.step % LOOK_EVERY and self.step % self.per_epoch:
            return
        bad = int(self.update.bad_in_a_row)
        if bad < BAD_IN_A_ROW:
            return
        samples = [
            f"{key.epoch}:{key.number}"
            for step in range(self.step - bad, self.step)
            for key in self.sampler.keys(step // self.per_epoch, step % self.per_epoch)
        ]
        raise UnfoldError(
            f"the loss or its gradient was infinite or NaN in {bad} steps one after the other, up to step {self.step}; "
            f"all were skipped, and the last checkpoint is good. Samples (epoch:number): {', '.join(samples[:24])}"
            f"{', ...' if len(samples) > 24 else ''}. Look at the data, or start again with a lower OPTIM.LR or with "
            "OPTIM.CLIP"
        )

    def _end_epoch(self, bar: Line, request: Request) -> None:
        finished = self.step % self.per_epoch == 0
        epoch = -(-self.step // self.per_epoch)
        if epoch == 1:
            self.save()  # otherwise a run killed below could leave a best.pth and no last.pth to resume from
        added = torch.stack(self.processes.gather(self.sums.cpu())).sum(0).tolist()
        sums = dict(zip(self.names, added, strict=False))
        patches, steps = max(sums["patches"], 1), max(sums["steps"], 1)
        row: dict[str, Any] = {
            "epoch": epoch,
            "step": self.step,
            "loss": sums["loss"] / patches,
            "train_psnr": sums["psnr"] / patches,
            "val_psnr": None,
            "lr": self.update.optimizer.param_groups[0]["lr"],
            "gradient": sums["gradient"] / steps,
            **{name: sums[name] / patches for name in self.names[len(SUMS) :]},
            **self._by_part(added[len(self.names) :]),
            "skipped": int(sums["skipped"]) // self.processes.world,
            "seconds": round(self.spent[0], 2),
            **self._speed(sums["patches"]),
        }
        if epoch % self.validate_every == 0 or self.step == self.steps:
            scores = self._validated(request)
            row |= self._means(scores)
            if self.processes.first:
                self.log.validated(self.step, scores)
        if finished and not self.schedule_in_steps:
            self.schedule.step()
        better = row["val_psnr"] is not None and row["val_psnr"] > self.best
        self.best = row["val_psnr"] if better else self.best
        self.sums.zero_()
        self.spent = (0.0, 0.0)
        self.pending = False
        if better:
            self._write("best.pth", {"state_dict": self.update.weights()}, 1)
        if self.processes.first:
            self.log.add(row)
            self.log.draw()
        if self.board is not None:
            self.board.add(row)
        # This comes last, as it ends the epoch: a run killed before it repeats everything since its last checkpoint.
        self.save()
        self._show(bar, row)

    def _by_part(self, sums: list[float]) -> dict[str, float | None]:
        """Loss and PSNR of the training by part of a mixture, None if no sample belongs to it."""
        row: dict[str, float | None] = {}
        for i, name in enumerate(self.mixture):
            loss, quality, count = sums[3 * i : 3 * i + 3]
            row |= {f"loss/{name}": loss / count if count else None}
            row |= {f"train_psnr/{name}": quality / count if count else None}
        return row

    def _means(self, scores: dict[str, float]) -> dict[str, float]:
        """The mean PSNR of a validation over images; for a mixture, of each part, and the mean over parts."""
        row = {}
        for part in self.mixture:
            own = [score for name, score in scores.items() if name.startswith(f"{part}/")]
            row[f"val_psnr/{part}"] = sum(own) / len(own)
        means = list(row.values()) or list(scores.values())
        return {"val_psnr": sum(means) / len(means), **row}

    def _validated(self, request: Request) -> dict[str, float]:
        """Validate the weights to use. Where a signal stops this, the run's state stays as it was before."""
        try:
            return self._scores(request)
        except Stopped as stopped:
            self.save()
            raise Stopped(f"{stopped} {self}") from None

    def _scores(self, request: Request) -> dict[str, float]:
        trained = None
        if self.update.average:
            trained = {name: value.clone() for name, value in self.update.net.state_dict().items()}
            self.update.net.load_state_dict(self.update.average)
        try:
            with request.raising_at_once(self.processes.world == 1):  # several processes must leave it together
                scores = self.validate()
                if self.board is not None:
                    self.board.look(self.step)
                return scores
        finally:
            if trained is not None:
                self.update.net.load_state_dict(trained)

    def save(self) -> None:
        """Write last.pth: all that the run needs to resume exactly."""
        sums = self.processes.gather(self.sums.cpu())
        self._write("last.pth", {"sums": torch.stack(sums), "state_dict": self.update.weights(), **self.update.state()})

    def _write(self, name: str, content: dict[str, Any], keep: int | None = None) -> None:
        weights = [*content["state_dict"].values(), *content.get("discriminator", {}).values()]
        if not all(value.isfinite().all() for value in weights):
            raise UnfoldError(
                f"weights became infinite or NaN before step {self.step}: nothing of that is kept; start again with a "
                "lower OPTIM.LR (--overwrite, or another OUTPUT)"
            )
        if self.processes.first:
            counters: dict[str, Any] = {"step": self.step, "epoch": self.epoch, "pending": self.pending}
            counters |= {"best": self.best, "spent": list(self.spent)}
            path = self.folder / "checkpoints" / name
            save_checkpoint(path, {**self.about, **counters, **content}, self.keep if keep is None else keep)

    def resume(self, weights: dict[str, Tensor], content: dict[str, Any]) -> None:
        """Resume from a checkpoint; the caller restores the schedule and the log."""
        self.update.resume(weights, content)
        self.step, self.pending, self.best = content["step"], content["pending"], content["best"]
        self.spent = (content["spent"][0], content["spent"][1])
        sums, world = content["sums"], self.processes.world
        if len(sums) == world:
            self.sums = sums[self.processes.rank].clone()
        elif self.processes.first:  # another number of processes
            self.sums = sums.sum(0)

    @property
    def sampler(self) -> BatchSampler:
        assert isinstance(self.loader.batch_sampler, BatchSampler)
        return self.loader.batch_sampler

    def _patches(self, first: int, last: int) -> int:
        """The patches in the steps from ``first`` to before ``last``, over all processes."""
        epochs, steps = divmod(last, self.per_epoch)
        before = min(steps * self.sampler.batch, self.sampler.length)
        return epochs * self.sampler.length + before - (self._patches(0, first) if first else 0)

    def _show(self, bar: Line, row: dict[str, object] | None = None) -> None:
        if row is None:
            if not bar.due() or (self.device.type != "cpu" and self.step % LOOK_EVERY):
                return
            loss, quality, _, patches, *_ = self.sums.tolist()
            row = {"loss": loss / max(patches, 1), "train_psnr": quality / max(patches, 1)}
            row |= self._speed(patches * self.processes.world)
        words = [f"{row['images_per_s']:.3g} img/s", f"loss {row['loss']:.4f}", f"psnr {row['train_psnr']:.2f}"]
        rate = self.update.optimizer.param_groups[0]["lr"]
        words += [f"lr {rate:.1e}".replace("e-0", "e-"), f"data wait {row['data_wait']:.0%}"]
        if math.isfinite(self.best):
            words.append(f"best validation {self.best:.2f}")
        bar.show([*words, f"step {self.step} of {self.steps}"])

    def _speed(self, patches: float) -> dict[str, float]:
        """Patches per second, for so many patches in this epoch, and the share of time spent waiting for data."""
        seconds, waited = self.spent
        return {
            "images_per_s": round(patches / max(seconds, 1e-9), 2),
            "data_wait": round(waited / max(seconds, 1e-9), 3),
        }
