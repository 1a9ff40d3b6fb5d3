"""Runs that started before version 0.2 continue by the rules of their time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from unfold.config import altered, dumped
from unfold.from_config import bare_network, build_degradation

logger = logging.getLogger("unfold")


def _before(folder: Path) -> dict[str, Any] | None:
    """The configuration of an old run in ``folder``, as it was written; None if there is none."""
    file = folder / "config.yaml"
    if not file.is_file():
        return None
    before: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return None if "DRAW" in before.get("DATA", {}) else before


def dumped_for(folder: Path, cfg: CfgNode) -> str:
    """The configuration as the run in ``folder`` stores it. An old run is recognised by the lack of DATA.DRAW."""
    text = dumped(cfg)
    if _before(folder) is None:
        return text
    kept = yaml.safe_load(text)
    del kept["DATA"]["DRAW"]
    return yaml.safe_dump(kept, sort_keys=True)


def by_its_rules(cfg: CfgNode, folder: Path) -> CfgNode:
    """The configuration of a run in ``folder``; for an old run, with the rules of its start, not those of today's
    recipes.

    An old run draws with replacement (DATA.DRAW), halves USRNet's rate one step later than published, and validates
    compressive sensing as it is tested.
    """
    before = _before(folder)
    if before is None or not any((folder / "checkpoints").glob("*.pth")):
        return cfg
    changed = {"DATA.DRAW": "replacement"}
    net = bare_network(cfg)
    degradation = build_degradation(cfg, net)
    if not cfg.DATA.VAL_PROTOCOL and degradation.validation(net) != degradation.protocol(net):
        changed["DATA.VAL_PROTOCOL"] = degradation.protocol(net)
    plan = before.get("SCHEDULE", {})
    old = plan.get("ARGS", {}).get("milestones", plan.get("MILESTONES", []))
    new = cfg.SCHEDULE.ARGS.get("milestones", ())
    later = cfg.TRAIN.ITERATIONS and list(old) == [stone + 1 for stone in new]
    logger.info(
        "note: the run in %s started before DATA.DRAW existed, and continues to draw images with replacement%s",
        folder,
        ", and with its milestones" if later else "",
    )
    cfg = altered(cfg, changed)
    if later:
        cfg.defrost()
        cfg.SCHEDULE.ARGS.milestones = tuple(old)
        cfg.freeze()
    return cfg
