"""`unfold weights`: our own weights and the published ones, which are present, and whether they are verified."""

from __future__ import annotations

from collections import defaultdict

from unfold.models.known.weight_facts import Weights
from unfold.util.trust_on_first_use import recorded_digests
from unfold.weights.known_weights import LICENCE, WEIGHTS
from unfold.weights.resolve_weights import FOLDERS, digest_records, local_file, named, obtain, weights_folder


def format_weights() -> str:
    """Our own weights with scores; all published ones, and where to get those without a URL."""
    lines = [f"{'our own':<21}{'model':<21}{'bytes':>12}  {'SHA-256':<11}result"]
    for weights in (weights for weights in WEIGHTS.values() if weights.ours):
        digest = f"{weights.sha256}"[:9]
        lines.append(f"{weights.name:<21}{weights.model:<21}{weights.size:>12,}  {digest:<11}{weights.result}")
    records = recorded_digests(digest_records())
    lines += ["", f"{'published':<21}{'model':<21}{'bytes':>12}  {'digest':<11}where"]
    theirs = [weights for weights in WEIGHTS.values() if not weights.ours]
    for weights in theirs:
        path = local_file(weights)
        size = weights.size if path is None else path.stat().st_size
        digest = "known" if weights.sha256 else "unverified" if weights.name in records else "unknown"
        where = str(path) if path else "to download" if weights.url else f"by hand: {weights.file}"
        bytes_text = "?" if size is None else f"{size:,}"
        lines.append(f"{weights.name:<21}{weights.model:<21}{bytes_text:>12}  {digest:<11}{where}")
    by_hand: dict[str, list[str]] = defaultdict(list)
    for weights in theirs:
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
    """Download published weights; returns their path, digest and whether it was verified, as text."""
    weights: Weights = named(name)
    path, digest = obtain(weights)
    trust = "verified" if weights.sha256 else "unverified: no digest is published, and it is as at its first use"
    return f"{path}\nSHA-256 {digest} ({trust})"
