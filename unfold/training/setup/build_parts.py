"""The parts of a run from the configuration: batches, loss, optimiser, learning rate, length."""

from __future__ import annotations

import atexit
import functools
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from unfold.config import (
    build_part,
    found_part,
    options_of,
    part_of,
    source_of,
    terms_of,
    where,
)
from unfold.data.batches import BatchSampler, collate
from unfold.data.mixtures import MixedPatches, MixedStore
from unfold.data.patches import Patches
from unfold.data.stores.image_stores import Store
from unfold.degradations.degradation import Degradation
from unfold.degradations.mixture import Mixture
from unfold.errors import UnfoldError
from unfold.losses.adversarial import Adversarial
from unfold.losses.loss import ImageLoss, Term, TotalLoss
from unfold.models.unfolding import UnfoldingNetwork
from unfold.registry import LOSS
from unfold.settings import Settings, settings_of
from unfold.training.adversarial_step import AdversarialUpdate
from unfold.training.discriminator import Discriminator
from unfold.training.processes.distributed import Processes
from unfold.training.processes.loader_worker import begin_worker
from unfold.training.schedule import Factor, Rate, Schedule
from unfold.training.train_step import Update
from unfold.user_files import line_of, their_errors
from unfold.util.arrays import Named
from unfold.util.device import WHOLE, place
from unfold.util.processors import processors

FUSED = ("Adam", "AdamW", "SGD")  # with a fused implementation in torch on CPU and GPU


