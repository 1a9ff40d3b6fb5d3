"""Settings that cannot be, and such as have no effect in a run: known before it begins."""

from __future__ import annotations

from yacs.config import CfgNode

from unfold.errors import UnfoldError
from unfold.models.registry import model_info


def in_vain(cfg: CfgNode, steps: int, per_epoch: int) -> list[str]:
    """One line for each setting that this run never comes to; steps: of the run, per_epoch: of an epoch."""
    plan, train, told = cfg.SCHEDULE, cfg.TRAIN, []
    unit = "steps" if train.ITERATIONS else "epochs"
    units, epochs = train.ITERATIONS or train.EPOCHS, -(-steps // per_epoch)
    if units <= plan.WARMUP:
        told.append(
            f"SCHEDULE.WARMUP {plan.WARMUP} lasts no shorter than the run, {units} {unit}: OPTIM.LR is hardly reached; "
            "shorten it"
        )
    late = [stone for stone in plan.MILESTONES if stone + plan.WARMUP >= units]
    if late and plan.NAME == "multistep":
        told.append(f"SCHEDULE.MILESTONES {late} lie beyond the run, {units} {unit} with {plan.WARMUP} of warm-up")
    if plan.MILESTONES and plan.NAME != "multistep":
        told.append(f"SCHEDULE.MILESTONES {plan.MILESTONES} belong to SCHEDULE.NAME multistep, and it is {plan.NAME}")
    if train.BATCH > train.PATCHES:
        told.append(
            f"TRAIN.BATCH {train.BATCH} is more than TRAIN.PATCHES {train.PATCHES}: each step has {train.PATCHES}"
        )
    if train.MIXUP and epochs <= train.MIXUP_AFTER:
        told.append(f"TRAIN.MIXUP begins after {train.MIXUP_AFTER} epochs, and the run has {epochs}")
    if train.MIXUP and train.BATCH == 1:
        told.append("TRAIN.MIXUP blends samples of one batch, and TRAIN.BATCH is 1")
    return told


def check_sizes(cfg: CfgNode, world: int) -> None:
    """UnfoldError where patches or batches are too small for the network or the processes."""
    least = model_info(cfg.MODEL.NAME).build.min_size
    if least > cfg.TRAIN.PATCH:
        raise UnfoldError(f"TRAIN.PATCH {cfg.TRAIN.PATCH} is below the {least} pixels that {cfg.MODEL.NAME} needs")
    if cfg.LOSS.ADVERSARIAL and world > 1:
        raise UnfoldError(
            f"LOSS.ADVERSARIAL trains in one process, not {world}: the discriminator's means are over the whole batch; "
            "begin without torchrun"
        )
    smallest = cfg.TRAIN.PATCHES % cfg.TRAIN.BATCH or min(cfg.TRAIN.PATCHES, cfg.TRAIN.BATCH)
    if smallest < world:
        raise UnfoldError(
            f"the smallest batch of an epoch has {smallest} patches (TRAIN.PATCHES {cfg.TRAIN.PATCHES}, TRAIN.BATCH "
            f"{cfg.TRAIN.BATCH}), and {world} processes share it: make TRAIN.PATCHES a multiple of TRAIN.BATCH, and "
            "that no smaller than their number"
        )
