"""`unfold tables`: list them, measure one, compare two runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch

from unfold.data.images import data_root
from unfold.errors import UnfoldError
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.given_pairs import PairProtocol
from unfold.report.provenance import provenance
from unfold.tables import compare
from unfold.tables.assemble import cells_of, with_averages
from unfold.tables.definitions import TABLES, Definition, find_table
from unfold.tables.examples import candidates, choose, pictures
from unfold.tables.export import grid, read_table, write_table
from unfold.tables.find_sets import Digest, digest_of, digests, find_cases, find_set
from unfold.tables.measure import Runner, measure
from unfold.tables.open_weights import Net, open_net
from unfold.tables.published import read_published
from unfold.tables.results import Status, Table
from unfold.tables.score_cache import Cache, Entry
from unfold.tables.table_page import write_page
from unfold.tables.work_plan import Plan, make_plan
from unfold.util.atomic_files import make_folder
from unfold.util.device import devices_for
from unfold.util.paths import as_path
from unfold.util.precision import Precision
from unfold.weights.resolve_weights import local_file, published

logger = logging.getLogger("unfold")


class Outcome(NamedTuple):
    """The report, and the exit code: 1 where images failed."""

    text: str
    code: int


def format_tables(data: str | None = None) -> str:
    """The tables: name, title, number of published numbers and settings, and which of their sets are present."""
    lines = []
    with _below(data):
        lines.append(f"+: the set is below {data_root()} (UNFOLD_DATA), -: it is not")
        for table in TABLES.values():
            numbers = sum(len(read_published(name).numbers) for name in table.published)
            here = " ".join(("+" if found else "-") + name for name, found in _sets_here(table).items())
            cells = f"{numbers} published numbers, {len(table.settings)} settings"
            lines += [f"{table.name:<20} {table.title}", f"{'':<20} {cells}; {here}"]
    return "\n".join(lines)


def _sets_here(table: Definition) -> dict[str, bool]:
    """The table's sets, and whether cases can be made of them: pairs need both sides."""
    here: dict[str, bool] = {}
    for setting in table.settings:
        protocol = parse_protocol(setting.protocol)
        if not here.get(setting.data):
            here[setting.data] = find_set(setting.data) is not None
        if here[setting.data] and isinstance(protocol, PairProtocol):
            here[setting.data] = not isinstance(find_cases(setting, protocol, (), None, lambda data: ""), str)
    return here


def compare_files(a: str, b: str, tolerance: float) -> compare.Comparison:
    """What changed from one table.json to another, see :func:`unfold.tables.compare.compare`."""
    return compare.compare(read_table(as_path(a)), read_table(as_path(b)), tolerance)


def measure_table(
    name: str,
    weights: Sequence[str],
    output: Path,
    *,
    data: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    jobs: int | None = None,
    key: str | None = None,
) -> Outcome:
    """Measure all cells of a table that can be measured, and write table.md, .csv, .json and .html into ``output``.

    weights: [MODEL=]FILE or published names; data: replaces UNFOLD_DATA; limit: images per set; jobs: processes;
    key: which network, where weight files hold several. Scores are kept in output/cache.jsonl and reused. UnfoldError
    for bad input, before any work.
    """
    definition = find_table(name)
    if limit is not None and limit < 1:
        raise UnfoldError(f"--limit is a number of images, 1 or more, not {limit}")
    devices = devices_for(device, jobs)
    place = torch.device(devices[0])
    with _below(data):
        nets = list({(net.model, net.sha256): net for net in _open(weights, key)}.values())
        if weights and not nets and not definition.baselines:
            raise UnfoldError(f"none of the weights is here, and {name} has nothing else to measure")
        make_folder(output)
        started = time.monotonic()
        digest = digests()
        plan = make_plan(definition, nets, limit, precision, place, digest)
        about = {**provenance(place), "precision": precision, "processes": len(devices), **_about(plan, nets, digest)}
        with Cache(output / "cache.jsonl") as scores:
            tasks = plan.missing(scores)
            errors = {}
            for found in measure(tasks, devices, precision):
                if found.score is None:
                    errors[found.key] = found.error
                else:
                    scores.add(found.key, Entry(found.score, about["git"]))
            pairs = cells_of(plan, scores, errors)
            revisions = {entry.revision for cell in plan.cells for key in cell.keys if (entry := scores.get(key))}
        new = sum(len(task.methods) for task in tasks) - len(errors)
        about |= {
            "limit": limit,
            "images": sum(len(cell.keys) for cell in plan.cells) - len(errors),
            "images measured now": new,
            "revisions that measured": sorted(map(str, revisions)),
            "seconds of measuring": round(time.monotonic() - started, 1),
        }
        cells = with_averages(plan, [cell for _, cell in pairs])
        table = Table(name, definition.title, plan.source, cells, about)
        write_table(output, table, definition.heads)
        chosen = choose(candidates(pairs, next(iter(definition.baselines), "")))
        shown = list(pictures(chosen, Runner(devices[0], precision), output / "pictures"))
    write_page(output / "table.html", table, shown)
    return Outcome(_report(table, definition.heads, output, new, errors), 1 if errors else 0)


