"""Whether a network takes pictures of any size: tried with small ones, on the meta device without numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork
from unfold.user_files import PREFIX, line_of
from unfold.util.arrays import width_x_height
from unfold.util.value_checks import unchecked

SIDE = 64  # pixels, which networks of one to six halvings take


def takes(net: UnfoldingNetwork, height: int, width: int) -> bool:
    """Whether the network restores a picture of that size to one of the same size."""
    weights = next(net.parameters(), None)
    device = torch.device("cpu") if weights is None else weights.device
    try:
        with torch.no_grad(), unchecked(), torch.device(device):
            x = net(**net.example(height, width))
    except (Exception, SystemExit):  # of a user's code, any
        return False
    return isinstance(x, torch.Tensor) and tuple(x.shape[-2:]) == (height, width)


def size_fault(net: UnfoldingNetwork) -> str:
    """Why the network restores only pictures of some sizes, and what its author does about it; "" if it takes all, or
    where trying shows nothing (a network that cannot run without numbers).
    """
    if not any(map(_outside, net.modules())):
        return ""  # a test tries those of the package
    multiple = max(net.size_multiple, 1)
    side = -(-max(SIDE, net.min_size) // multiple) * multiple
    odd = side + 1, side + 3
    if takes(net, *odd) or not takes(net, side, side):
        return ""
    kind, said = type(net), f"; size_multiple = {multiple} only announces it" if multiple > 1 else ""
    return (
        f"{line_of(kind.begin)}: {kind.__name__} takes pictures of {side}x{side} pixels and not of "
        f"{width_x_height(odd)}: begin pads and finish crops, by pad_to_multiple and crop_to of unfold.util.padding"
        f"{said} (docs/extend.md)"
    )


def _outside(module: nn.Module) -> bool:
    """Whether a module is neither of the package nor of torch."""
    where = type(module).__module__
    return not where.startswith(("unfold.", "torch.")) or where.startswith(PREFIX)


@contextmanager
def explaining_sizes(net: UnfoldingNetwork, picture: object) -> Iterator[None]:
    """Inside, an error of a user's network says so where the size of the picture (B,C,H,W) is the reason."""
    try:
        yield
    except UnfoldError as error:
        if error.__cause__ is None or not isinstance(picture, torch.Tensor):  # it is no error of the user's code
            raise
        height, width = picture.shape[-2:]
        if takes(net, height, width) or not (fault := size_fault(net)):
            raise
        raise UnfoldError(f"{fault}; this one is {width_x_height((height, width))} ({error})") from error
