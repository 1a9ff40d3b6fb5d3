"""What can be run through a protocol: networks, and methods without weights to compare them with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork
from unfold.outside import their_errors
from unfold.physics.resize import imresize
from unfold.protocols.classical import non_local_means, total_variation
from unfold.protocols.protocol import Image, Method, Protocol
from unfold.steps.inverse_filter import inverse_filter

# Strengths that `unfold test` finds for sigma 25 on the photographs it tunes on.
TV_STRENGTH, NLM_STRENGTH = 0.8, 0.55
# Weight of the squared Laplacian over the noise variance: the best of 1 to 100 on blurred photographs of little noise.
LAPLACIAN = 50.0
LEAST_SIGMA = 0.5 / 255  # no data are better than their rounding to 8 bits


def tensors(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Arrays as networks take them: images (1,C,H,W), kernels (1,1,kh,kw); numbers as they are."""

    def tensor(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        planes = value[None] if value.ndim == 2 else value.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(planes))[None].to(device)

    return {name: tensor(value) for name, value in inputs.items()}


def as_tensors(inputs: Mapping[str, Any], net: UnfoldingNetwork, device: torch.device) -> dict[str, Any]:
    """Those of the inputs that the network takes, as tensors."""
    return tensors({name: inputs[name] for name in net.inputs if name in inputs}, device)


def network(net: UnfoldingNetwork, device: torch.device, stages: int | None = None) -> Method:
    """The network on arrays. stages: end after so many of its own, None: all.

    A network of one channel restores each channel of a picture by itself, and a grey one that comes as equal channels
    once. Other numbers of channels have to agree: the network raises ValueError.
    """

    @torch.inference_mode()
    def restore(inputs: dict[str, Any]) -> Image:
        given = as_tensors(inputs, net, device)
        with their_errors(type(net).__name__):
            x = net(**given) if stages is None else next(islice(net.iterate(**given), stages - 1, None))
        return x[0].permute(1, 2, 0).float().cpu().numpy()

    return channelwise(restore, net)


def channelwise(method: Method, net: UnfoldingNetwork) -> Method:
    """The method of a network of one channel, on pictures of any number; of other networks as it is."""
    if net.channels != 1:
        return method

    def each(inputs: dict[str, Any]) -> Image:
        picture = inputs[net.picture]
        count = picture.shape[2]
        if count == 1:
            return method(inputs)
        equal = all((picture[..., c] == picture[..., 0]).all() for c in range(1, count))
        results = [method({**inputs, net.picture: picture[..., c : c + 1]}) for c in range(1 if equal else count)]
        return np.concatenate(results * count if equal else results, axis=2)

    return each


def _identity(inputs: dict[str, Any]) -> Image:
    return inputs["y"]


def _bicubic(inputs: dict[str, Any]) -> Image:
    """MATLAB's, in register with the target where the small image's pixels are not the middles of blocks (offset)."""
    return imresize(inputs["y"], inputs["scale"], inputs.get("offset", 0))


def _wiener(inputs: dict[str, Any]) -> Image:
    """scikit-image's Wiener filter with a Laplacian prior, for a circular blur."""
    from skimage.restoration import wiener

    y = inputs["y"].astype(np.float64)
    balance = LAPLACIAN * max(inputs["sigma"], LEAST_SIGMA) ** 2
    return np.stack([wiener(y[..., c], inputs["kernel"], balance, clip=False) for c in range(y.shape[2])], axis=-1)


def _eq22(inputs: dict[str, Any]) -> Image:
    """NRL-GDN's initial estimate."""
    given = tensors({name: inputs[name] for name in ("y", "kernel")}, torch.device("cpu"))
    return inverse_filter(**given)[0].permute(1, 2, 0).numpy()


def _tv(inputs: dict[str, Any]) -> NDArray[np.float32]:
    return total_variation(inputs["y"], inputs["sigma"], TV_STRENGTH)


def _nlm(inputs: dict[str, Any]) -> NDArray[np.float32]:
    return non_local_means(inputs["y"], inputs["sigma"], NLM_STRENGTH)


class Baseline(NamedTuple):
    """A method without weights, and the inputs it needs of a protocol."""

    method: Method
    inputs: frozenset[str]


BASELINES = {
    "identity": Baseline(_identity, frozenset({"y"})),
    "bicubic": Baseline(_bicubic, frozenset({"y", "scale"})),
    "wiener": Baseline(_wiener, frozenset({"y", "kernel", "sigma"})),
    "eq22": Baseline(_eq22, frozenset({"y", "kernel"})),
    "tv": Baseline(_tv, frozenset({"y", "sigma"})),
    "nlm": Baseline(_nlm, frozenset({"y", "sigma"})),
}


def baseline(name: str, protocol: Protocol) -> Method:
    """The baseline of that name; UnfoldError where the protocol does not give what it needs."""
    method, needed = BASELINES[name]
    missing = sorted(needed - set(protocol.inputs))
    if missing:
        raise UnfoldError(f"{name} needs {', '.join(missing)}, which {protocol.name} does not give")
    return method
