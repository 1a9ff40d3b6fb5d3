"""The configuration tree with its defaults, and reading of YAML recipes.

A recipe names the values that differ from the defaults below. ``_BASE_`` at its top names one or more files, relative
to the recipe, that are merged first, in order. ``KEY VALUE`` pairs of the command line come last.

Options of one part (a network, a degradation, a loss, an optimizer, a schedule) are the arguments of its constructor:
``ARGS`` beside its name. They are checked against the constructor when the part is first needed
(:mod:`unfold.registry`), which imports it; everything else is checked here, without torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yacs.config import CfgNode

from unfold import old_keys, registry, user_files
from unfold.errors import UnfoldError
from unfold.merge_recipes import MIXED, PARTS, TERM, Merging, read_with_bases
from unfold.util.nested import leaves, plain
from unfold.util.paths import as_path


class Tree(CfgNode):
    """The whole tree. Its dump is the config.yaml of run folders; yacs' own dump refuses LOSS.TERMS."""

    def dump(self, **how: object) -> str:
        return dumped(self)


_C = Tree()
_C.OUTPUT = "runs/run"  # run folder: config.yaml, environment.json, log.jsonl, curve.png, checkpoints/, test/
_C.SEED = 0  # of all random numbers: initial weights, patches and their noise
_C.DEVICE = "auto"  # auto (a GPU if there is one), cpu, cuda, cuda:1, mps, xpu, ...

# A part (network, degradation, loss, ...) is named by NAME or KIND: a name of this package or of an installed one, or
# code, i.e. file.py:Class or package.module:Class. A file is relative to the recipe that names it, or on the command
# line to the current folder. ARGS are the arguments of its constructor. An argument that is not given has the
# constructor's default, or the value of the named preset.
_C.MODEL = CfgNode()
_C.MODEL.NAME = "dgunet_denoise"  # see `unfold models`; `unfold models NAME` lists its arguments
_C.MODEL.ARGS = CfgNode(new_allowed=True)  # options of the network

_C.DATA = CfgNode()
# How training samples are made. From pairs: paired (degraded and clean images, paired by name). From clean images that
# are degraded in training: gaussian (white noise), usrnet, nrl_gdn (blur, decimation and noise of those papers), rain,
# compressive_sensing, and others (unfold/degradations), or code. ARGS: options of the degradation.
_C.DATA.KIND = "gaussian"
_C.DATA.ARGS = CfgNode(new_allowed=True)
# Training set, validation set and test set. "photographs" is the set that comes with scikit-image. Anything else is a
# folder of images or of pairs, as given or below UNFOLD_DATA, or a part of one: "mine[:-8]" is all but the last 8 in
# natural order, "mine[-8:]" the last 8. TRAIN may also be several folders, "a + b", or a patch cache, a .h5 file of
# `unfold data prepare cache`.
_C.DATA.TRAIN = "photographs"
_C.DATA.VAL = "photographs"
_C.DATA.TEST = "photographs"
# Data augmentation for clean images: factors of additional smaller copies, e.g. [0.6]; each copy counts as an image.
_C.DATA.REDUCED = []
_C.DATA.VAL_PROTOCOL = ""  # protocol of validation, e.g. usrnet_table1:scale=2,kernel=1; empty: the default of KIND
# A mixture of several kinds of samples, instead of KIND and ARGS: a list of parts, each {KIND, ARGS, TRAIN, REPEAT,
# NAME, VAL, TEST, VAL_PROTOCOL}. REPEAT: how often a pass goes through the images of the part. NAME: its name in log,
# curve and TensorBoard, by default its KIND. Other missing keys have the values of DATA. On the command line,
# DATA.MIX.1.REPEAT 3 changes the second part.
_C.DATA.MIX = []
_C.DATA.MULTIPLE = 1  # crop training images around their centre to sides that are multiples of this number
# From which image each patch is taken. passes: all images in random order, then again in another order if
# TRAIN.PATCHES is larger than their number. replacement: a random image for each patch, so that an epoch as long as the
# set misses 37 % of the images (as in runs before 0.2).
_C.DATA.DRAW = "passes"
# Where decoded images are kept, once for all processes of a machine: memory, disk (below UNFOLD_CACHE) or files (not
# kept: decoded for every patch). auto: memory if they fit into a quarter of its limit, else the disk.
_C.DATA.STORE = "auto"
_C.DATA.SKIP_BAD = False  # skip unusable training images instead of stopping before the first step

