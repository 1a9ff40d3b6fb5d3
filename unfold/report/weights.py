"""`unfold weights`: the published weights, which of them are here, and how far each file can be trusted."""

from __future__ import annotations

from collections import defaultdict

from unfold.checkpoints.known import FOLDERS, digest_records, local_file, named, obtain, weights_folder
from unfold.checkpoints.registry import LICENCE, WEIGHTS, Weights
from unfold.first_use import recorded_digests


def format_weights() -> str:
    """A table of all published weights, and where to get those that have no address of their own."""
    records = recorded_digests(digest_records())
    lines = [f"{'name':<21}{'model':<21}{'bytes':>12}  {'digest':<11}where"]
    for weights in WEIGHTS.values():
        path = local_file(weights)
        size = weights.size if path is None else path.stat().st_size
        digest = "known" if weights.sha256 else "unverified" if weights.name in records else "unknown"
        where = str(path) if path else "to download" if weights.url else f"by hand: {weights.file}"
        told = "?" if size is None else f"{size:,}"
        lines.append(f"{weights.name:<21}{weights.model:<21}{told:>12}  {digest:<11}{where}")
    by_hand: dict[str, list[str]] = defaultdict(list)
    for weights in WEIGHTS.values():
        if weights.url is None:
            by_hand[weights.source].append(weights.name)
    lines += ["", f"By hand: save the file under the name above in {FOLDERS[0]}/ or {weights_folder()}. It is on"]
    lines += [f"  {source} ({names[0]} to {names[-1]})" for source, names in by_hand.items()]
    lines += [
        "Digest known: the file must have it. Unknown: that of the first use is recorded as unverified, and must stay.",
        LICENCE,
    ]
    return "\n".join(lines)


def get_weights(name: str) -> str:
    """Bring published weights here; returns their path, digest and whether it was verified, as text."""
    weights: Weights = named(name)
    path, digest = obtain(weights)
    trust = "verified" if weights.sha256 else "unverified: no digest is published, and it is as at its first use"
    return f"{path}\nSHA-256 {digest} ({trust})"
