"""The configuration tree, in one place, and the reading of YAML recipes over it.

A recipe names the values that differ from the defaults below. ``_BASE_`` at its top names one or more files, relative
to the recipe, that are merged first, in order. ``KEY VALUE`` pairs of the command line come last.

Settings of one part (a network, a degradation, a loss, an optimizer, a schedule) are the arguments of its constructor:
``ARGS`` beside its name. They are checked against the constructor when the part is first needed
(:mod:`unfold.registry`), which takes an import of it; everything else is checked here, without torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yacs.config import CfgNode

from unfold import old_keys, registry
from unfold.errors import UnfoldError, nearest
from unfold.util.paths import as_path, expanded

_C = CfgNode()
_C.OUTPUT = "runs/run"  # run folder: config.yaml, environment.json, log.jsonl, curve.png, checkpoints/, test/
_C.SEED = 0  # of the weights, the patches and their noise
_C.DEVICE = "auto"  # auto (CUDA where there is one), cpu, cuda, cuda:1, ...

# Parts: NAME (or KIND) is a name of the package or of an installed one, or code: file.py:Class (relative to the recipe
# that says it; on the command line to the current folder) or package.module:Class. ARGS are the arguments of its
# constructor; one that is not given has the constructor's default, or the preset's that the name stands for.
_C.MODEL = CfgNode()
_C.MODEL.NAME = "dgunet_denoise"  # see `unfold models`; with a name it says the arguments
_C.MODEL.ARGS = CfgNode(new_allowed=True)

_C.DATA = CfgNode()
# What samples are made of: paired (degraded and clean images, partners by name), or clean images that are degraded on
# the way: gaussian (white noise), usrnet, nrl_gdn (blur, decimation and noise of those papers), rain,
# compressive_sensing, or code. ARGS: see unfold/degradations.
_C.DATA.KIND = "gaussian"
_C.DATA.ARGS = CfgNode(new_allowed=True)
# "photographs" is the set that comes with scikit-image; anything else is a folder of images, or of pairs, as it is or
# under UNFOLD_DATA, or a part of one: "mine[:-8]" is all but the last 8 in natural order, "mine[-8:]" these 8. TRAIN
# may also be several, "a + b", or a patch cache, a .h5 file of `unfold data prepare cache`.
_C.DATA.TRAIN = "photographs"
_C.DATA.VAL = "photographs"
_C.DATA.TEST = "photographs"
# Clean images: factors, e.g. [0.6], by which smaller copies are made; each is trained on as often as an image.
_C.DATA.REDUCED = []
_C.DATA.VAL_PROTOCOL = ""  # e.g. usrnet_table1:scale=2,kernel=1; empty: what fits KIND, as its class says
# A mixture in place of KIND and ARGS: a list of parts, each {KIND, ARGS, TRAIN, REPEAT, NAME, VAL, TEST, VAL_PROTOCOL}.
# REPEAT: how often a pass goes through its images; NAME: in log, curve and board, its KIND by default; what else is
# left out is DATA's. On the command line, DATA.MIX.1.REPEAT 3 changes the second one.
_C.DATA.MIX = []
_C.DATA.MULTIPLE = 1  # training images are cut in their middle to sides that are multiples of it
# Which images an epoch's patches are of: passes, all in a random order, and again in another where TRAIN.PATCHES are
# more; replacement, any image for each patch, so that an epoch as long as the set misses 37 % (as runs did before 0.2).
_C.DATA.DRAW = "passes"
_C.DATA.SKIP_BAD = False  # leave out training images that cannot be used, instead of stopping before the first step

_C.LOSS = CfgNode()
# The sum of these. NAME: charbonnier, l1, mse, edge, perceptual, adversarial, or code; WEIGHT (1.0); STAGES: all
# (summed over the stages) or last (the default); CLAMP: cut estimates off to [0,1] first; ARGS. On the command line,
# LOSS.TERMS.1.WEIGHT 0.1 changes the second one.
_C.LOSS.TERMS = [{"NAME": "charbonnier", "STAGES": "all"}]

_C.OPTIM = CfgNode()
_C.OPTIM.NAME = "Adam"  # of torch.optim, but those that need a closure or sparse gradients; or code
_C.OPTIM.LR = 2.0e-4
_C.OPTIM.ARGS = CfgNode(new_allowed=True)  # e.g. {betas: [0.9, 0.999], weight_decay: 1.0e-4}
_C.OPTIM.CLIP = 0.0  # largest norm of the gradient; 0: none
# How weights begin: default (as the constructor makes them), orthogonal (gain 0.2, no biases; USRNet), xavier (normal;
# NRL-GDN); identity (ours: steps that change little, where the network has a method for it: USRNet, NRL-GDN).
_C.OPTIM.START = "default"

# The learning rate, by epochs; by steps where TRAIN.ITERATIONS is set.
_C.SCHEDULE = CfgNode()
# After the warm-up: cosine (ARGS length, lr_min), multistep (milestones, gamma), step (step, gamma), constant, or code.
_C.SCHEDULE.NAME = "cosine"
_C.SCHEDULE.ARGS = CfgNode(new_allowed=True)
_C.SCHEDULE.WARMUP = 3  # linear, before it

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
_C.TRAIN.BOARD = False  # write for TensorBoard, too, in OUTPUT/board (pip install 'unfold-restoration[log]')
_C.TRAIN.KEEP = 2  # newest checkpoints that stay, beside the best

_C.TEST = CfgNode()
_C.TEST.PROTOCOL = ""  # of `unfold test --config`; empty: DATA.KIND's own, else what validates
_C.TEST.BASELINES = []  # of tv, nlm: classical methods beside the network

_CHOICES = {"TRAIN.PRECISION": ("float32", "bfloat16"), "DATA.DRAW": ("passes", "replacement")}
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
BASELINES = ("tv", "nlm")
TERM = {"NAME": "", "WEIGHT": 1.0, "STAGES": "last", "CLAMP": False, "ARGS": {}}  # of LOSS.TERMS, with defaults
# Of DATA.MIX, with defaults; "" is DATA's.
MIXED = {"KIND": "", "ARGS": {}, "TRAIN": "", "REPEAT": 1, "NAME": "", "VAL": "", "TEST": "", "VAL_PROTOCOL": ""}
# Sections that name a part: the key of its name, and what it is.
PARTS = {
    "MODEL": ("NAME", registry.NETWORK),
    "DATA": ("KIND", registry.DEGRADATION),
    "OPTIM": ("NAME", registry.OPTIMIZER),
    "SCHEDULE": ("NAME", registry.SCHEDULE),
}
_PROTOCOLS = ("DATA.VAL_PROTOCOL", "TEST.PROTOCOL")
COMMAND_LINE = "command line"
SECTIONS = tuple(key for key, value in _C.items() if isinstance(value, CfgNode))
ALONE = tuple(key for key in _C if key not in SECTIONS)  # keys that stand in no section


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """Read a recipe over the defaults and freeze it.

    path: a .yaml file; overrides: KEY VALUE KEY VALUE ..., values in YAML. Raises UnfoldError, naming file and key.
    """
    merging = _Merging()
    for file, values in _read_with_bases(as_path(str(path)), ()):
        merging.file(values, str(file), file.parent)
    merging.command_line(overrides)
    return _finished(merging)


def load_kept(path: Path, moved: Callable[[str], str]) -> CfgNode:
    """The config.yaml of a run, see :func:`dumped`. moved: from each text in it to what is to be read instead.

    Raises UnfoldError.
    """
    merging = _Merging()
    for file, values in _read_with_bases(path, ()):
        merging.file(_replaced(values, moved), str(file), file.parent)
    return _finished(merging)


def _replaced(value: Any, moved: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, moved) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, moved) for item in value]
    return moved(value) if isinstance(value, str) else value


def training_set(cfg: CfgNode) -> str:
    """DATA.TRAIN with the variables of its environment replaced, of which one may stand for several folders."""
    return expanded(cfg.DATA.TRAIN)


def altered(cfg: CfgNode, values: Mapping[str, Any]) -> CfgNode:
    """A copy with other values, by key ("TRAIN.PATCH"), checked likewise. UnfoldError where they do not fit."""
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
    """LOSS.TERMS as plain values, each with all its keys."""
    return [{**TERM, **plain(term)} for term in cfg.LOSS.TERMS]


def parts_of(cfg: CfgNode) -> dict[str, CfgNode]:
    """The parts of DATA.MIX by name: for each the configuration of a training on it alone. None without a mixture."""
    parts: dict[str, CfgNode] = {}
    for i, said in enumerate(cfg.DATA.MIX):
        item = {**MIXED, **plain(said)}
        copy = cfg.clone()
        copy.defrost()
        copy.DATA.MIX = ()
        copy.DATA.KIND, copy.DATA.ARGS = item["KIND"], CfgNode(item["ARGS"], new_allowed=True)
        sources = {k: v for k, v in vars(cfg).get("sources", {}).items() if not k.startswith("DATA.ARGS.")}
        for key in ("TRAIN", "VAL", "TEST", "VAL_PROTOCOL"):
            copy.DATA[key] = item[key] or cfg.DATA[key]
        own = ["ARGS", *(key for key in ("KIND", "TRAIN", "VAL", "TEST", "VAL_PROTOCOL") if item[key])]
        sources |= {f"DATA.{key}": f"{source_of(cfg, 'DATA.MIX')}: DATA.MIX.{i}" for key in own}
        copy.freeze()
        vars(copy)["sources"] = sources
        parts[mixed_name(item)] = copy
    return parts


def mixed_name(item: Mapping[str, Any]) -> str:
    """How an item of DATA.MIX is called in logs."""
    return item.get("NAME") or registry.short(item["KIND"])


def part_of(cfg: CfgNode, section: str) -> registry.Part:
    """The part that a section names, imported. UnfoldError with file and key where it cannot be had."""
    key, kind = PARTS[section]
    return found_part(cfg, kind, cfg[section][key], f"{section}.{key}")


def found_part(cfg: CfgNode, kind: registry.Kind, name: str, key: str) -> registry.Part:
    try:
        return registry.find(kind, name)
    except UnfoldError as error:
        raise UnfoldError(f"{source_of(cfg, key)}: {key} {registry.short(name)}: {error}") from error.__cause__


def build_part(cfg: CfgNode, section: str, **given: Any) -> Any:
    """What the section's part makes of its ARGS. UnfoldError, with file and key, where they do not fit."""
    return part_of(cfg, section).build(options_of(cfg, section), where(cfg, f"{section}.ARGS"), **given)


