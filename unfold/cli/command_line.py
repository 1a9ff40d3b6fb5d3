"""The command line: `unfold COMMAND`. Every command is one call into the package."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unfold.cli.arguments import FIRST_STEPS, parse
from unfold.cli.exit_codes import INTERRUPTED, explained
from unfold.errors import UnfoldError
from unfold.util import log_once
from unfold.util.paths import as_path

if TYPE_CHECKING:
    from unfold.training.trainer import Trainer


def train(arguments: argparse.Namespace) -> int:
    from unfold.training.processes.signals import EXIT_STOPPED, Stopped, stopped_at_once

    try:
        with stopped_at_once() as ignore_further:
            code = _train(arguments)
            if code == EXIT_STOPPED:
                ignore_further()
            return code
    except Stopped as stopped:
        print(f"unfold train: {stopped}", file=sys.stderr)
        return EXIT_STOPPED


def _train(arguments: argparse.Namespace) -> int:
    from unfold.config import load_config

    if arguments.fetch and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UnfoldError("--fetch is for one process, on a machine with a network: start it without torchrun")
    if "RANK" not in os.environ:  # one process: report mistakes before torch is loaded, which takes seconds
        load_config(arguments.config, arguments.overrides)
    from unfold.training.dry_run import check_run
    from unfold.training.memory_count import what_helps_without_memory
    from unfold.training.processes.distributed import processes
    from unfold.training.setup.build_run import build_trainer
    from unfold.training.setup.fetch import fetch

    def lost(reason: str) -> None:
        print(
            f"\nunfold train: {reason}; the last checkpoint is good, --resume auto continues from it", file=sys.stderr
        )

    with processes(lost, lambda error: explained("train", error)[0]) as all_of_us:
        if arguments.resume and arguments.overwrite:
            raise UnfoldError("--resume continues a run and --overwrite deletes it: give only one of them")
        if arguments.partial and arguments.init is None:
            raise UnfoldError("--partial is an option of --init: give --init WEIGHTS, too")
        if arguments.key is not None and arguments.init is None:
            raise UnfoldError("--key chooses a network in the file of --init: give --init WEIGHTS, too")
        cfg = load_config(arguments.config, arguments.overrides)
        begin: dict[str, Any] = {
            "resume": "auto" if arguments.resume == "auto" else bool(arguments.resume),
            "overwrite": arguments.overwrite,
            "init": arguments.init,
            "partial": arguments.partial,
            "init_key": arguments.key,
            "processes": all_of_us,
        }
        if arguments.fetch:
            print(fetch(cfg, arguments.init))
            return 0
        all_of_us.join(cfg.DEVICE)
        if arguments.check:
            table = check_run(cfg, **begin)
            if all_of_us.first:
                print(table)
            return 0
        with what_helps_without_memory(cfg, all_of_us.world):
            return _run(build_trainer(cfg, **begin))


def _run(trainer: Trainer) -> int:
    from unfold.training.processes.batch_loading import end_workers
    from unfold.training.processes.signals import EXIT_STOPPED, Stopped

    try:
        trainer.fit()
    except Stopped as stopped:  # all processes stop together
        if trainer.processes.first:
            print(f"unfold train: {stopped}", file=sys.stderr)
        return EXIT_STOPPED
    finally:
        end_workers(trainer.loader)
    if trainer.processes.first:
        print(f"done: best validation PSNR {trainer.best:.2f} dB, weights and curve in {trainer.folder}")
    return 0


def test(arguments: argparse.Namespace) -> int:
    if arguments.protocol:
        return _test_protocol(arguments)
    for option in ("model", "json", "device", "stages", "others"):
        if getattr(arguments, option) is not None:
            option = "input" if option == "others" else option
            instead = "results.json in the run folder has the numbers" if option == "json" else "set it by KEY VALUE"
            raise UnfoldError(f"--{option} is an option of --protocol; with --config {instead}")
    if arguments.weights is None:
        raise UnfoldError("give --weights, the checkpoint to test")
    if arguments.data is not None and "DATA.TEST" in arguments.overrides[::2]:
        raise UnfoldError("--data replaces DATA.TEST: give only one of them")
    from unfold.config import load_config

    cfg = load_config(
        arguments.config, arguments.overrides
    )  # report its mistakes before torch is loaded, which takes seconds
    from unfold.evaluation.recipe_evaluation import run_test
    from unfold.settings import settings_of

    run = settings_of(cfg).run_folder
    output = as_path(str(arguments.output)) if arguments.output else run / "test"
    print(run_test(cfg, arguments.weights, output, data=arguments.data, key=arguments.key))
    print(f"PSNR in dB, s: seconds per image. In {output}: results.json, and a detail of each image in strips")
    if not arguments.output and (other := _of_another_run(arguments.weights, run)):
        print(f"note: {other} is not of the run {run}, whose test folder this is: --output names another")
    return 0


def _of_another_run(weights: Sequence[str], run: Path) -> str:
    """The first of the given files that is a checkpoint of another run folder than the recipe's; "" if none is."""
    folders = ((one, Path(os.path.realpath(as_path(one))).parent) for one in weights if os.path.isfile(as_path(one)))  # noqa: PTH113  (of any length)
    own = Path(os.path.realpath(run))
    return next((one for one, folder in folders if folder.name == "checkpoints" and folder.parent != own), "")


