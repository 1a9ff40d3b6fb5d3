"""The machine's limit: the speed of the network's most costly convolution by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.arrays import Named


class Convolution(NamedTuple):
    """Shapes of input and weight, stride, padding, and whether it is transposed."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    transposed: bool

    def __str__(self) -> str:
        b, c, h, w = self.input
        out = self.weight[1 if self.transposed else 0]
        kernel = "x".join(map(str, self.weight[2:]))
        kind = "transposed convolution" if self.transposed else "convolution"
        return f"{kernel} {kind} of {c} to {out} channels at {h}x{w}{f', batch {b}' if b > 1 else ''}"


class _Convolutions(TorchDispatchMode):
    """Counts the multiply-accumulates of every convolution by its shapes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work: Counter[Convolution] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.convolution.default:
            x, weight, _, stride, padding, _, transposed = args[:7]
            one = Convolution(tuple(x.shape), tuple(weight.shape), tuple(stride), tuple(padding), transposed)
            self.work[one] += work(one, tuple(result.shape))
        return result


def work(one: Convolution, output: tuple[int, ...]) -> int:
    """Multiply-accumulates."""
    pixels = one.input if one.transposed else output
    return pixels[0] * prod(pixels[2:]) * prod(one.weight)


def dominant(net: UnfoldingNetwork, given: Named) -> tuple[Convolution, float]:
    """The convolution with the most work in a run, and its share of all convolutions. Computes nothing.

    net: a network on the meta device; given: its inputs, likewise.
    """
    with torch.no_grad(), _Convolutions() as found:
        net(**given)
    one, most = found.work.most_common(1)[0]
    return one, most / found.work.total()


def alone(one: Convolution, dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], Tensor], int]:
    """A function that computes this convolution in the channels_last layout, and its multiply-accumulates."""
    layout = torch.channels_last
    x = torch.rand(one.input, dtype=dtype, device=device).contiguous(memory_format=layout)
    weight = torch.rand(one.weight, dtype=dtype, device=device).contiguous(memory_format=layout)
    convolve = torch.nn.functional.conv_transpose2d if one.transposed else torch.nn.functional.conv2d

    def run() -> Tensor:
        with torch.no_grad():
            return convolve(x, weight, stride=one.stride, padding=one.padding)

    return run, work(one, tuple(run().shape))