def build_loader(
    settings: Settings,
    degradation: Degradation,
    store: Store,
    processes: Processes,
    device: torch.device,
) -> DataLoader[Named]:
    """The loader of this process's share of the batches, with its worker processes."""
    train = settings.train
    workers = min(train.workers, processors())  # more would only take turns
    if workers:
        atexit.register(_end_workers)
    return DataLoader(
        build_patches(settings, degradation, store),
        batch_sampler=BatchSampler(
            train.patches, train.batch, settings.seed, degradation.scales, processes.rank, processes.world
        ),
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=functools.partial(begin_worker, parent=os.getpid()),
        # Not Python 3.14's forkserver: a killed run would leave it behind with its workers.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )


def build_patches(settings: Settings, degradation: Degradation, store: Store) -> Patches:
    """The data set of training samples, addressed by key."""
    patch, seed, passes = settings.train.patch, settings.seed, settings.data.draw == "passes"
    if isinstance(degradation, Mixture):
        assert isinstance(store, MixedStore)
        return MixedPatches(store, patch, seed, degradation.make_part, passes)
    return Patches(store, patch, seed, degradation.make, passes)


def _end_workers() -> None:
    """Kill worker processes that are left after an error: they ignore SIGTERM, and Python would wait for them."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler, which reports dead workers
    for worker in multiprocessing.active_children():
        worker.kill()


def build_update(
    cfg: CfgNode, net: UnfoldingNetwork, loss: BuiltLoss, processes: Processes, done: int = 0, pending: bool = False
) -> tuple[Update, Schedule]:
    """The optimiser's step and its learning rate, ``done`` steps into the run; pending: see Trainer."""
    nets: list[torch.nn.Module] = [net]
    kind: Callable[..., Update] = Update
    if loss.adversarial:
        judge = Discriminator()
        if loss.start == "kair":
            judge.start_as_kair()
        judge = place(judge, next(net.parameters()).device)
        nets.append(judge)
        kind = functools.partial(AdversarialUpdate, discriminator=judge, weight=loss.adversarial)
    optimizer = build_optimizer(
        cfg, [{"params": [parameter for parameter in one.parameters() if parameter.requires_grad]} for one in nets]
    )
    settings = settings_of(cfg)
    train = settings.train
    units = done if train.iterations else (done - pending) // train.steps_per_epoch
    schedule = Schedule(optimizer, factor(cfg), settings.schedule.warmup, units)
    update = kind(
        net,
        processes.wrap(net, net.example(train.patch, train.patch)),
        loss.total,
        optimizer,
        accumulate=train.accumulate,
        clip=settings.optim.clip,
        ema=train.ema,
        autocast=train.precision == "bfloat16",
        mixture=tuple(settings.data.parts),
    )
    return update, schedule


def build_optimizer(cfg: CfgNode, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    """The optimizer of OPTIM for these groups of parameters."""
    part = part_of(cfg, "OPTIM")
    given: Named = {"params": groups, "lr": settings_of(cfg).optim.lr}
    (first, *_) = cast("list[torch.nn.Parameter]", groups[0]["params"])
    if part.name in FUSED and first.device.type in WHOLE:
        given["fused"] = True  # fused optimisers can skip a step without waiting for the GPU
    # Some of torch's defaults are whole numbers; a checkpoint holds the values as given.
    given |= {name: float(value) for name, value in part.defaults().items() if type(value) is int}
    own = options_of(cfg, "OPTIM")
    optimizer: torch.optim.Optimizer = part.build(
        own, where(cfg, "OPTIM.ARGS"), **{name: value for name, value in given.items() if name not in own}
    )
    return optimizer


class BuiltLoss(NamedTuple):
    """total: all terms but the adversarial one, whose weight is ``adversarial`` (0 where there is none); start: the
    initialisation of its discriminator.
    """

    total: TotalLoss
    adversarial: float
    start: str = "default"

    @property
    def needs(self) -> set[str]:
        """Names that the terms need in a batch besides the target and the network's inputs."""
        return {name for term in self.total.terms for name in term.loss.needs}


def loss_terms(cfg: CfgNode) -> list[Term]:
    """Build LOSS.TERMS without loading. UnfoldError, with file and key, for an invalid term."""
    terms = []
    for i, said in enumerate(terms_of(cfg)):
        key = f"LOSS.TERMS.{i}"
        part = found_part(cfg, LOSS, said["NAME"], f"{key}.NAME")
        loss = part.build(said["ARGS"], where(cfg, f"{key}.ARGS"))
        if not isinstance(loss, ImageLoss) and "STAGES" in cfg.LOSS.TERMS[i] and said["STAGES"] == "all":
            raise UnfoldError(
                f"{source_of(cfg, key)}: {key}.STAGES: {part.name} judges the whole output, and no single stages"
            )
        terms.append(Term(loss, said["WEIGHT"], said["STAGES"] == "all", said["CLAMP"]))
    return terms


def build_loss(cfg: CfgNode, device: torch.device, *, empty: bool = False) -> BuiltLoss:
    """The loss of LOSS. UnfoldError if a file that a term needs is missing.

    empty: read and download nothing, for counting memory.
    """
    terms = loss_terms(cfg)
    adversarial = sum(term.weight for term in terms if isinstance(term.loss, Adversarial))
    start = next((term.loss.start for term in terms if isinstance(term.loss, Adversarial)), "default")
    terms = [term for term in terms if not isinstance(term.loss, Adversarial)]
    if not terms:
        raise UnfoldError(
            f"{source_of(cfg, 'LOSS.TERMS')}: LOSS.TERMS has nothing beside adversarial: name a loss of pixels"
        )
    # Terms of weight 0 are not computed, and their files are not needed (VGG19's weights).
    terms = [term for term in terms if term.weight or not isinstance(term.loss, ImageLoss)] or terms[:1]
    for term in terms:
        term.loss.load_empty() if empty else term.loss.load()
        if any(True for _ in term.loss.parameters()) or any(True for _ in term.loss.buffers()):
            place(term.loss.requires_grad_(False), device)
    return BuiltLoss(TotalLoss(terms), adversarial, start)


def build_rate(cfg: CfgNode) -> Rate:
    """The schedule of SCHEDULE, after the warm-up."""
    rate: Rate = build_part(cfg, "SCHEDULE")
    try:
        rate.check(settings_of(cfg).optim.lr)
    except UnfoldError as error:
        raise UnfoldError(f"{source_of(cfg, 'SCHEDULE.ARGS')}: SCHEDULE.ARGS: {error}") from None
    return rate


def factor(cfg: CfgNode) -> Factor:
    """The learning rate by units done after the warm-up, over OPTIM.LR."""
    rate, settings = build_rate(cfg), settings_of(cfg)
    units = settings.train.units - settings.schedule.warmup

    def of(t: int) -> float:
        with their_errors("the learning-rate schedule"):
            value: object = rate.factor(t, units, settings.optim.lr)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not (math.isfinite(number) and number >= 0):
            raise UnfoldError(
                f"{line_of(rate.factor)}: factor of {type(rate).__name__} returns {value!r} for {t} units, and "
                "a number from 0 on is wanted"
            )
        return number

    return of
