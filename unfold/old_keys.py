"""Keys of recipes until version 0.1, and their new names.

They are supported permanently: in recipes, in run folders and on the command line, with one line that names the new
keys. Values keep their old meaning: 0 and [] were "as published" for the arguments of networks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from yacs.config import CfgNode

from unfold.errors import UnfoldError

logger = logging.getLogger("unfold")


class Old(NamedTuple):
    """default: its old default, which gives its type; where: its section now; of: the part names that it belonged to,
    () for all; strict: whether it was an error with another name.
    """

    default: object
    where: str
    of: tuple[str, ...] = ()
    strict: bool = False


_NETWORK = {"STAGES": 0, "WIDTH": 0, "GROWTH": 0, "TAIL": 0, "OPERATOR_WIDTH": 0, "TRAIN_STAGES": 0, "WIDTHS": []}
_NETWORK |= {"DEPTH": 0, "RATIO": 0}
_COSINE, _MULTISTEP, _STEP = ("cosine",), ("multistep",), ("step",)
KEYS: dict[str, Old] = {
    **{f"MODEL.{key}": Old(default, "MODEL.ARGS") for key, default in _NETWORK.items()},
    "DATA.SIGMA": Old(25.0, "DATA.ARGS", ("gaussian", "usrnet", "nrl_gdn")),
    "DATA.BLIND": Old(False, "DATA.ARGS", ("gaussian",), strict=True),
    "DATA.SCALES": Old([1, 2, 3, 4], "DATA.ARGS", ("usrnet",)),
    "DATA.SHARP": Old(0.0, "DATA.ARGS", ("usrnet",), strict=True),
    "DATA.SATURATION": Old(False, "DATA.ARGS", ("paired",), strict=True),
    "OPTIM.BETAS": Old([0.9, 0.999], "OPTIM.ARGS"),
    "OPTIM.WEIGHT_DECAY": Old(0.0, "OPTIM.ARGS"),
    "SCHEDULE.LR_MIN": Old(1e-6, "SCHEDULE.ARGS", _COSINE),
    "SCHEDULE.LENGTH": Old(0, "SCHEDULE.ARGS", _COSINE),
    "SCHEDULE.MILESTONES": Old([], "SCHEDULE.ARGS", _MULTISTEP),
    "SCHEDULE.STEP": Old(1, "SCHEDULE.ARGS", _STEP),
    "SCHEDULE.GAMMA": Old(0.5, "SCHEDULE.ARGS", ("multistep", "step")),
    **{
        f"LOSS.{key}": Old(default, "LOSS.TERMS")
        for key, default in {
            "PIXEL": "charbonnier",
            "EPS": 1e-3,
            "STAGES": "all",
            "EDGE": 0.0,
            "CLAMP": False,
            "WEIGHT": 1.0,
            "PERCEPTUAL": 0.0,
            "VGG": "",
            "ADVERSARIAL": 0.0,
        }.items()
    },
}
_PIXEL = ("charbonnier", "l1", "mse")
_announced: set[str] = set()


def translate(cfg: CfgNode, key: str, value: object, source: str) -> str:
    """Set the new key for an old one; returns the new key. UnfoldError if other losses have no such key."""
    section, _, name = key.partition(".")
    if section == "LOSS":
        old = _as_old(cfg.LOSS.TERMS, vars(cfg).get("old_loss"))
        cfg.LOSS.TERMS = _with_loss(old, name, value, source)
        vars(cfg)["old_loss"] = old
        return new_key(key)
    option = name.lower()
    if section == "MODEL" and value in (0, []):  # as published
        cfg.MODEL.ARGS.pop(option, None)
    else:
        cfg[section].ARGS[option] = value
    return new_key(key)


def new_key(key: str) -> str:
    """The new name of an old key."""
    section, _, name = key.partition(".")
    return "LOSS.TERMS" if section == "LOSS" else f"{section}.ARGS.{name.lower()}"


def is_default(key: str, value: object) -> bool:
    """Whether an old key has its default value."""
    return bool(KEYS[key].default == value)


def drop_idle(cfg: CfgNode, notes: Mapping[str, dict[str, str]], kept: Mapping[str, set[str]]) -> None:
    """Drop options of old keys that belong to another part than the named one; UnfoldError if that was an error.
    kept: options set by old keys; others are left to the part's constructor.
    """
    for key, old in KEYS.items():
        section, _, name = key.partition(".")
        by = "KIND" if section == "DATA" else "NAME"
        chosen, option = cfg[section].get(by), name.lower()
        if not old.of or chosen in old.of or option not in cfg[section].ARGS or option not in kept.get(section, ()):
            continue
        source = next((source for source, keys in notes.items() if key in keys), None)
        value = cfg[section].ARGS.pop(option)
        if is_default(key, value):
            continue
        belongs = f"{source}: {key} belongs to {section}.{by} {' or '.join(old.of)}, and it is {chosen}"
        if old.strict:
            raise UnfoldError(belongs)
        _say(f"note: {belongs}: it has no effect")


def announce(source: str, keys: Mapping[str, str]) -> None:
    """Log one line that names the new keys, once per process."""
    said = ", ".join(f"{old} is {new}" for old, new in keys.items())
    _say(f"note: {source} has keys that are called otherwise now, and work as before: {said}")


def _say(line: str) -> None:
    if line not in _announced:
        _announced.add(line)
        logger.info("%s", line)


def _with_loss(old: dict[str, Any] | None, name: str, value: Any, source: str) -> list[dict[str, Any]]:
    """LOSS.TERMS after applying an old key of LOSS."""
    if old is None:
        raise UnfoldError(
            f"{source}: LOSS.{name} is a key of before, which says nothing of other losses: set LOSS.TERMS in its place"
        )
    old[name] = value
    if old["PIXEL"] not in _PIXEL:
        raise UnfoldError(f"{source}: LOSS.PIXEL is one of {', '.join(_PIXEL)}, not {old['PIXEL']!r}")
    if old["STAGES"] not in ("all", "last"):
        raise UnfoldError(f"{source}: LOSS.STAGES is one of all, last, not {old['STAGES']!r}")
    for key, least in (("EPS", 0), ("WEIGHT", 0)):
        if not old[key] > least:
            raise UnfoldError(f"{source}: LOSS.{key} must be greater than 0, not {old[key]}")
    for key in ("EDGE", "PERCEPTUAL", "ADVERSARIAL"):
        if not old[key] >= 0:
            raise UnfoldError(f"{source}: LOSS.{key} must not be negative, and is {old[key]}")
    return _as_terms(old)


def _as_terms(old: Mapping[str, Any]) -> list[dict[str, Any]]:
    shared: dict[str, Any] = {"STAGES": old["STAGES"], **({"CLAMP": True} if old["CLAMP"] else {})}
    eps = {} if old["EPS"] == KEYS["LOSS.EPS"].default else {"ARGS": {"eps": old["EPS"]}}
    terms = [{"NAME": old["PIXEL"], **shared, **(eps if old["PIXEL"] == "charbonnier" else {})}]
    if old["WEIGHT"] != 1:
        terms[0]["WEIGHT"] = old["WEIGHT"]
    if old["EDGE"]:
        terms.append({"NAME": "edge", "WEIGHT": old["WEIGHT"] * old["EDGE"], **shared, **eps})
    if old["PERCEPTUAL"] or old["VGG"]:
        file = {"ARGS": {"vgg": old["VGG"]}} if old["VGG"] else {}
        terms.append({"NAME": "perceptual", "WEIGHT": old["PERCEPTUAL"], **file})
    if old["ADVERSARIAL"]:
        terms.append({"NAME": "adversarial", "WEIGHT": old["ADVERSARIAL"]})
    return terms


def _as_old(terms: Any, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """The old keys that are equivalent to LOSS.TERMS; None if there are none. before: the old keys it was made from, if
    any.
    """
    if before is not None and terms == _as_terms(before):
        return before
    old = {key.removeprefix("LOSS."): known.default for key, known in KEYS.items() if key.startswith("LOSS.")}
    by_name = {term["NAME"]: term for term in terms}
    pixel = next((term for term in terms if term["NAME"] in _PIXEL), None)
    if (
        pixel is None
        or len(by_name) != len(terms)
        or not by_name.keys() <= {*_PIXEL, "edge", "perceptual", "adversarial"}
    ):
        return None
    if sum(name in _PIXEL for name in by_name) > 1:
        return None
    edge, args = by_name.get("edge"), dict(pixel.get("ARGS", {}))
    old |= {"PIXEL": pixel["NAME"], "STAGES": pixel.get("STAGES", "last"), "CLAMP": pixel.get("CLAMP", False)}
    old |= {"WEIGHT": pixel.get("WEIGHT", 1.0), "EPS": args.get("eps", old["EPS"])}
    if edge is not None:
        old |= {
            "EDGE": edge.get("WEIGHT", 1.0) / old["WEIGHT"],
            "EPS": dict(edge.get("ARGS", {})).get("eps", old["EPS"]),
        }
    if (perceptual := by_name.get("perceptual")) is not None:
        old |= {"PERCEPTUAL": perceptual.get("WEIGHT", 1.0), "VGG": dict(perceptual.get("ARGS", {})).get("vgg", "")}
    if (adversarial := by_name.get("adversarial")) is not None:
        old["ADVERSARIAL"] = adversarial.get("WEIGHT", 1.0)
    return old
