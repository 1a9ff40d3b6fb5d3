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
OVERRIDES_HELP = "settings that override the recipe, e.g. TRAIN.EPOCHS 10 MODEL.ARGS.stages 5"
WHERE = (
    "Images: DATA.TRAIN, DATA.VAL and DATA.TEST are 'photographs' (a few that come with scikit-image) or folders of "
    "your own, as given or below $UNFOLD_DATA."
)

DEVICE_HELP = "auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps, xpu, ..."
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
        "`unfold test` with the same arguments and `--weights runs/first/checkpoints/last.pth`. `unfold COMMAND "
        "--help` lists the options of a command.",
    )
    top.add_argument("--version", action="version", version=f"unfold {unfold.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a network from a recipe",
        description="Train the network of a recipe. The run folder OUTPUT gets config.yaml, log.jsonl, curve.png, "
        "checkpoints/last.pth and checkpoints/best.pth. After Ctrl-C, SIGTERM or SIGUSR1 the run finishes the current "
        "step, writes a checkpoint and exits with code 75; --resume continues it to the same weights. For several GPUs "
        "use torchrun (docs/training.md, docs/cluster.md).",
        epilog=WHERE + " Every key with its default and meaning: unfold/config.py.",
    )
    train.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
    train.add_argument(
        "--resume",
        nargs="?",
        const="must",
        choices=["must", "auto"],
        help="resume from the newest undamaged checkpoint in OUTPUT; `--resume auto` starts the run if there is none",
    )
    train.add_argument("--overwrite", action="store_true", help="start again if OUTPUT already holds a run")
    train.add_argument(
        "--init",
        metavar="FILE|NAME",
        help="initial weights, for fine-tuning: a file, or a name of `unfold weights list`",
    )
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
        help="do not train: download what the run needs besides its images (weights of --init, VGG19 of a loss), "
        "for machines without internet",
    )
    train.add_argument("overrides", nargs="*", metavar="KEY VALUE", help=OVERRIDES_HELP)

    test = commands.add_parser(
        "test",
        help="evaluate weights on test images",
        description="Evaluate weights. With --config: on DATA.TEST of a recipe, by TEST.PROTOCOL or else the protocol "
        "of validation, beside classical baselines or other weights; writes a table (PSNR in dB, SSIM, seconds), "
        "results.json and one strip of pictures per image. With --protocol: on --data, by a published evaluation "
        "(docs/protocols.md); prints a table, and writes numbers with --json and pictures with --output.",
        epilog=WHERE + " Example: unfold test --protocol usrnet_table1:scale=4,kernel=3 --data Set5 --weights "
        "usrnet_tiny",
    )
    how = test.add_mutually_exclusive_group(required=True)
    how.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    how.add_argument(
        "--protocol",
        metavar="NAME[:OPTION=VALUE,...]",
        help="published evaluation, e.g. usrnet_table1:scale=4,kernel=3",
    )
    test.add_argument(
        "--weights",
        nargs="+",
        action="extend",
        metavar="FILE|NAME",
        help="checkpoint, e.g. runs/quickstart/checkpoints/last.pth, or published weights (see `unfold weights list`); "
        "with --config several are compared side by side, also of different networks",
    )
    _add_key(test)
    test.add_argument(
        "--output",
        "-o",
        metavar="DIR",
        type=Path,
        help="folder for the results: with --config (default: OUTPUT/test) earlier results in it are overwritten; with "
        "--protocol it gets the restored pictures",
    )
    test.add_argument("--data", metavar="SET|FOLDER", help="the images; with --config they replace DATA.TEST")
    test.add_argument(
        "--model",
        metavar="NAME",
        help="with --protocol: the network, if the weights do not name it; or, without weights, a baseline: identity "
        "(the input itself), bicubic, wiener, eq22, tv, nlm",
    )
    test.add_argument("--json", metavar="FILE", type=Path, help="with --protocol: write the numbers to this file")
    test.add_argument("--device", metavar="NAME", help=f"with --protocol: {DEVICE_HELP}")
    _add_stages(test, "with --protocol: ")
    test.add_argument(
        "--input",
        action="append",
        dest="others",
        metavar="NAME=FILE",
        help="with --protocol: a file that the network needs besides its weights, such as matrix=phi.mat",
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
        description="List the networks with their parameters, GMAC (billions of multiply-accumulates for one 256x256 "
        "image), and the multiple to which images are padded inside the network. With NAME: describe one network: its "
        "inputs and outputs, sizes, bfloat16, receptive field, and what restoring in tiles changes.",
    )
    models.add_argument(
        "name", nargs="?", metavar="NAME", help="a network, FILE.py:CLASS, or a recipe, whose MODEL is described"
    )
    check = commands.add_parser(
        "check",
        help="compare the networks with numbers of the published code",
        description="Compare every network with stored outputs of the published code, for weights generated by a rule. "
        "Prints the model, its parameters and the largest absolute difference. Exit code 1 if a network differs by "
        "more than float32 rounding.",
    )
    check.add_argument("--golden", required=True, metavar="DIR", type=Path, help="folder of the golden .npz files")
    convert = commands.add_parser(
        "convert",
        help="turn a checkpoint into safetensors, or into the layout of the authors' code",
        description="Write the weights of a checkpoint (.pth of any layout in use, .safetensors) as a safetensors file "
        "that names its network, or with --official in the layout of the authors' code.",
    )
    convert.add_argument("source", metavar="IN", help="checkpoint to read, or the name of published weights")
    convert.add_argument(
        "target", metavar="OUT", type=Path, help="file to write: .safetensors, or .pth with --official"
    )
    convert.add_argument("--name", help="the network, if the file does not name it (see `unfold models`)")
    _add_key(convert)
    convert.add_argument("--official", action="store_true", help="write the layout of the authors' code")

    weights = commands.add_parser(
        "weights",
        help="list our own weights and those of the papers' authors, and download the latter",
        description="Our own weights, and those that the papers' authors published. Files are searched in pretrained/ "
        "and in the cache ($UNFOLD_CACHE, else $XDG_CACHE_HOME/unfold, else ~/.cache/unfold). The authors' weights are "
        "downloaded into the cache and checked.",
    )
    actions = weights.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="list all weights: size, whether the digest is known, where the file is")
    get = actions.add_parser(
        "get", help="download weights and check them; print path, SHA-256 and whether it could be verified"
    )
    get.add_argument("name", metavar="NAME", help="a name of `unfold weights list`")

    _add_tables(commands)
    _add_bench(commands)
    data = commands.add_parser("data", help="list, get, check and make data sets")
    _add_data(data.add_subparsers(dest="action", metavar="ACTION", required=True))
    return top