_C.LOSS = CfgNode()
# The loss is the weighted sum of these terms. NAME: charbonnier, l1, mse, edge, perceptual, adversarial and others
# (unfold/losses), or code. WEIGHT: factor, 1.0 by default. STAGES: all (summed over the stages) or last (the default).
# CLAMP: clamp estimates to [0,1] first. ARGS: options of the loss. On the command line, LOSS.TERMS.1.WEIGHT 0.1 changes
# the second term.
_C.LOSS.TERMS = [{"NAME": "charbonnier", "STAGES": "all"}]

_C.OPTIM = CfgNode()
_C.OPTIM.NAME = "Adam"  # an optimizer of torch.optim (without closure or sparse gradients), or code
_C.OPTIM.LR = 2.0e-4  # learning rate after the warm-up
_C.OPTIM.ARGS = CfgNode(new_allowed=True)  # options of the optimizer: {betas: [0.9, 0.999], weight_decay: 1.0e-4}
_C.OPTIM.CLIP = 0.0  # gradients with a larger norm are scaled to this norm; 0: no clipping
# Weight initialisation: default (by the constructors), orthogonal (gain 0.2, no biases; USRNet's), xavier (normal;
# NRL-GDN's), or identity (ours, for USRNet, NRL-GDN and DGUNet-CS: near data steps alone).
_C.OPTIM.START = "default"

# The learning rate changes per epoch, or per step if TRAIN.ITERATIONS is set; all lengths below are in that unit.
_C.SCHEDULE = CfgNode()
# The schedule after the warm-up, with its ARGS: cosine (length, lr_min), multistep (milestones, gamma), step (step,
# gamma), constant, or code.
_C.SCHEDULE.NAME = "cosine"
_C.SCHEDULE.ARGS = CfgNode(new_allowed=True)
_C.SCHEDULE.WARMUP = 3  # length of the linear warm-up before the schedule

_C.TRAIN = CfgNode()
_C.TRAIN.EPOCHS = 100  # length of the run, in epochs of PATCHES patches
_C.TRAIN.ITERATIONS = 0  # length of the run in steps, instead of EPOCHS; 0: EPOCHS
_C.TRAIN.PATCHES = 1600  # number of random patches in one epoch
_C.TRAIN.BATCH = 16  # patches per step, of all processes and GPUs together
_C.TRAIN.ACCUMULATE = 1  # compute each batch in this many parts, one after the other: less memory, the same step
_C.TRAIN.PATCH = 128  # side of the patches in pixels
_C.TRAIN.MIXUP = 0.0  # augmentation: blend pairs of samples with weights from Beta(MIXUP, MIXUP); 0: off
_C.TRAIN.MIXUP_AFTER = 5  # number of first epochs without MIXUP
_C.TRAIN.EMA = 0.0  # decay of the weights' moving average (smaller at first), which is validated and saved; 0: off
_C.TRAIN.WORKERS = 0  # worker processes for loading data, per GPU; at most the number of cores
_C.TRAIN.PRECISION = "float32"  # float32, or bfloat16 (autocast)
_C.TRAIN.CHECKPOINT_STAGES = False  # keep only the outputs of stages: less memory, one more forward pass
_C.TRAIN.VALIDATE_EVERY = 1  # epochs between validations
_C.TRAIN.SAVE_EVERY = 0  # steps between checkpoints inside an epoch; 0: only at its end
_C.TRAIN.BOARD = False  # also write for TensorBoard, in OUTPUT/board (pip install 'unfold-restoration[log]')
_C.TRAIN.KEEP = 2  # how many of the newest checkpoints are kept, besides the best

