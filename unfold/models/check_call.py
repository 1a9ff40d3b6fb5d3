"""Check the arguments of ``net(...)`` against the network's inputs before it runs.

``create_model`` and ``load_model`` switch this on (:attr:`unfold.models.unfolding.UnfoldingNetwork.checks_inputs`).
Types, shapes and values on the host are then always checked. Values on a GPU are not checked in training mode, where
the host must not wait for them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.facts import Input
from unfold.util.arrays import Array, Named
from unfold.util.value_checks import check_dense, found_range, in_range

if TYPE_CHECKING:
    from unfold.models.unfolding import UnfoldingNetwork

Judge = Callable[[float, float], None]
HALF = (torch.float16, torch.bfloat16)
SUM = 0.1  # tolerance of a kernel's sum against 1: values from files are rounded


def as_number(name: str, value: object) -> float:
    """A number, or an array or tensor of one number, as a Python float, NaN included. UnfoldError for anything else."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        size = value.numel() if isinstance(value, Tensor) else value.size
        if size != 1:
            raise UnfoldError(f"{name} is a number, not {size} of them, of shape {tuple(value.shape)}")
        value = value.item()
    if isinstance(value, np.floating):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnfoldError(f"{name} is a number, not {_shown(value)}")
    return value


def checked_number(name: str, one: Input, value: object) -> float:
    """The value of an input of kind whole, level or number. UnfoldError if it does not fit the kind."""
    if one.kind != "whole":
        value = as_number(name, value)
        if one.kind == "level":
            _judge_level(name, value, value)
        elif not math.isfinite(value):
            raise UnfoldError(f"{name} is a finite number, not {value}")
        elif one.least is not None and value < one.least:
            raise UnfoldError(f"{name} is a number of at least {one.least:g}, not {value:g}")
        return value
    try:
        value = as_number(name, value)
    except UnfoldError:
        value = _shown(value)
    if (
        isinstance(value, str)
        or not math.isfinite(value)
        or value != int(value)
        or (one.least is not None and value < one.least)
    ):
        raise UnfoldError(f"{name} must be a whole number of at least {one.least or 0:g}, not {value}")
    return int(value)


def check_precision(net: UnfoldingNetwork) -> None:
    """UnfoldError if a network with float32-only parts was converted to half precision."""
    kind = weights_kind(net)
    if kind in HALF and not net.takes_half:
        raise UnfoldError(
            f"the weights of {type(net).__name__} are in {_name(kind)}, and parts of it compute in float32 whatever "
            'they are given: bring them back by net.float() and use torch.autocast, in unfold.restore precision="bf16"'
        )


def weights_kind(net: UnfoldingNetwork) -> torch.dtype:
    """The floating-point type of a network's weights; float32 without weights."""
    return next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)


def check_given(
    net: UnfoldingNetwork, args: tuple[object, ...], inputs: Mapping[str, object]
) -> tuple[tuple[object, ...], dict[str, object], Callable[[], None]]:
    """The arguments of a call, in types that the network takes, and a function that judges their values, after the
    check of shapes. Both raise UnfoldError for what the network does not take.

    Lossless conversions are done: images of lower precision, numbers of NumPy.
    """
    parameters = inspect.signature(net.begin).parameters.values()
    names = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    given = {**dict(zip(names, args, strict=False)), **inputs}
    if len(args) > len(names) or len(given) < len(args) + len(inputs):
        return args, dict(inputs), lambda: None  # Python raises the error itself
    check = _Check(net, given)
    check.all()
    return tuple(given.pop(name) for name in names[: len(args)]), given, check.judge


