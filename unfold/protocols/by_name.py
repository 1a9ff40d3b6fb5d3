"""The protocols by name, and their options as text: NAME:option=value,..."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter

import yaml

from unfold import registry
from unfold.errors import UnfoldError, nearest_or_all
from unfold.option_values import in_plain
from unfold.protocols.protocol import Protocol
from unfold.registry import PROTOCOL

QUOTES = ("'", '"')
_CLOSING = {"[": "]", "{": "}", "'": "'", '"': '"'}


def parse_protocol(text: str) -> Protocol:
    """A protocol from e.g. "usrnet_table1:scale=4,kernel=3,noise=0", or from code: "holes.py:Holes:hole=16".

    UnfoldError for unknown names and options.
    """
    name, given = registry.split_options(text)
    part = registry.find(PROTOCOL, name)
    known = part.parameters()
    options: dict[str, object] = {}
    for item in _items(given):
        key, equals, value = item.partition("=")
        if key in known and not equals:
            raise UnfoldError(f"{part.name}: {key} needs a value, as in {key}={part.defaults().get(key, 1)}")
        if key not in known and "**" not in known:
            hint = nearest_or_all(key, known) if known else "it has none"
            raise UnfoldError(f"{part.name} has no option {item!r}; {hint}")
        if key in options:
            raise UnfoldError(f"{text}: {key} is given twice")
        options[key] = _value(value, known.get(key), f"{part.name}: {key}")
    protocol: Protocol = part.build(options)
    if not hasattr(protocol, "name"):
        type(protocol).name = part.name
    return protocol


def _items(given: str) -> Iterator[str]:
    """Split at commas, but not inside brackets or quotes."""
    item, inside = "", ""
    for one in given:
        if one == "," and not inside:
            yield from [item] if item else []
            item = ""
            continue
        item += one
        if inside and one == inside[-1]:
            inside = inside[:-1]
        elif one in _CLOSING and inside[-1:] not in QUOTES:
            inside += _CLOSING[one]
    yield from [item] if item else []


def _value(text: str, p: Parameter | None, where: str) -> object:
    """The value of an option in YAML; text where it is not a number, truth value, null, list or section."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES:
        return text[1:-1]
    nested = text[:1] in ("[", "{") and not (
        p is not None and (p.annotation in (str, "str") or isinstance(p.default, str))  # templates of names
    )
    try:
        value = in_plain(yaml.safe_load(text)) if nested else yaml.safe_load(text)  # dates in lists stay text
    except yaml.YAMLError:
        if nested:
            raise UnfoldError(f"{where} is no list or section in YAML: {text}") from None
        return text
    return value if nested or value is None or isinstance(value, (bool, int, float)) else text
