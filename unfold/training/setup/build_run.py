"""From a configuration to a trained network: the parts of a run, put together."""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from yacs.config import CfgNode

import unfold
from unfold.config import dumped, options_of, part_of
from unfold.data.mixtures import MixedStore
from unfold.data.stores.image_stores import Store
from unfold.degradations.degradation import Degradation
from unfold.errors import UnfoldError, out_of_memory
from unfold.evaluation.run_protocol import check_cases, validate
from unfold.from_config import (
    bare_network,
    build_degradation,
    build_network,
    build_store,
    build_validation,
    check_training_set,
    said_by,
    smallest_image,
)
from unfold.models.sizes_taken import size_fault
from unfold.models.unfolding import UnfoldingNetwork
from unfold.option_values import in_plain
from unfold.protocols.protocol import Case, Protocol
from unfold.report.models_list import count_parameters
from unfold.settings import Settings, TrainSettings, settings_of
from unfold.training import tensorboard
from unfold.training.checkpoint import make_newest
from unfold.training.log import RunLog
from unfold.training.memory_count import check_memory
from unfold.training.mixup import mixed
from unfold.training.processes.distributed import Processes
from unfold.training.processes.run_lock import check_unused
from unfold.training.setup import environment, user_code
from unfold.training.setup.build_parts import build_loader, build_loss, build_rate, build_update
from unfold.training.setup.environment import read_starts
from unfold.training.setup.old_runs import by_its_rules, dumped_for
from unfold.training.setup.rank_consistency import check_data, check_recipes
from unfold.training.setup.resume_check import all_noted, compare_data, data_moved, note_data, run_to_resume, seen
from unfold.training.setup.settings_check import (
    check_scale,
    check_sizes,
    check_training,
    unused_in_mixture,
    without_effect,
)
from unfold.training.setup.weight_init import fill, take_over
from unfold.training.trainer import Trainer
from unfold.user_files import their_errors
from unfold.util import log_once
from unfold.util.arrays import Named
from unfold.util.atomic_files import nearest, whole_file
from unfold.util.device import pick_device, place
from unfold.weights.load_model import MisfitError, check_files, check_finite, load_state, model_record
from unfold.weights.read_checkpoint import Checkpoint, read_checkpoint
from unfold.weights.resolve_weights import find_weights

logger = logging.getLogger("unfold")
# The files of a run that are removed when another starts in its folder.
OF_A_RUN = (
    "checkpoints/last.pth",
    "checkpoints/best.pth",
    "log.jsonl",
    "curve.png",
    "validation.json",
    "left_out.txt",
    environment.FILE,
)


