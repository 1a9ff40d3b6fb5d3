"""Matrices, masks and measurements in files: .npy, .npz, and .mat of both formats."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.errors import UnfoldError, reason_of
from unfold.util.arrays import is_grey
from unfold.util.download import sha256_of
from unfold.util.paths import as_path

ENDINGS = (".mat", ".npy")
PACKED = (".mat", ".npz")  # files of several arrays, by name
LARGEST = 2**28  # numbers: larger files are refused


class OtherContentError(UnfoldError):
    """A file that can be read holds something else than what is wanted of it."""


def find_beside(text: str | Path) -> Path:
    """The file at that path, or below UNFOLD_DATA (default: datasets). UnfoldError names both places."""
    path = as_path(str(text))
    below = as_path(os.environ.get("UNFOLD_DATA", "datasets")) / path
    for place in (path, below):
        if place.is_file():
            return place
    raise UnfoldError(f"there is no file {path}, nor {below} (UNFOLD_DATA names the folder of data sets)")


def digest_beside(text: object) -> str:
    """SHA-256 of that file."""
    return sha256_of(find_beside(str(text)))


def read_matrix(text: str | Path, wanted: str = "") -> NDArray[Any]:
    """The matrix in a file, real or complex, found by :func:`find_beside`: in a .mat the array ``wanted``, or its only
    array, with axes in MATLAB's order. Other numbers than float32 and complex become float64. UnfoldError for a file
    that is missing, damaged or not a matrix.
    """
    return _read(find_beside(text), wanted, "matrix", (2,))


def read_measurement(path: Path, wanted: str, axes: tuple[int, ...]) -> NDArray[Any]:
    """The array of so many axes in a .npy, .npz or .mat file, as :func:`read_matrix` reads it."""
    return _read(path, wanted, "measurement", axes)


def _read(path: Path, wanted: str, what: str, axes: tuple[int, ...]) -> NDArray[Any]:
    try:
        if path.suffix.lower() == ".mat":
            found = _of_mat(path)
        elif path.suffix.lower() == ".npz":
            found = _of_npz(path)
        else:
            found = {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    except (UnfoldError, MemoryError):
        raise
    except FileNotFoundError:
        raise UnfoldError(f"there is no file {path}") from None
    except Exception as error:  # damaged files raise almost any error
        raise UnfoldError(
            f"{path} is damaged or no .mat or {'.npy' if what == 'matrix' else '.npy or .npz'} file "
            f"({reason_of(error)})"
        ) from None
    fitting = {name: value for name, value in found.items() if getattr(value, "ndim", 0) in axes and value.size > 1}
    if wanted not in fitting and len(fitting) != 1:
        holds = ", ".join(f"{name} {np.shape(value)}".strip() for name, value in found.items()) or "nothing"
        called = f", called {wanted}" if wanted else ""
        raise OtherContentError(f"{path} holds {holds}, and one {what} is wanted{called}")
    array = fitting[wanted] if wanted in fitting else next(iter(fitting.values()))
    if (foreign := array.dtype.kind not in "biufc") or array.size > LARGEST or not np.isfinite(array).all():
        fault = OtherContentError if foreign else UnfoldError
        raise fault(f"{path} holds a {what} {array.shape} of {array.dtype} that is not of finite numbers")
    kind = array.dtype.newbyteorder("=")
    if kind not in (np.float32, np.complex64):
        kind = np.dtype(complex if kind.kind == "c" else float)
    return np.array(array, kind)


def _of_npz(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as packed:  # sizes are in the directory, before memory is spent
        if sum(one.file_size for one in packed.infolist()) > 16 * LARGEST:
            raise UnfoldError(f"{path} holds more than {16 * LARGEST / 1e9:.1f} GB: too large to be read")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _of_mat(path: Path) -> dict[str, Any]:
    import h5py
    from scipy.io import loadmat

    if not h5py.is_hdf5(path):
        return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    with h5py.File(path) as file:  # which has reversed axes
        return {name: _complex(np.asarray(file[name][()]).T) for name in file if isinstance(file[name], h5py.Dataset)}


def _complex(array: NDArray[Any]) -> NDArray[Any]:
    """Complex numbers of pairs, as MATLAB writes them into HDF5; others as they are."""
    return array["real"] + 1j * array["imag"] if array.dtype.names == ("real", "imag") else array


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
        if not is_grey(grey):
            raise UnfoldError(f"{path} is no picture of a mask: it is in colour, and grey is wanted")
        mask = grey[..., 0] / (np.iinfo(grey.dtype).max if grey.max() > 1 else 1)
    if not mask.any():
        raise UnfoldError(f"{path} is 0 everywhere, and no mask")
    if mask.dtype.kind == "c" or mask.min() < 0 or mask.max() > 1:
        raise UnfoldError(f"{path} is no mask: it has values from {mask.min():g} to {mask.max():g}, not of [0,1]")
    return mask.astype(np.float32)
