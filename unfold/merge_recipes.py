"""Merging recipes: YAML files with their bases, and KEY VALUE of the command line, into a tree of settings.

A key must exist in the tree, and a value must have the type of its default. File names in a recipe are relative to it.
A later file that names another part drops the options of the previous one.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yacs.config import CfgNode

from unfold import old_keys, registry
from unfold.errors import UnfoldError, nearest, one_line
from unfold.util.nested import leaves, plain
from unfold.util.paths import as_path

logger = logging.getLogger("unfold")
TERM = {"NAME": "", "WEIGHT": 1.0, "STAGES": "last", "CLAMP": False, "ARGS": {}}  # an item of LOSS.TERMS, with defaults
# An item of DATA.MIX, with defaults; "" means DATA's value.
MIXED = {"KIND": "", "ARGS": {}, "TRAIN": "", "REPEAT": 1, "NAME": "", "VAL": "", "TEST": "", "VAL_PROTOCOL": ""}
# Sections that name a part: the key of its name, and its kind.
PARTS = {
    "MODEL": ("NAME", registry.NETWORK),
    "DATA": ("KIND", registry.DEGRADATION),
    "OPTIM": ("NAME", registry.OPTIMIZER),
    "SCHEDULE": ("NAME", registry.SCHEDULE),
}
HALVES = {"data": registry.DATA_STEP, "prior": registry.PRIOR}  # options of a network that are parts themselves
COMMAND_LINE = "command line"


class Change(NamedTuple):
    """A change of a part. source: names another part (key) than before."""

    source: str
    key: str
    kind: registry.Kind
    old: str
    new: str

    def takes(self, option: str) -> bool:
        """Whether the new part has an option of that name; False if the part fails to load."""
        try:
            known = registry.find(self.kind, self.new).parameters()
        except UnfoldError:  # reported where the part is needed
            return True
        return option in known or "**" in known


class Merging:
    """The tree while recipes are merged into it. sources: the source of every set key; notes: on old keys.

    kept: options set by old keys; a later file that changes the part's name keeps them, as it did in old versions.
    """

    def __init__(self, defaults: CfgNode) -> None:
        self.cfg = defaults.clone()
        sections = [key for key, value in defaults.items() if isinstance(value, CfgNode)]
        self.keys = [key for key, _ in leaves(defaults)] + sections  # every key, and every section
        self.sources: dict[str, str] = {}
        self.notes: dict[str, dict[str, str]] = {}
        self.kept: dict[str, set[str]] = {section: set() for section in PARTS}
        self.dropped: dict[Change, dict[str, tuple[str, str]]] = {}

    def file(self, values: dict[Any, Any], source: str, folder: Path) -> None:
        """Merge the values of a recipe."""
        self.names(values, source, folder)
        self.section(self.cfg, values, source, folder, "")

    def command_line(self, overrides: Sequence[object]) -> None:
        """Merge KEY VALUE KEY VALUE ..., names of parts first, so that other keys apply to the new part."""
        names = [f"{section}.{key}" for section, (key, _) in PARTS.items()]
        for key, said in sorted(_pairs(overrides), key=lambda pair: pair[0] not in names):
            value, (section, *rest) = _said(said, key), key.split(".")
            if len(rest) > 1 and f"{section}.{rest[0]}" in _LISTS:
                self.item(section, rest[0], rest[1:], value, key)
                continue
            if not _is_key(key, self.keys):
                raise UnfoldError(f"{COMMAND_LINE}: there is no key {key}{_suggest(key, self.keys)}")
            tree: Any = value
            for part in reversed(key.split(".")):
                tree = {part: tree}
            self.file(tree, COMMAND_LINE, Path())

    def names(self, values: dict[Any, Any], source: str, folder: Path) -> None:
        """Apply names of parts. Another part has other options, so the previous ones are dropped, unless only its
        file has moved.
        """
        for section, (key, kind) in PARTS.items():
            said = values.get(section)
            if isinstance(said, dict) and isinstance(said.get(key), str):
                name = registry.absolute(said[key], folder)
                before = self.cfg[section][key]
                if name != before and not registry.has_moved(before, name):
                    for option in [one for one in self.cfg[section].ARGS if one not in self.kept[section]]:
                        value = self.cfg[section].ARGS.pop(option)
                        change = Change(source, f"{section}.{key}", kind, before, name)
                        self.drop(f"{section}.ARGS.{option}", value, change)

    def drop(self, key: str, value: object, change: Change) -> None:
        """Record a dropped option, for a note if the new part has it, too, and nothing sets it."""
        source = self.sources.pop(key, None) or self.sources.get(key.rpartition(".")[0], "")
        self.dropped.setdefault(change, {})[key] = f"{key} {plain(value)}", source

    def announce(self) -> None:
        """Log one line for each change of a part that dropped options, with their values.

        Only then imports the part, to know its options.
        """
        for change, options in self.dropped.items():
            gone: dict[str, list[str]] = {}
            for key, (said, source) in options.items():
                if change.takes(key.rpartition(".")[2]) and not _is_set(self.cfg, key):
                    gone.setdefault(source, []).append(said)
            if gone:
                old, new = registry.short(change.old), registry.short(change.new)
                which = "; ".join(", ".join(all_of) + (source and f" ({source})") for source, all_of in gone.items())
                logger.warning(
                    f"note: {change.source}: {change.key} {new} in place of {old} drops options of {old} that it "
                    f"takes, too: {which}; set again those that are to stay"
                )

    def section(self, node: CfgNode, values: dict[Any, Any], source: str, folder: Path, prefix: str) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if key not in node and name in old_keys.KEYS:
                self.old(name, value, source)
            elif key not in node:
                raise UnfoldError(f"{source}: there is no key {name}{_suggest(name, self.keys)}")
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
            _check_plain(item, f"{section}.ARGS.{option}", source)
            before = self.cfg[section].ARGS.get(option)
            item = _with_places(item, folder, option)
            if isinstance(item, dict) and isinstance(before, dict):  # a step or prior of a composed network
                if item.get("name", before.get("name")) == before.get("name"):
                    item = {**plain(before), **item}  # change a key of it
                elif option in HALVES:
                    key = f"{section}.ARGS.{option}"
                    change = Change(source, f"{key}.name", HALVES[option], str(before.get("name")), str(item["name"]))
                    for lost in [name for name in before if name not in item]:
                        self.drop(f"{key}.{lost}", before[lost], change)
            self.cfg[section].ARGS[option] = CfgNode(item) if isinstance(item, dict) else item
            self.kept[section].discard(option)
            self.sources.pop(f"{section}.ARGS.{option}", None)  # keep the order of setting
            self.sources[f"{section}.ARGS.{option}"] = source

    def old(self, name: str, value: Any, source: str) -> None:
        """Set an old key, which is translated to a new one."""
        value = _coerce(value, old_keys.KEYS[name].default, name, source)
        new = old_keys.translate(self.cfg, name, value, source)
        self.sources[new] = source
        section, _, option = new.partition(".ARGS.")
        if option and section in self.kept:
            self.kept[section].add(option)
        if not old_keys.is_default(name, value):
            self.notes.setdefault(source, {})[name] = new

    def item(self, section: str, key: str, keys: Sequence[str], value: Any, name: str) -> None:
        """Set a key of a list item: LOSS.TERMS.1.WEIGHT, DATA.MIX.0.TRAIN and similar ones."""
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
        before = item.pop("ARGS", {})  # another degradation has other options
        stays = key == "TERMS" or tree.get(part, item[part]) == item[part]
        args = tree.get("ARGS", {})
        if isinstance(args, dict):  # else an error below
            args = {**(before if stays else {}), **args}
        item |= {**tree, **({"ARGS": args} if args != {} else {})}
        self.cfg[section][key] = _LISTS[whole](items, COMMAND_LINE, Path())
        self.sources[name] = COMMAND_LINE


def _check_plain(value: object, name: str, source: str) -> None:
    """UnfoldError for values that checkpoints cannot store: YAML also has dates, and keys of any type."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UnfoldError(f"{source}: {name}: the key {key!r} is no text: put it into quotes")
            _check_plain(item, f"{name}.{key}", source)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, name, source)
    elif not isinstance(value, str | int | float | None):
        raise UnfoldError(f"{source}: {name} is a {type(value).__name__} to YAML, {value}: put it into quotes for text")


