"""Invalid settings, and settings without effect: found before a run starts."""

from __future__ import annotations

import torch
from yacs.config import CfgNode

from unfold import registry
from unfold.config import source_of
from unfold.data.stores.image_stores import Store
from unfold.errors import UnfoldError
from unfold.from_config import bare_network, build_degradation, check_parts
from unfold.losses.adversarial import Adversarial
from unfold.merge_recipes import COMMAND_LINE
from unfold.settings import TrainSettings, settings_of
from unfold.training.schedule import Rate
from unfold.training.setup.build_parts import build_optimizer, build_rate, loss_terms
from unfold.training.setup.weight_init import check_start
from unfold.util.nested import plain


def without_effect(train: TrainSettings, warmup: int, rate: Rate) -> list[str]:
    """One line for each setting that has no effect in this run; warmup, rate: of SCHEDULE."""
    lines = []
    unit = "steps" if train.iterations else "epochs"
    units, epochs = train.units, -(-train.total_steps // train.steps_per_epoch)
    if units <= warmup:
        lines.append(
            f"SCHEDULE.WARMUP {warmup} lasts no shorter than the run, {units} {unit}: OPTIM.LR is hardly reached; "
            "shorten it"
        )
    lines += [f"SCHEDULE.ARGS: {line}" for line in rate.without_effect(units - warmup, unit)]
    if train.batch > train.patches:
        lines.append(
            f"TRAIN.BATCH {train.batch} is more than TRAIN.PATCHES {train.patches}: each step has {train.patches}"
        )
    if train.mixup and epochs <= train.mixup_after:
        lines.append(f"TRAIN.MIXUP begins after {train.mixup_after} epochs, and the run has {epochs}")
    if train.mixup and train.batch == 1:
        lines.append("TRAIN.MIXUP blends samples of one batch, and TRAIN.BATCH is 1")
    return lines


def unused_in_mixture(cfg: CfgNode) -> list[str]:
    """One line for each key of DATA that is set beside DATA.MIX and that every part has of its own.

    Bases of recipes set KIND, ARGS and VAL_PROTOCOL, so these count on a command line only.
    """
    lines = []
    for key in ("TRAIN", "VAL", "TEST", "KIND", "ARGS", "VAL_PROTOCOL") if cfg.DATA.MIX else ():
        by_hand = source_of(cfg, f"DATA.{key}") == COMMAND_LINE
        is_set = by_hand or (key in ("TRAIN", "VAL", "TEST") and cfg.DATA[key] != "photographs")
        if is_set and all(key in ("KIND", "ARGS") or item.get(key) for item in cfg.DATA.MIX):
            lines.append(
                f"DATA.{key} {plain(cfg.DATA[key])} has no effect, as every part of DATA.MIX has its own: set "
                f"DATA.MIX.0.{key} and so on"
            )
    return lines


def check_training(cfg: CfgNode) -> None:
    """UnfoldError, with file and key, if a part of the training is not found or does not accept its ARGS.

    Reads no data.
    """
    net, settings = check_parts(cfg), settings_of(cfg)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UnfoldError(f"{settings.model.short_name} has no parameter to be trained")
    check_start(net, settings.optim.start)
    build_optimizer(cfg, [{"params": [torch.nn.Parameter(torch.zeros(1))]}])
    build_rate(cfg)
    loss_terms(cfg)


def check_scale(cfg: CfgNode, store: Store) -> None:
    """UnfoldError if TRAIN.PATCH is not a multiple of the data's scale."""
    if (patch := settings_of(cfg).train.patch) % store.scale:
        raise UnfoldError(
            f"{source_of(cfg, 'TRAIN.PATCH')}: TRAIN.PATCH {patch} is of the targets, which are {store.scale} times as "
            f"large as their inputs: make it a multiple of {store.scale}"
        )


def check_sizes(cfg: CfgNode, world: int) -> None:
    """UnfoldError if patches or batches do not suit the network, the samples, the losses or the processes."""
    net, settings = bare_network(cfg), settings_of(cfg)
    train, patch, name = settings.train, settings.train.patch, settings.model.short_name
    degradation = build_degradation(cfg, net)
    if net.min_size > patch:
        raise UnfoldError(f"TRAIN.PATCH {patch} is below the {net.min_size} pixels that {name} needs")
    terms = loss_terms(cfg)
    for check in (degradation.check_patch, *(term.loss.check_patch for term in terms)):
        try:
            check(patch)
        except UnfoldError as error:
            raise UnfoldError(f"{source_of(cfg, 'TRAIN.PATCH')}: TRAIN.PATCH {error}") from None
    for term, said in zip(terms, settings.loss.terms, strict=True):
        if term.loss.channels not in (None, net.channels):
            raise UnfoldError(
                f"LOSS.TERMS: {registry.short(said['NAME'])} takes images of {term.loss.channels} channels, and "
                f"{name} has {net.channels}"
            )
    if train.mixup and not (degradation.blends and all(one.kind == "image" for one in net.inputs.values())):
        raise UnfoldError(
            f"{source_of(cfg, 'TRAIN.MIXUP')}: TRAIN.MIXUP blends images, and samples of DATA.KIND "
            f"{registry.short(settings.data.kind)} are more than those: set it 0"
        )
    if any(isinstance(term.loss, Adversarial) for term in terms):
        if train.accumulate > 1:
            raise UnfoldError(
                f"{source_of(cfg, 'TRAIN.ACCUMULATE')}: TRAIN.ACCUMULATE must be 1 with the loss adversarial, whose "
                f"means are over the whole batch, and is {train.accumulate}"
            )
        if world > 1:
            raise UnfoldError(
                f"the loss adversarial trains in one process, not {world}: the discriminator's means are over the "
                "whole batch; begin without torchrun"
            )
    if (share := min(train.patches, train.batch)) < world:
        raise UnfoldError(
            f"{world} processes share batches of {share} patches (TRAIN.PATCHES {train.patches}, TRAIN.BATCH "
            f"{train.batch}): make both no smaller than the number of processes"
        )
