"""The protocols by name, and their options as text: NAME:option=value,..."""

from __future__ import annotations

import yaml

from unfold import registry
from unfold.errors import UnfoldError, nearest_or_all
from unfold.protocols.protocol import Protocol
from unfold.registry import PROTOCOL


def parse_protocol(text: str) -> Protocol:
    """A protocol from e.g. "usrnet_table1:scale=4,kernel=3,noise=0", or from code: "holes.py:Holes:hole=16".

    UnfoldError for what is unknown.
    """
    name, told = registry.split_options(text)
    part = registry.find(PROTOCOL, name)
    known = part.parameters()
    options: dict[str, object] = {}
    for item in filter(None, told.split(",")):
        key, equals, value = item.partition("=")
        if key in known and not equals:
            raise UnfoldError(f"{part.name}: {key} needs a value, as in {key}={part.defaults().get(key, 1)}")
        if key not in known and "**" not in known:
            hint = nearest_or_all(key, known) if known else "it has none"
            raise UnfoldError(f"{part.name} has no option {item!r}; {hint}")
        if key in options:
            raise UnfoldError(f"{text}: {key} is given twice")
        options[key] = _value(value)
    protocol: Protocol = part.build(options)
    if not hasattr(protocol, "name"):
        type(protocol).name = part.name
    return protocol


def _value(text: str) -> object:
    """The value of an option as YAML has it; text where it is no number, truth value or null."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if value is None or isinstance(value, (bool, int, float)) else text
