"""Baselines: methods without weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.evaluation.classical_methods import non_local_means, total_variation
from unfold.models.run_on_arrays import Image, Method, tensors
from unfold.physics.resize import imresize
from unfold.protocols.protocol import Protocol
from unfold.steps.inverse_filter import inverse_filter
from unfold.util.arrays import Named

# Strengths that `unfold test` finds for sigma 25 on the photographs it tunes on.
TV_STRENGTH, NLM_STRENGTH = 0.8, 0.55
# Weight of the squared Laplacian over the noise variance: the best of 1 to 100 on blurred photographs of little noise.
LAPLACIAN = 50.0
LEAST_SIGMA = 0.5 / 255  # rounding to 8 bits bounds the noise from below


def _identity(inputs: Named) -> Image:
    return inputs["y"]


def _bicubic(inputs: Named) -> Image:
    """MATLAB's bicubic, aligned with the target where small pixels are not the centres of blocks (offset)."""
    return imresize(inputs["y"], inputs["scale"], inputs.get("offset", 0))


def _wiener(inputs: Named) -> Image:
    """scikit-image's Wiener filter with a Laplacian prior, for a circular blur."""
    from skimage.restoration import wiener

    y = inputs["y"].astype(np.float64)
    balance = LAPLACIAN * max(inputs["sigma"], LEAST_SIGMA) ** 2
    return np.stack([wiener(y[..., c], inputs["kernel"], balance, clip=False) for c in range(y.shape[2])], axis=-1)


def _eq22(inputs: Named) -> Image:
    """NRL-GDN's initial estimate."""
    given = tensors({name: inputs[name] for name in ("y", "kernel")}, torch.device("cpu"))
    return inverse_filter(**given)[0].permute(1, 2, 0).numpy()


def _tv(inputs: Named) -> NDArray[np.float32]:
    return total_variation(inputs["y"], inputs["sigma"], TV_STRENGTH)


def _nlm(inputs: Named) -> NDArray[np.float32]:
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
    """The baseline of that name; UnfoldError if the protocol does not give an input it needs."""
    method, needed = BASELINES[name]
    missing = sorted(needed - set(protocol.inputs))
    if missing:
        raise UnfoldError(f"{name} needs {', '.join(missing)}, which {protocol.name} does not give")
    return method
