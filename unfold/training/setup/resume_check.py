"""Whether a run may be resumed: with the same recipe except for its length and paths, and on the same images."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from yacs.config import CfgNode

from unfold import registry
from unfold.config import differences, load_kept
from unfold.data.mixtures import MixedStore
from unfold.data.stores.fingerprint import fingerprint, is_complete, key_of
from unfold.data.stores.image_stores import LateStore, Store
from unfold.errors import UnfoldError
from unfold.protocols.protocol import Case
from unfold.settings import ScheduleSettings, Settings, settings_of
from unfold.training.checkpoint import newest_good
from unfold.training.setup import user_code
from unfold.training.setup.build_parts import factor
from unfold.training.setup.environment import read_starts, write_starts
from unfold.training.setup.old_runs import by_its_rules
from unfold.util.download import sha256_of
from unfold.util.paths import as_path
from unfold.weights.read_checkpoint import Checkpoint

logger = logging.getLogger("unfold")
# Keys that may change in a resumed run; those of DATA in an item of DATA.MIX, too.
MAY_DIFFER = (
    "OUTPUT",
    "DEVICE",
    "TRAIN.WORKERS",
    "DATA.STORE",
    "TRAIN.SAVE_EVERY",
    "TRAIN.KEEP",
    "TRAIN.BOARD",
    "TEST.",
    "DATA.TEST",
)
# Paths of images (the images themselves are compared), and keys of the run's length and learning rates.
PLACES = {"TRAIN": "data", "VAL": "validation"}
PLAN = ("TRAIN.EPOCHS", "TRAIN.ITERATIONS", "SCHEDULE.")
WAYS_OUT = (
    "--overwrite starts again, OUTPUT names another folder, and --init with a checkpoint of this run starts another "
    "run with its weights"
)


class Place(NamedTuple):
    """Where a run has images from. key: DATA.TRAIN or similar; path: its value; noted: the key of :func:`seen`."""

    key: str
    path: str
    noted: str


def run_to_resume(cfg: CfgNode, folder: Path, *, must: bool) -> tuple[Path, Checkpoint] | None:
    """The newest intact checkpoint of the same run in its folder; None if there is none.

    A run is the same with another length, with learning rates that agree for all units done, and with other paths of
    the data; :func:`compare_data` checks the images there. UnfoldError for another run, and where a checkpoint is
    required.
    """
    checkpoints = folder / "checkpoints"
    found = newest_good(checkpoints)
    if found is None:
        if must:
            raise UnfoldError(
                f"there is nothing to resume: {checkpoints} holds no checkpoint (OUTPUT names the run folder, which "
                "may have moved)"
            )
        return None
    before = by_its_rules(_recipe_of(folder, cfg), folder)
    user_code.compare(user_code.files_of(cfg), folder / user_code.FOLDER)
    changed = [change for change in differences(before, cfg) if not _may_differ(change)]
    if others := [change for change in changed if not change.startswith(PLAN)]:
        raise UnfoldError(f"--resume continues the same run, and the config differs: {', '.join(others)} ({WAYS_OUT})")
    if changed:
        _check_plan(before, cfg, int(found[1].content["step"]), bool(found[1].content["pending"]), changed)
    return found


def _may_differ(change: str) -> bool:
    """Whether a change, "KEY old -> new", leaves the run the same, or its images are compared."""
    change = re.sub(r"^DATA\.MIX\.\d+\.", "DATA.", change)
    return change.startswith((*MAY_DIFFER, *(f"DATA.{key} " for key in PLACES)))


def _places(cfg: CfgNode) -> list[Place]:
    """Where a run has its images from; for a mixture, each part."""
    data = settings_of(cfg).data
    parts = (
        [("", {}, data)]
        if not data.mix
        else [(f"/{name}", item, part) for item, (name, part) in zip(data.mix, data.parts.items(), strict=True)]
    )
    return [
        Place(f"DATA.MIX.{i}.{key}" if own.get(key) else f"DATA.{key}", getattr(part, key.lower()), f"{what}{of}")
        for i, (of, own, part) in enumerate(parts)
        for key, what in PLACES.items()
    ]


def _recipe_of(folder: Path, cfg: CfgNode) -> CfgNode:
    """The recipe that the run was started with. Files of user code that are gone are read from where ``cfg`` names them
    now, else from the copy in the run folder.
    """
    now = {file.name: file for file in user_code.files_of(cfg)}

    def moved(text: str) -> str:
        name, options = registry.split_options(text)
        if not registry.names_file(name):
            return text
        path, _, attribute = name.rpartition(":")
        file = Path(path)
        if as_path(path).is_file():
            return text
        place = now.get(file.name, (folder / user_code.FOLDER / file.name).resolve())
        return ":".join(filter(None, (str(place), attribute, options)))

    return load_kept(folder / "config.yaml", moved)


def _check_plan(before: CfgNode, cfg: CfgNode, done: int, pending: bool, changed: list[str]) -> None:
    """UnfoldError if the result would differ from a run with the new length and rates from its start.

    done: steps; pending: see Trainer; changed: keys and values for the message.
    """
    per_epoch = settings_of(cfg).train.steps_per_epoch
    in_steps, was_in_steps = cfg.TRAIN.ITERATIONS > 0, before.TRAIN.ITERATIONS > 0
    if in_steps != was_in_steps:
        key = "TRAIN.ITERATIONS" if was_in_steps else "TRAIN.EPOCHS"
        raise UnfoldError(
            f"--resume continues the same run, whose length and learning rate were set by {key}: set "
            f"that one, not {', '.join(changed)}"
        )
    key, unit = ("TRAIN.ITERATIONS", "steps") if in_steps else ("TRAIN.EPOCHS", "epochs")
    if in_steps and cfg.TRAIN.EPOCHS != before.TRAIN.EPOCHS and cfg.TRAIN.ITERATIONS == before.TRAIN.ITERATIONS:
        raise UnfoldError(
            f"--resume: TRAIN.EPOCHS {cfg.TRAIN.EPOCHS} changes nothing in a run whose length is TRAIN.ITERATIONS "
            f"{cfg.TRAIN.ITERATIONS}: set that one"
        )
    length, was = (one.TRAIN.ITERATIONS if in_steps else one.TRAIN.EPOCHS for one in (cfg, before))
    run = done if in_steps else -(-done // per_epoch)  # units that are done at least in part
    if length < run:
        raise UnfoldError(
            f"--resume: {key} {length} is less than what this run has done: {run} {unit}; set {run} or more "
            f"({WAYS_OUT})"
        )
    rates, other = _rates(before), _rates(cfg)
    for u in range(1, run + 1):
        if rates(u) != other(u):
            said = (
                f"--resume continues the same run, and with {', '.join(changed)} the learning rate of "
                f"{unit.removesuffix('s')} {u}, which is done, had been {other(u):.3g} and not {rates(u):.3g}"
            )
            raise UnfoldError(f"{said}{_ways_out(settings_of(before), settings_of(cfg).schedule)}")
    ended = (done if in_steps else (done - pending) // per_epoch) + 1
    if length != was and ended <= length:
        logger.info(
            "%s %d in place of %d: the run is one that was so long from its start; the learning rate of %s %d is %.3g, "
            "that of the last one %.3g",
            key,
            length,
            was,
            unit.removesuffix("s"),
            ended,
            other(ended),
            other(length),
        )
        ahead = [other(u) for u in range(max(ended - 1, cfg.SCHEDULE.WARMUP + 1), length + 1)]
        if any(after > one for one, after in pairwise(ahead)):
            lowest = ahead.index(min(ahead))
            logger.warning("the learning rate rises again, from %.3g to %.3g", ahead[lowest], max(ahead[lowest:]))


def _rates(cfg: CfgNode) -> Callable[[int], float]:
    """The learning rate of unit 1, 2, ...: see :class:`unfold.training.schedule.Schedule`."""
    settings = settings_of(cfg)
    after, warmup, lr = factor(cfg), settings.schedule.warmup, settings.optim.lr
    return lambda u: lr * (u / warmup if u <= warmup else after(u - warmup - 1))


def _ways_out(before: Settings, now: ScheduleSettings) -> str:
    """Advice where the learning rates would differ; more for a cosine without a length of its own."""
    was = before.schedule
    same_curve = was.name == now.name == "cosine" and was.warmup == now.warmup
    if same_curve and not was.args.get("length", 0) and not now.args.get("length", 0):
        length = max(before.train.units - was.warmup, 1)
        return (
            f": the cosine was as long as the run. Two ways out: SCHEDULE.ARGS.length {length} keeps the curve "
            "as it was, beyond whose end the rate rises again; --init with a checkpoint of this run, and another "
            "OUTPUT, begins another run with its weights"
        )
    return f" ({WAYS_OUT})"


def seen(store: Store, held_out: Sequence[Case], last: Mapping[str, Any] | None) -> dict[str, Any]:
    """A fingerprint of a run's images, independent of their paths: for environment.json. "data" and "validation"; of a
    mixture those of each part: "data/haze".

    last: the run's last start, if any. For images that are decoded on first use, the fingerprint is left to
    :func:`note_data`, except for a resumed run whose files may have changed.
    """
    found: dict[str, Any] = {}
    for of, part in _sets(store).items():
        cases = [case for case in held_out if not of or case.name.startswith(f"{of[1:]}/")]
        found[f"validation{of}"] = {"cases": len(cases), "sha256": _digest(cases)}
        data: dict[str, Any] = {"images": len(part)}
        found[f"data{of}"] = data
        if isinstance(part, LateStore):
            found[f"files{of}"] = key = key_of(part)
            if not part.complete() and (last is None or last.get(f"files{of}") == key):
                known = (last or {}).get(f"data{of}", {}).get("sha256")
                data |= {"sha256": known} if known else {}
                continue
        data["sha256"] = fingerprint(part)
    return found


def all_noted(images: Mapping[str, Any], store: Store) -> bool:
    """Whether :func:`seen` has left nothing to :func:`note_data`."""
    return all("sha256" in images[f"data{of}"] for of in _sets(store))


def note_data(folder: Path, store: Store) -> None:
    """Add the fingerprint of the images to the run's last start, once all are decoded; for a mixture, all of a part."""
    starts = read_starts(folder)
    changed = False
    for of, part in _sets(store).items() if starts else ():
        data = starts[-1].get(f"data{of}")
        if isinstance(data, dict) and "sha256" not in data and is_complete(part):
            data["sha256"], changed = fingerprint(part), True
    if changed:
        write_starts(folder, starts)


