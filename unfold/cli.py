"""The command line: `unfold COMMAND`. Thin: every command is one call into the package."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Sequence
from typing import Literal

from unfold.arguments import parse
from unfold.errors import UnfoldError, out_of_memory


def train(arguments: argparse.Namespace) -> int:
    from unfold.training.signals import EXIT_STOPPED, Stopped, stopped_at_once

    try:
        with stopped_at_once():
            _train(arguments)
    except Stopped as stopped:
        print(f"unfold train: {stopped}", file=sys.stderr)
        return EXIT_STOPPED
    return 0


def _train(arguments: argparse.Namespace) -> None:
    from unfold.config import load_config
    from unfold.training.distributed import processes
    from unfold.training.loading import end_workers
    from unfold.training.run import build_trainer

    if arguments.resume and arguments.overwrite:
        raise UnfoldError("--resume continues a run and --overwrite throws it away: give one of them")
    if arguments.partial and arguments.init is None:
        raise UnfoldError("--partial says how to take --init WEIGHTS, and there is none")
    cfg = load_config(arguments.config, arguments.overrides)
    with processes(cfg.DEVICE) as all_of_us:
        trainer = build_trainer(
            cfg,
            resume="auto" if arguments.resume == "auto" else bool(arguments.resume),
            overwrite=arguments.overwrite,
            init=arguments.init,
            partial=arguments.partial,
            processes=all_of_us,
        )
        try:
            trainer.fit()
        finally:
            end_workers(trainer.loader)
        if all_of_us.first:
            print(f"done: best validation PSNR {trainer.best:.2f} dB, weights and curve in {trainer.folder}")


def test(arguments: argparse.Namespace) -> int:
    if arguments.protocol:
        return _test_protocol(arguments)
    for option in ("data", "model", "json", "device"):
        if getattr(arguments, option) is not None:
            raise UnfoldError(f"--{option} belongs to --protocol; a recipe says it by KEY VALUE")
    if arguments.weights is None:
        raise UnfoldError("give --weights, the checkpoint to test")
    from unfold.build import run_folder
    from unfold.config import load_config
    from unfold.report.evaluation import run_test

    cfg = load_config(arguments.config, arguments.overrides)
    output = arguments.output or run_folder(cfg) / "test"
    print(run_test(cfg, arguments.weights, output))
    print(f"PSNR in dB, s: seconds per image. In {output}: results.json, and a detail of each image in strips")
    return 0


def _test_protocol(arguments: argparse.Namespace) -> int:
    if arguments.overrides:
        raise UnfoldError(
            f"{arguments.overrides[0]} is a setting for --config; a protocol has options behind its name, and --device"
        )
    if arguments.data is None:
        raise UnfoldError("give --data, the set or folder of images")
    from unfold.report.protocol import run_protocol

    table = run_protocol(
        arguments.protocol,
        arguments.data,
        arguments.weights,
        arguments.model,
        output=arguments.output,
        json_file=arguments.json,
        device=arguments.device or "auto",
    )
    print(table)
    return 0


def restore(arguments: argparse.Namespace) -> int:
    from unfold.inference.command import run_restore

    outcome = run_restore(
        arguments.inputs,
        arguments.output,
        arguments.weights,
        arguments.model,
        scale=arguments.scale,
        kernel=arguments.kernel,
        sigma=arguments.sigma,
        tile=_tile(arguments.tile),
        ensemble=arguments.ensemble,
        precision=arguments.precision,
        device=arguments.device,
        overwrite=arguments.overwrite,
    )
    print(outcome.text)
    return outcome.code


def _tile(text: str) -> int | Literal["auto"] | None:
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    if not text.isdecimal():
        raise UnfoldError(f"--tile is auto, none or a number of pixels, not {text!r}")
    return int(text)


def models(arguments: argparse.Namespace) -> int:
    from unfold.report.models import describe_model, format_models

    print(describe_model(arguments.name) if arguments.name else format_models())
    return 0


def check(arguments: argparse.Namespace) -> int:
    from unfold.report.golden import Check, checks, format_checks

    results = list(checks(arguments.golden))
    print(format_checks(results))
    return 0 if all(result.passed for result in results if isinstance(result, Check)) else 1


def convert(arguments: argparse.Namespace) -> int:
    from unfold.checkpoints.convert import convert as write

    print(write(arguments.source, arguments.target, arguments.name, official=arguments.official))
    return 0


def weights(arguments: argparse.Namespace) -> int:
    from unfold.report.weights import format_weights, get_weights

    print(format_weights() if arguments.action == "list" else get_weights(arguments.name))
    return 0


def data(arguments: argparse.Namespace) -> int:
    if arguments.action == "doctor":
        from unfold.report.doctor import run_doctor

        report, good = run_doctor(arguments.paths, arguments.json, arguments.model)
        print(report)
        return 0 if good else 1
    if arguments.action == "list":
        from unfold.report.sets import format_sets, sets_as_markdown

        print(sets_as_markdown() if arguments.markdown else format_sets())
        return 0
    if arguments.action == "get":
        from unfold.data.get import get_set

        print(get_set(arguments.name))
        return 0
    print(_prepare(arguments))
    return 0


def _prepare(arguments: argparse.Namespace) -> str:
    from unfold.data.cache_writing import prepare_cache
    from unfold.data.cutting import prepare_gopro, prepare_sidd
    from unfold.data.prepare import prepare_bsd100, prepare_rain100h

    if arguments.set == "rain100h":
        return prepare_rain100h(arguments.bsds, arguments.rain, arguments.output)
    if arguments.set == "bsd100":
        return prepare_bsd100(arguments.bsds, arguments.output)
    prepare = {"sidd": prepare_sidd, "gopro": prepare_gopro, "cache": prepare_cache}[arguments.set]
    return prepare(arguments.source, arguments.output)


BROKEN_OFF = 75  # EXIT_STOPPED, for a run that ends early and must not look done

COMMANDS = {
    "train": train,
    "test": test,
    "restore": restore,
    "models": models,
    "check": check,
    "convert": convert,
    "weights": weights,
    "data": data,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0; 2 for bad input (one line on stderr); 75 where a run of `train` is not done and --resume auto goes on; 130 when
    interrupted.
    """
    arguments = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        code = COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
        return code
    except UnfoldError as error:
        print(f"unfold {arguments.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has gone, as in `unfold models | head`. Python would complain when it flushes at exit.
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return BROKEN_OFF if arguments.command == "train" else 0
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        resume = " and use --resume" if arguments.command == "train" else ""
        what = f"the disk is full; make room{resume}" if full else error.strerror or str(error)
        where = f"{error.filename}: " if error.filename else ""
        print(f"unfold {arguments.command}: {where}{what}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        hint = "lower TRAIN.BATCH or TRAIN.PATCH, or set TRAIN.CHECKPOINT_STAGES true"
        hint = hint if arguments.command == "train" else "use smaller images, or the device cpu"
        print(f"unfold {arguments.command}: out of memory; {hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