def _add_tables(commands: Subparsers) -> None:
    tables = commands.add_parser(
        "tables",
        help="measure a table of a paper and print it beside the published numbers",
        description="Measure every cell of a published table for which you have images and weights, and write the "
        "results beside the published numbers: table.md, table.csv, table.json and table.html. The same command "
        "continues a stopped run; a number is measured again only if weights, images, protocol or versions have "
        "changed. Exit code 1: some images failed, or `compare` found a difference.",
        epilog="`unfold tables list` lists the tables. `unfold tables compare A.json B.json` lists what changed "
        "between two runs. Example: unfold tables usrnet_bicubic --weights usrnet_tiny. More: docs/tables.md.",
    )
    tables.add_argument("words", nargs="*", metavar="NAME", help="a table; or list; or compare A.json B.json")
    tables.add_argument("--list", action="store_true", help="the same as `unfold tables list`")
    tables.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="[MODEL=]FILE|NAME",
        help="checkpoints, or names of published weights. MODEL=FILE if the file does not name its network; NAME=FILE "
        "if the file holds the published weights of that name",
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
        help="with compare: smaller differences are not listed (default 0.005 dB; a tenth of it for SSIM)",
    )


def _add_bench(commands: Subparsers) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure how fast a network is on this machine",
        description="Run a network with random weights in several ways, in turns: plain (eager, float32, NCHW), "
        "channels_last, compiled, bfloat16 and others. Prints a table in Markdown: seconds, images per second, peak "
        "memory, operations per second, and these as a share of the speed of the network's most costly convolution "
        "alone.",
        epilog="Example: unfold bench usrnet_tiny --size 256 256. More: docs/performance.md.",
    )
    bench.add_argument("model", metavar="MODEL", help="a name of `unfold models`")
    bench.add_argument(
        "--mode",
        choices=["infer", "train", "data"],
        default="infer",
        help="infer (default): a forward pass; train: a training step; data: training samples from files, memory and "
        "cache",
    )
    bench.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(256, 256),
        metavar=("H", "W"),
        help="height and width in pixels (default: 256 256)",
    )
    bench.add_argument("--batch", type=int, default=1, metavar="B", help="images per batch (default: 1)")
    bench.add_argument("--ways", nargs="+", metavar="WAY", help="run only these ways, besides the plain one")
    bench.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="time for all ways together (default: 60)"
    )
    bench.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    bench.add_argument(
        "--json", metavar="FILE", type=Path, help="write all figures, and the machine and versions, to this file"
    )


