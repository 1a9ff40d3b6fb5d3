"""Weights by their published name: from a folder, from the cache, or downloaded; always checked before use."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unfold.errors import UnfoldError, nearest
from unfold.models.known.weight_facts import Weights
from unfold.util.download import check_digest, download, sha256_of
from unfold.util.paths import as_path, cache_folder
from unfold.util.trust_on_first_use import compare_with_first_use
from unfold.weights.known_weights import WEIGHTS

# The current folder, beside the package, and in it.
FOLDERS = (Path("pretrained"), Path(__file__).parents[2] / "pretrained", Path(__file__).parents[1] / "pretrained")

# The weights in a run folder, or in the folder of its checkpoints.
IN_RUNS = ("checkpoints/best.pth", "checkpoints/last.pth", "best.pth", "last.pth")


def find_weights(text: str | Path) -> Path:
    """The file that ``text`` names: an existing file of that path, or else the published weights of that name.

    The latter are searched in FOLDERS and in the cache, and downloaded into the cache where they have a URL. Their
    digest is checked at every call (see :func:`obtain`). Raises UnfoldError: neither file nor name, a file that must be
    fetched by hand, a failed download, another digest.
    """
    weights = published(text)
    if weights is not None:
        return obtain(weights)[0]
    path = as_path(str(text))
    if path.is_dir():
        inside = [file for name in IN_RUNS if (file := path / name).is_file()]
        there = f": it holds {' and '.join(map(str, inside))}" if inside else ": name the file in it"
        raise UnfoldError(f"{text} is a folder, and weights are a file{there}")
    if not path.is_file():
        raise UnfoldError(f"there is no weights file {text}, and {_no_name(str(text))}")
    return path


def published(text: str | Path) -> Weights | None:
    """The published weights that ``text`` names; None if a file has this name, or no weights have."""
    try:
        return None if as_path(str(text)).is_file() else WEIGHTS.get(str(text))
    except OSError as error:  # such as a name that is too long
        raise UnfoldError(f"{str(text)[:40]!r} cannot be a file: {error.strerror}") from None


def known_as(path: str | Path) -> Weights | None:
    """The published weights in a file: by its SHA-256, or if none is known, by its path."""
    digest, file = sha256_of(Path(path)), Path(path)
    for one in WEIGHTS.values():
        if digest == one.sha256 or (one.sha256 is None and file == local_file(one)):
            return one
    return None


def named(name: str) -> Weights:
    """The published weights of that name; UnfoldError with the nearest names where there are none."""
    if name not in WEIGHTS:
        raise UnfoldError(_no_name(name))
    return WEIGHTS[name]


def _no_name(name: str) -> str:
    if (stem := Path(name).stem) in WEIGHTS:
        return f"the weights are called {stem}, without an extension"
    hint = nearest(name, WEIGHTS, most=3) or "`unfold weights list` lists the names"
    return f"no weights are called {name}; {hint}"


def weights_folder() -> Path:
    """Where downloaded weights are kept, and the digests of unverified ones."""
    return cache_folder() / "weights"


def local_file(weights: Weights) -> Path | None:
    """The file, if it already exists: in FOLDERS or in the cache."""
    places = [folder / weights.file for folder in (*FOLDERS, weights_folder())]
    return next((path for path in places if path.is_file()), None)


def obtain(weights: Weights) -> tuple[Path, str]:
    """The file of published weights, downloaded if needed, and its SHA-256.

    Where the digest is known the file must match it. Where it is not, the first file that is a checkpoint is trusted:
    its digest is logged and recorded as unverified in digests.json in the cache, and must not change afterwards.
    """
    path = local_file(weights)
    fresh = path is None
    if path is not None:
        digest = check_digest(path, weights.sha256)
    elif weights.url is not None:
        path = weights_folder() / weights.file
        digest = download(weights.url, path, weights.sha256)
    else:
        raise UnfoldError(
            f"the weights {weights.name} are not here and cannot be downloaded automatically: get them from "
            f"{weights.source}, and save the file as {FOLDERS[0] / weights.file} or {weights_folder() / weights.file}"
        )
    if weights.sha256 is None:
        check = partial(_check, model=weights.model)
        compare_with_first_use(
            digest_records(), weights.name, path, digest, weights.url if fresh else None, check, fresh=fresh
        )
    return path, digest


def digest_records() -> Path:
    """The file with the digests of unverified weights (unfold/util/trust_on_first_use.py)."""
    return weights_folder() / "digests.json"


def _check(path: Path, model: str) -> None:
    """UnfoldError for a file that is not a checkpoint, or of another network."""
    from unfold.weights.read_checkpoint import read_checkpoint  # loads torch, needed only at first use
    from unfold.weights.recognise import recognise

    found = recognise(read_checkpoint(path).state)
    if found is None or model not in found[0]:
        holds = " or ".join(found[0]) if found else "no network that is known here"
        raise UnfoldError(f"{path} holds {holds}, and {model} is wanted: another file has got this name")
