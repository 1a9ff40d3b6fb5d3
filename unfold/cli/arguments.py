"""The options of every command, and their help texts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import unfold
from unfold.errors import nearest, nearest_or_all, one_line

CONFIG_HELP = "recipe, a .yaml file, e.g. tasks/denoise/configs/quickstart.yaml"
OVERRIDES_HELP = "settings that replace those of the recipe, e.g. TRAIN.EPOCHS 10 MODEL.ARGS.stages 5"
WHERE = (
    "Images: DATA.TRAIN, DATA.VAL and DATA.TEST are 'photographs' (a few that come with scikit-image) or folders of "
    "your own, as they are or below $UNFOLD_DATA."
)

DEVICE_HELP = "auto (default: a GPU where there is one), cpu, cuda, cuda:1, mps, xpu, ..."
FIRST_STEPS = """unfold restores images with deep unfolding networks. What to do first:

  unfold restore photo.jpg -o clean.png --task denoise           your own picture, with weights that come with unfold
  unfold train --config tasks/denoise/configs/quickstart.yaml OUTPUT runs/first    a small network, in minutes
  unfold test --config tasks/denoise/configs/quickstart.yaml OUTPUT runs/first --weights runs/first/checkpoints/last.pth
  unfold models                                                  the networks
  unfold new my_project                                          a network of your own

