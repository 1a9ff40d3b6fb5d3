"""The work for a table: its methods, the cases of every cell, and the key of every score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import distributions
from typing import NamedTuple

import torch

import unfold
from unfold.errors import UnfoldError
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Case, Protocol
from unfold.tables.definitions import Definition, Setting
from unfold.tables.find_sets import Digest, Source, find_cases, unlike
from unfold.tables.measure import Task
from unfold.tables.open_weights import Net, why_not
from unfold.tables.published import Number, read_published
from unfold.tables.results import Status
from unfold.tables.score_cache import Cache, key_of
from unfold.util.precision import Precision


class Method(NamedTuple):
    """A row of a group. label: its title; published: its name in the CSV files; runs: None where it cannot run."""

    label: str
    published: str
    runs: Net | str | None
    network: str = ""

    @property
    def name(self) -> str:
        """Name of the network or the baseline."""
        return self.runs.name if isinstance(self.runs, Net) else self.runs or self.network


@dataclass(frozen=True)
class Planned:
    """A method in a setting. keys: of the scores of the cases, in their order; numbers: published, by metric.

    idle: the status where nothing is measured, explained in ``note``; else None.
    """

    setting: Setting
    method: Method
    protocol: Protocol
    numbers: Mapping[str, Number]
    idle: Status | None
    note: str
    cases: Sequence[Case] = ()
    keys: Sequence[str] = ()
    total: int = 0


@dataclass(frozen=True)
class Plan:
    """The plan of a table. source: of its published numbers; cells: in the table's order."""

    definition: Definition
    source: str
    cells: list[Planned]
    averages: Mapping[tuple[str, str], Number] = field(default_factory=dict)

    def missing(self, scores: Cache) -> list[Task]:
        """Tasks for scores that the cache lacks: one per case, with all methods to run on it."""
        tasks: dict[tuple[Setting, str], Task] = {}
        for cell in self.cells:
            for case, key in zip(cell.cases, cell.keys, strict=True):
                if scores.get(key) is None and cell.method.runs is not None:
                    place = (cell.setting, case.name)
                    tasks.setdefault(place, Task(cell.protocol, case, {})).methods[key] = cell.method.runs
        return list(tasks.values())


def make_plan(
    definition: Definition,
    nets: Sequence[Net],
    limit: int | None,
    precision: Precision,
    device: torch.device,
    digest: Digest,
) -> Plan:
    """Find methods, sets and cases. UnfoldError for weights that no cell can use."""
    files = [read_published(name) for name in definition.published]
    numbers = {key: number for one in files for key, number in one.numbers.items()}
    sources: dict[Setting, Source | str] = {}
    check = cache(unlike)
    for setting in definition.settings:
        protocol = parse_protocol(setting.protocol)
        sources[setting] = find_cases(setting, protocol, (*definition.files, *setting.files), limit, check)
    known = {key for _, key, _ in numbers}
    settings = [s for s in definition.settings if s.key in known or isinstance(sources[s], Source)]
    methods = _methods(definition, [name for one in files for name in one.methods], nets)
    refused = _refused(settings, nets)
    key = partial(_key, precision=precision, device=device, digest=digest)

    def planned(setting: Setting, method: Method) -> Planned:
        protocol = parse_protocol(setting.protocol)
        own = {
            m: numbers[method.published, setting.key, m]
            for m in definition.metrics
            if (method.published, setting.key, m) in numbers
        }
        source = sources[setting]
        why = refused.get((setting, method.runs), "") if isinstance(method.runs, Net) else ""
        about = (setting, method, protocol, own)
        if method.runs is None:
            return Planned(*about, "no weights" if method.network else "published only", "")
        if not protocol.scored:
            return Planned(*about, "published only", "the references are not public")
        if why:
            return Planned(*about, "no weights", why)
        if isinstance(source, str):
            return Planned(*about, "no data", source)
        cases = source.chosen
        files = _digests((*definition.files, *setting.files), digest)
        keys = [key(protocol, case, method.runs, files=files) for case in cases]
        return Planned(*about, None, source.note, cases, keys, max(setting.total, len(source.found)))

    cells = []
    for group in dict.fromkeys(setting.row for setting in settings):
        inside = [setting for setting in settings if setting.row == group]
        for method in methods:
            row = [planned(setting, method) for setting in inside]
            if any(cell.numbers or cell.idle is None or cell.idle == "no data" for cell in row):
                cells += row
    averages = {
        (name, m): numbers[name, (definition.average,), m] for name, k, m in numbers if k == (definition.average,)
    }
    return Plan(definition, "; ".join(one.source for one in files), cells, averages)


