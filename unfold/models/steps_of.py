"""The scalars that steer the stages of a network: step sizes, weights, noise levels."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unfold.models.dgunet import Family
from unfold.models.unfolding import UnfoldingNetwork
from unfold.models.usrnet import USRNet


def steps_of(net: UnfoldingNetwork, context: Any) -> dict[str, list[Tensor]]:
    """By the names of the papers, a tensor for each stage: r of DGUNet, (1,); alpha and beta of USRNet, (B,1,1).

    context: what ``net.begin(...)`` returns beside x_0; USRNet computes its own from noise level and scale. Empty for
    networks that have none, as NRL-GDN, whose step sizes are absorbed by a convolution block.
    """
    if isinstance(net, Family):
        return {"r": [net.modules_of(k).step for k in range(net.stages)]}
    if isinstance(net, USRNet):
        return {"alpha": [*context.alphas.unbind(1)], "beta": [*context.betas.unbind(1)]}
    return {}