All commands: unfold --help. One of them: unfold COMMAND --help."""
BSDS_HELP = "folder of the JPEG files of BSDS500"
if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction["Parser"]


class Parser(argparse.ArgumentParser):
    """A mistake is one line, with the nearest name, and exit code 2; --help shows the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(message)} ({self.prog} --help lists what it takes)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            raise argparse.ArgumentError(action, f"there is no {str(value)!r}: {nearest_or_all(str(value), known)}")

    def check_options(self, words: Sequence[str]) -> None:
        """Exit where a word is an option that the command does not have, before argparse misses what it should be."""
        own = [option for option in self._option_string_actions if option.startswith("--")]
        commands = [action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        for number, word in enumerate(words):
            if word == "--":
                return
            if commands and not word.startswith("-"):
                if isinstance(below := commands[0].get(word), Parser):
                    below.check_options(words[number + 1 :])
                return
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in word and not any(option.startswith(name) for option in own):
                hint = nearest(name, own)
                self.error(f"there is no option {name}{hint and '; '}{hint}")


def parser() -> Parser:
    top = Parser(
        prog="unfold",
        description="Deep unfolding image restoration: networks that are optimisation algorithms.",
        epilog="First steps: `unfold train --config tasks/denoise/configs/quickstart.yaml OUTPUT runs/first`, then "
        "`unfold test` with the same and `--weights runs/first/checkpoints/last.pth`. `unfold COMMAND --help` says "
        "more.",
    )
    top.add_argument("--version", action="version", version=f"unfold {unfold.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a network from a recipe",
        description="Train the network of a recipe. The run folder OUTPUT gets config.yaml, log.jsonl, curve.png and "
        "checkpoints/last.pth and best.pth. Ctrl-C, SIGTERM and SIGUSR1 let the step end, write a checkpoint and exit "
        "with code 75; --resume goes on from there, to the same weights. Several GPUs: torchrun "
        "(docs/training.md, docs/cluster.md).",
        epilog=WHERE + " Every key with its default and meaning: unfold/config.py.",
    )
    train.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
    train.add_argument(
        "--resume",
        nargs="?",
        const="must",
        choices=["must", "auto"],
        help="resume from the newest intact checkpoint in OUTPUT; `--resume auto`: or start, where there is none",
    )
    train.add_argument("--overwrite", action="store_true", help="start again where OUTPUT holds a run already")
    train.add_argument("--init", metavar="FILE|NAME", help="initial weights, for fine-tuning")
    _add_key(train, "with --init: ")
    train.add_argument(
        "--partial", action="store_true", help="with --init: load matching tensors only; list the others"
    )
    train.add_argument(
        "--check",
        action="store_true",
        help="dry run: build everything, run two small training steps, restore one image, and report what the run "
        "needs (memory, hours, disk); trains and writes nothing",
    )
    train.add_argument(
        "--fetch",
        action="store_true",
        help="train nothing: download what the run needs besides its images (weights of --init, VGG19 of a loss), "
        "for machines without a network",
    )
    train.add_argument("overrides", nargs="*", metavar="KEY VALUE", help=OVERRIDES_HELP)

    test = commands.add_parser(
        "test",
        help="evaluate weights on test images",
        description="Evaluate a network by a recipe (--config) and its TEST.PROTOCOL (else the validation's), "
        "beside classical baselines or other weights, with a table (PSNR in dB, SSIM, seconds), results.json and one "
        "strip of pictures per image. Or by a published protocol (--protocol), "
        "whose choices docs/protocols.md lists: with a table, and --json and --output for numbers and pictures.",
        epilog=WHERE + " Example: unfold test --protocol usrnet_table1:scale=4,kernel=3 --data Set5 --weights "
        "usrnet_tiny",
    )
    how = test.add_mutually_exclusive_group(required=True)
    how.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    how.add_argument("--protocol", metavar="NAME[:OPTION=VALUE,...]", help="published evaluation")
    test.add_argument(
        "--weights",
        nargs="+",
        action="extend",
        metavar="FILE|NAME",
        help="checkpoint, e.g. runs/quickstart/checkpoints/last.pth, or published weights (see `unfold weights list`); "
        "with --config several stand side by side, of other networks, too",
    )
    _add_key(test)
    test.add_argument(
        "--output",
        "-o",
        metavar="DIR",
        type=Path,
        help="folder for the results: with --config in place of earlier ones (default: OUTPUT/test), with --protocol "
        "the restored pictures",
    )
    test.add_argument("--data", metavar="SET|FOLDER", help="the images; with --config they replace DATA.TEST")
    test.add_argument(
        "--model",
        metavar="NAME",
        help="with --protocol: the network, where the weights do not name it, or without weights a baseline: identity, "
        "bicubic, wiener, eq22, tv, nlm",
    )
    test.add_argument("--json", metavar="FILE", type=Path, help="with --protocol: write the numbers")
    test.add_argument("--device", metavar="NAME", help=f"with --protocol: {DEVICE_HELP}")
    _add_stages(test, "with --protocol: ")
    test.add_argument(
        "--input",
        action="append",
        dest="others",
        metavar="NAME=FILE",
        help="with --protocol: a file that the network needs beside its weights, such as matrix=phi.mat",
    )
    test.add_argument("overrides", nargs="*", metavar="KEY VALUE", help=OVERRIDES_HELP)

    _add_restore(commands)
    _add_trace(commands)
    new = commands.add_parser(
        "new",
        help="write a small project: a network, a degradation, a loss and a protocol of your own",
        description="Write a folder with a network, a degradation, a protocol, a loss, a recipe and a test, about 150 "
        "lines in all, that trains in a minute on photographs that come with scikit-image. docs/extend.md explains it.",
    )
    new.add_argument("folder", metavar="DIR", type=Path, help="folder to make")
    models = commands.add_parser(
        "models",
        help="list the networks, or describe one",
        description="List the networks: parameters, billions of multiply-accumulates for one 256x256 image, and the "
        "multiple that images are padded to inside the network. With NAME: what it takes and gives, which sizes, "
        "bfloat16, and what restoring in tiles changes.",
    )
    models.add_argument(
        "name", nargs="?", metavar="NAME", help="one network, FILE.py:CLASS, or a recipe whose MODEL it is"
    )
    check = commands.add_parser(
        "check",
        help="compare the networks with numbers of the published code",
        description="Compare every network with outputs of the published code for weights made by a rule: model, "
        "parameters, maximum absolute difference. Exit code 1 where one deviates by more than float32 rounding.",
    )
    check.add_argument("--golden", required=True, metavar="DIR", type=Path, help="folder of the golden .npz files")
    convert = commands.add_parser(
        "convert",
        help="turn a checkpoint into safetensors, or into the layout of the authors' code",
        description="Write the weights of a checkpoint (.pth of any layout in use, .safetensors) as safetensors that "
        "say which network they are, or with --official as the authors' code reads them.",
    )
    convert.add_argument("source", metavar="IN", help="checkpoint to read, or the name of published weights")
    convert.add_argument("target", metavar="OUT", type=Path, help=".safetensors file to write, .pth with --official")
    convert.add_argument("--name", help="the network, where the file does not name it (see `unfold models`)")
    _add_key(convert)
    convert.add_argument("--official", action="store_true", help="write the layout of the authors' code")

    weights = commands.add_parser(
        "weights",
        help="list our own weights and those that the papers' authors published, and download these",
        description="Our own weights, and those that the papers' authors published: looked for in pretrained/ and in "
        "the cache ($UNFOLD_CACHE, else $XDG_CACHE_HOME/unfold, else ~/.cache/unfold), theirs downloaded into it, and "
        "checked.",
    )
    actions = weights.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="list them: size, whether the digest is known, where they are")
    get = actions.add_parser("get", help="download and check; prints path, digest and whether it could be verified")
    get.add_argument("name", metavar="NAME", help="a name of `unfold weights list`")

    _add_tables(commands)
    _add_bench(commands)
    data = commands.add_parser("data", help="list, get, check and make data sets")
    _add_data(data.add_subparsers(dest="action", metavar="ACTION", required=True))
    return top


