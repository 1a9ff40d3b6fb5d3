"""Runs that began before version 0.2 go on by the rules that they began with."""

from __future__ import annotations

import logging
from pathlib import Path

import yaml
from yacs.config import CfgNode

from unfold.config import altered

logger = logging.getLogger("unfold")


def by_its_rules(cfg: CfgNode, folder: Path) -> CfgNode:
    """The configuration of a run in ``folder``; of an old run as it began, whatever recipes say by now.

    An old run draws with replacement (DATA.DRAW), and halves USRNet's rate one step later than published.
    """
    file = folder / "config.yaml"
    if not file.is_file() or not any((folder / "checkpoints").glob("*.pth")):
        return cfg
    before = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if "DRAW" in before.get("DATA", {}):
        return cfg
    changed = {"DATA.DRAW": "replacement"}
    plan = before.get("SCHEDULE", {})
    old = plan.get("ARGS", {}).get("milestones", plan.get("MILESTONES", []))
    new = cfg.SCHEDULE.ARGS.get("milestones", ())
    later = cfg.TRAIN.ITERATIONS and list(old) == [stone + 1 for stone in new]
    logger.info(
        "note: the run in %s began before DATA.DRAW was there, and goes on drawing images with replacement%s",
        folder,
        ", and with its milestones" if later else "",
    )
    cfg = altered(cfg, changed)
    if later:
        cfg.defrost()
        cfg.SCHEDULE.ARGS.milestones = tuple(old)
        cfg.freeze()
    return cfg