def where(cfg: CfgNode, key: str) -> Callable[[str], str]:
    """From an option below ``key`` to the file and the whole key, for an error."""

    def of(option: str) -> str:
        whole = f"{key}.{option}" if option else key
        return f"{source_of(cfg, whole)}: {whole}"

    return of


def source_of(cfg: CfgNode, key: str) -> str:
    """Where a key was set: a file, the command line, or "defaults"."""
    sources: dict[str, str] = vars(cfg).get("sources", {})
    if below := [source for name, source in sources.items() if name.startswith(f"{key}.")]:
        return below[-1]  # of a whole section, what was said last
    while key not in sources and "." in key:
        key = key.rpartition(".")[0]
    return sources.get(key, "defaults")


def differences(a: CfgNode, b: CfgNode) -> list[str]:
    """One text per key in which the two configurations differ. An option that is given with its default is none."""
    left, right = (dict(_leaves(_in_full(cfg))) for cfg in (a, b))
    return [
        f"{key} {_shown(left.get(key))} -> {_shown(right.get(key))}"
        for key in left | right
        if left.get(key) != right.get(key)
    ]


def _shown(value: Any) -> Any:
    return registry.short(value) if isinstance(value, str) else plain(value)


def _in_full(cfg: CfgNode) -> dict[str, Any]:
    """The tree with all options of all parts, and files by their name alone: what they hold is compared elsewhere."""
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
    """Options, with the code that their keys "name" say by the name of its file alone."""
    if isinstance(options, dict):
        return {
            key: registry.short(item) if key == "name" and isinstance(item, str) else _short_code(item)
            for key, item in options.items()
        }
    return options


