"""Settings that cannot be, and such as have no effect in a run: known before it begins."""

from __future__ import annotations

import torch
from yacs.config import CfgNode

from unfold import registry
from unfold.config import source_of
from unfold.errors import UnfoldError
from unfold.from_config import bare_network, build_degradation, check_parts, model_name
from unfold.losses.adversarial import Adversarial
from unfold.training.setup.build_parts import build_optimizer, build_rate, loss_terms
from unfold.training.setup.weight_init import check_start


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
    told += [f"SCHEDULE.ARGS: {line}" for line in build_rate(cfg).in_vain(units - plan.WARMUP, unit)]
    if train.BATCH > train.PATCHES:
        told.append(
            f"TRAIN.BATCH {train.BATCH} is more than TRAIN.PATCHES {train.PATCHES}: each step has {train.PATCHES}"
        )
    if train.MIXUP and epochs <= train.MIXUP_AFTER:
        told.append(f"TRAIN.MIXUP begins after {train.MIXUP_AFTER} epochs, and the run has {epochs}")
    if train.MIXUP and train.BATCH == 1:
        told.append("TRAIN.MIXUP blends samples of one batch, and TRAIN.BATCH is 1")
    return told


def check_training(cfg: CfgNode) -> None:
    """UnfoldError, with file and key, where a part of the training cannot be had or does not take its ARGS.

    Reads no data.
    """
    net = check_parts(cfg)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UnfoldError(f"{model_name(cfg)} has no parameter to be trained")
    check_start(net, cfg.OPTIM.START)
    build_optimizer(cfg, [{"params": [torch.nn.Parameter(torch.zeros(1))]}])
    build_rate(cfg)
    loss_terms(cfg)


def check_sizes(cfg: CfgNode, world: int) -> None:
    """UnfoldError where patches or batches do not suit the network, the samples, the losses or the processes."""
    net, patch = bare_network(cfg), cfg.TRAIN.PATCH
    degradation = build_degradation(cfg, net)
    if net.min_size > patch:
        raise UnfoldError(f"TRAIN.PATCH {patch} is below the {net.min_size} pixels that {model_name(cfg)} needs")
    terms = loss_terms(cfg)
    for check in (degradation.check_patch, *(term.loss.check_patch for term in terms)):
        try:
            check(patch)
        except UnfoldError as error:
            raise UnfoldError(f"{source_of(cfg, 'TRAIN.PATCH')}: TRAIN.PATCH {error}") from None
    for term, said in zip(terms, cfg.LOSS.TERMS, strict=True):
        if term.loss.channels not in (None, net.channels):
            raise UnfoldError(
                f"LOSS.TERMS: {registry.short(said['NAME'])} takes images of {term.loss.channels} channels, and "
                f"{model_name(cfg)} has {net.channels}"
            )
    if cfg.TRAIN.MIXUP and not (degradation.blends and all(one.kind == "image" for one in net.inputs.values())):
        raise UnfoldError(
            f"{source_of(cfg, 'TRAIN.MIXUP')}: TRAIN.MIXUP blends images, and samples of DATA.KIND "
            f"{registry.short(cfg.DATA.KIND)} are more than those: set it 0"
        )
    if any(isinstance(term.loss, Adversarial) for term in terms):
        if cfg.TRAIN.ACCUMULATE > 1:
            raise UnfoldError(
                f"{source_of(cfg, 'TRAIN.ACCUMULATE')}: TRAIN.ACCUMULATE must be 1 with the loss adversarial, whose "
                f"means are over the whole batch, and is {cfg.TRAIN.ACCUMULATE}"
            )
        if world > 1:
            raise UnfoldError(
                f"the loss adversarial trains in one process, not {world}: the discriminator's means are over the "
                "whole batch; begin without torchrun"
            )
    if min(cfg.TRAIN.PATCHES, cfg.TRAIN.BATCH) < world:
        raise UnfoldError(
            f"{world} processes share batches of {min(cfg.TRAIN.PATCHES, cfg.TRAIN.BATCH)} patches (TRAIN.PATCHES "
            f"{cfg.TRAIN.PATCHES}, TRAIN.BATCH {cfg.TRAIN.BATCH}): make both no smaller than the number of processes"
        )