_C.TEST = CfgNode()
_C.TEST.PROTOCOL = ""  # protocol of `unfold test --config`; empty: DATA.KIND's own, else that of validation
_C.TEST.BASELINES = []  # classical baselines to compare with: tv (total variation), nlm (non-local means)

BASELINES = ("tv", "nlm")
_CHOICES = {
    "TRAIN.PRECISION": ("float32", "bfloat16"),
    "DATA.DRAW": ("passes", "replacement"),
    "DATA.STORE": ("auto", "memory", "disk", "files"),
}
_POSITIVE = (
    "OPTIM.LR",
    "TRAIN.EPOCHS",
    "TRAIN.PATCHES",
    "TRAIN.BATCH",
    "TRAIN.ACCUMULATE",
    "TRAIN.KEEP",
    "TRAIN.PATCH",
    "TRAIN.VALIDATE_EVERY",
    "DATA.MULTIPLE",
)
_NOT_NEGATIVE = (
    "SEED",
    "OPTIM.CLIP",
    "SCHEDULE.WARMUP",
    "TRAIN.ITERATIONS",
    "TRAIN.MIXUP",
    "TRAIN.MIXUP_AFTER",
    "TRAIN.EMA",
    "TRAIN.WORKERS",
    "TRAIN.SAVE_EVERY",
)
_PROTOCOLS = ("DATA.VAL_PROTOCOL", "TEST.PROTOCOL")
SECTIONS = tuple(key for key, value in _C.items() if isinstance(value, CfgNode))
ALONE = tuple(key for key in _C if key not in SECTIONS)  # keys outside of sections


def load_config(path: str | Path, overrides: Sequence[object] = ()) -> CfgNode:
    """Read a recipe on top of the defaults and freeze it.

    path: a .yaml file; overrides: KEY VALUE KEY VALUE ..., text in YAML or other values. Raises UnfoldError, naming
    file and key.
    """
    merging = Merging(_C)
    for file, values in read_with_bases(as_path(str(path)), ()):
        merging.file(values, str(file), file.parent)
    merging.command_line(overrides)
    return _finished(merging)


def load_kept(path: Path, moved: Callable[[str], str]) -> CfgNode:
    """The config.yaml of a run, see :func:`dumped`. moved: maps each text in it to the text to use instead.

    Raises UnfoldError.
    """
    merging = Merging(_C)
    for file, values in read_with_bases(path, ()):
        merging.file(_replaced(values, moved), str(file), file.parent)
    return _finished(merging)


def _replaced(value: Any, moved: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, moved) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, moved) for item in value]
    return moved(value) if isinstance(value, str) else value


def altered(cfg: CfgNode, values: Mapping[str, Any]) -> CfgNode:
    """A copy with other values, by key ("TRAIN.PATCH"), with the same checks. UnfoldError for invalid values."""
    copy = cfg.clone()
    copy.defrost()
    for key, value in values.items():
        section, name = key.split(".")
        copy[section][name] = value
    sources = vars(cfg).get("sources", {})
    _check(copy, sources)
    copy.freeze()
    vars(copy)["sources"] = sources
    return copy


def options_of(cfg: CfgNode, section: str) -> dict[str, Any]:
    """The ARGS of a section, as plain values."""
    found: dict[str, Any] = plain(cfg[section].ARGS)
    return found


def terms_of(cfg: CfgNode) -> list[dict[str, Any]]:
    """LOSS.TERMS as plain values, each with all keys."""
    return [{**TERM, **plain(term)} for term in cfg.LOSS.TERMS]


def part_of(cfg: CfgNode, section: str) -> registry.Part:
    """The part that a section names, imported. UnfoldError with file and key where it is not found."""
    key, kind = PARTS[section]
    return found_part(cfg, kind, cfg[section][key], f"{section}.{key}")


def found_part(cfg: CfgNode, kind: registry.Kind, name: str, key: str) -> registry.Part:
    try:
        return registry.find(kind, name)
    except UnfoldError as error:
        raise UnfoldError(f"{source_of(cfg, key)}: {key} {registry.short(name)}: {error}") from error.__cause__


