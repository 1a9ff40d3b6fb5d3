"""Which floating-point types a network computes its physics and its images in."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unfold.models.dgunet_cs import DGUNetCS
from unfold.models.unfolding import UnfoldingNetwork
from unfold.steps.block_sampling import SampledBlocks
from unfold.steps.closed_form import PreparedKernel
from unfold.steps.fourier_sampling import SampledSpectrum
from unfold.steps.gradient import LearnedOperator

Seen = dict[str, set[torch.dtype]]


def watch_precision(net: UnfoldingNetwork, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Watch every operator of the data steps, and every layer whose output is an image: the types that are seen there
    from now on, those of the gradients of what comes out among them.
    """
    seen: Seen = {}

    def note(where: str, result: Any) -> None:
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, Tensor):
                seen.setdefault(where, set()).add(tensor.dtype)
                if tensor.requires_grad:
                    tensor.register_hook(lambda gradient: seen[where].add(gradient.dtype))

    def watch(where: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            result = function(*args, **named)
            tensors = [t for t in (*args, *named.values()) if isinstance(t, Tensor)]
            seen.setdefault(where, set()).update(t.dtype for t in tensors)
            note(where, result)
            return result

        return watched

    operators = ("nrl_gdn.blur", "nrl_gdn.blur_adjoint", "nrl_gdn.inverse_filter")
    for where in (f"unfold.models.{o}" for o in (*operators, "dgunet_cs.sample", "dgunet_cs.sample_adjoint")):
        monkeypatch.setattr(where, watch(where, resolve_name(where)))
    monkeypatch.setattr(PreparedKernel, "solve", watch("solve", PreparedKernel.solve))
    for place in (SampledBlocks, SampledSpectrum):
        monkeypatch.setattr(place, "descended", watch("descended", place.descended))
    last = resolve_name("unfold.priors.shrinkage._to_image")
    monkeypatch.setattr(
        "unfold.priors.shrinkage._to_image", lambda x, weight: (note("to_image", result := last(x, weight)), result)[1]
    )
    colours = 1 if isinstance(net, DGUNetCS) else 3
    learned = {
        layer for operator in net.modules() if isinstance(operator, LearnedOperator) for layer in operator.modules()
    }
    for key, layer in net.named_modules():
        is_convolution = isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        if is_convolution and layer.out_channels == colours and layer not in learned:
            layer.register_forward_hook(lambda module, args, result, key=key: note(key, result))
    return seen