class _Check:
    """The check of one call."""

    def __init__(self, net: UnfoldingNetwork, given: Named) -> None:
        self.net, self.given = net, given
        self.y: Tensor | None = None  # the picture, after its check
        self.values: list[tuple[Tensor, Judge]] = []  # smallest and largest values, and the functions that judge them
        self.planes: list[tuple[str, Callable[[str, Array], None], Tensor]] = []  # images with a check of their own

    def all(self) -> None:
        check_precision(self.net)
        kinds = {"image": self.image, "kernel": self.kernel, "level": self.level}
        for name, one in self.net.inputs.items():
            if name not in self.given or (self.given[name] is None and name not in self.net.required):
                continue
            if isinstance(self.given[name], Tensor):
                self.plain(name, self.given[name])
            check = kinds.get(one.kind, self.number)
            self.given[name] = check(name, one, self.given[name])

    def plain(self, name: str, value: Tensor) -> None:
        """UnfoldError for a tensor without numbers, or one that does not hold them one by one."""
        check_dense(name, value)
        weights = next(self.net.parameters(), None)
        if weights is not None and weights.is_meta != value.is_meta:
            which, remedy = (name, "give real ones") if value.is_meta else ("the network", "unfold.load_model has some")
            raise UnfoldError(f"{which} is on the device meta, where there are no numbers: {remedy}")

    def image(self, name: str, one: Input, value: object) -> Tensor:
        from unfold.models.unfolding import check_image

        array = f"torch.from_numpy({name}).permute(2, 0, 1)[None].float(), or restore a picture by unfold.restore"
        value = _tensor(name, f"(B, {one.channels}, H, W)", value, array)
        if name == self.net.picture:
            check_image(value, self.net.measured_channels, name)
            self.y = value = self.precise(name, value)
        else:
            value = self.precise(name, self.beside(name, one, value))
        self.look(value, lambda least, most: _judge_image(name, least, most))
        if one.check is not None and not value.requires_grad:  # one that is learned has other values on its way
            self.planes.append((name, one.check, value))
        return value

    def beside(self, name: str, one: Input, value: Tensor) -> Tensor:
        """An image input, of the size of the picture."""
        size = value.shape if self.y is None else self.y.shape
        fits = value.ndim == 4 and value.shape[0] in (1, size[0]) and value.shape[2:] == size[2:]
        if not fits or value.shape[1] not in (1, one.channels, size[1]):
            wanted = (size[0], one.channels, *size[2:])
            raise UnfoldError(f"{name} is as large as the picture, {wanted}, and this one is {tuple(value.shape)}")
        if value.dtype == torch.bool:
            return value.to(weights_kind(self.net))
        if not value.is_floating_point():
            raise UnfoldError(f"{name} must hold floats in [0,1], not {_name(value.dtype)}: give .float(), or / 255")
        return value

    def precise(self, name: str, value: Tensor) -> Tensor:
        """The image in the type of the network's weights, if the conversion is lossless."""
        weights = next((p for p in self.net.parameters() if p.is_floating_point()), None)
        if weights is None:
            return value
        if weights.device != value.device:
            there = weights.device
            raise UnfoldError(f"{name} is on {value.device} and the network on {there}: give {name}.to('{there}')")
        kind = weights.dtype
        cast = torch.is_autocast_enabled(value.device.type) if value.device.type != "meta" else False
        if cast and torch.float64 not in (value.dtype, kind):
            return value
        if torch.promote_types(value.dtype, kind) == kind:
            return value.to(kind)
        taken, given = (_METHODS.get(one, "float") for one in (kind, value.dtype))
        raise UnfoldError(
            f"{name} is {_name(value.dtype)} and the network {_name(kind)}: give {name}.{taken}(), or bring the "
            f"network to it by net.{given}()"
        )

    def kernel(self, name: str, one: Input, value: object) -> object:
        shape = f"({'B' if self.y is None else len(self.y)}, 1, kh, kw) or (1, 1, kh, kw)"
        if not isinstance(value, Tensor) and type(value).__module__.startswith("unfold."):
            return value  # a prepared kernel
        value = _tensor(name, shape, value, f"torch.from_numpy({name})[None, None].float()")
        if value.ndim != 4 or value.shape[1] != 1:
            raise UnfoldError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
        if self.y is not None and len(value) not in (1, len(self.y)):
            raise UnfoldError(
                f"{name} must have shape {shape}, not {tuple(value.shape)}: there are {len(value)} kernels for "
                f"{len(self.y)} samples"
            )
        if not value.numel():
            raise UnfoldError(f"{name} is empty: its shape is {tuple(value.shape)}")
        if value.is_complex():
            raise UnfoldError(f"{name} holds real numbers, not {_name(value.dtype)}")
        sums = value.detach().sum((-2, -1), dtype=torch.promote_types(value.dtype, torch.float32))
        self.look(sums, lambda least, most: _judge_kernel(name, least, most))
        return value

    def level(self, name: str, one: Input, value: object) -> object:
        batch = None if self.y is None else len(self.y)
        if isinstance(value, (list, tuple, np.ndarray)) and np.size(value) != 1:
            try:
                value = torch.as_tensor(
                    np.asarray(value, np.float64), dtype=torch.float32 if self.y is None else self.y.dtype
                )
            except (TypeError, ValueError):
                raise UnfoldError(f"{name} is a number, or one per sample, not {_shown(value)}") from None
        elif isinstance(value, (list, tuple)):
            value = np.asarray(value)
        if not isinstance(value, Tensor):
            return checked_number(name, one, value)
        if batch is not None and value.numel() not in (1, batch):
            raise UnfoldError(f"{name} is one number or one per sample, {batch}, not {value.numel()} of them")
        if value.is_complex() or value.dtype == torch.bool:
            raise UnfoldError(f"{name} is a number, or one per sample, not {_name(value.dtype)}")
        self.look(value, lambda least, most: _judge_level(name, least, most))
        return value

    def number(self, name: str, one: Input, value: object) -> object:
        return value if one.kind == "number" and isinstance(value, Tensor) else checked_number(name, one, value)

    def readable(self, value: Tensor) -> bool:
        if torch.jit.is_tracing() or value.is_meta:  # type: ignore[attr-defined, no-untyped-call]
            return False
        return value.device.type == "cpu" or not (self.net.training or _captured(value))

    def look(self, value: Tensor, judge: Judge) -> None:
        """Record the smallest and the largest value, where they may be read."""
        if not self.readable(value):
            return
        self.values.append((torch.stack(value.detach().aminmax()).float(), judge))

    def judge(self) -> None:
        """Read all recorded values, once per device, and judge them."""
        for device in dict.fromkeys(value.device for value, _ in self.values):
            here = [(value, judge) for value, judge in self.values if value.device == device]
            try:
                numbers = torch.stack([value for value, _ in here]).tolist()
            except RuntimeError:  # tensors without values, as in torch.func.vmap
                continue
            for (_, judge), (least, most) in zip(here, numbers, strict=True):
                judge(least, most)
        for name, check, value in self.planes:
            if not self.readable(value):
                continue
            try:
                planes = value.detach().flatten(0, 1).cpu().float().numpy()
            except RuntimeError:  # as above
                continue
            for plane in planes:
                check(name, plane)


