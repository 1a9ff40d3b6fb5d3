"""What a network says of itself: presets, what it takes, and what restoring in tiles changes. Numbers and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Border = Literal["any", "circular", "zero"]
InputKind = Literal["image", "kernel", "level", "whole", "number"]


@dataclass(frozen=True)
class Preset:
    """A published network: arguments of the constructor in place of its defaults, and what it is in one line."""

    about: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """One input of a network. kind: see the functions below; about: shape, range and meaning, for people.

    channels: of an image; least: the smallest value, None for no bound.
    """

    kind: InputKind
    about: str
    channels: int = 0
    least: float | None = None


def image(channels: int = 3, about: str = "") -> Input:
    """As large as the picture: cut by tiles, turned by self-ensembles, continued at borders. (B,C,H,W) in [0,1]."""
    return Input("image", about or f"(B,{channels},H,W) in [0,1]", channels)


def kernel(about: str = "(B|1,1,kh,kw), for true convolution, sum 1") -> Input:
    """A blur kernel, which self-ensembles turn with the picture."""
    return Input("kernel", about)


def level(about: str = "float or (B,), noise standard deviation in [0,1] units") -> Input:
    """A noise level: people give it in 255 units, the network gets it in [0,1]."""
    return Input("level", about, least=0)


def whole(about: str = "whole number s >= 1", least: int = 1) -> Input:
    """A whole number. One that is called "scale" is how many times larger the result is."""
    return Input("whole", about, least=least)


def number(about: str = "float", least: float | None = None) -> Input:
    """Any other number."""
    return Input("number", about, least=least)


@dataclass(frozen=True)
class Tiling:
    """What restoring a large image in overlapping tiles changes.

    exact: whether tiles that overlap by the reaches of all stages give the pixels of the whole image; reach: how many
    pixels of the restored image around a pixel the convolutions of one stage look at; blurred: the kernel's radius
    comes on top, in every stage; beyond: of what is not exact, what looks further than any halo.
    whole: why a picture is restored in one piece and never in tiles; "" where it may be cut.
    """

    exact: bool = False
    reach: int = 64
    blurred: bool = False
    beyond: str = "the network does not say how far it looks"
    whole: str = ""

    def halo(self, kernel: int = 1, stages: int = 1) -> int:
        """Pixels of overlap on each side of a tile: what one stage's convolutions look at, for a kernel so wide; of an
        exact network those of all stages, so that nothing is missing.
        """
        once = self.reach + (kernel // 2 if self.blurred else 0)
        return once * stages if self.exact else once
