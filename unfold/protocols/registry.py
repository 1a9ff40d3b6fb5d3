"""The protocols by name, and their options as text: NAME:option=value,..."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from unfold.errors import UnfoldError
from unfold.protocols.compressive_sensing import CompressiveSensing
from unfold.protocols.deblur import Deblur, RealBlur
from unfold.protocols.derain import Derain, DerainSynthetic
from unfold.protocols.dnd import DND
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.levin09 import Levin09
from unfold.protocols.nrl_gdn import NRLGDNNonUniform, NRLGDNReal, NRLGDNUniform
from unfold.protocols.protocol import Protocol
from unfold.protocols.sidd import SIDD
from unfold.protocols.usrnet import USRNetBicubic, USRNetReal, USRNetTable1

_ALL: list[Any] = [
    *(USRNetTable1, USRNetBicubic, USRNetReal),
    *(NRLGDNNonUniform, NRLGDNUniform, NRLGDNReal),
    *(Derain, DerainSynthetic, Deblur, RealBlur),
    *(SIDD, DND, GaussianDenoising),
    *(CompressiveSensing, Levin09),
]
PROTOCOLS: dict[str, Any] = {protocol.name: protocol for protocol in _ALL}


def parse_protocol(text: str) -> Protocol:
    """A protocol from e.g. "usrnet_table1:scale=4,kernel=3,noise=0"; UnfoldError for what is unknown."""
    name, _, told = text.partition(":")
    if name not in PROTOCOLS:
        raise UnfoldError(f"no protocol is called {name!r}; {nearest(name, PROTOCOLS)}")
    kinds: dict[str, Any] = {field.name: type(field.default) for field in dataclasses.fields(PROTOCOLS[name])}
    options: dict[str, Any] = {}
    for part in filter(None, told.split(",")):
        key, equals, value = part.partition("=")
        if key in kinds and not equals:
            raise UnfoldError(f"{name}: {key} needs a value, as in {key}={getattr(PROTOCOLS[name], key)}")
        if key not in kinds:
            raise UnfoldError(f"{name} has no option {part!r}; {nearest(key, kinds) if kinds else 'it has none'}")
        if key in options:
            raise UnfoldError(f"{text}: {key} is given twice")
        try:
            options[key] = kinds[key](value)
        except ValueError:
            kind = "a whole number" if kinds[key] is int else "a number"
            raise UnfoldError(f"{name}: {key} is {kind}, not {value!r}") from None
    protocol: Protocol = PROTOCOLS[name](**options)
    return protocol


def nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
