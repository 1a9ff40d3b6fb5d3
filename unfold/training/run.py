"""From a configuration to a trained network: the parts of a run, put together."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

import unfold
from unfold.build import (
    build_network,
    build_samples,
    build_store,
    build_validation,
    input_names,
    run_folder,
    smallest_image,
)
from unfold.checkpoints.load import load_state
from unfold.checkpoints.read import Checkpoint, read_checkpoint
from unfold.config import differences, load_config, model_arguments
from unfold.data.batches import BatchSampler, collate
from unfold.data.patches import Patches
from unfold.data.samples import SampleKind
from unfold.device import pick_device, place
from unfold.errors import UnfoldError
from unfold.models.registry import model_info
from unfold.protocols.evaluate import check_cases, validate
from unfold.protocols.protocol import Case, Protocol
from unfold.report.models import count_parameters
from unfold.training.log import RunLog
from unfold.training.losses import charbonnier_of_stages
from unfold.training.schedule import WarmupCosine
from unfold.training.trainer import Trainer

logger = logging.getLogger("unfold")
MAY_DIFFER = ("OUTPUT", "DEVICE", "TRAIN.WORKERS", "TEST.", "DATA.TEST")  # in a resumed run


def build_trainer(cfg: CfgNode, *, resume: bool = False, overwrite: bool = False) -> Trainer:
    """Everything that a run needs, checked before the first step.

    resume: go on from the run folder's last checkpoint; overwrite: begin anew in a folder that holds a run already.
    Raises UnfoldError.
    """
    folder = run_folder(cfg)
    last = folder / "checkpoints" / "last.pth"
    checkpoint = _checkpoint_to_resume(cfg, last) if resume else None
    if checkpoint is None and any(last.parent.glob("*.pth")) and not overwrite:
        raise UnfoldError(
            f"{folder} holds a run already: --resume continues it, --overwrite begins anew, OUTPUT names another"
        )

    least = model_info(cfg.MODEL.NAME).build.min_size
    if least > cfg.TRAIN.PATCH:
        raise UnfoldError(f"TRAIN.PATCH {cfg.TRAIN.PATCH} is below the {least} pixels that {cfg.MODEL.NAME} needs")
    device = pick_device(cfg.DEVICE)
    torch.manual_seed(cfg.SEED)
    net = build_network(cfg)
    net.checkpoint_stages = cfg.TRAIN.CHECKPOINT_STAGES

    protocol = build_validation(cfg, net)
    samples, names = build_samples(cfg), input_names(cfg)
    held_out = _validation_cases(cfg, protocol)
    store, left_out = build_store(cfg)  # decodes the training set, which may take long: after all that is quick
    scales = cfg.DATA.SCALES if "scale" in samples.inputs else (1,)
    loader = DataLoader(
        Patches(store, cfg.TRAIN.PATCH, cfg.SEED, samples.make),
        batch_sampler=BatchSampler(cfg.TRAIN.PATCHES, cfg.TRAIN.BATCH, cfg.SEED, scales),
        collate_fn=collate,
        num_workers=cfg.TRAIN.WORKERS,
        persistent_workers=cfg.TRAIN.WORKERS > 0,
        pin_memory=device.type == "cuda",
    )

    if checkpoint is not None:
        load_state(net, checkpoint.state, last)
    net = place(net, device)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(
        trained, cfg.OPTIM.LR, betas=tuple(cfg.OPTIM.BETAS), weight_decay=cfg.OPTIM.WEIGHT_DECAY
    )
    done = checkpoint.content["epoch"] if checkpoint is not None else 0
    schedule = WarmupCosine(optimizer, cfg.TRAIN.EPOCHS, cfg.OPTIM.WARMUP, cfg.OPTIM.LR_MIN, done)
    _prepare_folder(folder, cfg, fresh=checkpoint is None)
    if left_out:
        (folder / "left_out.txt").write_text("".join(f"{reason}\n" for reason in left_out))
    trainer = Trainer(
        net=net,
        loader=loader,
        render=functools.partial(_rendered, samples, names),
        loss=functools.partial(charbonnier_of_stages, eps=cfg.LOSS.EPS),
        optimizer=optimizer,
        schedule=schedule,
        validate=lambda: validate(net, names, protocol, held_out, device),
        log=RunLog(folder, done),
        folder=folder,
        device=device,
        epochs=cfg.TRAIN.EPOCHS,
        validate_every=cfg.TRAIN.VALIDATE_EVERY,
        autocast=cfg.TRAIN.PRECISION == "bfloat16",
        about={
            "unfold": unfold.__version__,
            "model": {"name": cfg.MODEL.NAME, "arguments": model_arguments(cfg)},
            "protocol": dict(vars(protocol)),
        },
    )
    if checkpoint is not None:
        trainer.resume(checkpoint.content)
    parameters = count_parameters(net)
    logger.info(
        "%s: %s parameters, %d stages, %s on %s",
        cfg.MODEL.NAME,
        f"{parameters:,}",
        net.train().count(),
        cfg.TRAIN.PRECISION,
        device,
    )
    logger.info("%d training images, %d for validation, run folder %s", len(store), len(held_out), folder)
    small = sum(min(store.size(i)) < cfg.TRAIN.PATCH for i in range(len(store)))
    if small:
        logger.warning("%d training images are smaller than TRAIN.PATCH and are continued by reflection", small)
    if done:
        logger.info("resuming after epoch %d of %d", done, cfg.TRAIN.EPOCHS)
    return trainer


def _validation_cases(cfg: CfgNode, protocol: Protocol) -> Sequence[Case]:
    """The cases of DATA.VAL, each of which can be read and restored."""
    try:
        cases = protocol.cases(cfg.DATA.VAL, "val")
        check_cases(protocol, cases, smallest_image(cfg))
    except UnfoldError as error:
        raise UnfoldError(f"DATA.VAL {cfg.DATA.VAL} (for the protocol {protocol.name}): {error}") from None
    return cases


def _rendered(samples: SampleKind, names: set[str], batch: dict[str, Any]) -> dict[str, Any]:
    """A batch as the trainer takes it: the target, and of the inputs those that the network asks for."""
    rendered = samples.render(batch)
    return {name: rendered[name] for name in ("target", *names)}


def _checkpoint_to_resume(cfg: CfgNode, last: Path) -> Checkpoint:
    if not last.exists():
        raise UnfoldError(f"there is nothing to resume: {last} does not exist")
    before = load_config(last.parent.parent / "config.yaml")
    changed = [change for change in differences(before, cfg) if not change.startswith(MAY_DIFFER)]
    if changed:
        raise UnfoldError(f"--resume continues the same run, and the config differs: {', '.join(changed)}")
    checkpoint = read_checkpoint(last)
    if not {"epoch", "best", "optimizer"} <= checkpoint.content.keys():
        raise UnfoldError(f"{last} holds weights but no state of a run; it cannot be resumed")
    return checkpoint


def _prepare_folder(folder: Path, cfg: CfgNode, *, fresh: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if fresh:
            for old in ("checkpoints/last.pth", "checkpoints/best.pth", "log.jsonl", "curve.png", "left_out.txt"):
                (folder / old).unlink(missing_ok=True)
        (folder / "config.yaml").write_text(cfg.dump())
    except OSError as error:
        raise UnfoldError(f"the run folder {folder} cannot be written: {error.strerror or error}") from None