def _test_protocol(arguments: argparse.Namespace) -> int:
    if arguments.overrides:
        raise UnfoldError(
            f"{arguments.overrides[0]} is a setting for --config; with --protocol give options after its name, "
            "NAME:OPTION=VALUE, and --device"
        )
    if arguments.data is None:
        raise UnfoldError("give --data, the set or folder of images")
    if arguments.weights is not None and len(arguments.weights) > 1:
        raise UnfoldError(
            f"--protocol tests one network at a time, and --weights names {len(arguments.weights)}: --config sets "
            "several side by side"
        )
    from unfold.cli.inputs_of_options import pairs_of
    from unfold.evaluation.protocol_evaluation import run_protocol

    table = run_protocol(
        arguments.protocol,
        arguments.data,
        arguments.weights[0] if arguments.weights else None,
        arguments.model,
        key=arguments.key,
        output=arguments.output,
        json_file=arguments.json,
        device=arguments.device or "auto",
        stages=arguments.stages,
        files=pairs_of(arguments.others or ()),
    )
    print(table)
    return 0


def restore(arguments: argparse.Namespace) -> int:
    from unfold.cli.restore_command import run_restore

    outcome = run_restore(
        arguments.inputs,
        arguments.output,
        arguments.weights,
        arguments.model,
        tile=_tile(arguments.tile),
        ensemble=arguments.ensemble,
        form=arguments.form,
        quality=arguments.quality,
        task=arguments.task,
        strength=arguments.strength,
        jobs=arguments.jobs,
        **_network_options(arguments),
    )
    print(outcome.text)
    return outcome.code


def trace(arguments: argparse.Namespace) -> int:
    from unfold.cli.trace_command import run_trace

    table = run_trace(
        arguments.input,
        arguments.output,
        arguments.weights,
        arguments.model,
        target=arguments.target,
        stages=arguments.stages,
        **_network_options(arguments),
    )
    print(table)
    return 0