def build_part(cfg: CfgNode, section: str, **given: Any) -> Any:
    """Build the section's part from its ARGS. UnfoldError, with file and key, for invalid ARGS."""
    return part_of(cfg, section).build(options_of(cfg, section), where(cfg, f"{section}.ARGS"), **given)


def where(cfg: CfgNode, key: str) -> Callable[[str], str]:
    """A function from an option below ``key`` to file and full key, for errors."""

    def of(option: str) -> str:
        whole = f"{key}.{option}" if option else key
        return f"{source_of(cfg, whole)}: {whole}"

    return of


def source_of(cfg: CfgNode, key: str) -> str:
    """Where a key was set: a file, the command line, or "defaults"."""
    sources: dict[str, str] = vars(cfg).get("sources", {})
    if below := [source for name, source in sources.items() if name.startswith(f"{key}.")]:
        return below[-1]  # for a whole section, the last source
    while key not in sources and "." in key:
        key = key.rpartition(".")[0]
    return sources.get(key, "defaults")


def differences(a: CfgNode, b: CfgNode) -> list[str]:
    """One text per key in which the two configurations differ. Giving an option its default is no difference."""
    left, right = (dict(leaves(_in_full(cfg))) for cfg in (a, b))
    return [
        f"{key} {_shown(left.get(key))} -> {_shown(right.get(key))}"
        for key in left | right
        if left.get(key) != right.get(key)
    ]


def _shown(value: Any) -> Any:
    return registry.short(value) if isinstance(value, str) else plain(value)


def _in_full(cfg: CfgNode) -> dict[str, Any]:
    """The tree with all options of all parts, and files by name only: their content is compared elsewhere."""
    full: dict[str, Any] = plain(cfg)
    for section, (key, kind) in PARTS.items():
        part = registry.find(kind, full[section][key])
        full[section] |= {key: part.name, "ARGS": _short_code(plain(part.full(full[section]["ARGS"])))}
    for i, term in enumerate(full["LOSS"]["TERMS"]):
        part = registry.find(registry.LOSS, term["NAME"])
        whole = {**TERM, **term, "NAME": part.name, "ARGS": _short_code(plain(part.full(term.get("ARGS", {}))))}
        full["LOSS"][f"TERMS.{i}"] = whole
    del full["LOSS"]["TERMS"]
    for i, item in enumerate(full["DATA"].pop("MIX")):
        part = registry.find(registry.DEGRADATION, item["KIND"])
        whole = {**MIXED, **item, "KIND": part.name, "ARGS": _short_code(plain(part.full(item.get("ARGS", {}))))}
        full["DATA"][f"MIX.{i}"] = {**whole, "VAL_PROTOCOL": _short_protocol(whole["VAL_PROTOCOL"])}
    for key in _PROTOCOLS:
        section, name = key.split(".")
        full[section][name] = _short_protocol(full[section][name])
    return full


def _short_code(options: Any) -> Any:
    """Options, where code in keys "name" is reduced to its file name."""
    if isinstance(options, dict):
        return {
            key: registry.short(item) if key == "name" and isinstance(item, str) else _short_code(item)
            for key, item in options.items()
        }
    return options


def _short_protocol(text: str) -> str:
    name, options = registry.split_options(text)
    return f"{registry.short(name)}:{options}" if options else registry.short(name)


def dumped(cfg: CfgNode) -> str:
    """The tree as YAML that can be read again."""
    return yaml.safe_dump(plain(cfg), sort_keys=True)


def _finished(merging: Merging) -> CfgNode:
    cfg, sources, notes = merging.cfg, merging.sources, merging.notes
    old_keys.drop_idle(cfg, notes, merging.kept)
    _check(cfg, sources)
    for source, keys in notes.items():
        old_keys.announce(source, keys)
    merging.announce()
    for section in PARTS:
        for option, value in cfg[section].ARGS.items():
            cfg[section].ARGS[option] = _fixed(value)
    for section in cfg.values():
        if isinstance(section, CfgNode):
            for key, value in section.items():
                section[key] = _fixed(value)
    cfg.freeze()
    vars(cfg)["sources"] = sources
    vars(cfg).pop("old_loss", None)
    return cfg


