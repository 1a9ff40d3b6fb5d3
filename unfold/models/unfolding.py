"""The loop of every network: x = begin(y), then K times data step and prior step."""

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
from unfold.facts import Border, Input, Measurement, Preset, Tiling, image
from unfold.models.check_call import check_given
from unfold.user_files import line_of
from unfold.util.arrays import Named
from unfold.util.value_checks import checking


def check_image(y: Tensor, channels: int, what: str = "y") -> None:
    """ValueError unless ``y`` is a tensor of floats of shape (B,channels,H,W) with B >= 1."""
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
    """The number of image channels; ValueError where it is invalid."""
    if channels < 1:
        raise ValueError(f"channels is the number of image channels, at least 1, not {channels}")
    return channels


def of_data_parallel(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with DataParallel's prefix on every name."""
    return {f"module.{key}": value for key, value in state.items()}


class State(NamedTuple):
    """The loop's state after a stage: the estimate, the context of all stages, and the stage's extras."""

    x: Tensor
    context: Any
    extras: Mapping[str, Tensor] = MappingProxyType({})


class Output(NamedTuple):
    """The output of a run. stages: the estimate after each stage, first to last; extras: further outputs of the stages
    by name, first stage first.
    """

    stages: list[Tensor]
    extras: dict[str, list[Tensor]]


class UnfoldingNetwork(nn.Module, ABC):
    """An iterative restoration algorithm with learned steps.

    A network defines its initial estimate (:meth:`begin`) and one stage (:meth:`stage`). The loop, the list of stages
    and activation checkpointing are implemented here, once. Everything that other code must know about a network is an
    attribute below, or :attr:`inputs`; each has a safe default.

    stages: number of stages K. With tied weights (``tied``) it may be set at any time, as in ``net.stages = 9``; a
        network that trains with another number documents it.
    checkpoint_stages: keep only each stage's output in training and recompute its inside in the backward pass: memory
        of about one stage instead of K, for one more forward pass. Gradients are the same.
    checks_inputs: check inputs and raise UnfoldError for what no such network takes, including values beyond [-2,3].
        ``create_model`` and ``load_model`` switch it on; training, protocols and benchmarks build networks without it.
        On a GPU, values are checked only in eval mode, where the host then waits once.
    """

    checkpoint_stages: bool = False
    checks_inputs: bool = False
    takes_half: bool = True  # whether its weights may be float16 or bfloat16; False where parts compute in float32
    tied: bool = False  # one set of weights serves any number of stages
    fewest_stages: int = 1
    channels: int = 3  # of the images that it restores
    size_multiple: int = 1  # images are padded to multiples of it inside
    min_size: int = 1  # smallest height and width of an input
    presets: ClassVar[Mapping[str, Preset]] = MappingProxyType({})  # published networks of this class, by name
    tiling: Tiling = Tiling()
    of_whole: tuple[str, ...] = ()  # arguments of begin that tiles of a picture share, see survey()
    # Boundary condition of the data step: "circular", "zero", or "any" where it does not matter.
    border: Border = "any"
    output: str = "(B,C,H,W), not clamped"  # for display
    bf16: str = "what the layers do under autocast"  # for display: what stays in float32
    measurement: Measurement | None = None  # what it takes instead of the picture; files of it can be restored
    trained_on: str = "gaussian"  # the degradation whose samples `unfold bench --mode data` makes
    measures: bool = False  # whether it takes a clean picture and measures it itself
    # Options that name files which weights need and do not contain, such as a matrix: option -> meaning. A checkpoint
    # has their SHA-256, and never a path that is opened.
    files: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # Options that change results and that recognise() may leave out: a default is assumed and logged.
    not_in_shapes: ClassVar[tuple[str, ...]] = ("stages",)
    hands_out: bool = False  # whether the run uses a stage's extras; if not, they may be omitted
    not_for_pictures: str = ""  # why the command line cannot restore pictures with it; "" if it can
    unused_keys: str = ""  # regular expression of unused parameters that published files contain
    foreign_keys: str = ""  # of unused parameters in some published files that this network lacks
    meanings: Mapping[str, str] = MappingProxyType({})  # meanings of "residual" and of each number

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The constructor arguments from the names and shapes of a state dict; None for another network's.

        Arguments that shapes do not show are left out. A state dict with a name that only this network has, but
        otherwise other names or shapes, may raise KeyError, IndexError, ValueError or ZeroDivisionError: then it fits
        no network. By default nothing is recognised.
        """
        return None

    @classmethod
    def file_wanted(cls, given: Mapping[str, Any]) -> str:
        """The file that the weights need and the options do not name, with how to give it; "" for none."""
        return ""

    @staticmethod
    def official_layout(state: Mapping[str, Tensor]) -> Mapping[str, object]:
        """The layout that the published code loads, from facts about it (it was not run).

        By default the bare state dict.
        """
        return dict(state)

    def __init__(self, stages: int) -> None:
        super().__init__()
        self._stages = stages
        self.stages = stages

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The inputs of ``net(...)`` by name, the picture first: see :mod:`unfold.facts`."""
        return {"y": image(self.channels)}

    @property
    def picture(self) -> str:
        """The name of the input that is the degraded picture."""
        return next(iter(self.inputs))

    @property
    def measured_channels(self) -> int:
        """Channels of its input picture, which may differ from those of its result (a mosaic of one channel)."""
        return self.inputs[self.picture].channels or self.channels

    @property
    def required(self) -> list[str]:
        """The required inputs: all without a default in :meth:`begin`."""
        known, own = inspect.signature(self._begins_with()).parameters, self.inputs
        optional = {n for n in own if n in known and known[n].default is not inspect.Parameter.empty}
        return [name for name in own if name == self.picture or name not in optional]

    def _begins_with(self) -> Callable[..., Any]:
        """The function whose defaults make inputs optional."""
        return self.begin

    def example(self, height: int, width: int, batch: int = 1, kernels: int = 1, side: int = 25) -> Named:
        """Example inputs of zeros for a batch of measurements of that size, and ``kernels`` identity kernels of side x
        side pixels: a 1 in the centre."""
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
        """The maximum number of stages of the next run."""
        return self.stages

    def finished(self, memory: Any) -> bool:
        """Whether the run ends after the current stage, judged by its memory."""
        return False

    def fix_stages(self) -> None:
        """Run exactly ``stages`` stages, without an own stopping rule. By default there is none."""

    @abstractmethod
    def begin(self, *args: Any, **inputs: Any) -> tuple[Tensor, Any]:
        """Return x_0 and the context that all stages share (the measurement, a prepared operator)."""

    @abstractmethod
    def stage(
        self, k: int, x: Tensor, memory: Any, context: Any
    ) -> tuple[Tensor, Any] | tuple[Tensor, Any, dict[str, Tensor]]:
        """One data step and one prior step: x_k -> x_{k+1}, for k = 0..K-1. ``memory`` is None in the first stage.

        Returns (x, memory), or (x, memory, extras): further tensors by name, for losses and traces. Expensive ones may
        be omitted where ``hands_out`` is False, as they are not used then.
        """

    def finish(self, x: Tensor, context: Any) -> Tensor:
        """Turn the loop's estimate into the returned image (for example, undo padding)."""
        return x

    def survey(self, y: Tensor) -> dict[str, Tensor]:
        """What tiles of a picture y (B,C,H,W) share, so that they fit together: images (B,c,h,w) by the names of
        ``of_whole``. They are resized to y, as resized to ``size_multiple``, and cut like it for each tile's ``begin``.

        Called without gradients, and only where a picture is restored in several tiles. By default nothing.
        """
        return {}

    def residual(self, k: int, x: Tensor, context: Any) -> Tensor | None:
        """A x - y for the input of stage k = 0..K (k = K: the result), with the size of y; None if A is unknown."""
        return None

    def numbers(self, k: int, context: Any) -> dict[str, Tensor]:
        """The scalars of stage k = 0..K-1 by their names in the paper, for one sample or (B,1,1,1)."""
        return {}

    def states(self, *args: Any, **inputs: Any) -> Iterator[State]:
        """Yield x_0, x_1, ... before ``finish``, each with the context; only one stage is held at a time."""
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
                # Stages draw no random numbers, so the random state need not be restored for the second pass.
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
        """A stage's checked result; UnfoldError with the method's line where it is invalid."""
        self.hands_out = hands_out  # set here, so that it also holds when a checkpointed stage is recomputed
        result = self.stage(k, x, memory, context)
        wrong = ""
        if not isinstance(result, tuple) or len(result) not in (2, 3):
            kind = "Tensor" if isinstance(result, Tensor) else type(result).__name__
            kind = f"tuple of {len(result)}" if isinstance(result, tuple) else kind
            wrong = f"returns a {kind}, and (x, memory) or (x, memory, extras) is wanted"
        elif not isinstance(result[0], Tensor):
            wrong = f"returns a {type(result[0]).__name__} as the estimate, and a tensor is wanted"
        elif result[0].shape != x.shape:
            wrong = f"makes an estimate of shape {tuple(result[0].shape)} from one of {tuple(x.shape)}: it has to stay"
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
        """All finished estimates, and all extras of the stages."""
        output = Output([], {})
        for state in islice(self.states(*args, **inputs), 1, None):
            output.stages.append(self.finish(state.x, state.context))
            for name, value in state.extras.items():
                output.extras.setdefault(name, []).append(value)
        return output

    def forward(
        self, *args: Any, return_stages: bool = False, return_output: bool = False, **inputs: Any
    ) -> Tensor | list[Tensor] | Output:
        """Restore: returns the last estimate, or with ``return_stages`` the list of all, first stage first; with
        ``return_output`` the whole :class:`Output`, see :meth:`run`.
        """
        if return_output:
            return self.run(*args, **inputs)
        if return_stages:
            return list(self.iterate(*args, **inputs))
        for x in self.iterate(*args, **inputs):  # noqa: B007  (only the last estimate is wanted)
            pass
        return x
