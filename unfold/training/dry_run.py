"""`unfold train --check`, a dry run: a few small steps and one restored image give estimates for the whole run."""

from __future__ import annotations

import copy
import math
import platform
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from operator import attrgetter
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from yacs.config import CfgNode

from unfold.data.batches import Key, collate, to_device
from unfold.data.patches import Patches
from unfold.errors import UnfoldError
from unfold.evaluation.run_protocol import scored
from unfold.from_config import bare_network, build_degradation, build_validation
from unfold.inference.tile_memory import available, needed
from unfold.models.run_on_arrays import Image, as_tensors, network
from unfold.models.sizes_taken import size_fault, takes
from unfold.protocols.protocol import sample_of
from unfold.report.models_list import count_gmac, count_parameters
from unfold.settings import TrainSettings, settings_of
from unfold.training.checkpoint import size_on_disk
from unfold.training.memory_count import in_bytes, legal, smallest_patch, step_memory
from unfold.training.processes.distributed import Processes
from unfold.training.setup.build_run import build_trainer, holds_a_run
from unfold.training.setup.rank_consistency import check_recipes
from unfold.training.setup.settings_check import check_sizes, check_training
from unfold.training.train_step import SUMS
from unfold.training.trainer import Trainer
from unfold.util.arrays import Named
from unfold.util.atomic_files import nearest
from unfold.util.processors import processors

ENOUGH = 3.0  # seconds for the steps of one size; no larger size is tried after one step takes that long
SHARE = 0.5  # share of the free memory that measured steps may take
PATIENCE = 8.0  # seconds that restoring an image may take; of a larger image only a part is restored

LEAST = 64  # pixels of such a part's side
MARGIN = 1.3  # measured memory is up to this factor above the counted memory (docs/experiments.md)


class Step(NamedTuple):
    """A training step that was run."""

    patch: int
    batch: int
    seconds: float
    loss: float

    @property
    def pixels(self) -> int:
        return self.batch * self.patch**2

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s for {self.batch} of {self.patch}x{self.patch}"


class Restored(NamedTuple):
    """One restored validation image: its name, the number of images, seconds for the whole image, the share that was
    restored, bytes besides the weights.
    """

    name: str
    images: int
    seconds: float
    share: float
    memory: int