def _fixed(value: Any) -> Any:
    """Lists as tuples, and dicts in them as sections, so that a frozen tree cannot be changed."""
    if isinstance(value, list | tuple):
        return tuple(_fixed(item) for item in value)
    if isinstance(value, Mapping) and not isinstance(value, CfgNode):
        section = CfgNode({key: _fixed(item) for key, item in value.items()})
        section.freeze()
        return section
    return value


def _kept(name: str, source: str) -> str:
    """Where a run that config.yaml is of has kept a copy of code that is not there any more; "" if it has none."""
    if not (registry.names_file(name) and source.endswith(".yaml")):
        return ""
    file, _, part = name.rpartition(":")
    path, home = as_path(file), as_path(source).parent / user_files.KEPT
    copies = [home / called for called in (path.name, f"{path.parent.name}_{path.name}")]
    found = [f"{copy}:{part}" for copy in copies if copy.is_file()]
    return f"; the run has kept a copy: {' or '.join(found)}" if found else ""


def _check(cfg: CfgNode, sources: dict[str, str]) -> None:
    def fail(key: str, what: str) -> NoReturn:
        raise UnfoldError(f"{sources.get(key, 'defaults')}: {key} {what}")

    values = dict(leaves(cfg))
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
    named = [(f"{section}.{key}", kind, cfg[section][key]) for section, (key, kind) in PARTS.items()]
    named += [(f"LOSS.TERMS.{i}.NAME", registry.LOSS, term["NAME"]) for i, term in enumerate(cfg.LOSS.TERMS)]
    for i, item in enumerate(cfg.DATA.MIX):
        named.append((f"DATA.MIX.{i}.KIND", registry.DEGRADATION, item["KIND"]))
        if item.get("VAL_PROTOCOL"):
            protocol = registry.split_options(item["VAL_PROTOCOL"])[0]
            named.append((f"DATA.MIX.{i}.VAL_PROTOCOL", registry.PROTOCOL, protocol))
    named += [(key, registry.PROTOCOL, registry.split_options(values[key])[0]) for key in _PROTOCOLS if values[key]]
    for key, kind, name in named:
        try:
            registry.check_name(kind, name)
        except UnfoldError as error:
            whole = next((k for k in (key, ".".join(key.split(".")[:2])) if k in sources), key)
            source = sources.get(whole, "defaults")
            raise UnfoldError(
                f"{source}: {key} {registry.short(name)}: {error}{_kept(name, sources.get(whole, ''))}"
            ) from None
    if not cfg.OUTPUT:
        fail("OUTPUT", "names the run folder, and is empty")
    if cfg.SEED >= 2**63:
        fail("SEED", f"must be below 2^63, and is {cfg.SEED}")
    if cfg.TRAIN.EMA >= 1:
        fail("TRAIN.EMA", f"is a decay from 0 to below 1, such as 0.999, not {cfg.TRAIN.EMA}")
    if cfg.TRAIN.ACCUMULATE > cfg.TRAIN.BATCH:
        fail("TRAIN.ACCUMULATE", f"must not exceed TRAIN.BATCH, {cfg.TRAIN.BATCH}, and is {cfg.TRAIN.ACCUMULATE}")
    if not all(isinstance(factor, (int, float)) and 0.1 <= factor < 1 for factor in cfg.DATA.REDUCED):
        fail("DATA.REDUCED", f"is a list of numbers from 0.1 to below 1, not {plain(cfg.DATA.REDUCED)}")
    if cfg.DATA.REDUCED and cfg.DATA.MIX:
        fail("DATA.REDUCED", "makes copies of clean images, and DATA.MIX says how often each is taken: set it '[]'")
    if cfg.DATA.REDUCED and cfg.DATA.TRAIN.endswith(".h5"):
        fail(
            "DATA.REDUCED",
            f"makes copies of files, and {cfg.DATA.TRAIN} is a cache: name a folder, or set DATA.REDUCED '[]'",
        )
    for baseline in cfg.TEST.BASELINES:
        if baseline not in BASELINES:
            fail("TEST.BASELINES", f"is a list of {', '.join(BASELINES)}, not {baseline!r}")
