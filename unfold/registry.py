"""Resolve parts by name: from a name to a class, from options to constructor arguments.

A part is a network, a degradation, a loss, a protocol, an optimizer, a learning-rate schedule, or half of a composed
network. Its name is built in, or registered (by an installed package's entry points, or by :func:`register`), or names
code: `package.module:Class`, or `file.py:Class`. Its options are the keyword arguments of its constructor.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral
from pathlib import Path
from typing import Any

from unfold import user_files
from unfold.builtin import BUILTIN
from unfold.errors import UnfoldError, nearest, nearest_or_all
from unfold.option_values import UnfitError, coerced, coerced_to, hints_of, in_plain
from unfold.util.paths import as_path, is_file

Options = Mapping[str, Any]  # options of a part, by name; its constructor defines their types
Make = Callable[..., Any]  # a class, or a function that returns an instance of the kind
_CODE = re.compile(
    r"(?P<file>.+\.py):(?P<of_file>[A-Za-z_]\w*)|(?P<module>[A-Za-z_][\w.]*):(?P<of_module>[A-Za-z_]\w*)"
)


@dataclass(frozen=True)
class Kind:
    """One kind of parts.

    what: in words; group: of entry points, "" for none; base: the class that parts are or return, as "module:Class";
    given: constructor arguments that the caller gives, not options. begun: an attribute that objects have after the
    constructor of their base has run, and the arguments of that constructor.
    """

    what: str
    base: str
    group: str = ""
    given: frozenset[str] = frozenset()
    begun: tuple[str, str] | None = None
    registered: dict[str, Make] = field(default_factory=dict, compare=False)


NETWORK = Kind("network", "unfold.models.unfolding:UnfoldingNetwork", "unfold.networks", begun=("_stages", "stages"))
DEGRADATION = Kind("degradation", "unfold.degradations.degradation:Degradation", "unfold.degradations")
LOSS = Kind("loss", "unfold.losses.loss:Loss", "unfold.losses", begun=("_modules", ""))
PROTOCOL = Kind("protocol", "unfold.protocols.protocol:Protocol", "unfold.protocols")
OPTIMIZER = Kind(
    "optimizer",
    "torch.optim:Optimizer",
    given=frozenset({"params", "lr", "fused", "foreach"}),
    begun=("param_groups", "params, defaults"),
)
SCHEDULE = Kind("schedule", "unfold.training.schedule:Rate")
DATA_STEP = Kind(
    "data step",
    "unfold.steps.data_step:DataStep",
    given=frozenset({"stages", "channels"}),
    begun=("_modules", "stages"),
)
PRIOR = Kind("prior", "torch.nn:Module", given=frozenset({"cin", "cout", "channels"}), begun=("_modules", ""))


@dataclass(frozen=True)
class Part:
    """A part that was found. name: short, without folders, as in messages and checkpoints; preset: options that replace
    the constructor's defaults; file, sha256: for a part that is code in a file.
    """

    kind: Kind
    name: str
    make: Make
    preset: Options = field(default_factory=dict)
    file: Path | None = None

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the file when it was run."""
        return user_files.digests[self.file] if self.file else None

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The constructor's arguments that are options, by name; "**" where it takes any name."""
        try:
            known = inspect.signature(self.make).parameters
        except (ValueError, TypeError):
            return {}
        return {
            "**" if p.kind is p.VAR_KEYWORD else name: p
            for name, p in known.items()
            if name not in self.kind.given and p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)
        }

    def files(self) -> dict[str, str]:
        """The options that are files, with descriptions: those that the class declares, and those of type Path."""
        hints = hints_of(self.make)
        paths = {name: "" for name in self.parameters() if Path in (hints.get(name), *typing.get_args(hints.get(name)))}
        return {**paths, **getattr(self.make, "files", {})}

    def given(self) -> set[str]:
        """The caller's arguments that the constructor takes."""
        return set(self.kind.given & inspect.signature(self.make).parameters.keys())

    def defaults(self) -> dict[str, Any]:
        """All options with defaults: the preset's value or the constructor's."""
        own = {n: p.default for n, p in self.parameters().items() if p.default is not p.empty and n != "**"}
        return {**own, **self.preset}

    def full(self, options: Options) -> dict[str, Any]:
        """The options, completed by defaults, as plain values."""
        return {**in_plain(self.defaults()), **options}

    def checked(self, options: Options, where: Callable[[str], str] | None = None) -> dict[str, Any]:
        """The options converted to the constructor's types; UnfoldError for an unknown, missing or invalid one.

        where: maps an option's name to the start of an error, such as recipe and key.
        """
        at = where or (lambda option: f"{self.name}: {option}")
        known, hints = self.parameters(), hints_of(self.make)
        checked = {}
        for option, value in options.items():
            if option not in known and "**" not in known:
                names = ", ".join(known) or "none"
                hint = nearest(option, known)
                raise UnfoldError(
                    f"{at(option)}: {self.name} has no such option; {f'{hint} ' if hint else ''}It takes {names}"
                    if where
                    else f"{self.name} takes no argument {option!r}; {f'{hint} ' if hint else ''}it takes {names}"
                )
            p = known.get(option)
            default = None if p is None or p.default is p.empty else self.preset.get(option, p.default)
            hint_type = hints.get(option, Any) if p is not None else Any
            checked[option] = coerced(value, hint_type, default, at(option))
        for option, p in known.items():
            if p.default is p.empty and option not in {*checked, *self.preset, "**"}:
                raise UnfoldError(f"{at(option)} is an option that {self.name} needs, and is not given")
        return checked

    def build(self, options: Options, where: Callable[[str], str] | None = None, **given: Any) -> Any:
        """Check the options and call the constructor. UnfoldError where it refuses them, or returns another type."""
        checked = self.checked(options, where)
        begin = where("").rstrip(".: ") if where else self.name
        try:
            made = self.make(**{**self.preset, **checked, **given})
        except UnfoldError as error:
            raise UnfoldError(f"{begin}: {error}" if where else str(error)) from None
        except (ValueError, TypeError, RuntimeError) as error:
            if user_files.place_of(error):
                raise UnfoldError(
                    f"{user_files.place_of(error)}: {user_files.in_words(error)} (in {self.name})"
                ) from error
            words = ", ".join(f"{key} {value}" for key, value in checked.items())
            raise UnfoldError(
                f"{begin}: {self.name} cannot be built with {words or 'its defaults'}: {error}"
            ) from error
        except (Exception, SystemExit) as error:
            place = user_files.place_of(error) or self.name
            raise UnfoldError(f"{place}: {user_files.in_words(error)} (in {self.name})") from error
        if not isinstance(made, _base(self.kind)):
            raise UnfoldError(f"{self._place()} makes a {type(made).__name__}, and {_article(self.kind)} is wanted")
        _check_made(made, self.kind)
        return made

    def _place(self) -> str:
        return f"{self.name} ({self.file})" if self.file else self.name


