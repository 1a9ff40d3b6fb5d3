"""A network run for another number of stages than it has."""

from __future__ import annotations

import copy

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork


def with_stages(net: UnfoldingNetwork, stages: int | None) -> tuple[UnfoldingNetwork, int]:
    """The network with so many stages, its weights shared with the one given, and how many it has at most.

    Where one set of weights serves any number (``net.tied``), just so many are run, in NRL-GDN without its stop rule.
    Where every stage has weights of its own, the run ends after the first of them. None: as the network would.
    UnfoldError for a number that the network cannot have.
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
