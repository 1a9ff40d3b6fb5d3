"""One step of the optimiser: forward, loss, backward, and the skipping of steps that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from unfold.errors import UnfoldError
from unfold.metrics import psnr
from unfold.models.unfolding import Output, UnfoldingNetwork
from unfold.user_files import line_of, their_errors
from unfold.util.arrays import Named
from unfold.util.device import doubled
from unfold.util.precision import autocast_for
from unfold.util.value_checks import unchecked

Loss = Callable[[Output, Mapping[str, object]], Tensor]
SUMS = ("loss", "psnr", "gradient", "patches", "steps", "skipped")  # the sums that a step returns


@dataclass
class Update:
    """Trains a network on batches.

    net: the network; model: the network, or what wraps it for several processes; loss: (output, batch) -> scalar;
    accumulate: a batch is computed in so many parts, one after the other, and is still one step; clip: largest norm of
    the gradient, 0 for none; ema: decay of the weights' moving average, 0 for none, smaller in the first steps (see
    :meth:`decay`); autocast: run in bfloat16.

    mixture: names of the parts that samples belong to, where the batch says it ("part", (B,) numbers); a step then
    returns three more sums for each part, in their order: loss, PSNR and samples.

    A step whose gradient is not finite changes neither weights nor optimiser. This is decided on the device, so that
    the host does not wait. names: what a step returns: SUMS and the additions of subclasses, before the sums of parts.
    """

    names: ClassVar[tuple[str, ...]] = SUMS

    net: UnfoldingNetwork
    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    accumulate: int = 1
    clip: float = 0.0
    ema: float = 0.0
    autocast: bool = False
    mixture: tuple[str, ...] = ()
    average: dict[str, Tensor] = field(default_factory=dict)
    averaged: int = 0  # steps in the average
    bad_in_a_row: Tensor = field(default_factory=lambda: torch.zeros(()))

    def __post_init__(self) -> None:
        self.trained = [p for p in self.net.parameters() if p.requires_grad]
        self.bad_in_a_row = self.bad_in_a_row.to(self.trained[0].device)
        self._now = self.net.state_dict()
        self._inputs = tuple(self.net.inputs)
        self._skips = any(group.get("fused") for group in self.optimizer.param_groups)
        if self.ema:
            own = self.net.state_dict(keep_vars=True)  # shared ones appear under several names
            copies = {id(value): value.detach().clone() for value in own.values()}
            self.average = {name: copies[id(value)] for name, value in own.items()}

    @unchecked()  # checking values would make the host wait for a GPU
    def __call__(self, batch: Named, share: float = 1.0) -> Tensor:
        """Train on a batch {"target": (B,C,H,W), **inputs and what losses need}; returns ``names``, on the device.

        share: weight of this batch against the mean over processes, where their parts differ in size; 0 for a process
        that has no part of its own and only takes part in the exchange.
        """
        self.optimizer.zero_grad(set_to_none=True)
        patches = len(batch["target"])
        found = [self._part(part, patches, share, last) for part, last in parts(batch, self.accumulate)]
        added = torch.stack(found).sum(0)
        loss, quality, *others = added[: added.numel() - 3 * len(self.mixture)]
        norm = self._apply()
        fine = norm.isfinite()
        self.bad_in_a_row = torch.where(fine, 0, self.bad_in_a_row + 1)
        one = torch.ones_like(norm)
        patches = patches if share else 0
        sums = [patches * loss, patches * quality, norm, patches * one, one, 0 * one]
        sums += [patches * value for value in others]
        sums += [value if share else 0 * value for value in added[added.numel() - 3 * len(self.mixture) :]]
        whole = doubled(torch.stack(sums))
        skipped = whole.new_tensor([i == SUMS.index("skipped") for i in range(len(sums))])
        return torch.where(fine.to(whole.device), whole, skipped)

    def _part(self, part: Named, patches: int, share: float, last: bool) -> Tensor:
        """Add a part's gradient; returns its share of the batch's loss, PSNR and further losses."""
        target = part["target"]
        given = {name: part[name] for name in self._inputs if name in part}
        several = isinstance(self.model, DistributedDataParallel)
        with nullcontext() if last or not several else cast("DistributedDataParallel", self.model).no_sync():
            with (
                autocast_for(target.device, "bf16" if self.autocast else "float32"),
                their_errors("a training step"),
            ):
                output = self.model(**given, return_output=True)
            if not isinstance(output, Output):
                raise UnfoldError(
                    f"{line_of(type(self.net).forward)}: forward of {type(self.net).__name__} returns a "
                    f"{type(output).__name__} with return_output=True, and an Output is wanted: leave it out"
                )
            if output.stages[-1].shape != target.shape:
                sizes = f"{tuple(output.stages[-1].shape)} of a target of {tuple(target.shape)}"
                raise UnfoldError(f"{type(self.net).__name__} makes a result of shape {sizes}: they have to be equal")
            with their_errors("the loss"):
                loss, *others = (value * (len(target) / patches) for value in self._losses(output, part))
                if several and output.extras:
                    loss = _Touched.apply(loss, *(value for values in output.extras.values() for value in values))
                backward(loss * share)
        # An exact patch counts as 100 dB: an infinite value would hide all others.
        quality = psnr(output.stages[-1].detach().clamp(0, 1), target).clamp(max=100).sum() / patches
        by_part = self._by_part(output, part) if self.mixture else []
        return torch.stack([loss.detach(), quality.to(loss), *others, *by_part])

    @torch.no_grad()
    def _by_part(self, output: Output, batch: Named) -> list[Tensor]:
        """For each part of the mixture: the sums of loss and PSNR, and the number of samples.

        A loss is a mean over a batch, so it is computed for each sample separately. No value is read from the device,
        so that the host does not wait.
        """
        target = batch["target"]
        sums = target.new_zeros(len(self.mixture), 3)
        if "part" in batch:
            count = len(target)
            losses = torch.stack([self.loss(*_sample(output, batch, i, count)) for i in range(count)]).to(sums)
            quality = psnr(output.stages[-1].detach().clamp(0, 1), target).clamp(max=100).to(sums)
            sums.index_add_(0, batch["part"], torch.stack([losses, quality, torch.ones_like(quality)], dim=1))
        return [*sums.flatten()]

    def _losses(self, output: Output, batch: Mapping[str, object]) -> tuple[Tensor, ...]:
        """The network's loss, and losses that are only logged, one for each name beyond SUMS."""
        return (self.loss(output, batch),)

    def _apply(self) -> Tensor:
        """Take the optimiser's step unless the gradient is not finite; returns the gradient's norm before clipping."""
        norm = self._norm()
        if self._skips:
            vars(self.optimizer)["found_inf"] = (~norm.isfinite()).float()  # fused optimisers read it
        if self._skips or bool(norm.isfinite()):  # other optimisers need a check on the host, which waits for the GPU
            self.optimizer.step()
        if self.average:
            pairs = {id(mean): (mean, self._now[name]) for name, mean in self.average.items()}.values()
            torch._foreach_lerp_([mean for mean, _ in pairs], [now for _, now in pairs], 1 - self.decay)
            self.averaged += 1
        return norm

    @property
    def decay(self) -> float:
        """Decay of the average at this step: (1+t)/(10+t) after t steps until that reaches ``ema``. Otherwise the
        average of a short run would stay at the initial weights.
        """
        return min(self.ema, (1 + self.averaged) / (10 + self.averaged))

    def _norm(self) -> Tensor:
        """The gradient's norm before clipping, which also happens here; not finite where the step must be skipped."""
        return clip_grad_norm_(self.trained, self.clip or torch.inf)

    def weights(self) -> dict[str, Tensor]:
        """The weights to use: the moving average where there is one."""
        return self.average or self.net.state_dict()

    def state(self) -> dict[str, object]:
        """What a checkpoint needs beside :meth:`weights`."""
        state = {"optimizer": self.optimizer.state_dict(), "bad_in_a_row": self.bad_in_a_row}
        return state | ({"trained": self.net.state_dict(), "averaged": self.averaged} if self.average else {})

    def resume(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Resume from :meth:`weights` and :meth:`state`."""
        self.net.load_state_dict(state.get("trained", weights))
        for name, value in self.average.items():
            value.copy_(weights[name])
        self.averaged = state.get("averaged", 0)
        self.optimizer.load_state_dict(state["optimizer"])
        self.bad_in_a_row = state["bad_in_a_row"].to(self.bad_in_a_row.device)


def _sample(output: Output, batch: Named, i: int, count: int) -> tuple[Output, Named]:
    """Sample i of a batch of ``count``, as a batch of one."""

    def cut(value: Any) -> Any:
        return value[i : i + 1] if isinstance(value, Tensor) and value.ndim and len(value) == count else value

    extras = {name: [cut(value) for value in values] for name, values in output.extras.items()}
    return Output([cut(stage) for stage in output.stages], extras), {name: cut(value) for name, value in batch.items()}


class _Touched(torch.autograd.Function):
    """The loss, plus a zero gradient for the extras that stages return besides the estimate.

    Distributed processes wait for the gradients of all parameters, also of extras that no loss uses.
    """

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *extras: Tensor) -> Tensor:
        ctx.save_for_backward(*extras)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (gradient, *(torch.zeros_like(extra) for extra in ctx.saved_tensors))


def backward(loss: Tensor) -> None:
    """Add the gradient. A loss that is not finite makes it so on all processes: they skip the step together."""
    (loss * torch.where(loss.isfinite(), 1.0, torch.nan)).backward()


def parts(batch: Named, count: int) -> Iterator[tuple[Named, bool]]:
    """Cut a batch into parts of nearly equal size, and say which is the last. Values that are not tensors are in all
    parts.
    """
    count = min(count, len(batch["target"]))
    pieces = {k: v.tensor_split(count) for k, v in batch.items() if isinstance(v, Tensor)}
    for i in range(count):
        yield {k: pieces[k][i] if k in pieces else v for k, v in batch.items()}, i == count - 1