def is_code(text: str) -> bool:
    """Whether a name is of the form file.py:Class or package.module:Class."""
    return _CODE.fullmatch(text) is not None


def names_file(text: str) -> bool:
    """Whether a name is of the form file.py:Class."""
    found = _CODE.fullmatch(text)
    return found is not None and found["file"] is not None


def absolute(text: str, folder: Path) -> str:
    """file.py:Class with the whole path, where the file's is relative to ``folder``; other names as they are."""
    found = _CODE.fullmatch(text)
    if found is None or found["file"] is None:
        return text
    return f"{(folder / as_path(found['file'])).resolve()}:{found['of_file']}"


def short(text: str) -> str:
    """A name without the folders of a file."""
    found = _CODE.fullmatch(text)
    return f"{Path(found['file']).name}:{found['of_file']}" if found and found["file"] else text


def has_moved(before: str, now: str) -> bool:
    """Whether two names are of one class in a file of one name, which is not any more where it was."""
    found = _CODE.fullmatch(before)
    if found is None or not found["file"] or is_file(as_path(found["file"])):
        return False
    return short(before) == short(now)


def split_options(text: str) -> tuple[str, str]:
    """A name and the options behind it: "a:x=1" is a and x=1, "p.py:A:x=1" is p.py:A and x=1."""
    found = _CODE.match(text)
    if found and (found["file"] or "." in found["module"] or _is_module(found["module"])):
        rest = text[found.end() :]
        if not rest or rest.startswith(":"):
            return text[: found.end()], rest[1:]
    name, _, rest = text.partition(":")
    return name, rest


