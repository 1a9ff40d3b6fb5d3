"""Networks on arrays: NumPy (H,W,C) in and out, for any number of channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from unfold.errors import UnfoldError
from unfold.models.check_call import weights_kind
from unfold.models.sizes_taken import explaining_sizes
from unfold.models.unfolding import UnfoldingNetwork
from unfold.user_files import their_errors
from unfold.util.arrays import Array, Named
from unfold.util.value_checks import unchecked

Image = Array
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
Method = Callable[[Named], Image]  # the inputs of a measurement -> the restored image (H,W,C), not clamped


def unwrapped(net: nn.Module) -> UnfoldingNetwork:
    """The network inside torch's wrappers; one from torch.compile stays, as it runs compiled. UnfoldError if there
    is no network.
    """
    inner: Any = net
    while True:
        compiled = vars(inner).get("_modules", {}).get("_orig_mod") if isinstance(inner, nn.Module) else None
        if isinstance(inner, UnfoldingNetwork) or isinstance(compiled, UnfoldingNetwork):
            return inner
        if compiled is None and not isinstance(inner, WRAPPERS):
            raise UnfoldError(
                f"{type(inner).__name__} is no network of unfold: unfold.load_model and unfold.create_model make one"
            )
        inner = inner.module if compiled is None else compiled


def tensors(inputs: Mapping[str, object], device: torch.device) -> Named:
    """Arrays as tensors: images (1,C,H,W), kernels (1,1,kh,kw); numbers unchanged."""

    def tensor(name: str, value: object) -> object:
        if not isinstance(value, np.ndarray):
            return value
        if value.ndim < 2 and value.size == 1:
            return value.item()
        if value.ndim not in (2, 3):
            raise UnfoldError(
                f"{name} is an array of shape {value.shape}, and networks take (H,W,C), kernels (kh,kw) and numbers"
            )
        planes = value[None] if value.ndim == 2 else value.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(planes))[None].to(device)

    return {name: tensor(name, value) for name, value in inputs.items()}


def as_tensors(inputs: Mapping[str, object], net: UnfoldingNetwork, device: torch.device) -> Named:
    """The inputs that the network takes, as tensors; images in the type of its weights."""
    given = tensors({name: inputs[name] for name in (*net.inputs, *net.of_whole) if name in inputs}, device)
    if (kind := weights_kind(net)) != torch.float32:
        large = [name for name in given if name in net.of_whole or net.inputs[name].kind == "image"]
        given |= {name: given[name].to(kind) for name in large}
    return given


def network(net: UnfoldingNetwork, device: torch.device, stages: int | None = None) -> Method:
    """The network as a function on arrays. stages: stop after so many, None: all.

    A network of one channel restores each channel of a picture separately, and a grey picture of equal channels once.
    Other numbers of channels must match: the network raises ValueError.
    """

    @torch.inference_mode()
    def restore(inputs: Named) -> Image:
        given = as_tensors(inputs, net, device)
        with explaining_sizes(net, given.get(net.picture)), their_errors(type(net).__name__), unchecked():
            x = net(**given) if stages is None else next(islice(net.iterate(**given), stages - 1, None))
        return x[0].permute(1, 2, 0).float().cpu().numpy()

    return channelwise(restore, net)


def channelwise(method: Method, net: UnfoldingNetwork) -> Method:
    """For a network of one channel, the method for any number of channels; for other networks unchanged."""
    if net.channels != 1:
        return method

    def each(inputs: Named) -> Image:
        picture = inputs[net.picture]
        count = picture.shape[2]
        if count == 1:
            return method(inputs)
        equal = all((picture[..., c] == picture[..., 0]).all() for c in range(1, count))
        results = [method({**inputs, net.picture: picture[..., c : c + 1]}) for c in range(1 if equal else count)]
        return np.concatenate(results * count if equal else results, axis=2)

    return each
