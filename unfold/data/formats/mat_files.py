"""Read .mat files of both formats, with clear errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unfold.errors import UnfoldError
from unfold.util.arrays import Array


@contextmanager
def reading(path: Path, kind: str = ".mat") -> Iterator[None]:
    """Turn any error of a missing or damaged file into one UnfoldError."""
    if not path.is_file():
        raise UnfoldError(f"there is no {path}")
    try:
        yield
    except (UnfoldError, MemoryError):
        raise
    except Exception as error:  # damaged files raise almost any error
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UnfoldError(f"{path} is damaged or no {kind} file ({reason})") from None


def read_array(path: Path, name: str) -> Array:
    """The whole array ``name`` of a .mat file (version 5 or 7.3), with its axes in MATLAB's order.

    Raises UnfoldError for a file that is missing, damaged or has no such array.
    """
    import h5py
    from scipy.io import loadmat, whosmat

    with reading(path):
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                return transposed(stored(file, name, path))
        names = [found for found, _, _ in whosmat(path)]
        if name not in names:
            raise UnfoldError(f"{path} holds {', '.join(names) or 'nothing'}, and {name} is wanted")
        return np.asarray(loadmat(path, variable_names=[name])[name])


def stored(file: Any, name: str, path: Path) -> Any:
    """The data set ``name`` of an open HDF5 file; UnfoldError if there is none."""
    import h5py

    if name not in file or not isinstance(file[name], h5py.Dataset):
        names = ", ".join(key for key in file if not key.startswith("#"))
        raise UnfoldError(f"{path} holds {names or 'nothing'}, and {name} is wanted")
    return file[name]


def transposed(stored: Any) -> Array:
    """A numeric array as MATLAB shows it: HDF5 has reversed axes. An empty array is stored as its size."""
    if stored.attrs.get("MATLAB_empty", 0):
        return np.empty(tuple(stored[()]))
    return np.asarray(stored[()]).T