def _is_module(name: str) -> bool:
    """Whether a name without a dot is a module, not a protocol: only protocols have options behind their name."""
    try:
        return not is_known(PROTOCOL, name) and importlib.util.find_spec(name) is not None
    except ValueError:  # such as __main__
        return False


def names(kind: Kind) -> list[str]:
    """All names of a kind without code, sorted."""
    return sorted({*BUILTIN[kind.what], *kind.registered, *_entry_points(kind.group)})


def origin(kind: Kind, name: str) -> str:
    """The package that defines a name, "" for built-in names."""
    if name in BUILTIN[kind.what]:
        return ""
    point = _entry_points(kind.group).get(name)
    return "registered here" if point is None else point.dist.name if point.dist else point.value


def is_known(kind: Kind, name: str) -> bool:
    """Whether a name is built in or registered."""
    return name in BUILTIN[kind.what] or name in kind.registered or name in _entry_points(kind.group)


def check_name(kind: Kind, text: str) -> None:
    """UnfoldError for an impossible name; imports nothing."""
    found = _CODE.fullmatch(text)
    if found is None:
        if not is_known(kind, text):
            code = ", or code: file.py:Class or package.module:Class" if "." in text or "/" in text else ""
            raise UnfoldError(f"no {kind.what} is called {text[:200]!r}; {nearest_or_all(text, names(kind))}{code}")
    elif found["file"] and not is_file(as_path(found["file"])):
        raise UnfoldError(f"there is no file {found['file'][:200]}, which {text[:200]} names")


def find(kind: Kind, text: str) -> Part:
    """The part of that name, imported. File paths are absolute, or relative to the current folder.

    UnfoldError for an unknown name, for a file or module that is missing or fails, and for an object that is not such a
    part.
    """
    check_name(kind, text)
    found = _CODE.fullmatch(text)
    if found is None:
        make = kind.registered.get(text) or _loaded(kind, text)
        return Part(kind, text, _checked_part(kind, text, make), _preset(make, text))
    if found["file"]:
        path = as_path(found["file"]).resolve()
        module, attribute, file = user_files.load_file(path), found["of_file"], path
        name = f"{path.name}:{attribute}"
    else:
        module, attribute, file = user_files.load_module(found["module"]), found["of_module"], None
        name = text
    if not hasattr(module, attribute):
        own = [key for key, value in vars(module).items() if isinstance(value, type) and not key.startswith("_")]
        raise UnfoldError(f"{file or found['module']} has no {attribute}; {nearest_or_all(attribute, own)}")
    return Part(
        kind, name, _checked_part(kind, f"{file or found['module']}:{attribute}", getattr(module, attribute)), file=file
    )


def register(kind: Kind, part: Make, name: str | None = None) -> str:
    """Register a class by name in this process: by its attribute ``name``, its presets, or its class name."""
    own = getattr(part, "name", None)
    name = name or (own if isinstance(own, str) else part.__name__)
    if name in BUILTIN[kind.what]:
        raise UnfoldError(f"the {kind.what} {name} is built in: register yours under another name")
    part = _checked_part(kind, name, part)
    for one in (name, *getattr(part, "presets", ())):
        kind.registered[one] = part
    return name