def _add_tables(commands: Subparsers) -> None:
    tables = commands.add_parser(
        "tables",
        help="measure the tables of the papers beside the published numbers",
        description="Measure every cell of a published table for which there are images and weights, and write it "
        "beside the published numbers: table.md, table.csv, table.json and table.html. A stopped run "
        "continues; a number is measured again only where weights, images, protocol or versions have "
        "changed. Exit code 1: some images failed, or `compare` found a difference.",
        epilog="`unfold tables list` lists the tables. `unfold tables compare A.json B.json` lists what changed "
        "between two runs. Example: unfold tables usrnet_bicubic --weights usrnet_tiny. More: docs/tables.md.",
    )
    tables.add_argument("words", nargs="*", metavar="NAME", help="a table; or list; or compare A.json B.json")
    tables.add_argument("--list", action="store_true", help="as `unfold tables list`")
    tables.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="[MODEL=]FILE|NAME",
        help="checkpoints, or published weights; MODEL= where the file does not name the network, or the name of "
        "published weights, NAME=FILE, where the file holds those",
    )
    _add_key(tables)
    tables.add_argument("--data", metavar="ROOT", help="folder of the sets, instead of $UNFOLD_DATA")
    tables.add_argument("--limit", type=int, metavar="N", help="only the first N images of every set")
    tables.add_argument(
        "--output", "-o", metavar="DIR", type=Path, help="folder for the results (default: runs/tables/NAME)"
    )
    tables.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    tables.add_argument("--precision", choices=["float32", "bf16"], default="float32", help="precision of the networks")
    tables.add_argument("--jobs", type=int, metavar="P", help="processes (default: 1, or one for each GPU)")
    tables.add_argument(
        "--tolerance",
        type=float,
        default=0.005,
        metavar="DB",
        help="with compare: what may differ (default 0.005; a tenth of it for SSIM)",
    )


def _add_bench(commands: Subparsers) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure how fast a network is on this machine",
        description="Run a network with fresh weights in several ways that take turns: plain (eager, float32, NCHW), "
        "channels_last, compiled, bfloat16 and so on. Prints seconds, images per second, peak memory, operations "
        "per second and their share of the speed of its most costly convolution alone, as a table in Markdown.",
        epilog="Example: unfold bench usrnet_tiny --size 256 256. More: docs/performance.md.",
    )
    bench.add_argument("model", metavar="MODEL", help="a name of `unfold models`")
    bench.add_argument(
        "--mode",
        choices=["infer", "train", "data"],
        default="infer",
        help="infer (default): forward; train: a training step; data: training samples from files, memory and cache",
    )
    bench.add_argument(
        "--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"), help="pixels (default: 256 256)"
    )
    bench.add_argument("--batch", type=int, default=1, metavar="B", help="images at once (default: 1)")
    bench.add_argument("--ways", nargs="+", metavar="WAY", help="only these, beside the plain one")
    bench.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="how long they take turns (default: 60)"
    )
    bench.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    bench.add_argument("--json", metavar="FILE", type=Path, help="write all figures, with what they were measured on")


