"""Matrices and masks in files: .npy, and .mat of both formats."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.errors import UnfoldError, reason_of
from unfold.util.download import sha256_of
from unfold.util.paths import as_path

ENDINGS = (".mat", ".npy")
LARGEST = 2**28  # numbers: larger files are refused


def find_beside(text: str | Path) -> Path:
    """The file at that path, or below UNFOLD_DATA (default: datasets). UnfoldError names both places."""
    path = as_path(str(text))
    below = as_path(os.environ.get("UNFOLD_DATA", "datasets")) / path
    for place in (path, below):
        if place.is_file():
            return place
    raise UnfoldError(f"there is no file {path}, nor {below} (UNFOLD_DATA says where data sets lie)")


def digest_beside(text: object) -> str:
    """SHA-256 of that file."""
    return sha256_of(find_beside(str(text)))


def read_matrix(text: str | Path, wanted: str = "") -> NDArray[Any]:
    """The matrix in a file, real or complex, found by :func:`find_beside`: in a .mat the array ``wanted``, or its only
    array, with axes in MATLAB's order. Other numbers than float32 and complex become float64. UnfoldError for a file
    that is missing, damaged or not a matrix.
    """
    path = find_beside(text)
    try:
        if path.suffix.lower() == ".mat":
            found = _of_mat(path)
        else:
            found = {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    except (UnfoldError, MemoryError):
        raise
    except Exception as error:  # damaged files raise almost any error
        raise UnfoldError(f"{path} is damaged or no .mat or .npy file ({reason_of(error)})") from None
    matrices = {name: value for name, value in found.items() if getattr(value, "ndim", 0) == 2 and value.size > 1}
    if wanted not in matrices and len(matrices) != 1:
        holds = ", ".join(f"{name} {np.shape(value)}".strip() for name, value in found.items()) or "nothing"
        raise UnfoldError(f"{path} holds {holds}, and one matrix is wanted{f', called {wanted}' if wanted else ''}")
    matrix = matrices[wanted] if wanted in matrices else next(iter(matrices.values()))
    if matrix.dtype.kind not in "biufc" or matrix.size > LARGEST or not np.isfinite(matrix).all():
        raise UnfoldError(f"{path} holds a matrix {matrix.shape} of {matrix.dtype} that is not of finite numbers")
    kind = matrix.dtype.newbyteorder("=")
    if kind not in (np.float32, np.complex64):
        kind = np.dtype(complex if kind.kind == "c" else float)
    return np.array(matrix, kind)


def _of_mat(path: Path) -> dict[str, Any]:
    import h5py
    from scipy.io import loadmat

    if not h5py.is_hdf5(path):
        return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    with h5py.File(path) as file:  # which has reversed axes
        return {name: np.asarray(file[name][()]).T for name in file if isinstance(file[name], h5py.Dataset)}


def read_mask(text: str | Path) -> NDArray[np.float32]:
    """A mask (H,W) of numbers in [0,1], from a .mat (``mask_matrix``) or .npy file, or from a grey picture, whose
    values are divided by 255 (16 bits by 65535), unless they are only 0 and 1.
    """
    path = find_beside(text)
    if path.suffix.lower() in ENDINGS:
        mask = read_matrix(path, "mask_matrix")
    else:
        from PIL import Image

        try:
            with Image.open(path) as picture:
                deep = picture.mode.startswith("I;16")
                if not deep and picture.mode not in ("1", "L", "P", "RGB"):
                    raise ValueError(f"it is {picture.mode}, and grey is wanted")
                grey = np.asarray(picture)[..., None] if deep else np.asarray(picture.convert("RGB"))
        except Exception as error:  # damaged files raise any error
            raise UnfoldError(f"{path} is no picture of a mask ({reason_of(error)})") from None
        if (grey != grey[..., :1]).any():
            raise UnfoldError(f"{path} is no picture of a mask: it is in colour, and grey is wanted")
        mask = grey[..., 0] / (np.iinfo(grey.dtype).max if grey.max() > 1 else 1)
    if mask.dtype.kind == "c" or mask.min() < 0 or mask.max() > 1 or not mask.any():
        raise UnfoldError(f"{path} is no mask: it has values from {mask.min():g} to {mask.max():g}, not of [0,1]")
    return mask.astype(np.float32)
