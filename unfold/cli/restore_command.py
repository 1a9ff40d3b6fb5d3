"""`unfold restore`: restore pictures in files and folders, one after the other, and report on each."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from unfold.cli.inputs_of_options import given_inputs, lacks_kernel, pairs_of, with_images, without_files
from unfold.data.formats.open_picture import INSTALL, MissingReaderError
from unfold.data.parallel import ProcessEndedError, in_parallel
from unfold.errors import UnfoldError, one_line
from unfold.inference.collect_files import Job, by_kind, find_jobs
from unfold.inference.kernel_and_noise import estimated_sigma, gaussian
from unfold.inference.measured import is_measurement, log_doubts, read_measured, restore_measured
from unfold.inference.photographs.evidence import gather, jpeg_error_of
from unfold.inference.photographs.guard import implausible
from unfold.inference.photographs.tasks import (
    CAMERA_DENOISER,
    GENTLE,
    WEIGHTS,
    Pixels,
    Task,
    bounded,
    check_task,
    denoised_first,
    keeping_texture,
    restore_photograph,
    weights_for,
)
from unfold.inference.picture_files import (
    BANDS,
    KEEPS,
    Picture,
    check_format,
    enlarge_alpha,
    in_integers,
    read_picture,
    reduced,
    write_picture,
)
from unfold.inference.restore import Restored, TooLargeError, restore_with_tiles
from unfold.inference.silence_decoders import silence_decoders
from unfold.inference.tile_error import tile_difference
from unfold.inference.tile_memory import available, share_memory
from unfold.inference.tile_size import Tile, check_tile
from unfold.inference.validate_inputs import check_inputs
from unfold.models.unfolding import UnfoldingNetwork
from unfold.registry import short
from unfold.util.arrays import Array, Named
from unfold.util.atomic_files import copy_file
from unfold.util.device import devices_for, pick_device, place
from unfold.util.matrix_files import OtherContentError
from unfold.util.paths import as_path
from unfold.util.precision import Precision
from unfold.util.progress import bar
from unfold.weights.load_model import load_named

logger = logging.getLogger("unfold")

MEMORY = 0.5  # share of the free memory that a picture and its result may take


@dataclass(frozen=True)
class Options:
    """How to restore: see `unfold restore --help`. estimate: estimate sigma for each picture; reduce: results may lose
    what their format cannot keep; task: choose settings from the evidence in each picture, times strength; alone: no
    other process needs memory at the same time. A kernel that the inputs lack is chosen from the evidence, too.
    """

    inputs: Named
    estimate: bool
    tile: Tile
    ensemble: bool
    precision: Precision
    reduce: bool = False
    quality: int | None = None
    alone: bool = True
    task: Task | None = None
    strength: float = 1

    def inputs_for(self, picture: Picture, source: Path) -> Named:
        if not self.estimate:
            return self.inputs
        return {**self.inputs, "sigma": min(estimated_sigma(picture.pixels, jpeg_error_of(picture.pixels, source)), 1)}


class Outcome(NamedTuple):
    """Exit code 0, 1 where some pictures failed, 2 where all failed or were passed over; and the report."""

    code: int
    text: str


def run_restore(
    sources: Sequence[str],
    output: Path,
    weights: str | None = None,
    model: str | None = None,
    *,
    key: str | None = None,
    scale: int | None = None,
    kernel: str | None = None,
    sigma: str | None = None,
    others: Sequence[str] = (),
    tile: Tile = "auto",
    ensemble: bool = False,
    precision: Precision = "float32",
    device: str = "auto",
    overwrite: bool = False,
    form: str | None = None,
    quality: int | None = None,
    task: Task | None = None,
    strength: float | None = None,
    jobs: int | None = None,
) -> Outcome:
    """Restore pictures into files. Existing results stay, unless ``overwrite``.

    task: what to do; it replaces weights and inputs, which are then chosen from the evidence in each picture.
    form: png, jpg, tiff or webp for all results, instead of the pictures' own; quality: of JPEG and WebP, 1 to 100;
    jobs: processes, spread over the GPUs where there are several. Their results are those of one process, byte by
    byte: each has as many threads, and a picture that does not fit into memory beside the others is restored after
    them.
    A picture that fails does not stop the others. Raises UnfoldError for arguments that do not fit, before any work;
    OSError for a full disk and KeyboardInterrupt, after logging what has been done so far.
    """
    own: dict[str, Any] = {"--weights": weights, "--model": model, "--key": key, "--kernel": kernel, "--sigma": sigma}
    own |= {"--input": others or None}
    check_task(task, scale, strength, [option for option, value in own.items() if value is not None])
    left_out: Counter[str] = Counter()
    devices = devices_for(device, 1 if jobs is None else jobs)
    if kernel == "grid" and (form or quality):
        raise UnfoldError("--kernel grid writes a sheet as PNG: leave --format and --quality out")
    weights = WEIGHTS[task] if task else str(weights)
    files_given = pairs_of(others)
    name, _, net = load_named(weights, model, key=key, files=files_given)
    beside = {os.path.realpath(as_path(value)) for value in files_given.values()}
    work = find_jobs(
        *(sources, output, form, left_out),
        measured=lambda path: os.path.realpath(path) not in beside and is_measurement(path, net),
    )
    _check_quality(quality, work)
    others = without_files(others, name)
    place(net, pick_device(devices[0]))
    log_doubts([job.source for job in work if not job.problem], net)
    measurements = {job.source for job in work if not job.problem and is_measurement(job.source, net)}
    if net.not_for_pictures and not measurements:
        raise UnfoldError(net.not_for_pictures)
    if sigma is None and "sigma=estimate" in others:
        sigma, others = "estimate", [text for text in others if text != "sigma=estimate"]
    fitting = kernel == "grid" and sigma in (None, "estimate") and "sigma" in net.inputs
    if fitting:
        sigma = "estimate"
    inputs = {"scale": scale or 1} if task else given_inputs(short(name), net, scale, kernel, sigma, others)
    if kernel == "grid":
        from unfold.inference.kernel_sheet import write_grid

        return Outcome(0, write_grid(work, net, inputs, fitting=fitting, precision=precision, overwrite=overwrite))
    if not task:
        blank = {key: np.ones((1, 1, net.inputs[key].channels)) for key, v in inputs.items() if isinstance(v, Path)}
        later = {"kernel": gaussian(1, 1), "sigma": 0.0} if lacks_kernel(net, inputs) else {}
        check_inputs(net, {key: value for key, value in later.items() if key in net.inputs} | inputs | blank)
    check_tile(net, inputs, tile)
    options = Options(
        *(inputs, sigma == "estimate", tile, ensemble, precision, form is not None, quality),
        task=task,
        strength=1 if strength is None else strength,
    )
    if form is None and work[0].target != output:
        _log_endings([job for job in work if job.source not in measurements and os.path.lexists(job.source)])
    if measurements and net.measurement is not None:
        logger.info(
            "note: measurements are taken as %s, %s; results have 8 bits, but -o FILE.npy has all digits",
            *(net.measurement.name, net.measurement.about),
        )
    left = [job for job in work if overwrite or not os.path.isfile(job.target)]  # noqa: PTH113  (of any length)
    tally = Tally(len(work), len(work) - len(left), left_out=left_out)
    found: dict[int, Done] = {}
    try:
        with logging_redirect_tqdm():
            if min(len(devices), len(left)) > 1:
                begin = partial(
                    _begin,
                    weights=weights,
                    model=model,
                    key=key,
                    files=files_given,
                    options=replace(options, alone=False),
                )
                try:
                    for number, done in enumerate(_in_processes(left, devices, begin)):
                        if done is not None:
                            found[number] = done
                except ProcessEndedError as error:  # what is left is done alone, as where memory does not suffice
                    logger.warning("note: %s is done now in one process", str(error).rpartition("; ")[0])
            rest = [number for number in range(len(left)) if number not in found]
            with bar(len(rest), "restoring", "picture") as files:
                for number in rest:
                    found[number] = _restore_one(left[number], net, options)
                    files.update()
    except (KeyboardInterrupt, OSError):
        tally.add_all(left, found)
        logger.info("%s", tally.summary())
        raise
    tally.add_all(left, found)
    return Outcome(tally.code(), tally.summary())


def _check_quality(quality: int | None, jobs: Sequence[Job]) -> None:
    if quality is None:
        return
    if not 1 <= quality <= 100:
        raise UnfoldError(f"--quality is a whole number from 1 to 100, not {quality}")
    if not any(job.target.suffix.lower() in (".jpg", ".jpeg", ".jfif", ".webp") for job in jobs):
        raise UnfoldError("--quality is for JPEG and WebP, and none of the results is one (--format jpg makes them so)")


def _log_endings(jobs: Sequence[Job]) -> None:
    """Log which results become PNG because their format is not written."""
    endings = sorted({job.source.suffix.lower() for job in jobs if not job.problem} - set(KEEPS))
    endings = [ending or "files without an ending" for ending in endings]
    if endings:
        logger.info("note: not written here: %s; their results are .png (--format chooses)", ", ".join(endings))


class Done(NamedTuple):
    """The outcome for a picture: "done", "kept" (written as it was, as nothing was to be done), "missing" (another
    package could read it), "passed" (a file of a folder that is for something else) or "failed", and why.

    notes: what another process logged meanwhile: level, text, kind.
    """

    what: Literal["done", "kept", "missing", "passed", "failed"]
    why: str = ""
    grey: bool = False
    lost: Sequence[str] = ()
    notes: Sequence[tuple[int, str, str | None]] = ()


@dataclass
class Tally:
    """Counts of outcomes. there: results that existed before; kept: pictures left as they are; missing: pictures that
    another package could read; passed: files of folders that hold something else than a measurement, and why; left_out:
    files that are no pictures, by file extension; lost: what formats could not keep, by its kind.
    """

    jobs: int
    there: int
    done: int = 0
    kept: int = 0
    grey: list[Path] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    lost: dict[str, list[Path]] = field(default_factory=dict)

    def add_all(self, jobs: Sequence[Job], found: dict[int, Done]) -> None:
        """Add outcomes in the order of the jobs, whichever finished first."""
        for number in sorted(found):
            self._add(jobs[number], found[number])

    def _add(self, job: Job, done: Done) -> None:
        if done.what == "missing":
            self.missing.append(job.source)
        if done.what == "passed":
            self.passed.append(done.why)
        if done.what == "failed":
            self.failed.append(done.why)
        self.done += done.what == "done"
        self.kept += done.what == "kept"
        if done.grey:
            self.grey.append(job.source)
        for what in done.lost:
            self.lost.setdefault(what, []).append(job.source)

    def code(self) -> int:
        failed = len(self.failed) + len(self.missing)
        nothing = failed + len(self.passed) == self.jobs
        return 2 if nothing else 1 if failed else 0

    def summary(self) -> str:
        there = f"; {self.there} already existed (--overwrite replaces them)" if self.there else ""
        kept = f"; {self.kept} left as {'it is' if self.kept == 1 else 'they are'}" if self.kept else ""
        lines = [f"restored {self.done}{kept}{there}"]
        ended = self.there + self.done + self.kept + len(self.failed) + len(self.missing) + len(self.passed)
        if left := self.jobs - ended:
            lines.append(f"left {left}: the same command continues with them")
        if all_out := self.left_out + Counter(path.suffix.lower() for path in self.missing):
            lines.append(f"left out {all_out.total()}: {by_kind(all_out)}")
        if self.missing:
            lines[-1] += f"; HEIC and AVIF can be read after {INSTALL}: {_first(self.missing)}"
        lines += [f"lost, as the format cannot keep it: {what}: {_first(paths)}" for what, paths in self.lost.items()]
        if self.grey:
            lines.append(f"grey, restored as three equal channels and averaged: {_first(self.grey)}")
        if self.passed:
            lines += [f"passed over {len(self.passed)}, no measurements:", *(f"  {reason}" for reason in self.passed)]
        if self.failed:
            lines += [f"failed {len(self.failed)}:", *(f"  {reason}" for reason in self.failed)]
        return "\n".join(map(one_line, lines))


def _first(paths: Sequence[Path]) -> str:
    return str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _counts_as_grey(picture: Picture, net: UnfoldingNetwork) -> bool:
    return picture.grey and net.measured_channels != 1


def _restore_one(job: Job, net: UnfoldingNetwork, options: Options) -> Done:
    """Restore a picture, or say why not; OSError for a full disk."""
    try:
        return restore_file(job, net, options)
    except MissingReaderError:
        return Done("missing")
    except UnfoldError as error:
        return Done("failed", str(error) if str(job.source) in str(error) else f"{job.source}: {error}")
    except MemoryError:
        return Done("failed", f"{job.source}: out of memory")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(job.target)) from None
        return Done("failed", f"{job.source}: {job.target} cannot be written: {error.strerror or error}")


class _Worker:
    """A process beside others. What fails here, perhaps for lack of memory, is repeated by one process alone."""

    def __init__(
        self, weights: str, model: str | None, key: str | None, files: dict[str, str], device: str, options: Options
    ) -> None:
        self.net = load_named(weights, model, key=key, files=files)[2]
        place(self.net, pick_device(device))
        self.options = options
        self.notes: list[logging.LogRecord] = []
        logger.addFilter(self._note)
        logger.setLevel(logging.INFO)

    def _note(self, record: logging.LogRecord) -> bool:
        self.notes.append(record)
        return False

    def run(self, job: Job) -> Done | None:
        self.notes.clear()
        try:
            done = restore_file(job, self.net, self.options)
        except (UnfoldError, OSError, MemoryError, TooLargeError):
            return None
        notes = [(note.levelno, note.getMessage(), getattr(note, "kind", None)) for note in self.notes]
        return done._replace(notes=notes)


_worker: _Worker | None = None  # of this process


def _begin(
    queue: Any,
    sharers: tuple[int, int],
    threads: int,
    weights: str,
    model: str | None,
    key: str | None,
    files: dict[str, str],
    options: Options,
) -> None:
    global _worker
    torch.set_num_threads(threads)
    share_memory(*sharers)
    _worker = _Worker(weights, model, key, files, queue.get(), options)


def _run(job: Job) -> Done | None:
    assert _worker is not None
    return _worker.run(job)


def _in_processes(jobs: Sequence[Job], devices: Sequence[str], begin: Callable[..., None]) -> Iterator[Done | None]:
    """The outcome of each job, in order, with one process per device; None: repeat it alone."""
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    for device in devices:
        queue.put(device)
    # The parent has a network on its device, too, and nothing else.
    sharers = len(devices), max(Counter(devices).values())
    start = partial(begin, queue, sharers, torch.get_num_threads())
    for done in in_parallel(_run, jobs, "restoring", "picture", workers=len(devices), begin=start):
        for level, text, kind in done.notes if done else ():
            logger.log(level, text, extra={"kind": kind})
        yield done


def restore_file(job: Job, net: UnfoldingNetwork, options: Options) -> Done:
    """Restore one picture from file to file: "done" or "kept". UnfoldError if it fails."""
    if job.problem:
        raise UnfoldError(job.problem)
    if is_measurement(job.source, net):
        return _restore_measurement(job, net, options)
    scale, name = int(options.inputs.get("scale", 1)), one_line(job.source.name)
    task = options.task or ("enlarge" if lacks_kernel(net, options.inputs) else None)
    largest = MEMORY * available(torch.device("cpu")) / (1 + 2 * scale**2)  # the result, and a copy of it when written
    with silence_decoders():
        picture = read_picture(job.source, largest)
    if BANDS in picture.holds() and (channels := picture.pixels.shape[2]) != net.measured_channels:
        raise UnfoldError(f"{job.source} has {channels} channels, and the network takes {net.measured_channels}")
    check_format(job.target, picture, scale, reduce=options.reduce)
    inputs = (
        {} if options.task else with_images(options.inputs_for(picture, job.source), job.source, picture.pixels.shape)
    )
    if options.estimate and not task:
        logger.info("%s: estimated noise %.2f (of 255)", name, 255 * inputs["sigma"])
    with bar(picture.pixels.size, name[:30], "pixel") as tiles_bar:

        def announce(pixels: int) -> Callable[[int], Any]:
            if tiles_bar.n:  # tiles have become smaller
                tiles_bar.reset(total=pixels)
            tiles_bar.total = pixels  # a reset would show the bar at once
            return tiles_bar.update

        def run(pixels: Pixels, net: UnfoldingNetwork, inputs: Named) -> Restored:
            return restore_with_tiles(
                pixels,
                net,
                inputs=inputs,
                tile=options.tile if not task else bounded(options.tile, pixels, scale),
                ensemble=options.ensemble,
                precision=options.precision,
                announce=announce,
                alone=options.alone,
            )

        if task:
            image = _judged(job.source, picture.pixels, task, net, inputs, options, run)
            restored = None
        else:
            restored = run(picture.pixels, net, inputs)
            image = restored.image
    alpha = None if picture.alpha is None else enlarge_alpha(picture.alpha, scale)
    result = replace(picture, pixels=image, alpha=alpha)
    lost: list[str] = []
    if options.reduce:
        result, lost = reduced(result, job.target.suffix.lower())
    kept = image is picture.pixels
    if kept and options.quality is None and job.target.suffix.lower() == job.source.suffix.lower():
        copy_file(job.source, job.target)  # encoding a JPEG anew would take more from it
    else:
        write = write_picture if options.quality is None else partial(write_picture, quality=options.quality)
        write(job.target, result)
    if restored and restored.parts > 1:
        _log_difference(name, picture, net, restored, inputs, options.precision)
    return Done("kept" if kept else "done", grey=not kept and _counts_as_grey(picture, net), lost=lost)


def _restore_measurement(job: Job, net: UnfoldingNetwork, options: Options) -> Done:
    """Restore a measurement from file to file: into a picture of 8 bits, or an array of floats."""
    if options.ensemble:
        raise UnfoldError("--ensemble turns and mirrors pictures, and this is a measurement")
    if isinstance(options.tile, int):
        raise UnfoldError("--tile: a measurement is restored at once")
    if options.estimate:
        raise UnfoldError("--sigma estimate looks at pictures, and this is a measurement: give a number")
    try:
        measured = read_measured(job.source, net, MEMORY * available(torch.device("cpu")))
    except OtherContentError as error:
        if job.named:
            raise
        return Done("passed", str(error))
    image = restore_measured(
        *(measured, net, with_images(options.inputs, job.source, measured.shape[1:]), options.precision)
    )
    pixels: Array = image if job.target.suffix.lower() == ".npy" else np.rint(image * 255).astype(np.uint8)
    result = Picture(pixels, flat=pixels.shape[2] == 1)
    write = write_picture if options.quality is None else partial(write_picture, quality=options.quality)
    write(job.target, result)
    return Done("done", grey=_counts_as_grey(result, net))


def _judged(
    source: Path,
    pixels: Pixels,
    task: Task,
    net: UnfoldingNetwork,
    inputs: Named,
    options: Options,
    run: Callable[[Pixels, UnfoldingNetwork, Named], Restored],
) -> Pixels:
    """Restore by the evidence in a picture, and log a sentence."""
    evidence = gather(in_integers(pixels), source)
    level = None if options.task or options.estimate or "sigma" not in inputs else 255 * inputs["sigma"]
    if options.task:
        net = _for_picture(net, weights_for(options.task, evidence, pixels), WEIGHTS[options.task])
    start, first = pixels, ""
    if options.task and options.strength and denoised_first(options.task, evidence, pixels):
        clean = run(pixels, _for_picture(net, CAMERA_DENOISER, ""), {"strength": GENTLE}).image
        clean = keeping_texture(pixels, clean)
        if implausible(pixels, clean, 1, evidence.error()) is None:
            start, first = clean, "denoised first; "

    def restored(chosen: Named) -> Pixels:  # the network may take no noise level
        given = {key: value for key, value in chosen.items() if key in net.inputs}
        return run(start, net, (inputs if not options.task else {}) | given).image

    scale = int(options.inputs.get("scale", 1))
    image, sentence = restore_photograph(
        start, task, evidence, net, restored, scale=scale, strength=options.strength, level=level
    )
    if image is start:
        image, first = pixels, ""  # nothing else was done: not denoised either
    logger.info("%s: %s%s", one_line(source.name), first, sentence)
    return image


def _for_picture(net: UnfoldingNetwork, wanted: str, there: str) -> UnfoldingNetwork:
    """The network of the weights that a picture needs; ``net`` is that of the weights ``there``."""
    return net if wanted == there else _other_network(wanted, next(net.parameters()).device)


@lru_cache(maxsize=1)
def _other_network(weights: str, device: torch.device) -> UnfoldingNetwork:
    return place(load_named(weights)[2], device)


def _log_difference(
    name: str,
    picture: Picture,
    net: UnfoldingNetwork,
    restored: Restored,
    inputs: Named,
    precision: Precision,
) -> None:
    tiles = restored.tiles
    summary = f"{name}: {restored.parts} tiles of {tiles.side} pixels with a halo of {tiles.halo}"
    try:
        found = tile_difference(picture.pixels, net, tiles, inputs, precision)
    except UnfoldError as error:  # the picture is restored and written
        logger.info("%s; how far they are from the whole could not be measured: %s", summary, error)
        return
    inside = "" if found.inside is None else f", {found.inside:.2f} away from its borders"
    logger.info(
        "%s. On its middle, %dx%d, they differ from the whole by at most %.2f (of 255)%s; %.1f dB",
        *(summary, found.width, found.height, found.largest, inside, found.psnr),
    )
