"""`unfold train --fetch`: download what a run needs, for machines without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from yacs.config import CfgNode

from unfold.degradations.degradation import Degradation
from unfold.degradations.mixture import Mixture
from unfold.errors import UnfoldError
from unfold.from_config import (
    build_degradation,
    build_network,
    build_test,
    build_validation,
    check_training_set,
    parts_of,
)
from unfold.models.unfolding import UnfoldingNetwork
from unfold.settings import settings_of
from unfold.training.setup.build_parts import build_loss
from unfold.training.setup.settings_check import check_training
from unfold.util.paths import cache_folder
from unfold.weights.resolve_weights import find_weights


def fetch(cfg: CfgNode, init: str | None = None) -> str:
    """Download what the run needs beside its images; returns a report, line by line.

    This covers the weights of ``init`` and the files of losses (VGG19). Images are never downloaded; the report says
    whether they are found. Raises UnfoldError for an invalid recipe, a failed download, or weights that must be fetched
    by hand.
    """
    check_training(cfg)
    lines = [("cache", f"{cache_folder()} (UNFOLD_CACHE; set it to the same place where the run is)")]
    if init is not None:
        lines.append(("weights", f"{init} of --init: {find_weights(init)}"))
    loss = build_loss(cfg, torch.device("cpu"))
    for term in loss.total.terms:
        if any(True for _ in term.loss.parameters()):
            lines.append(("loss", f"{type(term.loss).__name__}: its weights are here"))
    net = build_network(cfg)
    degradation = build_degradation(cfg, net)
    if isinstance(degradation, Mixture):
        for name, part in parts_of(cfg).items():
            lines += _sets(f"DATA.MIX {name} ", part, net, degradation.parts[name])
    else:
        lines += _sets("DATA.", cfg, net, degradation)
    lines.append(("", "nothing else is needed from a network"))
    width = max(11, *(len(what) + 1 for what, _ in lines))
    return "\n".join(f"{what:<{width}}{text}" for what, text in lines)


def _sets(of: str, cfg: CfgNode, net: UnfoldingNetwork, degradation: Degradation) -> Iterator[tuple[str, str]]:
    """A line for each of TRAIN, VAL and TEST, whether its images are found; of: the beginning of their keys."""
    data = cfg.DATA
    looks: list[tuple[str, Callable[[], object]]] = [
        ("TRAIN", lambda: check_training_set(settings_of(cfg).data, degradation)),
        ("VAL", lambda: build_validation(cfg, net, degradation).cases(data.VAL, "val")),
        ("TEST", lambda: build_test(cfg, net, degradation).cases(data.TEST, "test")),
    ]
    for key, look in looks:
        try:
            look()
            yield f"{of}{key}", f"{data[key]}: here"
        except UnfoldError as error:
            yield f"{of}{key}", f"{data[key]}: not here ({error}); images are not downloaded"
