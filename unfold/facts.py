"""Facts that a network declares: presets, inputs, measurements, and the effect of tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Border = Literal["any", "circular", "zero"]
InputKind = Literal["image", "kernel", "level", "whole", "number"]


@dataclass(frozen=True)
class Preset:
    """A published network: arguments that replace the constructor's defaults, and a one-line description."""

    about: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """One input of a network. kind: see the functions below; about: shape, range and meaning, for display.

    channels: of an image; least: the smallest value, None for no bound; check: of an image, called with its name and
    each channel (H,W), an array; raises UnfoldError for values in [0,1] that it never has.
    """

    kind: InputKind
    about: str
    channels: int = 0
    least: float | None = None
    check: Callable[[str, Any], None] | None = None


def image(channels: int = 3, about: str = "", check: Callable[[str, Any], None] | None = None) -> Input:
    """An image of the picture's size: cut into tiles, rotated by self-ensembles, extended at borders. (B,C,H,W) in
    [0,1].
    """
    return Input("image", about or f"(B,{channels},H,W) in [0,1]", channels, check=check)


@dataclass(frozen=True)
class Measurement:
    """What a network takes instead of the picture and no picture file holds: another argument of begin.

    name: of the argument; about: shape and meaning, for display; axes: of the array in a file, 2 for (H,W), of one
    channel, or 3, channels first: all of the tensor's but the batch; first: the length of the first of 3, 0 for any;
    complex: of complex numbers; check: called with its name, the array, channels first, and the images beside it by
    name, (H,W,C); raises UnfoldError for what it never is.
    """

    name: str
    about: str
    axes: Literal[2, 3] = 3
    complex: bool = False
    check: Callable[[str, Any, Mapping[str, Any]], None] | None = None
    first: int = 0


def kernel(about: str = "(B|1,1,kh,kw), for true convolution, sum 1") -> Input:
    """A blur kernel; self-ensembles rotate it with the picture."""
    return Input("kernel", about)


def level(about: str = "float or (B,), noise standard deviation in [0,1] units") -> Input:
    """A noise level: users give it in 255 units, the network gets it in [0,1]."""
    return Input("level", about, least=0)


def whole(about: str = "whole number s >= 1", least: int = 1) -> Input:
    """A whole number. One named "scale" is the size of the result over that of y."""
    return Input("whole", about, least=least)


def number(about: str = "float", least: float | None = None) -> Input:
    """Any other number."""
    return Input("number", about, least=least)


@dataclass(frozen=True)
class Tiling:
    """The effect of restoring a large image in overlapping tiles.

    exact: whether tiles that overlap by the receptive field of all stages give the pixels of the whole image; reach:
    radius in pixels of the restored image of one stage's receptive field; blurred: whether each stage adds the kernel's
    radius; beyond: for a network that is not exact, what has a larger receptive field than any halo. whole: why a
    picture must be restored in one piece, never in tiles; "" where tiles are allowed.
    """

    exact: bool = False
    reach: int = 64
    blurred: bool = False
    beyond: str = "the network does not state its receptive field"
    whole: str = ""

    def halo(self, kernel: int = 1, stages: int = 1) -> int:
        """Overlap in pixels on each side of a tile: the reach of one stage, for a kernel of that side; for an exact
        network the reach of all stages together.
        """
        once = self.reach + (kernel // 2 if self.blurred else 0)
        return once * stages if self.exact else once