def _add_data(actions: Subparsers) -> None:
    get = actions.add_parser(
        "get",
        help="say where a set is, or where to get it",
        description="Print where the files of a set are below $UNFOLD_DATA. If missing, print where to get them, "
        "where to put them and what to check, with exit code 2. Nothing is downloaded.",
    )
    get.add_argument("name", metavar="NAME", help="e.g. GoPro")

    listing = actions.add_parser("list", help="list the known sets: whether they are there, and complete")
    listing.add_argument("--markdown", action="store_true", help="print the table of datasets/README.md instead")
    doctor = actions.add_parser(
        "doctor",
        help="check data sets: damaged files, pairs, sizes, and photographs that are in two sets",
        description="Read every image below the paths and report what is damaged, unpaired or of an odd kind, the "
        "PSNR of pairs, and which photographs are in two sets (in train and test, or in two folders): also crops, "
        "other sizes and other formats. Exit code 1 where there are errors.",
    )
    doctor.add_argument("paths", nargs="+", metavar="PATH", help="folders or files, as they are or below $UNFOLD_DATA")
    doctor.add_argument("--json", metavar="FILE", type=Path, help="write everything that was found")
    doctor.add_argument("--model", metavar="NAME", help="check sizes for this network")
    doctor.add_argument("--input", metavar="FOLDER", default="", help="folder of inputs, as DATA.ARGS.input says it")
    doctor.add_argument("--target", metavar="FOLDER", default="", help="folder of targets, as DATA.ARGS.target says it")
    doctor.add_argument(
        "--name", metavar="TEMPLATE", default="", help="how inputs are called, {id} being the target's name: '{id}_*'"
    )
    cache = actions.add_parser(
        "cache",
        help="list or clear the decoded images that training keeps on the disk",
        description="Training sets that do not fit into memory are decoded once, into files in the cache folder "
        "(UNFOLD_CACHE; at most UNFOLD_STORE_LIMIT GB, 100 by default). Files that a run uses are not cleared.",
    )
    cache.add_argument("what", choices=["list", "clear"])
    prepare = actions.add_parser(
        "prepare",
        help="make a set, or a part of one, from sets that you have",
        description="Make a set, or a part of one. An interrupted run is continued; correct files are kept.",
        epilog="Folders are taken as they are or below $UNFOLD_DATA. Example: unfold data prepare cache GoPro -o "
        "GoPro.h5",
    )
    sets = prepare.add_subparsers(dest="set", metavar="NAME", required=True)

    rain = sets.add_parser(
        "rain100h",
        help="the clean images of Rain100H, cut out of BSDS500",
        description="The clean images of Rain100H, cut out of the photographs of BSDS500, as a folder `target` beside "
        "its inputs.",
    )
    rain.add_argument("--bsds", required=True, metavar="DIR", help=BSDS_HELP)
    rain.add_argument("--rain", default="Rain100H", metavar="DIR", help="folder of Rain100H (default: Rain100H)")
    rain.add_argument(
        "--output", "-o", metavar="DIR", type=Path, help="elsewhere: this folder, copies of the inputs, too"
    )

    bsd100 = sets.add_parser("bsd100", help="BSD100, cut out of BSDS500")
    bsd100.add_argument("--bsds", required=True, metavar="DIR", help=BSDS_HELP)
    cbsd68 = sets.add_parser("cbsd68", help="CBSD68, 68 photographs of BSDS500")
    cbsd68.add_argument("--bsds", required=True, metavar="DIR", help=BSDS_HELP)
    sidd = sets.add_parser("sidd", help="300 random 256x256 patches of every pair of SIDD")
    sidd.add_argument("source", metavar="DIR", help="folder of SIDD's *NOISY*.PNG and *GT*.PNG, at any depth")
    gopro = sets.add_parser("gopro", help="512x512 parts of GoPro's training pairs, on a grid of step 256")
    gopro.add_argument("source", metavar="DIR", help="folder of the pairs, or of scenes as published; or of `train`")
    for cut in (bsd100, cbsd68, sidd, gopro):
        cut.add_argument("--output", "-o", required=True, metavar="DIR", type=Path, help="folder to make")

    cache = sets.add_parser(
        "cache",
        help="one HDF5 file with the decoded images of a folder, to train from",
        description="One HDF5 file with the decoded images or pairs of a folder, from which random crops are read many "
        "times faster than from files that have to be decoded; 3 to 4 bytes per pixel. One that is there is checked "
        "and, where its files have changed, made again.",
    )
    cache.add_argument("source", metavar="DIR", help="folder of images, or of pairs; or of `train`")
    cache.add_argument("--output", "-o", required=True, metavar="FILE", type=Path, help="file to make, .h5")


