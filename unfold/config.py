"""The configuration tree, in one place, and the reading of YAML recipes over it.

A recipe names the values that differ from the defaults below. ``_BASE_`` at its top names one or more files, relative
to the recipe, that are merged first, in order. ``KEY VALUE`` pairs of the command line come last.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yacs.config import CfgNode

from unfold.errors import UnfoldError

_C = CfgNode()
_C.OUTPUT = "runs/run"  # run folder: config.yaml, environment.json, log.jsonl, curve.png, checkpoints/, test/
_C.SEED = 0  # of the weights, the patches and their noise
_C.DEVICE = "auto"  # auto (CUDA where there is one), cpu, cuda, cuda:1, ...

_C.MODEL = CfgNode()
_C.MODEL.NAME = "dgunet_denoise"  # see `unfold models`
# Constructor arguments of the network; 0 is the published value.
_C.MODEL.STAGES = 0
_C.MODEL.WIDTH = 0
_C.MODEL.GROWTH = 0
_C.MODEL.TAIL = 0
_C.MODEL.OPERATOR_WIDTH = 0
_C.MODEL.TRAIN_STAGES = 0  # NRL-GDN, which stops by itself at evaluation
_C.MODEL.WIDTHS = []  # USRNet and NRL-GDN: of the prior at its four resolutions
_C.MODEL.DEPTH = 0  # likewise: residual blocks at each
_C.MODEL.RATIO = 0  # compressive sensing: measurements per pixel in per cent

_C.DATA = CfgNode()
# What samples are made of. paired: degraded and clean images, partners by name. All others degrade clean images on the
# way: gaussian (white noise), usrnet, nrl_gdn (blur, decimation and noise of those papers), rain, compressive_sensing.
_C.DATA.KIND = "gaussian"
# "photographs" is the set that comes with scikit-image; anything else is a folder of images, or of pairs, as it is or
# under UNFOLD_DATA, or a part of one: "mine[:-8]" is all but the last 8 in natural order, "mine[-8:]" these 8. TRAIN
# may also be several, "a + b", or a patch cache, a .h5 file of `unfold data prepare cache`.
_C.DATA.TRAIN = "photographs"
_C.DATA.VAL = "photographs"
_C.DATA.TEST = "photographs"
_C.DATA.SIGMA = 25.0  # gaussian: noise standard deviation in 255 units; usrnet, nrl_gdn: the highest one
_C.DATA.BLIND = False  # gaussian: train on levels from 0 to SIGMA, uniform; validation and tests have SIGMA
_C.DATA.SCALES = [1, 2, 3, 4]  # usrnet: one of them for each step
# Clean images: factors, e.g. [0.6], by which smaller copies are made; each is trained on as often as an image.
_C.DATA.REDUCED = []
_C.DATA.SHARP = 0.0  # usrnet: share of samples that are hardly blurred, see unfold.data.synthesis
_C.DATA.SATURATION = False  # paired: change the colour saturation of both images, as DGUNet's deblurring does
_C.DATA.VAL_PROTOCOL = ""  # e.g. usrnet_table1:scale=2,kernel=1; empty: what fits KIND (see unfold/build.py)
_C.DATA.SKIP_BAD = False  # leave out training images that cannot be used, instead of stopping before the first step

_C.LOSS = CfgNode()
_C.LOSS.PIXEL = "charbonnier"  # sqrt(d^2 + EPS^2), or l1, mse: means over pixels
_C.LOSS.EPS = 1.0e-3
_C.LOSS.STAGES = "all"  # all: summed over the stages; last: of the last one
_C.LOSS.EDGE = 0.0  # weight of the edge loss, that of the images' Laplacians, beside it
_C.LOSS.CLAMP = False  # cut estimates off to [0,1] first
_C.LOSS.WEIGHT = 1.0  # of all that: Adam hardly heeds it where nothing follows
_C.LOSS.PERCEPTUAL = 0.0  # weight of the distance of the last stage in VGG19's features
_C.LOSS.VGG = ""  # file of VGG19's weights; empty: torchvision's, downloaded where they are not in torch's cache
_C.LOSS.ADVERSARIAL = 0.0  # weight of the adversarial loss of the last stage (USRGAN); needs TRAIN.PATCH 96

_C.OPTIM = CfgNode()
_C.OPTIM.LR = 2.0e-4
_C.OPTIM.BETAS = [0.9, 0.999]
_C.OPTIM.WEIGHT_DECAY = 0.0
_C.OPTIM.CLIP = 0.0  # largest norm of the gradient; 0: none
# How weights begin: default (as torch does), orthogonal (gain 0.2, no biases; USRNet), xavier (normal; NRL-GDN);
# identity (ours: steps that change little; USRNet, NRL-GDN).
_C.OPTIM.START = "default"

# The learning rate, by epochs; by steps where TRAIN.ITERATIONS is set.
_C.SCHEDULE = CfgNode()
_C.SCHEDULE.NAME = "cosine"  # to LR_MIN; multistep (GAMMA at each of MILESTONES), step (GAMMA every STEP), constant
_C.SCHEDULE.WARMUP = 3  # linear, before it
_C.SCHEDULE.LR_MIN = 1.0e-6
_C.SCHEDULE.LENGTH = 0  # of half a cosine; 0: what is left after the warm-up
_C.SCHEDULE.MILESTONES = []
_C.SCHEDULE.STEP = 1
_C.SCHEDULE.GAMMA = 0.5

_C.TRAIN = CfgNode()
_C.TRAIN.EPOCHS = 100
_C.TRAIN.ITERATIONS = 0  # steps of the run, in place of EPOCHS
_C.TRAIN.PATCHES = 1600  # random patches that make one epoch
_C.TRAIN.BATCH = 16  # patches per step, of all GPUs together
_C.TRAIN.ACCUMULATE = 1  # compute each batch in so many parts, one after the other: less memory, the same step
_C.TRAIN.PATCH = 128  # side length in pixels
_C.TRAIN.MIXUP = 0.0  # blend pairs of samples by Beta(MIXUP, MIXUP); 0: no
_C.TRAIN.MIXUP_AFTER = 5  # epochs without that at first
_C.TRAIN.EMA = 0.0  # decay of a moving average of the weights, less at first, which is validated and kept; 0: none
_C.TRAIN.WORKERS = 0  # processes that load data, per GPU; no more than there are cores
_C.TRAIN.PRECISION = "float32"  # float32, or bfloat16 (autocast)
_C.TRAIN.CHECKPOINT_STAGES = False  # less memory, one more forward pass
_C.TRAIN.VALIDATE_EVERY = 1  # epochs
_C.TRAIN.SAVE_EVERY = 0  # steps between checkpoints inside an epoch; 0: at its end alone
_C.TRAIN.BOARD = False  # write for TensorBoard, too, in OUTPUT/board (pip install 'unfold[log]')
_C.TRAIN.KEEP = 2  # newest checkpoints that stay, beside the best

_C.TEST = CfgNode()
_C.TEST.BASELINES = []  # of tv, nlm: classical methods beside the network

_CHOICES = {
    "TRAIN.PRECISION": ("float32", "bfloat16"),
    "LOSS.PIXEL": ("charbonnier", "l1", "mse"),
    "LOSS.STAGES": ("all", "last"),
    "OPTIM.START": ("default", "orthogonal", "xavier", "identity"),
    "SCHEDULE.NAME": ("cosine", "multistep", "step", "constant"),
    "DATA.KIND": ("gaussian", "paired", "usrnet", "nrl_gdn", "rain", "compressive_sensing"),
}
_POSITIVE = (
    "DATA.SIGMA",
    "LOSS.EPS",
    "LOSS.WEIGHT",
    "OPTIM.LR",
    "SCHEDULE.STEP",
    "SCHEDULE.GAMMA",
    "TRAIN.EPOCHS",
    "TRAIN.PATCHES",
    "TRAIN.BATCH",
    "TRAIN.ACCUMULATE",
    "TRAIN.KEEP",
    "TRAIN.PATCH",
    "TRAIN.VALIDATE_EVERY",
)
_NOT_NEGATIVE = (
    "SEED",
    "DATA.SHARP",
    "MODEL.STAGES",
    "MODEL.WIDTH",
    "MODEL.GROWTH",
    "MODEL.TAIL",
    "MODEL.OPERATOR_WIDTH",
    "MODEL.TRAIN_STAGES",
    "MODEL.DEPTH",
    "MODEL.RATIO",
    "LOSS.EDGE",
    "LOSS.PERCEPTUAL",
    "LOSS.ADVERSARIAL",
    "OPTIM.WEIGHT_DECAY",
    "OPTIM.CLIP",
    "SCHEDULE.WARMUP",
    "SCHEDULE.LR_MIN",
    "SCHEDULE.LENGTH",
    "TRAIN.ITERATIONS",
    "TRAIN.MIXUP",
    "TRAIN.MIXUP_AFTER",
    "TRAIN.EMA",
    "TRAIN.WORKERS",
    "TRAIN.SAVE_EVERY",
)
BASELINES = ("tv", "nlm")
UNMIXED = ("usrnet", "nrl_gdn", "compressive_sensing")  # a blend of two blurred images has no one kernel, for example
KERNEL, BLOCK = 25, 32  # sides of the kernels of training, and of the blocks that are measured
JUDGED, SEEN = 96, 16  # sides of the patches that the discriminator takes, and of the smallest that VGG19 does


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """Read a recipe over the defaults and freeze it.

    path: a .yaml file; overrides: KEY VALUE KEY VALUE ..., values in YAML. Raises UnfoldError, naming file and key.
    """
    cfg = _C.clone()
    sources: dict[str, str] = {}
    for file, values in _read_with_bases(Path(path), ()):
        sources |= _merge(cfg, values, str(file))
    if len(overrides) % 2:
        hint = ": write KEY VALUE, with a space" if any("=" in word for word in overrides) else ""
        raise UnfoldError(f"overrides come as KEY VALUE pairs, and {overrides[-1]!r} has no value{hint}")
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        if key not in _keys():
            raise UnfoldError(f"command line: there is no key {key}{_suggest(key)}")
        tree: Any = _parse(text, f"the value of {key}")
        for part in reversed(key.split(".")):
            tree = {part: tree}
        sources |= _merge(cfg, tree, "command line")
    _check(cfg, sources)
    cfg.freeze()
    return cfg


def model_arguments(cfg: CfgNode) -> dict[str, Any]:
    """What MODEL says beyond the name: constructor arguments that differ from the published ones."""
    return {key.lower(): value for key, value in cfg.MODEL.items() if key != "NAME" and value not in (0, [])}


def altered(cfg: CfgNode, values: dict[str, Any]) -> CfgNode:
    """A copy with other values, by key ("TRAIN.PATCH"), checked likewise. UnfoldError where they do not fit."""
    copy = cfg.clone()
    copy.defrost()
    for key, value in values.items():
        section, name = key.split(".")
        copy[section][name] = value
    _check(copy, {})
    copy.freeze()
    return copy


def differences(a: CfgNode, b: CfgNode) -> list[str]:
    """One text per key in which the two configurations differ."""
    left, right = dict(_leaves(a)), dict(_leaves(b))
    return [f"{key} {left.get(key)} -> {right.get(key)}" for key in left | right if left.get(key) != right.get(key)]


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML forbids and PyYAML lets pass."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise UnfoldError(f"key {key} is given twice (again in line {key_node.start_mark.line + 1})")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except UnfoldError as error:
        raise UnfoldError(f"{where}: {error}") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise UnfoldError(f"{where} is not valid YAML: {reason}") from None


def _read_with_bases(path: Path, parents: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The file's bases, first to last, then the file."""
    if path.resolve() in parents:
        raise UnfoldError(f"{path}: _BASE_ leads back to this file")
    if path.suffix not in (".yaml", ".yml"):
        raise UnfoldError(f"{path}: a config is a .yaml file")
    asked_by = f" (a _BASE_ of {parents[-1].name})" if parents else ""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise UnfoldError(f"config {path}{asked_by}: {reason}") from None
    values = _parse(text, str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UnfoldError(f"{path}: a config is KEY: value lines, and this is a {type(values).__name__}")
    bases = values.pop("_BASE_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UnfoldError(f"{path}: _BASE_ is a file name or a list of them, not {bases!r}")
    for base in bases:
        yield from _read_with_bases(path.parent / base, (*parents, path.resolve()))
    yield path, values


def _leaves(node: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merge(node: CfgNode, values: dict[Any, Any], source: str, prefix: str = "") -> dict[str, str]:
    """Merge values into the tree; returns the source of every key that was set."""
    sources: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in node:
            raise UnfoldError(f"{source}: there is no key {name}{_suggest(name)}")
        if isinstance(node[key], CfgNode):
            if not isinstance(value, dict):
                raise UnfoldError(f"{source}: {name} is a section with keys {', '.join(node[key])}, not a value")
            sources |= _merge(node[key], value, source, f"{name}.")
        else:
            node[key] = _coerce(value, node[key], name, source)
            sources[name] = source
    return sources


def _keys() -> list[str]:
    """Every key, and every section."""
    return [key for key, _ in _leaves(_C)] + [key for key, value in _C.items() if isinstance(value, CfgNode)]


def _suggest(name: str) -> str:
    known = _keys()
    near = [key for key in known if key == name.upper()]
    near = near or difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
    if not near:  # right name, wrong section
        near = [key for key in known if key.split(".")[-1] == name.upper().split(".")[-1]]
    return f"; did you mean {near[0]}?" if near else ""


def _coerce(value: Any, default: Any, name: str, source: str) -> Any:
    """``value`` in the type of ``default``; whole numbers pass for floats, and so does 1e-4, text to YAML 1.1."""
    if isinstance(default, float) and not isinstance(value, bool):
        try:
            if isinstance(value, (int, float, str)):
                return float(value)
        except ValueError:
            pass
    elif isinstance(default, list) and isinstance(value, list):
        if not default:
            return value
        return [_coerce(v, default[0], f"an item of {name}", source) for v in value]
    elif type(value) is type(default):
        return value
    elif isinstance(default, str) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # a folder that is called 5
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list"}
    raise UnfoldError(f"{source}: {name} is {words[type(default)]}, and {value!r} is not")


def _check(cfg: CfgNode, sources: dict[str, str]) -> None:
    def fail(key: str, what: str) -> NoReturn:
        raise UnfoldError(f"{sources.get(key, 'defaults')}: {key} {what}")

    values = dict(_leaves(cfg))
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            fail(key, f"must be finite, not {value}")
    for key, choices in _CHOICES.items():
        if values[key] not in choices:
            fail(key, f"is one of {', '.join(choices)}, not {values[key]!r}")
    for key in _POSITIVE:
        if values[key] <= 0:
            fail(key, f"must be greater than 0, not {values[key]}")
    for key in _NOT_NEGATIVE:
        if values[key] < 0:
            fail(key, f"must not be negative, and is {values[key]}")
    if not cfg.OUTPUT:
        fail("OUTPUT", "names the run folder, and is empty")
    if cfg.SEED >= 2**63:
        fail("SEED", f"must be below 2^63, and is {cfg.SEED}")
    if cfg.SCHEDULE.LR_MIN > cfg.OPTIM.LR:
        fail("SCHEDULE.LR_MIN", f"must not exceed OPTIM.LR, {cfg.OPTIM.LR}, and is {cfg.SCHEDULE.LR_MIN}")
    stones = cfg.SCHEDULE.MILESTONES
    if not all(type(stone) is int and stone > 0 for stone in stones) or sorted(set(stones)) != stones:
        fail(
            "SCHEDULE.MILESTONES", f"is a list of whole numbers above 0, each larger than the one before, not {stones}"
        )
    if cfg.SCHEDULE.NAME == "multistep" and not stones:
        fail("SCHEDULE.MILESTONES", "is what SCHEDULE.NAME multistep needs, and is empty")
    if cfg.TRAIN.EMA >= 1:
        fail("TRAIN.EMA", f"is a decay from 0 to below 1, such as 0.999, not {cfg.TRAIN.EMA}")
    if cfg.TRAIN.ACCUMULATE > cfg.TRAIN.BATCH:
        fail("TRAIN.ACCUMULATE", f"must not exceed TRAIN.BATCH, {cfg.TRAIN.BATCH}, and is {cfg.TRAIN.ACCUMULATE}")
    if len(cfg.OPTIM.BETAS) != 2 or not all(0 <= beta < 1 for beta in cfg.OPTIM.BETAS):
        fail("OPTIM.BETAS", f"is two numbers from 0 to below 1, not {cfg.OPTIM.BETAS}")
    if not all(type(width) is int and width > 0 for width in cfg.MODEL.WIDTHS):
        fail("MODEL.WIDTHS", f"is a list of whole numbers above 0, not {cfg.MODEL.WIDTHS}")
    if not cfg.DATA.SCALES or not all(1 <= scale <= 4 for scale in cfg.DATA.SCALES):
        fail("DATA.SCALES", f"is a list of whole numbers from 1 to 4, not {cfg.DATA.SCALES}")
    _check_samples(cfg, fail)
    _check_networks_of_losses(cfg, fail)
    for baseline in cfg.TEST.BASELINES:
        if baseline not in BASELINES:
            fail("TEST.BASELINES", f"is a list of {', '.join(BASELINES)}, not {baseline!r}")


def _check_samples(cfg: CfgNode, fail: Callable[[str, str], NoReturn]) -> None:
    """What some kinds of samples ask of the patch and of the noise."""
    kind, patch = cfg.DATA.KIND, cfg.TRAIN.PATCH
    if not all(isinstance(factor, (int, float)) and 0.1 <= factor < 1 for factor in cfg.DATA.REDUCED):
        fail("DATA.REDUCED", f"is a list of numbers from 0.1 to below 1, not {cfg.DATA.REDUCED}")
    if cfg.DATA.REDUCED and kind == "paired":
        fail("DATA.REDUCED", "is for clean images that are degraded on the way, not for DATA.KIND paired")
    if cfg.DATA.REDUCED and cfg.DATA.TRAIN.endswith(".h5"):
        fail(
            "DATA.REDUCED",
            f"makes copies of files, and {cfg.DATA.TRAIN} is a cache: name a folder, or set DATA.REDUCED '[]'",
        )
    if cfg.DATA.SATURATION and kind != "paired":
        fail("DATA.SATURATION", f"belongs to DATA.KIND paired, and it is {kind}")
    if cfg.DATA.BLIND and kind != "gaussian":
        fail("DATA.BLIND", f"belongs to DATA.KIND gaussian, and it is {kind}")
    if cfg.DATA.SHARP and kind != "usrnet":
        fail("DATA.SHARP", f"belongs to DATA.KIND usrnet, and it is {kind}")
    if cfg.DATA.SHARP > 1:
        fail("DATA.SHARP", f"is a share, from 0 to 1, and is {cfg.DATA.SHARP}")
    if cfg.TRAIN.MIXUP and kind in UNMIXED:
        fail("TRAIN.MIXUP", f"blends images, and samples of DATA.KIND {kind} are more than those: set it 0")
    if kind in ("usrnet", "nrl_gdn") and patch < KERNEL:
        fail("TRAIN.PATCH", f"must be at least {KERNEL}, the side of the kernels of DATA.KIND {kind}, and is {patch}")
    if kind == "usrnet":
        if any(patch % scale for scale in cfg.DATA.SCALES):
            fail("TRAIN.PATCH", f"must be a multiple of all DATA.SCALES, {cfg.DATA.SCALES}, and is {patch}")
        if cfg.DATA.SIGMA % 1:
            fail("DATA.SIGMA", f"must be a whole number for DATA.KIND usrnet, and is {cfg.DATA.SIGMA}")
    if kind == "compressive_sensing" and patch % BLOCK:
        fail("TRAIN.PATCH", f"must be a multiple of {BLOCK}, the side of a block that is measured, and is {patch}")


def _check_networks_of_losses(cfg: CfgNode, fail: Callable[[str, str], NoReturn]) -> None:
    """What VGG19 and the discriminator ask of patches and batches."""
    loss, train = cfg.LOSS, cfg.TRAIN
    if (loss.PERCEPTUAL or loss.ADVERSARIAL) and cfg.DATA.KIND == "compressive_sensing":
        fail("DATA.KIND", "compressive_sensing has grey patches; LOSS.PERCEPTUAL and LOSS.ADVERSARIAL take colour")
    if loss.PERCEPTUAL and train.PATCH < SEEN:
        fail("TRAIN.PATCH", f"must be at least {SEEN} for LOSS.PERCEPTUAL, and is {train.PATCH}")
    if loss.ADVERSARIAL and train.PATCH != JUDGED:
        fail("TRAIN.PATCH", f"must be {JUDGED}, what the discriminator of LOSS.ADVERSARIAL takes, and is {train.PATCH}")
    if loss.ADVERSARIAL and train.ACCUMULATE > 1:
        fail(
            "TRAIN.ACCUMULATE",
            f"must be 1 with LOSS.ADVERSARIAL, whose means are over the whole batch, and is {train.ACCUMULATE}",
        )