def _add_data(actions: Subparsers) -> None:
    get = actions.add_parser(
        "get",
        help="print where a set is, or where to get it",
        description="Print where the files of a set are below $UNFOLD_DATA. If they are missing, print where to get "
        "them, where to put them and what to check, with exit code 2. Nothing is downloaded.",
    )
    get.add_argument("name", metavar="NAME", help="name of a set, e.g. GoPro (all names: `unfold data list`)")

    listing = actions.add_parser("list", help="list the known sets: which you have, and whether they are complete")
    listing.add_argument("--markdown", action="store_true", help="print the table of datasets/README.md instead")
    doctor = actions.add_parser(
        "doctor",
        help="check data sets: damaged files, pairs, sizes, and photographs that are in two sets",
        description="Read every image below the paths and report damaged and unpaired images, images of an unusual "
        "kind, the PSNR of pairs, and photographs that are in two sets (in train and test, or in two folders), also "
        "as crops, at other sizes and in other formats. Exit code 1 if there are errors.",
    )
    doctor.add_argument("paths", nargs="+", metavar="PATH", help="folders or files, as given or below $UNFOLD_DATA")
    doctor.add_argument("--json", metavar="FILE", type=Path, help="write all findings to this file")
    doctor.add_argument("--model", metavar="NAME", help="check the sizes of images for this network")
    doctor.add_argument("--input", metavar="FOLDER", default="", help="folder of inputs, as in DATA.ARGS.input")
    doctor.add_argument("--target", metavar="FOLDER", default="", help="folder of targets, as in DATA.ARGS.target")
    doctor.add_argument(
        "--name",
        metavar="TEMPLATE",
        default="",
        help="template of the inputs' names, {id} being the target's name, such as '{id}_*'",
    )
    cache = actions.add_parser(
        "cache",
        help="list or clear the decoded images that training keeps on the disk",
        description="Training sets that do not fit into memory are decoded once, into files in the cache folder "
        "(UNFOLD_CACHE; at most UNFOLD_STORE_LIMIT GB, 100 by default). Files that a run uses are not cleared.",
    )
    cache.add_argument("what", choices=["list", "clear"], help="list the files, or remove those that no run uses")
    prepare = actions.add_parser(
        "prepare",
        help="make a set, or a part of one, from sets that you have",
        description="Make a set, or a part of one. The same command continues an interrupted run; correct files are "
        "kept.",
        epilog="Folders are searched as given or below $UNFOLD_DATA. Example: unfold data prepare cache GoPro -o "
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
        "--output", "-o", metavar="DIR", type=Path, help="make a set in this folder instead, with copies of the inputs"
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
        description="Write the decoded images or pairs of a folder into one HDF5 file (3 to 4 bytes per pixel), from "
        "which random crops are read many times faster than from image files. An existing file is checked, and made "
        "again if the images have changed.",
    )
    cache.add_argument("source", metavar="DIR", help="folder of images, or of pairs; or of `train`")
    cache.add_argument("--output", "-o", required=True, metavar="FILE", type=Path, help="file to make, .h5")


