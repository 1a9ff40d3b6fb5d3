"""How much memory a training step takes, counted without computing, and settings that need less."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import clear_frames

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from yacs.config import CfgNode

from unfold.config import altered
from unfold.errors import UnfoldError, out_of_memory
from unfold.from_config import bare_network, build_degradation, build_network
from unfold.inference.tile_memory import Living, available
from unfold.models.sizes_taken import takes
from unfold.settings import settings_of
from unfold.training.processes.distributed import Processes
from unfold.training.setup.build_parts import build_loss, build_update
from unfold.training.setup.settings_check import check_sizes
from unfold.util.arrays import Named
from unfold.util.device import place

LARGE = 2**17  # pixels


def step_memory(cfg: CfgNode, world: int = 1) -> int:
    """Peak bytes of a training run: weights, average, gradients, Adam's two moments and activations.

    The real step runs on meta tensors, so this takes seconds and hardly any memory at any size. Not counted: the
    images, workspaces of libraries, and rounding by the allocator.
    world: processes that share a batch; the count is of one of them.
    """
    train = settings_of(cfg).train
    patches = -(-min(train.batch, train.patches) // world)
    device = torch.device("cpu")
    bare_network(cfg)  # is cached, and must not be created inside the context
    with silent_fakes(), FakeTensorMode():
        loss = build_loss(cfg, device, empty=True)
        with Living() as living:
            net = place(build_network(cfg), device).train()
            net.checkpoint_stages = train.checkpoint_stages
            update, _ = build_update(cfg, net, loss, Processes())
            for parameter in (p for group in update.optimizer.param_groups for p in group["params"]):
                parameter.grad = torch.zeros_like(parameter)
            update.optimizer.step()  # Adam's moments are there from now on
            update(example_batch(cfg, patches))
    judged = sum(parameter.nbytes for term in loss.total.terms for parameter in term.loss.parameters())
    # DistributedDataParallel keeps a second copy of the gradients, in buckets.
    buckets = sum(parameter.nbytes for parameter in update.trained) if world > 1 else 0
    return living.peak + judged + buckets


@contextmanager
def silent_fakes() -> Iterator[None]:
    """Inside, torch does not log the traceback of an operation that fails: the error itself is shown."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    off, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = off


def example_batch(cfg: CfgNode, patches: int) -> Named:
    """A batch as the network takes it, of zeros."""
    net, patch = bare_network(cfg), settings_of(cfg).train.patch
    scale = min(build_degradation(cfg, net).scales) if "scale" in net.inputs else 1
    side = patch // scale
    given = net.example(side, side, batch=patches, kernels=patches)
    if "scale" in given:
        given["scale"] = scale
    return {"target": torch.zeros(patches, net.channels, patch, patch), **given}


def legal(cfg: CfgNode, values: Named) -> CfgNode | None:
    """The recipe with other values; None if those are invalid."""
    try:
        other = altered(cfg, values)
        check_sizes(other, 1)
    except UnfoldError:
        return None
    return other


def smallest_patch(cfg: CfgNode) -> int:
    """The side of the smallest patch that the recipe could be trained with, as far as a few tries show."""
    net, patch = bare_network(cfg), settings_of(cfg).train.patch
    scale = min(build_degradation(cfg, net).scales) if "scale" in net.inputs else 1

    def trained(side: int) -> bool:
        return legal(cfg, {"TRAIN.PATCH": side}) is not None

    def taken(side: int) -> bool:
        return takes(net, side // scale, side // scale)

    # Some networks take no sizes as small as they say, as those that pad by reflection; where the recipe's size cannot
    # be tried without numbers, no other can. Doubled sides are few, and among them are those of networks with halvings.
    first = next(side for side in range(1, patch + 1) if trained(side))
    if taken(first) or not taken(patch):
        return first
    doubled = (2**power for power in range(1, patch.bit_length()))
    return next((side for side in doubled if first < side < patch and trained(side) and taken(side)), patch)


def what_helps(cfg: CfgNode, world: int = 1) -> str:
    """For a run that is out of memory: the count of its step, and up to three settings that need less."""
    train = settings_of(cfg).train
    share = -(-min(train.batch, train.patches) // world)
    half = next((side for side in range(train.patch // 2, 0, -1) if legal(cfg, {"TRAIN.PATCH": side})), train.patch)
    settings: list[tuple[str, object]] = [
        ("CHECKPOINT_STAGES", True),
        ("ACCUMULATE", min(4 * train.accumulate, share)),
        ("PATCH", half),
        ("BATCH", max(train.batch // 2, world)),
        ("PRECISION", "bfloat16"),
    ]
    now = step_memory(cfg, world)
    less: list[str] = []
    for name, value in settings:
        other = legal(cfg, {f"TRAIN.{name}": value}) if getattr(train, name.lower()) != value else None
        if other is not None and len(less) < 3 and (then := step_memory(other, world)) < now:
            less.append(f"{in_bytes(then)} with TRAIN.{name} {str(value).lower()}")
    remedy = (
        f"; it would take {', '.join(less)}" if less else ", and no setting of TRAIN makes it less: narrow the MODEL"
    )
    return f"a training step takes {in_bytes(now)} (estimated){remedy}"


def check_memory(cfg: CfgNode, device: torch.device, world: int = 1) -> None:
    """UnfoldError if a step takes more memory than is free on the CPU, whose system would kill the process.

    Only steps of at least LARGE pixels are counted, as counting takes seconds. On a GPU, being out of memory is an
    error like others.
    """
    train = settings_of(cfg).train
    if device.type != "cpu" or LARGE * train.accumulate * world > train.batch * train.patch**2:
        return
    free = available(device) // world
    if step_memory(cfg, world) > free:
        raise UnfoldError(f"{what_helps(cfg, world)}; {in_bytes(free)} are free")


@contextmanager
def what_helps_without_memory(cfg: CfgNode, world: int = 1) -> Iterator[None]:
    """Inside this context, out of memory becomes an UnfoldError that names settings that help."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        clear_frames(error.__traceback__)  # they hold all that the step held
        raise UnfoldError(f"out of memory: {what_helps(cfg, world)}") from None


def in_bytes(size: int) -> str:
    """The size as text in MB or GB (powers of ten)."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
