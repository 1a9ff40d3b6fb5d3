"""Values of options in the types that constructors annotate, and options as plain values."""

from __future__ import annotations

import importlib
import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import Enum
from os import PathLike
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal

from unfold.errors import UnfoldError, nearest
from unfold.util.paths import as_path

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a section",
}

SHOWN = 200  # characters of a value in a message


def hints_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a constructor's or function's arguments; empty where they cannot be resolved."""
    try:
        return typing.get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]
    except Exception:  # annotations may name modules that are not imported; then defaults give the type
        return {}


def coerced(value: object, hint: object, default: object, where: str) -> Any:
    """``value`` in the type of the annotation, or of the default where there is none; UnfoldError where it does not
    fit.

    Whole numbers are valid floats, and so is 1e-4, which is text in YAML 1.1; numbers are valid text.
    """
    try:
        return coerced_to(value, _of_default(default) if hint in (Any, inspect.Parameter.empty) else hint)
    except UnfitError as unfit:
        shown = " ".join(repr(value).split())  # an array's has lines
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        raise UnfoldError(f"{where} is {unfit}, and {shown} is not") from None


class UnfitError(Exception):
    """The message describes the expected value."""


def _of_default(default: object) -> Any:
    if default is None or default is inspect.Parameter.empty:
        return Any
    if isinstance(default, list | tuple | set | frozenset):
        own, kinds = type(default), {type(item) for item in default}
        if own not in (list, tuple, set, frozenset):  # a named tuple
            return Any
        kind = kinds.pop() if len(kinds) == 1 else Any
        return tuple[kind, ...] if own is tuple else own[kind]  # type: ignore[valid-type,index]
    return Callable if callable(default) and not isinstance(default, type) else type(default)


def in_plain(value: Any) -> Any:
    """Options as plain values for checkpoints and JSON: enum members by name, paths as text, ..."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return in_plain({one.name: getattr(value, one.name) for one in dataclass_fields(value)})
    if isinstance(value, Mapping):
        return {in_plain(key): in_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return (tuple if isinstance(value, tuple) else list)(in_plain(item) for item in value)
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else str(value)


def coerced_to(value: object, hint: Any) -> Any:
    """``value`` in the type of the annotation; UnfitError where it does not fit."""
    origin = typing.get_origin(hint)
    if origin is typing.ClassVar or origin is typing.Annotated:
        return coerced_to(value, typing.get_args(hint)[0])
    if isinstance(hint, typing.NewType):
        return coerced_to(value, hint.__supertype__)
    if origin in (typing.Union, UnionType):
        return _first_that_fits(value, typing.get_args(hint))
    if origin is Literal:
        choices = typing.get_args(hint)
        if not any(type(value) is type(choice) and value == choice for choice in choices):  # True is not 1
            near = (
                f" ({nearest(value, map(str, choices))})"
                if isinstance(value, str) and nearest(value, map(str, choices))
                else ""
            )
            raise UnfitError(f"one of {', '.join(map(str, choices))}{near}")
        return value
    kind = origin or hint
    if kind in (list, tuple, Sequence, Iterable, set, frozenset):
        return _sequence(value, kind, typing.get_args(hint))
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise UnfitError("a section of keys and values")
        return dict(value)
    if kind is bool or kind is int:
        if type(value) is not kind:
            raise UnfitError(_WORDS[kind])
        return value
    if kind is float:
        return _number(value)
    if kind is str:
        if isinstance(value, bool) or not isinstance(value, str | int | float | PurePath):
            raise UnfitError("text")
        return str(value)
    if kind is NoneType:
        if value is not None:
            raise UnfitError("null")
        return None
    if isinstance(kind, type) and issubclass(kind, PurePath | PathLike):
        return value if isinstance(value, PurePath) else as_path(coerced_to(value, str))
    if kind is Callable:
        if not callable(value):
            raise UnfitError("a function, which code alone can give")
        return value
    return _of_class(value, kind) if isinstance(kind, type) and kind is not object else value


def _of_class(value: Any, kind: type) -> Any:
    """``value`` as an instance of a class; enums, data classes and torch.dtype can be made from text and sections."""
    try:
        if isinstance(value, kind):
            return value
    except TypeError:  # a Protocol, a TypedDict
        return value
    if issubclass(kind, Enum):
        named = [one for one in kind if value == one.name or (type(value) is type(one.value) and value == one.value)]
        if not named:
            raise UnfitError(f"one of {', '.join(one.name for one in kind)}")
        return named[0]
    if is_dataclass(kind) and isinstance(value, Mapping):
        hints, fields = hints_of(kind), {one.name: one for one in dataclass_fields(kind) if one.init}
        if unknown := [key for key in value if key not in fields]:
            raise UnfitError(f"a section of {', '.join(fields)}, not of {unknown[0]}")
        try:
            return kind(**{key: coerced_to(item, hints.get(key, Any)) for key, item in value.items()})
        except UnfitError as unfit:
            raise UnfitError(f"a section, in which something is {unfit}") from None
        except (TypeError, ValueError) as error:
            raise UnfitError(f"a {kind.__name__} ({error})") from None
    if (kind.__module__, kind.__name__) == ("torch", "dtype") and isinstance(value, str):
        found = getattr(importlib.import_module("torch"), value.removeprefix("torch."), None)
        if not isinstance(found, kind):
            raise UnfitError("a type of torch, such as float32")
        return found
    if kind.__module__ == "numpy" and isinstance(value, int | float) and not isinstance(value, bool):
        return kind(value)  # type: ignore[call-arg]
    raise UnfitError(f"a {kind.__name__}{', or a section of its fields' if is_dataclass(kind) else ''}")


def _first_that_fits(value: object, hints: Sequence[Any]) -> Any:
    wanted = []
    # Exact types first: text is not a number where both are allowed.
    for hint in sorted(hints, key=lambda hint: hint not in type(value).__mro__):
        try:
            return coerced_to(value, hint)
        except UnfitError as unfit:
            wanted.append(str(unfit))
    raise UnfitError(" or ".join(dict.fromkeys(wanted)))


def _sequence(value: object, kind: Any, hints: Sequence[Any]) -> Any:
    if not isinstance(value, list | tuple):
        raise UnfitError("a list")
    fixed = kind is tuple and hints and hints[-1] is not Ellipsis
    if fixed and len(value) != len(hints):
        raise UnfitError(f"a list of {len(hints)}")
    each = hints if fixed else [hints[0] if hints else Any] * len(value)
    try:
        items = [coerced_to(item, hint) for item, hint in zip(value, each, strict=True)]
    except UnfitError as unfit:
        raise UnfitError(f"a list in which each item is {unfit}") from None
    return kind(items) if kind in (tuple, set, frozenset) else items


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UnfitError("a number")
    return number