def _add_restore(commands: Subparsers) -> None:
    restore = commands.add_parser(
        "restore",
        help="restore your own pictures",
        description="Restore pictures of any size: PNG, JPEG, TIFF, WebP, BMP, GIF, PPM, JPEG 2000, TGA, AVIF and (by "
        "the extra `formats`) HEIC, of 8 or 16 bits, grey or colour; or measurements in .npy, .npz or .mat, with a "
        "network that takes them (see `unfold models NAME`). Alpha, colour profile and EXIF are kept. Folders are "
        "searched recursively. Results keep name, format (PNG for formats that are only read) and subfolder. Existing "
        "results are not overwritten, so the same command continues a stopped run. Exit code 1: some "
        "pictures failed, as listed at the end; 2: nothing was restored, as all failed or are no measurements.",
        epilog="Example: unfold restore photo.jpg -o large.png --task enlarge --scale 2. With a blur that is known: "
        "unfold restore holiday -o sharper --weights usrnet_tiny_small --kernel gauss:1.6 --sigma 2.55. "
        "Which kernel? unfold restore photo.png -o sheet.png --weights usrnet_tiny_small --kernel grid",
    )
    restore.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders, or patterns such as 'a/*.jpg'")
    restore.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="folder for the results, or a file for one"
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
        help="side of a tile in pixels: as memory allows (auto, the default), N, or none for the whole picture at once",
    )
    restore.add_argument(
        "--format",
        dest="form",
        choices=["png", "jpg", "tiff", "webp"],
        help="format of all results (default: each picture's own, or png for formats that are only read); what it "
        "cannot keep, such as 16 bits or alpha, is lost and reported",
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
        help="number of processes that restore pictures in parallel (default: 1), spread over the GPUs; the results "
        "are the same byte for byte",
    )
    restore.add_argument(
        "--ensemble",
        action="store_true",
        help="self-ensemble: the mean over the eight rotated and mirrored versions of a picture",
    )


def _add_trace(commands: Subparsers) -> None:
    trace = commands.add_parser(
        "trace",
        help="show the estimate of one picture after every stage",
        description="Restore one picture without tiles and show the estimate after every stage. Prints a table, and "
        "writes trace.html (one file with pictures, a slider and curves), strip.png and trace.json. The figures are "
        "explained in docs/trace.md.",
        epilog="Example: unfold trace a.png -o traced --weights usrnet_tiny_small --kernel gauss:1.6 "
        "--target sharp.png",
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
        help=f"{prefix}run K stages. DGUNet: any number from 3, the last with the weights of its last stage; NRL-GDN: "
        "any number, without its stopping rule; USRNet and DGUNet+, whose stages have numbers or weights of their own: "
        "their first K",
    )


def _add_key(command: argparse.ArgumentParser, prefix: str = "") -> None:
    command.add_argument(
        "--key", metavar="KEY", help=f"{prefix}which network to load, if a file holds several, such as g_ema"
    )


def _add_network(command: argparse.ArgumentParser, more: str = "", about: str = "", *, required: bool = True) -> None:
    """Add the options for network, inputs and execution; more, about: a further kernel and its help text."""
    command.add_argument(
        "--weights", required=required, metavar="FILE|NAME", help="a checkpoint, or a name of `unfold weights list`"
    )
    _add_key(command)
    command.add_argument(
        "--model",
        metavar="NAME",
        help="the network, if the weights do not name it: a name, FILE.py:CLASS, or a recipe",
    )
    command.add_argument(
        "--scale",
        type=int,
        metavar="N",
        help="USRNet: how many times larger the result is (default 1: deblur only)",
    )
    command.add_argument(
        "--kernel",
        metavar=f"gauss:WIDTH|bicubic|FILE{more}",
        help="USRNet, NRL-GDN: the blur kernel. gauss: a Gaussian by its standard deviation in pixels of the result; "
        "bicubic: if software reduced the picture by bicubic interpolation (USRNet, --scale from 2); or a file (.mat, "
        f"with :NUMBER if it holds several, .npy, or a grey picture). {about}Default for USRNet: estimated from the "
        "picture for --scale 2 to 4, almost no blur for --scale 1",
    )
    command.add_argument(
        "--sigma",
        metavar="LEVEL|estimate",
        help="USRNet: standard deviation of the noise on the scale 0 to 255, or estimate: from each picture (default: "
        "2; estimated together with the kernel for --scale 2 to 4 without --kernel)",
    )
    command.add_argument(
        "--input",
        action="append",
        dest="others",
        default=[],
        metavar="NAME=VALUE",
        help="any other input of the network (see `unfold models NAME`): a number; a kernel; a picture as large as "
        "the one that is restored (also .mat, .npy), or a folder of such pictures with the same names; or a file that "
        "the weights need, such as matrix=phi.mat. May be given several times",
    )
    command.add_argument(
        "--precision",
        choices=["float32", "bf16"],
        default="float32",
        help="precision of the network (default: float32)",
    )
    command.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    command.add_argument("--overwrite", action="store_true", help="replace existing results")


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