def _add_restore(commands: Subparsers) -> None:
    restore = commands.add_parser(
        "restore",
        help="restore your own pictures",
        description="Restore pictures of any size: PNG, JPEG, TIFF, WebP, BMP, GIF, PPM, JPEG 2000, TGA, AVIF and (by "
        "the extra `formats`) HEIC, of 8 or 16 bits, grey or colour; or measurements in .npy, .npz or .mat, with a "
        "network that takes them (see `unfold models NAME`). Kept: alpha, colour profile, EXIF. Folders are "
        "searched with all folders in them; results keep names, formats (PNG where theirs is not written) and places; "
        "results that are there already are left as they are, so that a run can be continued. Exit code 1: some "
        "pictures failed, as listed at the end; 2: all did.",
        epilog="Example: unfold restore photo.jpg -o large.png --task enlarge --scale 2. With a blur that is known: "
        "unfold restore holiday -o sharper --weights usrnet_tiny --kernel gauss:1.6 --sigma 2.55. "
        "Which kernel? unfold restore photo.png -o sheet.png --weights usrnet_tiny --kernel grid",
    )
    restore.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders, or patterns such as 'a/*.jpg'")
    restore.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="folder, or for one picture a file"
    )
    restore.add_argument(
        "--task",
        choices=["denoise", "enlarge", "deblur", "derain"],
        help="what to do with a photograph about which nothing else is known. Uses weights of the package and "
        "settings chosen from the picture; a result that looks implausible is rejected (docs/photographs.md)",
    )
    restore.add_argument(
        "--strength", type=float, metavar="S", help="with --task: factor on the assumed degradation, 0 to 4 (default 1)"
    )
    _add_network(restore, "|grid", "grid: a sheet of several to choose from. ", required=False)
    restore.add_argument(
        "--tile",
        default="auto",
        metavar="auto|N|none",
        help="side in pixels of a tile: as memory allows (default), N, or the whole picture at once",
    )
    restore.add_argument(
        "--format",
        dest="form",
        choices=["png", "jpg", "tiff", "webp"],
        help="format of all results (default: each picture's own, png where that is not written); what it cannot keep, "
        "such as 16 bits or alpha, is lost and reported",
    )
    restore.add_argument(
        "--quality",
        type=int,
        metavar="Q",
        help="quality of JPEG and WebP, 1 to 100 (default: 95 for JPEG, lossless WebP)",
    )
    restore.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="processes that restore pictures in parallel (default: 1), spread over the GPUs; the results "
        "are the same, byte by byte",
    )
    restore.add_argument("--ensemble", action="store_true", help="mean over eight turned and mirrored pictures")


