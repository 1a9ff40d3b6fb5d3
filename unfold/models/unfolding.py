"""The loop that every network of this package is: x = begin(y), then K times data step and prior step."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unfold.errors import UnfoldError
from unfold.facts import Border, Input, Preset, Tiling, image
from unfold.models.check_call import check_given
from unfold.user_files import line_of
from unfold.util.arrays import Named
from unfold.util.value_checks import checking


def check_image(y: Tensor, channels: int, what: str = "y") -> None:
    """ValueError for anything but floats of shape (B,channels,H,W), at least one of them."""
    if y.ndim != 4 or y.shape[1] != channels:
        hint = ""
        if y.ndim == 3 and y.shape[0] == channels:
            hint = f": {what}[None] is a batch of one"
        elif y.ndim in (3, 4) and y.shape[-1] == channels:
            hint = f": channels come first, {what}." + (
                "permute(2, 0, 1)[None]" if y.ndim == 3 else "permute(0, 3, 1, 2)"
            )
        raise ValueError(f"{what} must have shape (B, {channels}, H, W), not {tuple(y.shape)}{hint}")
    if not y.is_floating_point():
        raise ValueError(f"{what} must hold floats in [0,1], not {str(y.dtype).removeprefix('torch.')}: divide by 255")
    if not y.numel():
        raise ValueError(f"{what} is empty: its shape is {tuple(y.shape)}")


def check_channels(channels: int) -> int:
    """The number of image channels; ValueError where it is none."""
    if channels < 1:
        raise ValueError(f"channels is the number of image channels, at least 1, not {channels}")
    return channels


def of_data_parallel(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as torch's DataParallel saves it, with its prefix on every name."""
    return {f"module.{key}": value for key, value in state.items()}


class State(NamedTuple):
    """What the loop has after a stage: the estimate, what all stages share, and what else the stage handed out."""

    x: Tensor
    context: Any
    extras: Mapping[str, Tensor] = MappingProxyType({})


class Output(NamedTuple):
    """All of a run. stages: the estimate after each stage, first to last; extras: what stages handed out beside it, by
    name, first stage first.
    """

    stages: list[Tensor]
    extras: dict[str, list[Tensor]]