def _network_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that `restore` and `trace` share."""
    names = ("key", "scale", "kernel", "sigma", "precision", "device", "overwrite")
    return {**{name: getattr(arguments, name) for name in names}, "others": arguments.others}


def _tile(text: str) -> int | Literal["auto"] | None:
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    if not text.isdecimal():
        raise UnfoldError(f"--tile is auto, none or a number of pixels, not {text!r}")
    return int(text)


def new(arguments: argparse.Namespace) -> int:
    from unfold.cli.new_command import write_project

    print(write_project(arguments.folder))
    return 0


def models(arguments: argparse.Namespace) -> int:
    from unfold.report.model_facts import format_models, model_page

    print(model_page(arguments.name) if arguments.name else format_models())
    return 0


def check(arguments: argparse.Namespace) -> int:
    from unfold.report.golden_check import Check, checks, format_checks

    results = list(checks(arguments.golden))
    print(format_checks(results))
    return 0 if all(result.passed for result in results if isinstance(result, Check)) else 1


def convert(arguments: argparse.Namespace) -> int:
    from unfold.weights.convert import convert as write

    print(write(arguments.source, arguments.target, arguments.name, key=arguments.key, official=arguments.official))
    return 0


def weights(arguments: argparse.Namespace) -> int:
    from unfold.report.weights_list import format_weights, get_weights

    print(format_weights() if arguments.action == "list" else get_weights(arguments.name))
    return 0


def tables(arguments: argparse.Namespace) -> int:
    from unfold.cli.tables_command import compare_files, format_tables, measure_table

    first, *rest = arguments.words or ["list"]
    if arguments.list or first == "list":
        print(format_tables(arguments.data))
        return 0
    if first == "compare":
        if len(rest) != 2:
            raise UnfoldError("compare takes two files: unfold tables compare A.json B.json")
        found = compare_files(rest[0], rest[1], arguments.tolerance)
        print(found.text, end="")
        return int(found.differs)
    if rest:
        raise UnfoldError(f"only one table at a time: {first} is followed by {rest[0]}")
    outcome = measure_table(
        first,
        arguments.weights,
        arguments.output or Path("runs", "tables", first),
        data=arguments.data,
        limit=arguments.limit,
        device=arguments.device,
        precision=arguments.precision,
        jobs=arguments.jobs,
        key=arguments.key,
    )
    print(outcome.text)
    return outcome.code


def bench(arguments: argparse.Namespace) -> int:
    from unfold.cli.bench_command import measure

    print(
        measure(
            arguments.model,
            arguments.mode,
            size=tuple(arguments.size),
            batch=arguments.batch,
            ways=arguments.ways,
            seconds=arguments.seconds,
            device=arguments.device,
            json_file=arguments.json,
        )
    )
    return 0


def data(arguments: argparse.Namespace) -> int:
    if arguments.action == "doctor":
        from unfold.data.pairs import Given
        from unfold.report.doctor_table import run_doctor

        given = Given(arguments.input, arguments.target, arguments.name)
        report, good = run_doctor(arguments.paths, arguments.json, arguments.model, given)
        print(report)
        return 0 if good else 1
    if arguments.action == "list":
        from unfold.report.sets_list import format_sets, sets_as_markdown

        print(sets_as_markdown() if arguments.markdown else format_sets())
        return 0
    if arguments.action == "get":
        from unfold.data.catalog.paper_sets import find_set

        print(find_set(arguments.name))
        return 0
    if arguments.action == "cache":
        from unfold.data.stores.store_folder import clear_stores, list_stores

        print(list_stores() if arguments.what == "list" else clear_stores())
        return 0
    print(_prepare(arguments))
    return 0


def _prepare(arguments: argparse.Namespace) -> str:
    from unfold.data.prepare.cut_patches import prepare_gopro, prepare_sidd
    from unfold.data.prepare.from_bsds500 import prepare_bsd100, prepare_cbsd68, prepare_rain100h
    from unfold.data.stores.patch_cache_writing import prepare_cache

    if arguments.set == "rain100h":
        return prepare_rain100h(arguments.bsds, arguments.rain, arguments.output)
    if arguments.set == "bsd100":
        return prepare_bsd100(arguments.bsds, arguments.output)
    if arguments.set == "cbsd68":
        return prepare_cbsd68(arguments.bsds, arguments.output)
    prepare = {"sidd": prepare_sidd, "gopro": prepare_gopro, "cache": prepare_cache}[arguments.set]
    return prepare(arguments.source, arguments.output)


COMMANDS = {
    "train": train,
    "test": test,
    "restore": restore,
    "trace": trace,
    "new": new,
    "models": models,
    "check": check,
    "convert": convert,
    "weights": weights,
    "tables": tables,
    "bench": bench,
    "data": data,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0; 2 for bad input (one line on stderr); 75 where a run of `train` is not done and --resume auto continues; 130 when
    interrupted.
    """
    try:
        arguments = parse(argv)
        if arguments.command is None:
            print(FIRST_STEPS)
            return 0
        return _carry_out(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _carry_out(arguments: argparse.Namespace) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # where the stream was replaced
                stream.reconfigure(
                    errors="backslashreplace"
                )  # file names may hold characters that the terminal cannot encode
    log_once.forget()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.raiseExceptions = False  # if nobody reads the log any more, the work goes on silently
    notes = log_once.Notes()
    logging.getLogger("unfold").addFilter(notes)
    try:
        code = COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
        return code
    except Exception as error:
        exit_code, line = explained(arguments.command, error)
        if line is None:
            raise
        if isinstance(error, BrokenPipeError):
            # The reader of our output has closed the pipe, as in `unfold models | head`. Python would complain when it
            # flushes.
            for stream in (sys.stdout, sys.stderr):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return exit_code
        _debug(error)
        print(f"unfold {arguments.command}: {line}", file=sys.stderr, flush=True)
        return exit_code
    finally:
        logging.getLogger("unfold").removeFilter(notes)


def _debug(error: Exception) -> None:
    """Log the whole traceback if UNFOLD_DEBUG=1."""
    if os.environ.get("UNFOLD_DEBUG"):
        traceback.print_exception(error)


if __name__ == "__main__":
    sys.exit(main())
