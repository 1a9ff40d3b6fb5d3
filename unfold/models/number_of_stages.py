"""Run a network with another number of stages."""

from __future__ import annotations

import copy

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork


def with_stages(net: UnfoldingNetwork, stages: int | None) -> tuple[UnfoldingNetwork, int]:
    """The network with so many stages, sharing the given one's weights, and its maximum number of stages.

    Where one set of weights serves any number (``net.tied``), exactly so many are run, in NRL-GDN without its stop
    rule. Where every stage has its own weights, the run ends after the first ``stages`` of them. None: the network's
    default. UnfoldError for a number that the network does not support.
    """
    if stages is None:
        return net, net.count()
    name = type(net).__name__
    if stages < 1:
        raise UnfoldError(f"stages is a whole number from 1, not {stages}")
    if not net.tied and stages > net.stages:
        raise UnfoldError(
            f"{name} has weights for {net.stages} stages, each its own: stages is 1 to {net.stages}, not {stages}"
        )
    if not net.tied:
        return net, stages
    net = copy.copy(net)
    try:
        net.stages = stages
    except ValueError as error:
        raise UnfoldError(str(error)) from None
    net.fix_stages()
    return net, stages
