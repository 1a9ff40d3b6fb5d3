"""`unfold data doctor`: problems of data sets, as text and as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unfold.data.catalog.inspect_sets import SMALLEST, Report, Set, Shared, examine
from unfold.data.catalog.set_layout import Finding
from unfold.data.pairs import UNSAID, Given
from unfold.util.atomic_files import whole_file

SHOWN = 5  # examples per kind of warning
PAIRS = 3  # examples of a rule


def run_doctor(
    paths: Sequence[str], json_file: Path | None = None, model: str | None = None, given: Given = UNSAID
) -> tuple[str, bool]:
    """Check data sets (:mod:`unfold.data.catalog.inspect_sets`): the report, and whether it is free of errors.

    json_file: also write everything there; model: check sizes for this network; given: the layout of pairs with unusual
    names. UnfoldError for bad arguments.
    """
    multiple, smallest = _sizes(model) if model else (1, SMALLEST)
    report = examine(paths, smallest, given)
    if json_file:
        with whole_file(json_file) as file:
            file.write(json.dumps(as_json(report, multiple), indent=1).encode())
    return format_report(report, multiple, model), not report.errors


def _sizes(model: str) -> tuple[int, int]:
    import torch

    from unfold.models.registry import plain_model

    with torch.device("meta"):
        net = plain_model(model)
    return net.size_multiple, max(net.min_size, 1)


def format_report(report: Report, multiple: int = 1, model: str | None = None) -> str:
    """Plain text: sets, errors, warnings, photographs in two sets, and a summary line."""
    lines = ["Sets"]
    for one in report.sets:
        lines += [f"  {line}" for line in _set_lines(one, multiple, model)]
    for rule in report.rules:
        names = [
            f"{_short(pair.input, rule.place)} with {_short(pair.target, rule.place)}" for pair in rule.pairs[:PAIRS]
        ]
        lines += [f"  {rule.place}: {len(rule.pairs)} pairs by {rule.text}", *(f"    {name}" for name in names)]
    errors = [finding for finding in report.findings if finding.error]
    warnings = [finding for finding in report.findings if not finding.error]
    lines += ["", "Errors", *(f"  {finding.text}" for finding in errors)] if errors else []
    lines += ["", "Warnings", *(f"  {line}" for line in _few(warnings))] if warnings else []
    if report.shared:
        lines += ["", "Photographs in two sets"]
    for (first, second), pairs in report.shared.items():
        counts = [len({pair[side] for pair in pairs}) for side in (0, 1)]
        equal = sum(pair.how.equal for pair in pairs)
        lines += [f"  {first} ({counts[0]} images) and {second} ({counts[1]}); {equal} of {len(pairs)} pixel for pixel"]
        lines += [f"    {_describe(pair)}" for pair in pairs[:SHOWN]]
        lines += [f"    and {len(pairs) - SHOWN} more (--json lists all)"] if len(pairs) > SHOWN else []
    overlaps = sum(map(len, report.shared.values()))
    total = f"images: {report.files}, sets: {len(report.sets)}, errors: {len(errors)}, warnings: {len(warnings)}"
    return "\n".join([*lines, "", f"{total}, the same photograph in two sets: {overlaps} times"])


def _set_lines(one: Set, multiple: int, model: str | None) -> list[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(one.kinds.values()).most_common())
    read = f"{len(one.files)} images: {kinds or 'none readable'}"
    if one.sizes:
        sides = np.sort(one.sizes, axis=1)
        read += f"; sides {sides.min()} to {sides.max()}, {len(set(one.sizes))} sizes"
    lines = [f"{one.name}: {read}"]
    if model and (count := one.not_multiple(multiple)):
        lines += [f"  {count} have a side that is no multiple of {multiple}: {model} pads them"]
    if one.psnr:
        values = list(one.psnr.values())
        lines += [
            f"  {len(values)} pairs, PSNR of the inputs {np.mean(values):.3f} dB "
            f"({min(values):.2f} to {max(values):.2f}); worst:"
        ]
        lines += [f"    {value:.2f} {path}" for path, value in _worst(one)]
    return lines


def _short(path: Path, place: Path) -> str:
    return str(path.relative_to(place) if place in path.parents else path)


def _worst(one: Set) -> list[tuple[Path, float]]:
    return sorted(one.psnr.items(), key=lambda entry: entry[1])[:3]


def _few(warnings: list[Finding]) -> list[str]:
    """A few of each kind and folder, and the number of others."""
    lines, counts = [], Counter((finding.kind, finding.paths[0].parent) for finding in warnings)
    seen: Counter[tuple[str, Path]] = Counter()
    for finding in warnings:
        key = (finding.kind, finding.paths[0].parent)
        seen[key] += 1
        if seen[key] <= SHOWN:
            lines.append(finding.text)
        elif seen[key] == SHOWN + 1:
            lines.append(f"and {counts[key] - SHOWN} more such in {key[1]} (--json lists all)")
    return lines


def _describe(pair: Shared) -> str:
    how = pair.how
    if how.covers[0] > how.covers[1] + 0.001:
        part, whole, corner = pair.first, pair.second, (-how.corner[0], -how.corner[1])
    else:
        part, whole, corner = pair.second, pair.first, how.corner
    if min(how.covers) == 1 and how.equal:
        return f"{part} is {whole}"
    if how.scale == 1 and how.turn == 0:
        place = f"from row {corner[0]}, column {corner[1]}"
    else:
        place = f"at {max(how.scale, 1 / how.scale):.2f} times the size" + (
            f", turned by {abs(how.turn):.0f} degrees" if abs(how.turn) > 1 else ""
        )
    sure = "pixel for pixel" if how.equal else f"correlation {how.correlation:.3f}"
    share = f"{100 * max(how.covers):.0f} % of it" if max(how.covers) < 0.995 else "all of it"
    return f"{part} ({share}) is in {whole}, {place}, {sure}"


def as_json(report: Report, multiple: int) -> dict[str, object]:
    """All findings, as plain types."""
    return {
        "files": report.files,
        "errors": report.errors,
        "sets": [
            {
                "name": one.name,
                "images": len(one.files),
                "kinds": dict(Counter(one.kinds.values())),
                "sizes": {f"{h}x{w}": count for (h, w), count in Counter(one.sizes).items()},
                "not_multiple": one.not_multiple(multiple),
                "psnr": {str(path): value if math.isfinite(value) else None for path, value in one.psnr.items()},
            }
            for one in report.sets
        ],
        "pairs": [
            {
                "place": str(rule.place),
                "rule": rule.text,
                "pairs": [[str(pair.input), str(pair.target)] for pair in rule.pairs],
            }
            for rule in report.rules
        ],
        "findings": [
            {**finding._asdict(), "paths": [str(path) for path in finding.paths]} for finding in report.findings
        ],
        "shared": [
            {"sets": names, "first": str(pair.first), "second": str(pair.second), **pair.how._asdict()}
            for names, pairs in report.shared.items()
            for pair in pairs
        ],
    }