def _is_set(cfg: CfgNode, key: str) -> bool:
    node: object = cfg
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return True


def _with_places(value: Any, folder: Path, key: Any = None) -> Any:
    """Make file names in values absolute: they are relative to their recipe."""
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
        if not name.isprintable() or not name.strip() or name.startswith(".") or {"/", "\\"} & {*name}:
            raise UnfoldError(f"{source}: {key}.NAME is a name of files, too: without / and \\, not {name!r}")
        if (other := taken.setdefault(name, i)) != i:
            raise UnfoldError(f"{source}: DATA.MIX.{other} and {key} are both called {name}: give each a NAME")
    return items


def mixed_name(item: Mapping[str, Any]) -> str:
    """The name of an item of DATA.MIX in logs."""
    return item.get("NAME") or registry.short(item["KIND"])


def _items(
    value: Any, source: str, folder: Path, whole: str, must: str, known: Mapping[str, Any], like: str
) -> list[dict[str, Any]]:
    """Check a list of sections, each with the key ``must``, only known keys, and the right types."""
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
            _check_plain(item["ARGS"], f"{name}.ARGS", source)
            made["ARGS"] = dict(item["ARGS"])
        items.append(_with_places(made, folder))
    return items


_LISTS = {"LOSS.TERMS": _terms, "DATA.MIX": _mix}


