"""Read blur kernels from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unfold.data.formats.mat_files import reading, transposed
from unfold.data.images import find_file
from unfold.errors import UnfoldError
from unfold.util.arrays import Array, is_grey
from unfold.util.paths import as_path

Kernel = NDArray[np.float64]


def read_kernels(path: str | Path) -> list[Kernel]:
    """The kernels of a file, each (kh,kw) float64 as in the file: neither normalised nor rotated.

    A .mat file (version 5 or 7.3) holds them as its variable ``kernels``, or as its only variable: a cell array of
    matrices, a matrix, or an array (kh,kw,N). A .npy file holds one kernel. Any other file is a grey image of one
    kernel, 255 (or 65535) becoming 1.
    Raises UnfoldError for a file that is missing, damaged or holds something else: a kernel has two dimensions,
    finite numbers (some may be negative) and a positive sum.
    """
    path = as_path(str(path))
    if not path.is_file():
        raise UnfoldError(f"there is no kernel file {path}")
    ending = path.suffix.lower()
    found = _read_mat(path) if ending == ".mat" else [_read_npy(path) if ending == ".npy" else _read_grey(path)]
    if not found:
        raise UnfoldError(f"{path} holds no kernels")
    return [_checked(kernel, f"{path}, kernel {i} of {len(found)}") for i, kernel in enumerate(found, 1)]


def published_kernels(name: str, count: int, code: str) -> list[Kernel]:
    """The kernels of a file that authors publish beside their ``code``, below UNFOLD_DATA.

    UnfoldError where it is missing, which names the code, or does not hold ``count`` kernels.
    """
    path = find_file(name, f"it comes with {code}")
    found = read_kernels(path)
    if len(found) != count:
        raise UnfoldError(f"{path} holds {len(found)} kernels, and the published file {count}")
    return found


def _checked(kernel: object, where: str) -> Kernel:
    array = np.asarray(kernel)
    if array.dtype.kind not in "uif" or array.ndim != 2 or array.size == 0:
        raise UnfoldError(f"{where}: a kernel is a matrix of numbers, not {array.dtype} of shape {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UnfoldError(f"{where}: it has values that are not finite")
    if not array.sum() > 0:
        raise UnfoldError(f"{where}: its sum is {array.sum():g}, and a kernel's is positive")
    return array


def _read_npy(path: Path) -> Array:
    with reading(path, ".npy"):
        # A memory map is no larger than the file, whatever its header says, and holds no Python objects.
        return np.array(np.lib.format.open_memmap(path, mode="r"))


def _read_grey(path: Path) -> Kernel:
    try:
        with Image.open(path) as image:
            deep = image.mode in ("I", "I;16", "I;16B")
            if not deep and (image.mode not in ("1", "L", "P", "RGB") or ";16" in str(image.tile)):
                raise UnfoldError(f"{path} is of kind {image.mode}, and an image of a kernel is grey, of 8 or 16 bits")
            array = np.asarray(image if deep or image.mode == "L" else image.convert("RGB"))
    except UnfoldError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise UnfoldError(f"{path} is no .mat or .npy file, nor an image that can be read") from None
    if array.ndim == 3 and not is_grey(array):
        raise UnfoldError(f"{path} is a colour image, and an image of a kernel is grey")
    return (array if array.ndim == 2 else array[..., 0]) / (65535 if deep else 255)


def _read_mat(path: Path) -> list[object]:
    """The matrices of a .mat file, in order."""
    import h5py
    from scipy.io import loadmat

    with reading(path):
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                return _read_hdf5(file, path)
        content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
        return _matrices(content[_chosen(list(content), path)])


def _read_hdf5(file: Any, path: Path) -> list[Any]:
    import h5py

    stored = file[_chosen([name for name in file if not name.startswith("#")], path)]
    if not isinstance(stored, h5py.Dataset):
        raise UnfoldError(f"{path}: {stored.name[1:]} is a struct, and kernels are matrices or a cell array of them")
    if stored.dtype == h5py.ref_dtype:
        # The file's last axis is MATLAB's first, so the order in the file is MATLAB's: column by column.
        return [transposed(file[reference]) for reference in stored[()].ravel()]
    return _matrices(transposed(stored))


def _chosen(names: list[str], path: Path) -> str:
    if "kernels" in names:
        return "kernels"
    if len(names) != 1:
        raise UnfoldError(f"{path} holds {', '.join(names) or 'nothing'}, and a variable named kernels is wanted")
    return names[0]


def _matrices(array: Array) -> list[object]:
    """A cell array column by column, as MATLAB counts; an array (kh,kw,N) along its last axis; a matrix alone."""
    if array.dtype == object:
        return list(array.ravel(order="F"))
    return list(np.moveaxis(array, 2, 0)) if array.ndim == 3 else [array]
