"""Data sets from the web."""

from __future__ import annotations

import difflib
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from unfold.data.folders import whole_folder
from unfold.data.unpacking import check_archive, unpack
from unfold.download import download
from unfold.errors import UnfoldError
from unfold.first_use import compare_with_first_use
from unfold.paths import as_path, cache_folder


class Archive(NamedTuple):
    """url: address of a zip or tar file; sha256: of it, None where nobody published it."""

    url: str
    sha256: str | None = None


# Sets with a stable address of their own. There is none that we could verify: those of the papers are on cloud drives
# and on pages that ask for a name or for consent.
ARCHIVES: dict[str, Archive] = {}
# All others: where they come from, and what to check.
BY_HAND = {
    "GoPro": "page of Nah et al. (CVPR 2017); 2103 training and 1111 test pairs of 1280x720",
    "HIDE": "page of Shen et al. (ICCV 2019); 2025 test pairs",
    "RealBlur_J": "page of Rim et al. (ECCV 2020); 980 test pairs",
    "RealBlur_R": "page of Rim et al. (ECCV 2020); 980 test pairs",
    "SIDD": "page of the Smartphone Image Denoising Dataset (CVPR 2018): Medium, sRGB, 320 pairs for training",
    "DND": "page of the Darmstadt Noise Dataset (CVPR 2017); info.mat and images_srgb/0001.mat to 0050.mat",
    "Rain13K": "links of MPRNet (CVPR 2021); with its test sets in multiples of 8 pixels; Test100 has 98 pairs",
    "DIV2K": "page of the NTIRE 2017 challenge; 800 images for training, 100 for validation",
    "Flickr2K": "page of the NTIRE 2017 challenge; 2650 images",
    "BSDS500": "Berkeley Segmentation Data Set; 200, 100 and 200 JPEG files in train, val and test",
}


def get_set(name: str) -> str:
    """Download a set and unpack it into its folder below UNFOLD_DATA; returns where it is, as text.

    A set that is there is left as it is. The digest of the archive is treated as that of weights: it must be the known
    one, or where none is known, that of the first use. The archive is deleted once it is unpacked. UnfoldError where
    the set is not known or has to be fetched by hand, with where and what to check; and as of download and unpack.
    """
    folder = as_path(os.environ.get("UNFOLD_DATA", "datasets")) / name
    if name not in ARCHIVES and name not in BY_HAND:
        near = difflib.get_close_matches(name, [*ARCHIVES, *BY_HAND], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join([*ARCHIVES, *BY_HAND])}"
        raise UnfoldError(f"no set is called {name}; {hint}")
    if folder.exists():
        return f"{name} is in {folder} already; nothing was downloaded"
    if name not in ARCHIVES:
        raise UnfoldError(
            f"{name} cannot be downloaded by itself: get it by hand and put it into {folder}. {BY_HAND[name]}"
        )
    archive = ARCHIVES[name]
    path = _downloads() / f"{name}_{archive.url.rpartition('/')[2]}"
    fresh = not path.exists()
    digest = download(archive.url, path, archive.sha256)
    if archive.sha256 is None:
        records = _downloads() / "digests.json"
        compare_with_first_use(records, name, path, digest, archive.url, check_archive, fresh=fresh)
    with whole_folder(folder, {"set": name, "url": archive.url, "sha256": digest}) as part:
        if part is not None:
            _unpack(path, part)
    path.unlink(missing_ok=True)
    trust = "verified" if archive.sha256 else "unverified: no digest is published, and it is as at its first use"
    return f"{folder}\nSHA-256 of {path.name} {digest} ({trust})"


def _downloads() -> Path:
    return cache_folder() / "data"


def _unpack(path: Path, part: Path) -> None:
    try:
        unpack(path, part)
    except UnfoldError:
        shutil.rmtree(part)
        raise
