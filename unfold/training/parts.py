"""The parts of a run as the configuration says: batches, loss, optimiser, learning rate, length."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from unfold.data.batches import BatchSampler, collate
from unfold.data.patches import Patches
from unfold.data.samples import SampleKind
from unfold.data.stores import Store
from unfold.device import place
from unfold.models.registry import model_info
from unfold.models.unfolding import UnfoldingNetwork
from unfold.training.adversarial import AdversarialUpdate
from unfold.training.discriminator import Discriminator
from unfold.training.distributed import Processes
from unfold.training.losses import Distance, StageLoss, charbonnier, l1, mse
from unfold.training.perceptual import PerceptualDistance, vgg19_features
from unfold.training.schedule import Factor, Schedule, constant, cosine, multistep, step
from unfold.training.update import Loss, Update
from unfold.training.worker import begin_worker


def build_loader(
    cfg: CfgNode, samples: SampleKind, store: Store, processes: Processes, device: torch.device
) -> DataLoader[dict[str, Any]]:
    """Batches of the training set, of this process's share, and the processes that load them."""
    workers = min(cfg.TRAIN.WORKERS, os.cpu_count() or 1)  # more would take turns
    if workers:
        atexit.register(_end_workers)
    train, scales = cfg.TRAIN, cfg.DATA.SCALES if "scale" in samples.inputs else (1,)
    return DataLoader(
        Patches(store, train.PATCH, cfg.SEED, samples.make),
        batch_sampler=BatchSampler(train.PATCHES, train.BATCH, cfg.SEED, scales, processes.rank, processes.world),
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=functools.partial(begin_worker, parent=os.getpid()),
        # Not Python 3.14's forkserver, of which a killed run would leave one behind, with its workers, for ever.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )


def _end_workers() -> None:
    """Kill processes that load data and are left after an error: Python would wait for them, who heed no SIGTERM."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where torch tells that workers died
    for worker in multiprocessing.active_children():
        worker.kill()


def build_update(
    cfg: CfgNode, net: UnfoldingNetwork, loss: Loss, processes: Processes, done: int = 0, pending: bool = False
) -> tuple[Update, Schedule]:
    """The optimiser's step and its learning rate, ``done`` steps into the run; pending: see Trainer."""
    nets: list[torch.nn.Module] = [net]
    kind: Callable[..., Update] = Update
    if cfg.LOSS.ADVERSARIAL:
        judge = place(Discriminator(), next(net.parameters()).device)
        nets.append(judge)
        kind = functools.partial(AdversarialUpdate, discriminator=judge, weight=cfg.LOSS.ADVERSARIAL)
    optimizer = torch.optim.Adam(
        [{"params": [parameter for parameter in one.parameters() if parameter.requires_grad]} for one in nets],
        cfg.OPTIM.LR,
        betas=tuple(cfg.OPTIM.BETAS),
        weight_decay=cfg.OPTIM.WEIGHT_DECAY,
        fused=True,  # which can leave out a step without asking the GPU
    )
    units = done if cfg.TRAIN.ITERATIONS else (done - pending) // steps_per_epoch(cfg)
    schedule = Schedule(optimizer, factor(cfg), cfg.SCHEDULE.WARMUP, units)
    update = kind(
        net,
        processes.wrap(net, model_info(cfg.MODEL.NAME).example(cfg.TRAIN.PATCH)),
        loss,
        optimizer,
        accumulate=cfg.TRAIN.ACCUMULATE,
        clip=cfg.OPTIM.CLIP,
        ema=cfg.TRAIN.EMA,
        autocast=cfg.TRAIN.PRECISION == "bfloat16",
    )
    return update, schedule


def build_loss(cfg: CfgNode, device: torch.device, features: torch.nn.Module | None = None) -> Loss:
    """The loss of LOSS but for its adversarial part. UnfoldError where VGG19's weights are needed and not there.

    features: VGG19's, in place of those that LOSS.VGG names.
    """
    loss = cfg.LOSS
    distances: dict[str, Distance] = {"charbonnier": functools.partial(charbonnier, eps=loss.EPS), "l1": l1, "mse": mse}
    pixel = StageLoss(distances[loss.PIXEL], loss.STAGES == "all", loss.EDGE, loss.CLAMP, loss.WEIGHT, loss.EPS)
    if not loss.PERCEPTUAL:
        return pixel
    distance = place(PerceptualDistance(features or vgg19_features(loss.VGG)), device)
    return lambda stages, target: pixel(stages, target) + loss.PERCEPTUAL * distance(stages[-1], target)


def factor(cfg: CfgNode) -> Factor:
    """The learning rate by units done after the warm-up, over OPTIM.LR."""
    plan = cfg.SCHEDULE
    units = cfg.TRAIN.ITERATIONS or cfg.TRAIN.EPOCHS
    if plan.NAME == "cosine":
        return cosine(plan.LENGTH or max(units - plan.WARMUP, 1), plan.LR_MIN / cfg.OPTIM.LR)
    if plan.NAME == "multistep":
        return multistep(plan.MILESTONES, plan.GAMMA)
    return step(plan.STEP, plan.GAMMA) if plan.NAME == "step" else constant


def steps_per_epoch(cfg: CfgNode) -> int:
    return -(-cfg.TRAIN.PATCHES // cfg.TRAIN.BATCH)


def total_steps(cfg: CfgNode) -> int:
    return cfg.TRAIN.ITERATIONS or cfg.TRAIN.EPOCHS * steps_per_epoch(cfg)
