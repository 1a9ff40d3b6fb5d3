"""`unfold train --fetch`: download what a run needs, for machines without a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from yacs.config import CfgNode

from unfold.errors import UnfoldError
from unfold.from_config import build_degradation, build_network, build_test, build_validation, check_training_set
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
    looks: list[tuple[str, str, Callable[[], object]]] = [
        ("DATA.TRAIN", cfg.DATA.TRAIN, lambda: check_training_set(settings_of(cfg).data, degradation)),
        ("DATA.VAL", cfg.DATA.VAL, lambda: build_validation(cfg, net, degradation).cases(cfg.DATA.VAL, "val")),
        ("DATA.TEST", cfg.DATA.TEST, lambda: build_test(cfg, net, degradation).cases(cfg.DATA.TEST, "test")),
    ]
    for key, place, look in looks:
        try:
            look()
            lines.append((key, f"{place}: here"))
        except UnfoldError as error:
            lines.append((key, f"{place}: not here ({error}); images are not downloaded"))
    return "\n".join(f"{what:<11}{text}" for what, text in [*lines, ("", "nothing else is needed from a network")])