def build_trainer(
    cfg: CfgNode,
    *,
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    init: str | None = None,
    partial: bool = False,
    init_key: str | None = None,
    processes: Processes | None = None,
    dry: bool = False,
) -> Trainer:
    """Build everything that a run needs, and check it before the first step.

    resume: continue from the run folder's newest intact checkpoint, "auto" where there is one; overwrite: start again
    in a folder that holds a run. init: initial weights, a file or name; a run that "auto" continues ignores them.
    partial: load matching tensors only and log the others; init_key: which of several networks in the file. processes:
    those that share the run.
    dry: write nothing, not even the run folder.
    Raises UnfoldError.
    """
    processes = processes or Processes()
    log_once.forget()
    writes = processes.first and not dry
    folder = settings_of(cfg).run_folder
    cfg = by_its_rules(cfg, folder) if resume else cfg
    settings = settings_of(cfg)
    train = settings.train
    check_training(cfg)
    check_sizes(cfg, processes.world)
    if processes.first:
        _check_folder(folder)
    if writes:
        check_unused(folder)
    check_recipes(processes, cfg)
    found = processes.from_first(lambda: _find_run(cfg, folder, resume, overwrite or dry))
    if found is not None:
        environment.keep_threads(folder, processes)
    if found is not None and init is not None:
        if resume != "auto":
            raise UnfoldError("--init starts a run and --resume continues one: give one of them, or --resume auto")
        logger.info("--init is not used: this run has started before and continues from its checkpoint")
        init = None
    if train.board:
        tensorboard.check_installed()
    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)
    if not dry and processes.first and (fault := size_fault(bare_network(cfg))):
        logger.warning("warning: %s", fault)  # no error: it may be made for pictures of one size, or resumed
    net = build_network(cfg)
    net.checkpoint_stages = train.checkpoint_stages
    fill(net, settings.optim.start)
    if init is not None:
        begin_with(net, settings.model.short_name, init, partial, init_key)
    elif found is not None:
        check_files(part_of(cfg, "MODEL"), found[1], found[0], options_of(cfg, "MODEL"))
        load_state(net, found[1].state, found[0])
    else:
        logger.info(
            "beginning with random weights (OPTIM.START %s); --init begins with those of a file", settings.optim.start
        )

    degradation = build_degradation(cfg, net)
    protocol = build_validation(cfg, net, degradation)
    with said_by(cfg, "DATA.TRAIN"), said_by(cfg, "DATA.MIX"):
        check_training_set(settings.data, degradation)
    with said_by(cfg, "DATA.MIX"):
        held_out = _validation_cases(settings.data.val, net, protocol, processes)
    loss = build_loss(cfg, device)  # may download VGG19's weights: after all checks that need no network
    if not dry:
        check_memory(cfg, device, processes.world)
    # May decode the training set, which may take long: after all quick checks.
    store, left_out = build_store(settings.data, degradation, processes, dry)
    check_scale(cfg, store)
    check_data(processes, store, held_out)
    loader = build_loader(settings, degradation, store, processes, device)
    net = place(net, device)
    # Where the end of an epoch is pending, neither the log nor the schedule includes it yet.
    done, pending = (found[1].content["step"], found[1].content["pending"]) if found is not None else (0, False)
    update, schedule = build_update(cfg, net, loss, processes, done, pending)
    writes = writes and (done < train.total_steps or pending)  # a finished run is left as it is
    moved = found is not None and processes.from_first(lambda: data_moved(folder, cfg))
    last = (read_starts(folder) or [{}])[-1] if found is not None else None
    images = seen(store, held_out, last) if writes or (moved and processes.first) else {}
    if images and found is not None:
        compare_data(folder, cfg, images)
    if writes:
        _prepare_folder(folder, cfg, left_out, fresh=found is None)
        user_code.keep(user_code.files_of(cfg), folder / user_code.FOLDER)
        if found is not None:
            make_newest(found[0])
        environment.record_start(folder, done, images, device, train.precision, processes)
    shown = train.board and writes
    later = writes and not all_noted(images, store)  # images are decoded on first use
    note = functools.partial(note_data, folder, store) if later else None
    trainer = Trainer(
        update=update,
        loader=loader,
        render=functools.partial(
            _rendered, train, settings.seed, degradation, {*net.inputs, *loss.needs, "part"}, processes.rank
        ),
        schedule=schedule,
        validate=functools.partial(_validated, processes, net, protocol, held_out, device, note),
        log=RunLog(folder, done - pending, write=writes),
        folder=folder,
        device=device,
        steps=train.total_steps,
        per_epoch=train.steps_per_epoch,
        validate_every=train.validate_every,
        schedule_in_steps=train.iterations > 0,
        save_every=train.save_every,
        keep=train.keep,
        processes=processes,
        board=tensorboard.Board(folder, done, net, protocol, held_out, device) if shown else None,
        about={
            "unfold": unfold.__version__,
            "model": model_record(part_of(cfg, "MODEL"), options_of(cfg, "MODEL")),
            "protocol": in_plain(protocol.options()),
        },
    )
    if found is not None:
        trainer.resume(found[1].state, found[1].content)
    if processes.first:
        _describe(settings, trainer, store, len(held_out))
        for text in [*unused_in_mixture(cfg), *without_effect(train, settings.schedule.warmup, build_rate(cfg))]:
            logger.warning(text)
    return trainer


def begin_with(net: UnfoldingNetwork, name: str, source: str, partial: bool, key: str | None = None) -> None:
    """Load initial weights from a file or a published name; UnfoldError if they do not fit and ``partial`` is not
    set.

    key: which of several networks in the file.
    """
    path = find_weights(source)
    checkpoint = read_checkpoint(path, key, like=lambda: net)
    if not partial:
        try:
            load_state(net, checkpoint.state, path, checkpoint.model)
        except MisfitError as error:
            hint = "" if error.another else " (--partial takes over what fits)"
            raise UnfoldError(f"--init: {error}{error.remedy()}{hint}") from None
        except UnfoldError as error:
            raise UnfoldError(f"--init: {error}") from None
        logger.info("beginning with the weights of %s", path)
        return
    check_finite(net, checkpoint.state, path)
    fresh = take_over(net, checkpoint.state)
    if len(fresh) == len(net.state_dict()):
        raise UnfoldError(f"--init: nothing in {path} fits {name}")
    logger.info("beginning with the weights of %s; fresh are %s", path, ", ".join(fresh) or "none")