def _short_protocol(text: str) -> str:
    name, options = registry.split_options(text)
    return f"{registry.short(name)}:{options}" if options else registry.short(name)


def plain(value: Any) -> Any:
    """Sections as dicts and lists as lists, all the way down."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def dumped(cfg: CfgNode) -> str:
    """The tree as YAML, to be read again."""
    return yaml.safe_dump(plain(cfg), sort_keys=True)


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
        yield from _read_with_bases(path.parent / as_path(base), (*parents, path.resolve()))
    yield path, values


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class _Merging:
    """The tree while recipes are merged into it. sources: of every key that was set; notes: on old keys.

    kept: options that old keys set, which a later file that changes the part's name does not drop: it did not then.
    """

    def __init__(self) -> None:
        self.cfg = _C.clone()
        self.sources: dict[str, str] = {}
        self.notes: dict[str, dict[str, str]] = {}
        self.kept: dict[str, set[str]] = {section: set() for section in PARTS}

    def file(self, values: dict[Any, Any], source: str, folder: Path) -> None:
        """Merge what a recipe says."""
        self.names(values, source, folder)
        self.section(self.cfg, values, source, folder, "")

    def command_line(self, overrides: Sequence[str]) -> None:
        """Merge KEY VALUE KEY VALUE ..., names of parts first: what else is said of a part is said of that one."""
        if len(overrides) % 2:
            hint = ": write KEY VALUE, with a space" if any("=" in word for word in overrides) else ""
            raise UnfoldError(f"overrides come as KEY VALUE pairs, and {overrides[-1]!r} has no value{hint}")
        pairs = list(zip(overrides[::2], overrides[1::2], strict=True))
        names = [f"{section}.{key}" for section, (key, _) in PARTS.items()]
        for key, text in sorted(pairs, key=lambda pair: pair[0] not in names):
            value, (section, *rest) = _parse(text, f"the value of {key}"), key.split(".")
            if len(rest) > 1 and f"{section}.{rest[0]}" in _LISTS:
                self.item(section, rest[0], rest[1:], value, key)
                continue
            if not _is_key(key):
                raise UnfoldError(f"{COMMAND_LINE}: there is no key {key}{_suggest(key)}")
            tree: Any = value
            for part in reversed(key.split(".")):
                tree = {part: tree}
            self.file(tree, COMMAND_LINE, Path())

    def names(self, values: dict[Any, Any], source: str, folder: Path) -> None:
        """Another part has other options: those that the tree has by now are dropped."""
        for section, (key, _) in PARTS.items():
            said = values.get(section)
            if isinstance(said, dict) and isinstance(said.get(key), str):
                name = registry.absolute(said[key], folder)
                if name != self.cfg[section][key]:
                    for option in set(self.cfg[section].ARGS) - self.kept[section]:
                        del self.cfg[section].ARGS[option]

    def section(self, node: CfgNode, values: dict[Any, Any], source: str, folder: Path, prefix: str) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if key not in node and name in old_keys.KEYS:
                self.old(name, value, source)
            elif key not in node:
                raise UnfoldError(f"{source}: there is no key {name}{_suggest(name)}")
            elif key == "ARGS":
                self.options(prefix.rstrip("."), value, source, folder)
            elif isinstance(node[key], CfgNode):
                if not isinstance(value, dict):
                    raise UnfoldError(f"{source}: {name} is a section with keys {', '.join(node[key])}, not a value")
                self.section(node[key], value, source, folder, f"{name}.")
            else:
                value = _coerce(value, [] if name in _LISTS else node[key], name, source)
                node[key] = _LISTS[name](value, source, folder) if name in _LISTS else _with_places(value, folder, key)
                self.sources[name] = source

    def options(self, section: str, value: Any, source: str, folder: Path) -> None:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise UnfoldError(f"{source}: {section}.ARGS is a section of options and their values, not {value!r}")
        for option, item in value.items():
            before = self.cfg[section].ARGS.get(option)
            item = _with_places(item, folder, option)
            if (
                isinstance(item, dict)
                and isinstance(before, dict)
                and item.get("name", before.get("name")) == before.get("name")
            ):
                item = {**plain(before), **item}  # half of a composed network: a key of it is changed
            self.cfg[section].ARGS[option] = CfgNode(item) if isinstance(item, dict) else item
            self.kept[section].discard(option)
            self.sources.pop(f"{section}.ARGS.{option}", None)  # what was said last stands last
            self.sources[f"{section}.ARGS.{option}"] = source

    def old(self, name: str, value: Any, source: str) -> None:
        """A key of before, which is one of the new ones now."""
        value = _coerce(value, old_keys.KEYS[name].default, name, source)
        new = old_keys.translate(self.cfg, name, value, source)
        self.sources[new] = source
        section, _, option = new.partition(".ARGS.")
        if option and section in self.kept:
            self.kept[section].add(option)
        if not old_keys.is_default(name, value):
            self.notes.setdefault(source, {})[name] = new

    def item(self, section: str, key: str, keys: Sequence[str], value: Any, name: str) -> None:
        """LOSS.TERMS.1.WEIGHT, DATA.MIX.0.TRAIN and the like."""
        whole, known = f"{section}.{key}", TERM if key == "TERMS" else MIXED
        items = [plain(item) for item in self.cfg[section][key]]
        number, *below = keys
        if not number.isdecimal() or int(number) >= len(items):
            raise UnfoldError(f"{COMMAND_LINE}: {name}: {whole} has {len(items)} items, counted from 0")
        tree: Any = value
        for part in reversed(below):
            tree = {part: tree}
        if not isinstance(tree, dict):
            raise UnfoldError(f"{COMMAND_LINE}: {name} is a section with keys {', '.join(known)}, not a value")
        item, part = items[int(number)], "NAME" if key == "TERMS" else "KIND"
        before = item.pop("ARGS", {})  # another part has other options
        args = {**(before if tree.get(part, item[part]) == item[part] else {}), **tree.get("ARGS", {})}
        item |= {**tree, **({"ARGS": args} if args else {})}
        self.cfg[section][key] = _LISTS[whole](items, COMMAND_LINE, Path())
        self.sources[name] = COMMAND_LINE


def _finished(merging: _Merging) -> CfgNode:
    cfg, sources, notes = merging.cfg, merging.sources, merging.notes
    old_keys.drop_idle(cfg, notes, merging.kept)
    _check(cfg, sources)
    for source, keys in notes.items():
        old_keys.announce(source, keys)
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
    """Lists as tuples, and dicts in them as sections, so that nothing of a frozen tree can be changed."""
    if isinstance(value, list | tuple):
        return tuple(_fixed(item) for item in value)
    if isinstance(value, Mapping) and not isinstance(value, CfgNode):
        section = CfgNode({key: _fixed(item) for key, item in value.items()})
        section.freeze()
        return section
    return value


def _with_places(value: Any, folder: Path, key: Any = None) -> Any:
    """Names of files in values, made whole: they are relative to the recipe that says them."""
    if isinstance(value, dict):
        return {name: _with_places(item, folder, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_places(item, folder) for item in value]
    if not isinstance(value, str) or key not in ("NAME", "KIND", "name", "VAL_PROTOCOL", "PROTOCOL"):
        return value
    if key in ("VAL_PROTOCOL", "PROTOCOL"):
        name, options = registry.split_options(value)
        return ":".join(filter(None, (registry.absolute(name, folder), options)))
    return registry.absolute(value, folder)


def _terms(value: Any, source: str, folder: Path) -> list[dict[str, Any]]:
    """LOSS.TERMS, each item checked."""
    if not value:
        raise UnfoldError(f"{source}: LOSS.TERMS is a list of one loss or more, and is empty")
    terms = _items(value, source, folder, "LOSS.TERMS", "NAME", TERM, "a loss, such as {NAME: l1, WEIGHT: 0.5}")
    for i, term in enumerate(terms):
        name = f"LOSS.TERMS.{i}"
        if term.get("STAGES", "last") not in ("all", "last"):
            raise UnfoldError(f"{source}: {name}.STAGES is one of all, last, not {term['STAGES']!r}")
        if not math.isfinite(term.get("WEIGHT", 1.0)) or term.get("WEIGHT", 1.0) < 0:
            raise UnfoldError(f"{source}: {name}.WEIGHT is a number that is not negative, not {term['WEIGHT']}")
    return terms


def _mix(value: Any, source: str, folder: Path) -> list[dict[str, Any]]:
    """DATA.MIX, each item checked."""
    like = "a part of a mixture, such as {KIND: gaussian, ARGS: {sigma: 25}, TRAIN: my_photos, REPEAT: 2}"
    items = _items(value, source, folder, "DATA.MIX", "KIND", MIXED, like)
    taken: dict[str, int] = {}
    for i, item in enumerate(items):
        name, key = mixed_name(item), f"DATA.MIX.{i}"
        if item.get("REPEAT", 1) < 1:
            raise UnfoldError(f"{source}: {key}.REPEAT is a whole number, 1 or more, not {item['REPEAT']}")
        if "/" in name:
            raise UnfoldError(f"{source}: {key}.NAME is a name without /, not {name!r}")
        if (other := taken.setdefault(name, i)) != i:
            raise UnfoldError(f"{source}: DATA.MIX.{other} and {key} are both called {name}: give each a NAME")
    return items


def _items(
    value: Any, source: str, folder: Path, whole: str, must: str, known: Mapping[str, Any], like: str
) -> list[dict[str, Any]]:
    """A list of sections, each with the key ``must`` and none beyond those known, in their types."""
    items: list[dict[str, Any]] = []
    for i, item in enumerate(value):
        name = f"{whole}.{i}"
        if not isinstance(item, dict) or not isinstance(item.get(must), str) or not item[must]:
            raise UnfoldError(f"{source}: {name} is {like}, and {item!r} is not")
        for key in item:
            if key not in known:
                hint = nearest(str(key), known)
                raise UnfoldError(f"{source}: there is no key {name}.{key}{hint and '; '}{hint}")
        made = {key: _coerce(one, known[key], f"{name}.{key}", source) for key, one in item.items() if key != "ARGS"}
        if "ARGS" in item:
            if not isinstance(item["ARGS"], dict):
                raise UnfoldError(f"{source}: {name}.ARGS is a section of options and their values")
            made["ARGS"] = dict(item["ARGS"])
        items.append(_with_places(made, folder))
    return items


_LISTS = {"LOSS.TERMS": _terms, "DATA.MIX": _mix}


def _is_key(key: str) -> bool:
    section, _, rest = key.partition(".")
    return key in _keys() or key in old_keys.KEYS or (section in PARTS and rest.startswith("ARGS.") and len(rest) > 5)


def _keys() -> list[str]:
    """Every key, and every section."""
    return [key for key, _ in _leaves(_C)] + [key for key, value in _C.items() if isinstance(value, CfgNode)]


def _suggest(name: str) -> str:
    known = _keys()
    near = [key for key in known if key == name.upper()]
    if not near and name.upper() in old_keys.KEYS:
        near = [old_keys.new_key(name.upper())]
    hint = f"did you mean {near[0]}?" if near else nearest(name, known)
    if not hint:  # right name, wrong section
        near = [key for key in known if key.split(".")[-1] == name.upper().split(".")[-1]]
        hint = f"did you mean {near[0]}?" if near else ""
    if not hint and name.partition(".")[0] in PARTS:
        hint = f"options of a part stand below {name.partition('.')[0]}.ARGS"
    return f"; {hint}" if hint else ""


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
            fail(whole, f"{registry.short(name)}: {error}")
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