def _is_key(key: str, known: Sequence[str]) -> bool:
    section, _, rest = key.partition(".")
    return key in known or key in old_keys.KEYS or (section in PARTS and rest.startswith("ARGS.") and len(rest) > 5)


def _suggest(name: str, known: Sequence[str]) -> str:
    near = [key for key in known if key == name.upper()]
    if not near and name.upper() in old_keys.KEYS:
        near = [old_keys.new_key(name.upper())]
    hint = f"did you mean {near[0]}?" if near else nearest(name, known)
    if not hint:  # the right name in the wrong section
        near = [key for key in known if key.split(".")[-1] == name.upper().split(".")[-1]]
        hint = f"did you mean {near[0]}?" if near else ""
    if not hint and name.partition(".")[0] in PARTS:
        hint = f"options of a part stand below {name.partition('.')[0]}.ARGS"
    return f"; {hint}" if hint else ""


def _coerce(value: Any, default: Any, name: str, source: str) -> Any:
    """``value`` in the type of ``default``; whole numbers are valid floats, and so is 1e-4, text in YAML 1.1."""
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
        return str(value)  # such as a folder named 5
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list"}
    raise UnfoldError(f"{source}: {name} is {words[type(default)]}, and {value!r} is not")


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses duplicate keys, which YAML forbids and PyYAML accepts."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise UnfoldError(f"key {key} is given twice (again in line {key_node.start_mark.line + 1})")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _pairs(overrides: Sequence[object]) -> list[tuple[str, object]]:
    """Split into pairs of key and value. UnfoldError for other lists."""
    if isinstance(overrides, str | Mapping):
        raise UnfoldError(f"overrides are a list KEY, VALUE, KEY, VALUE, such as ['SEED', 2], not {overrides!r}")
    if len(overrides) % 2:
        hint = ": write KEY VALUE, with a space" if any("=" in str(word) for word in overrides) else ""
        raise UnfoldError(f"overrides come as KEY VALUE pairs, and {overrides[-1]!r} has no value{hint}")
    pairs = []
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        if not isinstance(key, str):
            raise UnfoldError(f"{COMMAND_LINE}: a key is text, and {key!r} is not")
        pairs.append((key, value))
    return pairs


# Text that opens a list, a mapping or a quotation: if it is invalid YAML it is a typo, not plain text.
_OPENS = re.compile(r"""\s*([\["']|\{(?!\w+\}.))""")


def _said(value: object, key: str) -> Any:
    """A value of the command line: YAML, or plain text where it is not valid YAML, such as the names {id}_* and *.png.
    Values of a Python call are unchanged.
    """
    if not isinstance(value, str):
        return value
    try:
        return _parse(value, f"the value of {key}")
    except UnfoldError:
        if _OPENS.match(value):
            raise
        return value


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except UnfoldError as error:
        raise UnfoldError(f"{where}: {error}") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise UnfoldError(f"{where} is not valid YAML: {reason}") from None


def read_with_bases(path: Path, parents: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the file's bases, first to last, then the file."""
    if "\0" in str(path):
        raise UnfoldError(f"config {one_line(str(path))}: there is no such file")
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
        yield from read_with_bases(path.parent / as_path(base), (*parents, path.resolve()))
    yield path, values
