"""Whether a network takes pictures of any size: tried with small ones, on the meta device without numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork
from unfold.user_files import PREFIX, line_of, place_of
from unfold.util.arrays import width_x_height
from unfold.util.value_checks import unchecked

SIDE = 64  # pixels, which networks of one to six halvings take
# Errors of a tensor's size, by their kinds: torch's own, those of indices, and a person's own checks.
OF_SIZES = (RuntimeError, ValueError, IndexError, AssertionError)
NOT_OF_SIZES = (NotImplementedError, RecursionError)
# Of networks that failed at a picture: their fault, and for each line that failed whether the size was the reason.
_faults: WeakKeyDictionary[UnfoldingNetwork, tuple[str, dict[str, bool]]] = WeakKeyDictionary()


def takes(net: UnfoldingNetwork, height: int, width: int) -> bool:
    """Whether the network restores a picture of that size to one of the same size."""
    result = _tried(net, height, width)
    return isinstance(result, torch.Tensor) and tuple(result.shape[-2:]) == (height, width)


def _tried(net: UnfoldingNetwork, height: int, width: int) -> object:
    """The result for an example of that size, or the error."""
    weights = next(net.parameters(), None)
    device = torch.device("cpu") if weights is None else weights.device
    try:
        with torch.no_grad(), unchecked(), torch.device(device):
            return net(**net.example(height, width))
    except (Exception, SystemExit) as error:  # of a user's code, any
        return error


def size_fault(net: UnfoldingNetwork) -> str:
    """Why the network restores only pictures of some sizes, and what its author does about it; "" if it takes all, or
    where trying shows nothing (a network that cannot run without numbers). It runs twice at most.
    """
    if not any(map(_outside, net.modules())):
        return ""  # a test tries those of the package
    multiple = max(net.size_multiple, 1)
    side = -(-max(SIDE, net.min_size) // multiple) * multiple
    odd = side + 1, side + 3
    result = _tried(net, *odd)
    if (isinstance(result, torch.Tensor) and tuple(result.shape[-2:]) == odd) or not takes(net, side, side):
        return ""
    sizes = f"takes pictures of {side}x{side} pixels and not of {width_x_height(odd)}"
    tools = "by pad_to_multiple and crop_to of unfold.util.padding"
    kind = type(net)
    if not _outside(net):  # made of the package's parts and theirs
        part = next(type(module) for module in net.modules() if _outside(module))
        own = part.forward if _is_theirs(part.forward.__module__) else part
        place = (place_of(result) if isinstance(result, BaseException) else None) or line_of(own)
        return (
            f"{place}: {kind.__name__} with {part.__name__} {sizes}: forward pads and crops, {tools} (docs/extend.md)"
        )
    place = line_of(kind.begin if _is_theirs(kind.begin.__module__) else kind)
    said = f"; size_multiple = {multiple} only announces it" if multiple > 1 else ""
    return f"{place}: {kind.__name__} {sizes}: begin pads and finish crops, {tools}{said} (docs/extend.md)"


def _outside(module: nn.Module) -> bool:
    """Whether a module is neither of the package nor of torch."""
    return _is_theirs(type(module).__module__)


def _is_theirs(where: str) -> bool:
    return not where.startswith(("unfold.", "torch.")) or where.startswith(PREFIX)


@contextmanager
def explaining_sizes(net: UnfoldingNetwork, picture: object) -> Iterator[None]:
    """Inside, an error of a user's network says so where the size of the picture (B,C,H,W) is the reason.

    Trying costs time: only errors that sizes cause are tried, :func:`size_fault` once for a network, and where it has
    such a fault, the size of one picture for each line that fails.
    """
    try:
        yield
    except UnfoldError as error:
        cause = error.__cause__  # of the user's code, else None
        if not isinstance(cause, OF_SIZES) or isinstance(cause, NOT_OF_SIZES) or not isinstance(picture, torch.Tensor):
            raise
        if net not in _faults:
            _faults[net] = size_fault(net), {}
        fault, by_size = _faults[net]
        height, width = picture.shape[-2:]
        where = f"{type(cause)} {place_of(cause)}"
        if fault and where not in by_size:
            by_size[where] = not takes(net, height, width)
        if not fault or not by_size[where]:
            raise
        raise UnfoldError(f"{fault}; this one is {width_x_height((height, width))} ({error})") from error
