"""Keep a computation in float32 or better, regardless of autocast and inputs.

On CUDA, convolutions in float32 may still use TF32, which is torch's default (torch.backends.cudnn.allow_tf32). Fourier
transforms and, by default, matrix products do not.
"""

from __future__ import annotations

import contextlib
from typing import Literal

import torch
from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.util.device import WHOLE, can

Precision = Literal["float32", "bf16"]


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context without autocast, for computations that need full precision."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()  # meta tensors have no autocast


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32; float32 and float64 are unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def apply_in_full_precision(module: nn.Module, x: Tensor) -> Tensor:
    """``module(x)`` without autocast: for the last layers, whose output is the image or is added to it."""
    with full_precision(x.device):
        return module(at_least_float32(x))


def autocast_for(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """The context that a network runs in; UnfoldError for an unknown precision.

    Falls back to float32 on a device without bfloat16, logged once.
    """
    if precision not in ("float32", "bf16"):
        raise UnfoldError(f"precision is float32 or bf16, not {precision!r}")
    half = precision == "bf16" and can(device, "bfloat16")
    if not half and device.type not in WHOLE:
        return full_precision(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=half)