_METHODS = {torch.float32: "float", torch.float64: "double", torch.float16: "half", torch.bfloat16: "bfloat16"}


def _judge_image(name: str, least: float, most: float) -> None:
    if not in_range(least, most):
        raise UnfoldError(
            f"{name} has {found_range(least, most)}, and networks take images in [0,1], which noise may bring to "
            "[-2,3]: divide by 255 what is in 0..255"
        )


def _judge_level(name: str, least: float, most: float) -> None:
    if not (least >= 0 and most <= 1):
        found = most if most > 1 or math.isnan(most) else least
        raise UnfoldError(f"{name} is a standard deviation in [0,1] units, not {found:g}: divide 255 units by 255")


def _judge_kernel(name: str, least: float, most: float) -> None:
    if not (least >= 1 - SUM and most <= 1 + SUM):
        found = least if most <= 1 + SUM else most
        raise UnfoldError(
            f"{name} has the sum {found:g}, and a kernel has the sum 1: divide it by its sum, "
            f"{name} / {name}.sum((-2, -1), keepdim=True)"
            + ("" if found > 0 else "; a sum that is not positive is no blur's")
        )


def _tensor(name: str, shape: str, value: object, array: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        raise UnfoldError(f"{name} is a NumPy array, and networks take tensors {shape}: give {array}")
    raise UnfoldError(f"{name} is a tensor of shape {shape}, not {_shown(value)}: unfold.restore takes other pictures")


def _captured(value: Tensor) -> bool:
    return value.is_cuda and torch.cuda.is_current_stream_capturing()


def _shown(value: object) -> str:
    """A short description of a value, for messages."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{_name(value.dtype)} of shape {tuple(value.shape)}"
    return repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"


def _name(kind: object) -> str:
    return str(kind).removeprefix("torch.")