def _describe(settings: Settings, trainer: Trainer, store: Store, held_out: int) -> None:
    """Log the network, the data and the run folder."""
    net = trainer.update.net
    in_use, in_training = net.eval().count(), net.train().count()
    logger.info(
        "%s: %s parameters, %d stages%s, %s on %s",
        settings.model.short_name,
        f"{count_parameters(net):,}",
        in_training,
        f" (at most {in_use} at evaluation)" if in_use != in_training else "",
        settings.train.precision,
        trainer.device,
    )
    images = len(store) // (1 + len(settings.data.reduced))
    copies = f" and {len(store) - images} smaller copies" if settings.data.reduced else ""
    logger.info("%d training images%s, %d for validation, run folder %s", images, copies, held_out, trainer.folder)
    if isinstance(store, MixedStore):
        parts = " + ".join(f"{name} {count:,}" for name, count in zip(store.parts, store.counts, strict=True))
        logger.info(
            "a pass is %s = %s samples, an epoch %s", parts, f"{store.samples:,}", f"{settings.train.patches:,}"
        )
    small = sum(min(store.size(i)) < settings.train.patch for i in range(len(store)))
    if small:
        which = "training images or their copies" if copies else "training images"
        logger.warning("%d %s are smaller than TRAIN.PATCH and are continued by reflection", small, which)
    if trainer.step:
        logger.info("resuming after step %d of %d", trainer.step, trainer.steps)


def _validation_cases(source: str, net: UnfoldingNetwork, protocol: Protocol, processes: Processes) -> Sequence[Case]:
    """The cases of DATA.VAL, checked: each process reads and restores its share of them."""
    try:
        with their_errors("the validation"):
            cases = protocol.cases(source, "val")
            check_cases(protocol, cases[processes.rank :: processes.world], smallest_image(net))
    except UnfoldError as error:
        if str(error).startswith("DATA.MIX "):  # names the part and its set
            raise
        raise UnfoldError(f"DATA.VAL {source} (for the protocol {protocol.name}): {error}") from None
    return cases


def _validated(
    processes: Processes,
    net: UnfoldingNetwork,
    protocol: Protocol,
    cases: Sequence[Case],
    device: torch.device,
    note: Callable[[], None] | None = None,
) -> dict[str, float]:
    """PSNR in dB of every case by its name; each process restores its share. note: called first."""
    if note is not None:
        note()
    try:
        shares = processes.gather(validate(net, protocol, cases[processes.rank :: processes.world], device))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UnfoldError(
            "out of memory while DATA.VAL is restored, whole images at once: name smaller images, or a "
            "DATA.VAL_PROTOCOL that takes parts of them (crop, tile)"
        ) from None
    return {case.name: shares[i % processes.world][i // processes.world] for i, case in enumerate(cases)}


def _rendered(
    train: TrainSettings,
    seed: int,
    degradation: Degradation,
    names: set[str],
    rank: int,
    batch: Named,
    epoch: int,
    step: int,
) -> Named:
    """Render a batch for the trainer: the target, and what the network and the losses need."""
    with their_errors("rendering a batch"):
        rendered = degradation.render(batch)
    given = {name: rendered[name] for name in ("target", *names) if name in rendered}
    if train.mixup and epoch >= train.mixup_after:
        given = mixed(given, train.mixup, (seed, epoch, step, rank))
    return given


def _find_run(
    cfg: CfgNode, folder: Path, resume: bool | Literal["auto"], overwrite: bool
) -> tuple[Path, Checkpoint] | None:
    """The checkpoint to resume from, or None for a new run; UnfoldError if that would overwrite a run."""
    found = run_to_resume(cfg, folder, must=resume is True) if resume else None
    if found is None and not overwrite and (there := holds_a_run(folder)):
        raise UnfoldError(there)
    return found


def holds_a_run(folder: Path) -> str:
    """That a folder holds a run, and how to go on; "" if it holds none."""
    there = any((folder / "checkpoints").glob("*.pth"))
    text = f"{folder} already holds a run: --resume continues it, --overwrite starts again, OUTPUT names another folder"
    return text if there else ""


def _check_folder(folder: Path) -> None:
    """UnfoldError if the run folder could not be written; creates nothing."""
    there = nearest(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UnfoldError(
            f"OUTPUT {folder} cannot be written: {there} is {'read-only' if there.is_dir() else 'a file'}; name another"
        )


def _prepare_folder(folder: Path, cfg: CfgNode, left_out: list[str], *, fresh: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = dumped(cfg) if fresh else dumped_for(folder, cfg)
        if fresh:
            numbered = (*folder.glob("checkpoints/last-*.pth"), *folder.glob(f"{tensorboard.FOLDER}/events.*"))
            for old in (*numbered, *(folder / name for name in OF_A_RUN)):
                old.unlink(missing_ok=True)
            shutil.rmtree(folder / user_code.FOLDER, ignore_errors=True)
        with whole_file(folder / "config.yaml") as file:
            file.write(text.encode())
        if left_out:
            with whole_file(folder / "left_out.txt") as file:
                file.write("".join(f"{reason}\n" for reason in left_out).encode())
    except OSError as error:
        raise UnfoldError(f"the run folder {folder} cannot be written: {error.strerror or error}") from None