def _sets(store: Store) -> dict[str, Store]:
    """The sets of images that are noted one by one, by the end of their keys: "", or "/haze" of a mixture's part."""
    return {f"/{name}": part for name, part in store.parts.items()} if isinstance(store, MixedStore) else {"": store}


def _digest(cases: Sequence[Case]) -> str:
    """SHA-256 over the name of each case, and the names and bytes of its files: names seed the noise."""
    total, known = hashlib.sha256(), {path: "" for case in cases for path in case.files}
    for path in known:
        known[path] = sha256_of(path)
    for case in cases:
        total.update(repr((case.name, [(path.name, known[path]) for path in case.files])).encode())
    return total.hexdigest()


def data_moved(folder: Path, cfg: CfgNode) -> bool:
    """Whether the recipe names other paths for its images than at the run's last start."""
    before = _places(_recipe_of(folder, cfg))
    return [place.path for place in before] != [place.path for place in _places(cfg)]


def compare_data(folder: Path, cfg: CfgNode, now: dict[str, Any]) -> None:
    """Compare the images with those of the run's last start, by :func:`seen`.

    UnfoldError if a path changed and its images differ; a warning where the same path holds other images now, and
    where a changed path cannot be compared, as an old run recorded no fingerprint.
    """
    last = (read_starts(folder) or [{}])[-1]
    lines: dict[str, int] = {}  # parts of a mixture that share a path share its line
    for (key, place, what), (_, was, _) in zip(_places(cfg), _places(_recipe_of(folder, cfg)), strict=True):
        then, moved = last.get(what), was != place
        if not isinstance(then, dict) or "sha256" not in then:
            if moved or (what not in last and "sha256" in now[what]):  # older versions noted mixtures as one set
                lines[
                    f"{key} is {place}{f' and was {was}' if moved else ''}: it is not known whether the images are the "
                    "same, as this run did not record them when it started"
                ] = logging.WARNING
        elif "sha256" not in now[what]:
            continue  # the same files
        elif then["sha256"] != now[what]["sha256"] and moved:
            raise UnfoldError(
                f"--resume continues the same run, and {key} {place} holds other images than {was} did: "
                f"{_count(now[what])} now, {_count(then)} then ({WAYS_OUT})"
            )
        elif then["sha256"] != now[what]["sha256"]:
            lines[f"{key} {place} holds other images than when this run was last started"] = logging.WARNING
        elif moved:
            lines[f"{key} is {place} and was {was}: the images are the same"] = logging.INFO
    for line, level in lines.items():
        logger.log(level, "%s", line)


def _count(of: dict[str, Any]) -> str:
    number = next((f"{value} {key}" for key, value in of.items() if key != "sha256"), "some")
    return f"{number} of SHA-256 {of['sha256'][:8]}..."