def _open(weights: Sequence[str], key: str | None) -> Iterator[Net]:
    """The weights that are here. A missing published file is logged, and its rows stay empty.

    UnfoldError for a missing file of one's own, and for a file that cannot be used.
    """
    for text in weights:
        try:
            yield open_net(text, key)
        except UnfoldError as error:
            weights_of_name = published(text.rpartition("=")[2])
            if weights_of_name is None or local_file(weights_of_name) is not None:
                raise
            logger.warning("without %s: %s", text, error)


def _about(plan: Plan, nets: Sequence[Net], digest: Digest) -> dict[str, object]:
    """Describe weights, protocols and sets, for the provenance."""
    protocols = {cell.protocol.name: cell.protocol for cell in plan.cells}
    sets = {cell.setting.data: cell.cases for cell in plan.cells if cell.cases}
    return {
        "tiling": _option(protocols.values(), "tile"),
        "self-ensemble": _option(protocols.values(), "ensemble"),
        "weights": [
            {"network": net.name, "file": str(net.path), "sha256": net.sha256, **({"key": net.key} if net.key else {})}
            for net in nets
        ],
        "protocols": {name: f"version {protocol.version}" for name, protocol in protocols.items()},
        "data": {
            name: {"folder": str(cases[0].files[0].parent), "sha256": digest_of(cases, digest)}
            for name, cases in sets.items()
        },
    }


def _option(protocols: Any, name: str) -> str:
    given = [f"{getattr(one, name)} ({one.name})" for one in protocols if hasattr(one, name)]
    return ", ".join(given) or "none"


def _report(table: Table, heads: Sequence[str], output: Path, new: int, errors: dict[str, str]) -> str:
    """The rows and columns with measured cells, and the files that were written."""
    rows = {cell.row for cell in table.cells if cell.measured is not None}
    columns = {cell.column for cell in table.cells if cell.measured is not None}
    measured = [cell for cell in table.cells if cell.row in rows and cell.column in columns]
    count = {status: sum(cell.status == status for cell in table.cells) for status in get_args(Status)}
    lines = [grid(measured, heads)] if measured else []
    lines.append(", ".join(f"{number} {status}" for status, number in count.items()) + f" of {len(table.cells)} cells")
    lines += dict.fromkeys(cell.note for cell in table.cells if cell.status == "no data")
    lines.append(f"{new} images measured now, in {table.provenance['seconds of measuring']} s")
    lines.append(f"in {output}: table.md, table.csv, table.json, table.html")
    lines += [f"{len(errors)} images failed: {next(iter(errors.values()))}"] if errors else []
    return "\n".join(lines)


@contextmanager
def _below(root: str | None) -> Iterator[None]:
    """Look for the sets below ``root``, here and in child processes."""
    before = os.environ.get("UNFOLD_DATA")
    if root is not None:
        if not as_path(root).is_dir():
            raise UnfoldError(f"--data {root}: there is no such folder")
        os.environ["UNFOLD_DATA"] = str(as_path(root).resolve())
    try:
        yield
    finally:
        if before is not None:
            os.environ["UNFOLD_DATA"] = before
        elif root is not None:
            del os.environ["UNFOLD_DATA"]