def _add_trace(commands: Subparsers) -> None:
    trace = commands.add_parser(
        "trace",
        help="show the estimate of one picture after every stage",
        description="Restore one picture at once and show every stage: a table, and in the folder trace.html (one file "
        "with pictures, a slider and curves), strip.png and trace.json. What the figures are: docs/trace.md.",
        epilog="Example: unfold trace a.png -o traced --weights usrnet_tiny --kernel gauss:1.6 --target sharp.png",
    )
    trace.add_argument("input", metavar="INPUT", help="one picture")
    trace.add_argument("-o", "--output", required=True, metavar="DIR", type=Path, help="folder for the results")
    _add_network(trace)
    trace.add_argument("--target", metavar="FILE", help="ground truth, for PSNR")
    _add_stages(trace)


def _add_stages(command: argparse.ArgumentParser, prefix: str = "") -> None:
    command.add_argument(
        "--stages",
        type=int,
        metavar="K",
        help=f"{prefix}run K stages: DGUNet any number from 3, its last stage always last; NRL-GDN any, without its "
        "stop rule; USRNet and DGUNet+, where each stage has its own numbers or weights, the first K of theirs",
    )


def _add_key(command: argparse.ArgumentParser, prefix: str = "") -> None:
    command.add_argument(
        "--key", metavar="KEY", help=f"{prefix}which network, where a file holds several, such as g_ema"
    )


def _add_network(command: argparse.ArgumentParser, more: str = "", about: str = "", *, required: bool = True) -> None:
    """Add the options for network, inputs and execution; more, about: a further kernel and its help text."""
    command.add_argument("--weights", required=required, metavar="FILE|NAME", help="checkpoint, or published weights")
    _add_key(command)
    command.add_argument(
        "--model",
        metavar="NAME",
        help="the network, where the weights do not name it: a name, FILE.py:CLASS, or a recipe",
    )
    command.add_argument("--scale", type=int, metavar="N", help="USRNet: times larger (default 1: sharpen only)")
    command.add_argument(
        "--kernel",
        metavar=f"gauss:WIDTH|bicubic|FILE{more}",
        help="USRNet, NRL-GDN: the blur: a Gaussian by its standard deviation in pixels of the result; bicubic, where "
        "software made the picture small so (USRNet, --scale from 2); or a file (.mat, with :NUMBER where there are "
        f"several, .npy, or a grey picture). {about}USRNet's default: chosen from the evidence in the picture for "
        "--scale 2 to 4, hardly a blur for --scale 1",
    )
    command.add_argument(
        "--sigma",
        metavar="LEVEL|estimate",
        help="USRNet: the noise, of 255, or estimated from each picture (default: with the default of --kernel chosen "
        "alike, otherwise 2)",
    )
    command.add_argument(
        "--input",
        action="append",
        dest="others",
        default=[],
        metavar="NAME=VALUE",
        help="any other input of the network (see `unfold models NAME`): a number, a kernel, or a picture as large as "
        "the one that is restored (also .mat, .npy), or a folder of such, called as the pictures are; or a file that "
        "its weights need, such as matrix=phi.mat; may be given several times",
    )
    command.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    command.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    command.add_argument("--overwrite", action="store_true", help="replace results that exist already")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; KEY VALUE pairs may stand before, between and after the options."""
    top = parser()
    given = list(sys.argv[1:] if argv is None else argv)
    for i, word in enumerate(given):  # what follows a bare --resume is a KEY, and not its value
        if word == "--resume" and (i + 1 == len(given) or given[i + 1] != "auto"):
            given[i] = "--resume=must"
    top.check_options(given)
    arguments, rest = top.parse_known_args(given)
    if rest and (not hasattr(arguments, "overrides") or any(word.startswith("--") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides += rest
    if arguments.command == "test" and arguments.weights:  # which takes what stands behind it, KEY VALUE pairs, too
        words = arguments.weights
        first = next((i for i in range(1, len(words)) if _is_setting(words[i])), len(words))
        arguments.weights, arguments.overrides = words[:first], [*words[first:], *arguments.overrides]
    return arguments


def _is_setting(word: str) -> bool:
    """Whether a word behind --weights is a KEY, right or mistyped, and no file or name of weights."""
    from unfold.config import ALONE, SECTIONS

    section, dot, rest = word.partition("=")[0].partition(".")
    known = section in SECTIONS and bool(rest) if dot else section in ALONE
    return known and not os.path.lexists(word)