def code_in(options: Options) -> list[str]:
    """The names of code in options: of nested parts, which are sections with a key "name"; not of an option that is
    itself called "name".
    """
    return [text for item in options.values() for text in _code_in(item)]


def _code_in(value: object) -> list[str]:
    if isinstance(value, Mapping):
        own = [text for key, text in value.items() if key in ("name", "NAME") and isinstance(text, str)]
        return [text for text in own if ":" in text] + code_in(value)
    return [text for item in value for text in _code_in(item)] if isinstance(value, list | tuple) else []


def _loaded(kind: Kind, name: str) -> Any:
    if target := BUILTIN[kind.what].get(name):
        return _attribute(target)
    point = _entry_points(kind.group)[name]
    user_files.packages.add(point.module.partition(".")[0])
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        place = user_files.place_of(error) or point.value
        whose = f" (the {kind.what} {name} of {origin(kind, name)})"
        raise UnfoldError(f"{place}: {user_files.in_words(error)}{whose}") from error


def _check_made(made: Any, kind: Kind) -> None:
    """UnfoldError where the base's constructor was not called, or an attribute has another type than in the base.

    Annotated attributes are declarations of user classes.
    """
    own = type(made)
    if kind.begun is not None and kind.begun[0] not in vars(made):
        arguments = kind.begun[1]
        raise UnfoldError(
            f"{user_files.line_of(own)}: the constructor of {own.__name__} has to call super().__init__({arguments})"
        )
    for base in _base(kind).__mro__:
        if not base.__module__.startswith("unfold."):
            continue
        hints = _hints_of(base)
        for name in vars(base).get("__annotations__", {}):
            value = getattr(made, name, None)
            if name not in hints or name.startswith("_") or value is getattr(base, name, None):
                continue
            try:
                coerced_to(_as_said(value), hints[name])
            except UnfitError as unfit:
                raise UnfoldError(
                    f"{user_files.line_of(own)}: {name} of {own.__name__} is {unfit}, and {str(value)[:80]!r} is not"
                ) from None


def _as_said(value: Any) -> Any:
    """Convert collections of names to lists, and NumPy integers to Python's."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return list(value) if isinstance(value, set | frozenset | range) else value


@functools.cache
def _hints_of(base: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(base)
    except Exception:  # such as names imported only for type checkers
        return {}


def _preset(make: object, name: str) -> Options:
    preset = getattr(make, "presets", {}).get(name)
    return {} if preset is None else preset.options


def _checked_part(kind: Kind, name: str, part: Any) -> Make:
    """A class of the kind, or a function, whose result is checked when it is called."""
    if not callable(part) or (isinstance(part, type) and not issubclass(part, _base(kind))):
        what = (
            f"a {'class' if isinstance(part, type) else 'function'}" if callable(part) else f"a {type(part).__name__}"
        )
        base = kind.base.replace(":", ".")
        raise UnfoldError(f"{name} is no {kind.what}: it is {what}, and has to be a subclass of {base}")
    if inspect.isabstract(part):
        left = ", ".join(sorted(getattr(part, "__abstractmethods__", ())))
        raise UnfoldError(
            f"{_source(part) or name}: {part.__name__} does not define {left}, which every {kind.what} has"
        )
    return part


def _source(part: Callable[..., object]) -> str:
    try:
        return f"{inspect.getsourcefile(part)}:{inspect.getsourcelines(part)[1]}"
    except (OSError, TypeError):
        return ""


def _base(kind: Kind) -> type:
    return _attribute(kind.base)


def _article(kind: Kind) -> str:
    return f"{'an' if kind.what[0] in 'aeiou' else 'a'} {kind.what} ({kind.base.partition(':')[2]})"


def _attribute(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@functools.cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name. UnfoldError where two packages use one name."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group) if group else ():
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            whose = " and ".join(one.dist.name if one.dist else one.value for one in (other, point))
            raise UnfoldError(f"two installed packages, {whose}, both have a part {point.name} of {group}")
    return found