def check_run(
    cfg: CfgNode,
    *,
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    init: str | None = None,
    partial: bool = False,
    init_key: str | None = None,
    processes: Processes | None = None,
) -> str:
    """Build the run as :func:`unfold.training.setup.build_run.build_trainer` does, try it, and report what it needs.

    processes: those that share the run, each with its part of a batch. All of them must call this. Each tries its part;
    only the first looks at the run folder; all return the same report.
    Nothing is written. Raises UnfoldError where the run could not start, or its first steps are not finite.
    """
    us = processes or Processes()
    check_training(cfg)
    check_sizes(cfg, us.world)
    check_recipes(us, cfg)
    if us.first:
        trainer = build_trainer(
            cfg, resume=resume, overwrite=overwrite, init=init, partial=partial, init_key=init_key, dry=True
        )
    else:
        trainer = build_trainer(cfg, overwrite=True, dry=True)
    settings, net, world = settings_of(cfg), trainer.update.net, us.world
    train, name = settings.train, settings.model.short_name
    memory, rooms = step_memory(cfg, world), _rooms(us, trainer.device)
    free = min(room.free for room in rooms)
    tried = list(_steps(cfg, trainer, memory, rooms[us.rank].free, world))
    step, load = max(us.gather(step_seconds(train, tried, world))), max(us.gather(_loading(train, trainer, world)))
    image = _restored(cfg, trainer, tried[-1])
    gradients = sum(parameter.nbytes for parameter in trainer.update.trained)
    exchange = us.all_reduce_seconds(gradients)
    workers = min(train.workers, processors())
    wait = max(load / workers - step, 0.0) if workers else load
    step += exchange
    left, epochs = trainer.steps - trainer.step, -(-trainer.steps // trainer.per_epoch)
    every = train.validate_every
    validations = -(-epochs // every) - trainer.epoch // every
    hours = (left * (step + wait) + validations * -(-image.images // world) * image.seconds) / 3600
    disk, space = _disk(trainer), shutil.disk_usage(nearest(trainer.folder)).free
    with torch.device("meta"):
        gmac = count_gmac(bare_network(cfg).train(), net.example(train.patch, train.patch))

    size = f"{_share(train, world) if world > 1 else train.batch} of {train.patch}x{train.patch}"
    part = "" if image.share == 1 else f", from {image.share:.0%} of its pixels"
    rows = [
        ("network", f"{name}, {count_parameters(net):,} parameters, {train.precision} on {trainer.device}"),
        ("work", f"{gmac:.4g} GMAC for a patch of {train.patch}x{train.patch}, forward"),
        ("first steps", f"1 of {tried[0].patch}x{tried[0].patch}: loss {tried[0].loss:.4g}, then {tried[1].loss:.4g}"),
        ("memory", f"{in_bytes(memory)} for a step of {size} (estimated); {in_bytes(free)} are free"),
        ("step", f"{step:.3g} s for {size} (estimated), by {' and '.join(map(str, tried[-2:]))}"),
        ("data", f"{load:.3g} s for a batch, {train.workers} workers: {wait / (step + wait):.0%} of the time waiting"),
        (
            "validation",
            f"{image.seconds:.3g} s and {in_bytes(image.memory)} for {image.name} (estimated{part}); "
            f"{validations} times {image.images}",
        ),
        ("run", f"{left:,} steps, {_in_time(hours)} (estimated)"),
        ("disk", f"{in_bytes(disk[0])} for a checkpoint, {in_bytes(disk[1])} in all; {in_bytes(space)} are free"),
    ]
    if world > 1:
        each = ", ".join(f"{rank}: {in_bytes(room.free)}" for rank, room in enumerate(rooms))
        machines = len({room.host for room in rooms})
        sends = sent(gradients, world)
        rows[3:4] = [
            ("processes", f"{world} on {machines} machine{'s' * (machines > 1)}, of each step {size} at most in each"),
            ("memory", f"{in_bytes(memory)} in each process for its part (estimated); free are {each}"),
            (
                "all-reduce",
                f"{in_bytes(gradients)} of gradients a step, of which each process sends {in_bytes(int(sends))}: "
                f"{1000 * 8 * sends / 25e9:.2g} ms at 25 Gb/s, {1000 * 8 * sends / 400e9:.2g} ms at 400 Gb/s "
                f"(computed); {1000 * exchange:.2g} ms here (measured alone; in a step, a part of it passes meanwhile)",
            ),
        ]
    tight = MARGIN * max(memory, image.memory) > free
    warnings = [
        ("network", fault := size_fault(bare_network(cfg)), bool(fault)),
        ("memory", "it may not fit: see TRAIN.CHECKPOINT_STAGES, ACCUMULATE and PATCH", tight),
        ("disk", f"there is no room for the checkpoints in {nearest(trainer.folder)}", disk[1] > space),
        ("data", "a GPU or CPU that waits: raise TRAIN.WORKERS", wait > 0.1 * step),
    ]
    if us.first and not (resume or overwrite) and (there := holds_a_run(trainer.folder)):
        warnings.append(("OUTPUT", there, True))
    lines = [f"{what:<13}{text}" for what, text in rows]
    lines += [f"{'warning':<13}{what}: {text}" for what, text, true in warnings if true]
    return "\n".join([*lines, "nothing was written"])


class Room(NamedTuple):
    """Where a process runs, and the bytes it can use there: on a CPU, its share of the memory."""

    host: str
    free: int


def _rooms(us: Processes, device: torch.device) -> list[Room]:
    found = us.gather(Room(platform.node(), available(device)))
    if device.type != "cpu":
        return found
    here = Counter(room.host for room in found)
    return [Room(room.host, room.free // here[room.host]) for room in found]


def sent(size: int, world: int) -> float:
    """Bytes that each of ``world`` processes sends (and receives) in a ring all-reduce of ``size`` bytes."""
    return 2 * (world - 1) / world * size


def _share(train: TrainSettings, world: int) -> int:
    """The largest number of patches per step in one process."""
    return -(-min(train.batch, train.patches) // world)


def _steps(cfg: CfgNode, trainer: Trainer, memory: int, free: int, world: int) -> Iterator[Step]:
    """Two steps with one smallest patch, then larger steps up to the recipe's size, as time and memory allow."""
    train, scales = settings_of(cfg).train, trainer.sampler.scales
    sizes = sizes_to_try(cfg, world)
    patch, batch = next(sizes)
    yield _step(trainer, patch, batch, 0, scales[0])
    last = _step(trainer, patch, batch, train.mixup_after, scales[-1])
    yield last
    fixed = 4 * sum(parameter.nbytes for parameter in trainer.update.net.parameters())
    whole = train.patch**2 * (_share(train, world) if world > 1 else train.batch)
    for patch, batch in sizes:
        takes = fixed + (memory - fixed) * patch**2 * batch / whole
        if last.seconds > ENOUGH or takes > SHARE * free:
            return
        runs = [_step(trainer, patch, batch, 0, scales[0])]
        while sum(run.seconds for run in runs) < ENOUGH and len(runs) < 4:
            runs.append(_step(trainer, patch, batch, 0, scales[0]))
        last = min(runs, key=attrgetter("seconds"))
        yield last


def sizes_to_try(cfg: CfgNode, world: int = 1) -> Iterator[tuple[int, int]]:
    """(patch, batch) to try: from one patch of the smallest side, doubled up to the recipe's side, then likewise for
    the batch of one of ``world`` processes.
    """
    train = settings_of(cfg).train
    patch, batch = smallest_patch(cfg), 1
    yield patch, batch
    while patch < train.patch:
        larger = range(min(2 * patch, train.patch), train.patch + 1)
        patch = next(side for side in larger if legal(cfg, {"TRAIN.PATCH": side}))
        yield patch, batch
    part = -(-_share(train, world) // train.accumulate)
    while batch < part:
        batch = min(2 * batch, part)
        yield patch, batch


def _step(trainer: Trainer, patch: int, batch: int, epoch: int, scale: int) -> Step:
    patches = copy.copy(cast("Patches", trainer.loader.dataset))
    patches.patch = patch
    samples = collate([patches[Key(epoch, number, scale)] for number in range(batch)])
    begin = time.perf_counter()
    trainer.update.net.train()
    sums = trainer.update(trainer.render(to_device(samples, trainer.device), epoch, 0))
    found = dict(zip(SUMS, sums.tolist(), strict=False))  # waits for a GPU
    seconds = time.perf_counter() - begin
    if found["skipped"]:
        raise UnfoldError(
            f"the loss of a step of {batch} of {patch}x{patch} pixels, or its gradient, is infinite or NaN: look at "
            "LOSS.TERMS, the images of DATA.TRAIN and the weights given by --init"
        )
    return Step(patch, batch, seconds, found["loss"] / found["patches"])


def step_seconds(train: TrainSettings, tried: list[Step], world: int = 1) -> float:
    """Seconds of the recipe's step, from the last two sizes tried: a constant for each part, and a time per pixel."""
    batch = _share(train, world)
    pixels, parts = batch * train.patch**2, min(train.accumulate, batch)
    a, b = tried[-2:]
    rate = (b.seconds - a.seconds) / (b.pixels - a.pixels) if b.pixels > a.pixels else 0.0
    constant = b.seconds - rate * b.pixels
    if rate <= 0 or constant < 0:
        return b.seconds * pixels / b.pixels
    return parts * constant + rate * pixels


def _loading(train: TrainSettings, trainer: Trainer, world: int) -> float:
    """Seconds in which one process makes a batch of the recipe's patches, from a few samples without the first."""
    spent: list[float] = []
    while len(spent) < 2 or (len(spent) < 9 and sum(spent) < ENOUGH / 2):
        begin = time.perf_counter()
        trainer.loader.dataset[Key(0, len(spent), trainer.sampler.scales[0])]
        spent.append(time.perf_counter() - begin)
    return _share(train, world) * float(np.mean(spent[1:]))


def _restored(cfg: CfgNode, trainer: Trainer, last: Step) -> Restored:
    """Restore and score the first validation image: a part of it where the whole image would take too long."""
    net, bare = trainer.update.net.eval(), bare_network(cfg)
    protocol = build_validation(cfg, net, build_degradation(cfg, net))
    cases = protocol.cases(settings_of(cfg).data.val, "val")
    protocol, case = protocol.of(cases[0])
    sample = sample_of(protocol, case)
    run = network(net, trainer.device)
    rate = last.seconds / last.pixels / 3 * net.count() / net.train().count()  # backward is two thirds of a step
    net.eval()
    side = max(math.isqrt(int(PATIENCE / rate)) // 32 * 32, LEAST)
    asked = restored = seconds = 0.0
    whole: Named = {}

    def restore_part(inputs: Named) -> Image:
        nonlocal asked, restored, seconds
        whole.update(inputs)
        scale = int(inputs["scale"]) if "scale" in net.inputs else 1
        image = inputs[net.picture]
        square = slice(max(side // scale, 1)), slice(max(side // scale, 1))
        cut_to, size = image[square].shape[:2], image.shape[:2]
        if cut_to != size and takes(bare, *cut_to) != takes(bare, *size):  # of such a network a part says nothing
            square = slice(None), slice(None)
        cut = {name: inputs[name][square] for name, one in net.inputs.items() if one.kind == "image" and name in inputs}
        part = cut[net.picture]
        begin = time.perf_counter()
        result = run({**inputs, **cut})
        seconds += time.perf_counter() - begin
        asked += image[..., 0].size
        restored += part[..., 0].size
        filled = np.zeros((image.shape[0] * scale, image.shape[1] * scale, result.shape[2]), result.dtype)
        filled[: result.shape[0], : result.shape[1]] = result
        return filled

    begin = time.perf_counter()
    assert sample.target is not None
    scored(protocol, protocol.restore(restore_part, sample), sample.target)
    rest = time.perf_counter() - begin - seconds
    memory = needed(net, as_tensors(whole, net, torch.device("cpu")))
    return Restored(cases[0].name, len(cases), rest + seconds * asked / restored, restored / asked, memory)


def _in_time(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _disk(trainer: Trainer) -> tuple[int, int]:
    """Bytes of one checkpoint, and of all that exist at the same time, including the one being written."""
    weights = {**trainer.about, "state_dict": trainer.update.weights()}
    last = size_on_disk({**weights, **trainer.update.state()})
    return last, (trainer.keep + 1) * last + size_on_disk(weights)
