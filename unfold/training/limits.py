"""Settings that have no effect in a run, which is worth knowing before it begins."""

from __future__ import annotations

from yacs.config import CfgNode


def in_vain(cfg: CfgNode, steps: int, per_epoch: int) -> list[str]:
    """One line for each setting that this run never comes to; steps: of the run, per_epoch: of an epoch."""
    plan, train, told = cfg.SCHEDULE, cfg.TRAIN, []
    unit = "steps" if train.ITERATIONS else "epochs"
    units, epochs = train.ITERATIONS or train.EPOCHS, -(-steps // per_epoch)
    if units <= plan.WARMUP:
        told.append(
            f"SCHEDULE.WARMUP {plan.WARMUP} lasts as long as the run, {units} {unit}: OPTIM.LR is hardly reached; "
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