def _methods(definition: Definition, published: Sequence[str], nets: Sequence[Net]) -> list[Method]:
    """The rows of a group: published ones, baselines, and networks without a row in a paper."""
    methods, placed = [], []
    for name in dict.fromkeys([*published, *definition.networks]):
        if name in definition.baselines:
            continue
        network = definition.networks.get(name, "")
        own = [net for net in nets if network and net.is_row(network)]
        placed += own
        methods += [Method(name if len(own) == 1 else _titled(name, net, own), name, net) for net in own]
        methods += [] if own else [Method(name, name, None, network)]
    methods += [Method(label, label, name) for label, name in definition.baselines.items()]
    rest = [net for net in nets if net not in placed]
    return methods + [Method(_titled(net.known or net.name, net, rest), "", net) for net in rest]


def _titled(name: str, net: Net, others: Sequence[Net]) -> str:
    """The name with its file, and with the digest where file names are ambiguous."""
    ambiguous = sum(other.path.name == net.path.name for other in others) > 1
    return f"{name} ({net.path.name}{', ' + net.sha256[:8] if ambiguous else ''})"


def _refused(settings: Sequence[Setting], nets: Sequence[Net]) -> dict[tuple[Setting, Net], str]:
    """The settings that cannot use given weights, and why. UnfoldError for weights that no setting can use."""
    found = {}
    for net in nets:
        loaded = net.load()
        why = {setting: why_not(net, loaded, parse_protocol(setting.protocol)) for setting in settings}
        if all(why.values()):
            raise UnfoldError(f"the weights {net.path} fit no cell of this table: {next(iter(why.values()))}")
        found.update({(setting, net): text for setting, text in why.items()})
    return found


def _digests(names: Sequence[str], digest: Digest) -> list[str]:
    """Digests of the further files that exist."""
    from unfold.data.images import data_root

    paths = [data_root() / name for name in names]
    return [digest(path) for path in paths if path.is_file()]


@cache
def _libraries() -> dict[str, str]:
    """Versions of the installed packages that images are read, degraded and compared with."""
    names = ("numpy", "scipy", "scikit-image", "opencv-python-headless", "opencv-python", "pillow")
    return {name: found.version for name in names for found in distributions(name=name)}


def _key(
    protocol: Protocol,
    case: Case,
    runs: Net | str,
    *,
    precision: Precision,
    device: torch.device,
    digest: Digest,
    files: Sequence[str],
) -> str:
    """The key of a score, from all that it depends on: see docs/tables.md."""
    method: dict[str, object] = {"baseline": runs}
    if isinstance(runs, Net):
        method = {"network": runs.name, "sha256": runs.sha256, "precision": precision, "device": device.type}
        if runs.code is not None:
            method |= {"code": runs.code, "arguments": runs.arguments}
        if runs.beside:
            method |= {"beside": runs.beside}
        if runs.key is not None:
            method["key"] = runs.key
    return key_of(
        {
            "protocol": protocol.name,
            "version": protocol.version,
            "options": protocol.options(),
            "case": [case.name, case.options],
            "files": [digest(path) for path in case.files],
            "beside": files,
            "method": method,
            "unfold": unfold.__version__,
            "torch": torch.__version__,
            "libraries": _libraries(),
        }
    )