class UnfoldingNetwork(nn.Module, ABC):
    """An iterative restoration algorithm with learned steps.

    A network says how an estimate begins (:meth:`begin`) and what one stage does (:meth:`stage`); the loop, the list of
    stages and activation checkpointing live here, once. All that other code has to know of a network it says itself,
    by the attributes below and by :attr:`inputs`; each has a default that is safe.

    stages: number of stages K. Where the weights are tied (``tied``), it may be set anew at any time, as in
        ``net.stages = 9``; what trains with another number says so.
    checkpoint_stages: keep only each stage's output in training and compute its inside again in the backward pass:
        memory of about one stage instead of K, for one more forward pass. Gradients are the same.
    checks_inputs: look at what a run is given and raise UnfoldError for what no such network takes, values beyond
        [-2,3] among them. ``create_model`` and ``load_model`` switch it on; training, protocols and what measures
        speed build networks without it. On a GPU, numbers are looked at in eval mode alone, where that makes the host
        wait once.
    """

    checkpoint_stages: bool = False
    checks_inputs: bool = False
    takes_half: bool = True  # whether its weights may be float16 or bfloat16; not where parts compute in float32
    tied: bool = False  # one set of weights serves any number of stages
    fewest_stages: int = 1
    channels: int = 3  # of the images that it restores
    size_multiple: int = 1  # what images are padded to inside
    min_size: int = 1  # smallest height and width of an input
    presets: ClassVar[Mapping[str, Preset]] = MappingProxyType({})  # published networks of this class, by name
    tiling: Tiling = Tiling()
    # What a data step takes to be beyond the border: "circular", the other side; "zero"; "any", nothing that matters.
    border: Border = "any"
    output: str = "(B,C,H,W), not clamped"  # for people
    bf16: str = "what the layers do under autocast"  # for people: what stays in float32
    other_inputs: Mapping[str, str] = MappingProxyType({})  # for people: in place of those of ``inputs``
    trained_on: str = "gaussian"  # the degradation whose samples `unfold bench --mode data` makes
    measures: bool = False  # whether the picture that it takes is a clean one, which it measures itself
    # Options that name files which weights need and do not hold, such as a matrix: option -> what it is. A checkpoint
    # has their SHA-256 and never a path that is opened.
    files: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # Options that change results and that recognise() may leave out: a default is assumed, and said.
    not_in_shapes: ClassVar[tuple[str, ...]] = ("stages",)
    hands_out: bool = False  # whether the run that asks a stage looks at its extras, which may be spared where not
    not_for_pictures: str = ""  # why the command line cannot restore pictures with it; "" where it can
    unused_keys: str = ""  # regular expression of the parameters that no computation uses; published files hold them
    foreign_keys: str = ""  # of unused parameters that some published files hold and this network has not
    meanings: Mapping[str, str] = MappingProxyType({})  # of "residual" and of each of the numbers, in words

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The constructor arguments that the names and shapes of a state dict show; None where another network's.

        What no shape shows is left out. A state dict that has a name which only this network has, and otherwise other
        names or shapes, may raise KeyError, IndexError, ValueError or ZeroDivisionError: it is of no network at all.
        By default nothing is recognised.
        """
        return None

    @classmethod
    def file_wanted(cls, given: Mapping[str, Any]) -> str:
        """Which file weights cannot do without, and how to give it, where the options do not name it; else ""."""
        return ""

    @staticmethod
    def official_layout(state: Mapping[str, Tensor]) -> Mapping[str, object]:
        """What the published code of the network loads, at least as the facts on it say (none was run).

        By default the state dict, bare.
        """
        return dict(state)

    def __init__(self, stages: int) -> None:
        super().__init__()
        self._stages = stages
        self.stages = stages

    @property
    def inputs(self) -> Mapping[str, Input]:
        """What ``net(...)`` takes, by name, the picture first: see :mod:`unfold.facts`."""
        return {"y": image(self.channels)}

    @property
    def picture(self) -> str:
        """The name of the input that is the picture to be restored."""
        return next(iter(self.inputs))

    @property
    def measured_channels(self) -> int:
        """Of the picture that it takes, which may be others than those of its result (a mosaic of one channel)."""
        return self.inputs[self.picture].channels or self.channels

    @property
    def required(self) -> list[str]:
        """The inputs that have to be given: all but those for which :meth:`begin` has a default."""
        known, own = inspect.signature(self._begins_with()).parameters, self.inputs
        optional = {n for n in own if n in known and known[n].default is not inspect.Parameter.empty}
        return [name for name in own if name == self.picture or name not in optional]

    def _begins_with(self) -> Callable[..., Any]:
        """What has a default for the inputs that need not be given."""
        return self.begin

    def example(self, height: int, width: int, batch: int = 1, kernels: int = 1, side: int = 25) -> Named:
        """Inputs of zeros for a batch of measurements of that size, and ``kernels`` kernels of side x side pixels that
        blur nothing: a 1 in the centre."""
        values: Named = {"whole": 1, "level": 0.0, "number": 0.0}
        made: dict[str, Any] = {}
        for name, one in self.inputs.items():
            if one.kind == "image":
                made[name] = torch.zeros(batch, one.channels, height, width)
            elif one.kind == "kernel":
                made[name] = torch.zeros(kernels, 1, side, side)
                made[name][..., side // 2, side // 2] = 1
            else:
                made[name] = values[one.kind]
        return made

    @property
    def stages(self) -> int:
        return self._stages

    @stages.setter
    def stages(self, stages: int) -> None:
        name = type(self).__name__
        if stages < self.fewest_stages:
            raise ValueError(f"stages of {name} must be at least {self.fewest_stages}, not {stages}")
        if not self.tied and stages != self._stages:
            raise ValueError(f"{name} has weights for {self._stages} stages; their number is set when it is built")
        self._stages = stages

    def count(self) -> int:
        """How many stages the next run has at most."""
        return self.stages

    def finished(self, memory: Any) -> bool:
        """Whether a run may end before its last stage, judged by what the present one hands on."""
        return False

    def fix_stages(self) -> None:
        """Run exactly ``stages`` stages, without a rule of its own that ends earlier. By default there is none."""

    @abstractmethod
    def begin(self, *args: Any, **inputs: Any) -> tuple[Tensor, Any]:
        """Return x_0 and the context: whatever all stages share (the measurement, a prepared operator)."""

    @abstractmethod
    def stage(
        self, k: int, x: Tensor, memory: Any, context: Any
    ) -> tuple[Tensor, Any] | tuple[Tensor, Any, dict[str, Tensor]]:
        """One data step and one prior step: x_k -> x_{k+1}, for k = 0..K-1. ``memory`` is None in the first stage.

        Returns (x, memory), or (x, memory, extras): further tensors by name, for losses and traces. Those that cost
        much may be left out where ``hands_out`` is false: nobody looks at them.
        """

    def finish(self, x: Tensor, context: Any) -> Tensor:
        """Turn the loop's estimate into the image that the caller gets (undo padding, for example)."""
        return x

    def residual(self, k: int, x: Tensor, context: Any) -> Tensor | None:
        """A x - y of what stage k = 0..K takes (for k = K: of the result), as large as y; None where A is not known."""
        return None

    def numbers(self, k: int, context: Any) -> dict[str, Tensor]:
        """The scalars of stage k = 0..K-1 by the names of the paper, of one sample or (B,1,1,1)."""
        return {}

    def states(self, *args: Any, **inputs: Any) -> Iterator[State]:
        """Yield x_0, x_1, ... as stages take them, each with the context, holding no more than one stage at a time."""
        return self._states(args, inputs, hands_out=True)

    def _states(self, args: tuple[Any, ...], inputs: dict[str, Any], *, hands_out: bool) -> Iterator[State]:
        if self.checks_inputs and not torch.compiler.is_compiling() and checking():
            args, inputs, judge = check_given(self, args, inputs)
            begun = self.begin(*args, **inputs)
            judge()
        else:
            begun = self.begin(*args, **inputs)
        if not (isinstance(begun, tuple) and len(begun) == 2 and isinstance(begun[0], Tensor)):
            kind = f"tuple of {len(begun)}" if isinstance(begun, tuple) else type(begun).__name__
            raise UnfoldError(
                f"{line_of(type(self).begin)}: begin of {type(self).__name__} returns a {kind}, and (x_0, context) is "
                "wanted, x_0 a tensor"
            )
        x, context = begun
        yield State(x, context)
        memory = None
        for k in range(self.count()):
            if self.checkpoint_stages and torch.is_grad_enabled():
                # Stages draw no random numbers, so the generator's state need not be kept for the second pass.
                x, memory, extras = checkpoint(
                    self._checked_stage, k, x, memory, context, hands_out, use_reentrant=False, preserve_rng_state=False
                )
            else:
                x, memory, extras = self._checked_stage(k, x, memory, context, hands_out)
            yield State(x, context, extras)
            if self.finished(memory):
                return

    def _checked_stage(
        self, k: int, x: Tensor, memory: Any, context: Any, hands_out: bool
    ) -> tuple[Tensor, Any, dict[str, Tensor]]:
        """A stage's result; UnfoldError that names the method's line where it is none."""
        self.hands_out = hands_out  # here: when a checkpointed stage is computed again, too
        result = self.stage(k, x, memory, context)
        wrong = ""
        if not isinstance(result, tuple) or len(result) not in (2, 3):
            kind = f"tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
            wrong = f"returns a {kind}, and (x, memory) or (x, memory, extras) is wanted"
        elif not isinstance(result[0], Tensor):
            wrong = f"returns a {type(result[0]).__name__} as the estimate, and a tensor is wanted"
        elif result[0].shape != x.shape:
            wrong = f"makes an estimate of shape {tuple(result[0].shape)} of one of {tuple(x.shape)}: it has to stay"
        elif len(result) == 3 and not (
            isinstance(result[2], dict) and all(isinstance(value, Tensor) for value in result[2].values())
        ):
            wrong = "returns extras that are no dict of tensors by name"
        if wrong:
            raise UnfoldError(f"{line_of(type(self).stage)}: stage {k} of {type(self).__name__} {wrong}")
        return result if len(result) == 3 else (*result, {})

    def iterate(self, *args: Any, **inputs: Any) -> Iterator[Tensor]:
        """Yield the estimate after each stage, finished, first stage first."""
        for state in islice(self._states(args, inputs, hands_out=False), 1, None):
            yield self.finish(state.x, state.context)

    def run(self, *args: Any, **inputs: Any) -> Output:
        """All estimates, finished, and all that stages handed out beside them."""
        output = Output([], {})
        for state in islice(self.states(*args, **inputs), 1, None):
            output.stages.append(self.finish(state.x, state.context))
            for name, value in state.extras.items():
                output.extras.setdefault(name, []).append(value)
        return output

    def forward(
        self, *args: Any, return_stages: bool = False, return_output: bool = False, **inputs: Any
    ) -> Tensor | list[Tensor] | Output:
        """Restore: the last estimate, or with ``return_stages`` the list of all, first stage first; with
        ``return_output`` all of the run, as :meth:`run` gives it.
        """
        if return_output:
            return self.run(*args, **inputs)
        if return_stages:
            return list(self.iterate(*args, **inputs))
        for x in self.iterate(*args, **inputs):  # noqa: B007  (only the last estimate is wanted)
            pass
        return x
