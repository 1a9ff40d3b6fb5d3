"""Kernel files are read as they are, and anything else is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from unfold.data.formats.kernel_files import read_kernels
from unfold.errors import UnfoldError
from unfold.inference.kernel_and_noise import named_kernel


def made(*shapes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random(shape) - 0.1 for shape in shapes]


def cells(kernels: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    array = np.empty(len(kernels), dtype=object)
    array[:] = kernels
    return array.reshape(shape, order="F")


def write_v73(path: Path, variables: dict[str, Any]) -> None:
    """A MATLAB 7.3 file: HDF5 behind a block of 512 bytes, axes reversed, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:

        def put(group: h5py.Group, name: str, value: np.ndarray) -> h5py.Dataset:
            dataset = group.create_dataset(name, data=value.T)
            dataset.attrs["MATLAB_class"] = np.bytes_(b"double")
            return dataset

        for name, value in variables.items():
            if value.dtype != object:
                put(file, name, value)
                continue
            references = file.create_dataset(name, value.T.shape, dtype=h5py.ref_dtype)
            references.attrs["MATLAB_class"] = np.bytes_(b"cell")
            hidden = file.require_group("#refs#")
            for place in np.ndindex(value.shape):
                references[place[::-1]] = put(hidden, f"{name}{place}", value[place]).ref
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


@pytest.mark.parametrize("write", [savemat, write_v73])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kernels_of_mat_files_come_as_matlab_shows_them(write: Any, dtype: type, tmp_path: Path) -> None:
    kernels = [kernel.astype(dtype) for kernel in made((5, 3), (4, 7), (1, 9), (3, 3))]
    for value, expected in (
        (cells(kernels, (1, 4)), kernels),
        (cells(kernels, (4, 1)), kernels),
        (cells(kernels, (2, 2)), kernels),
        (kernels[0], kernels[:1]),
        (np.stack([kernels[0], kernels[0] + 1], axis=2), [kernels[0], kernels[0] + 1]),
    ):
        write(tmp_path / "a.mat", {"kernels": value, "other": kernels[1]})
        write(tmp_path / "b.mat", {"psf": value})
        for name in "ab":
            found = read_kernels(tmp_path / f"{name}.mat")
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                assert a.dtype == np.float64
                assert np.array_equal(a, b)


def test_a_kernel_of_a_npy_file_comes_as_it_is(tmp_path: Path) -> None:
    for kernel in (made((3, 5))[0], np.asfortranarray(made((3, 5))[0]), np.eye(3, dtype=np.float16)):
        np.save(tmp_path / "k.npy", kernel)
        (found,) = read_kernels(tmp_path / "k.npy")
        assert found.dtype == np.float64
        assert np.array_equal(found, kernel)


def test_images_that_kernels_would_be_misread_from_are_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    Image.fromarray(values / values.sum()).save(tmp_path / "float.tif")
    Image.fromarray(np.uint8(255 * values)).convert("LA").save(tmp_path / "alpha.png")
    for name, mode in (("float.tif", "F"), ("alpha.png", "LA")):
        with pytest.raises(UnfoldError, match=f"{name} is of kind {mode}, and an image of a kernel is grey"):
            read_kernels(tmp_path / name)


def test_kernels_of_images_come_over_the_largest_value(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    for mode in ("L", "RGB", "P"):
        Image.fromarray(values).convert(mode).save(tmp_path / "k.png")
        (kernel,) = read_kernels(tmp_path / "k.png")
        assert np.array_equal(kernel, values / 255)
    deep = values.astype(np.uint16) * 257 - 1
    deep[values == 0] = 0
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_kernels(str(tmp_path / "deep.png"))[0], deep / 65535)


@pytest.mark.parametrize("write", [savemat, write_v73])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.full((3, 3), np.nan), "kernel 1 of 1: it has values that are not finite"),
        (-np.ones((3, 3)), "kernel 1 of 1: its sum is -9"),
        (np.zeros((3, 3)), "its sum is 0"),
        (cells([np.ones((3, 3)), np.ones((2, 2, 2))], (1, 2)), "kernel 2 of 2: a kernel is a matrix of numbers, not"),
        (np.ones((3, 3, 0)), "holds no kernels"),
        (np.ones((3, 3)) * 1j, "a kernel is a matrix of numbers, not"),
    ],
)
def test_what_is_no_kernel_is_refused(write: Any, value: np.ndarray, message: str, tmp_path: Path) -> None:
    write(tmp_path / "k.mat", {"kernels": value})
    with pytest.raises(UnfoldError, match=message) as error:
        read_kernels(tmp_path / "k.mat")
    assert "\n" not in str(error.value)


def test_files_that_hold_no_kernels_are_refused(tmp_path: Path) -> None:
    kernel = made((3, 3))[0]
    savemat(tmp_path / "two.mat", {"a": kernel, "b": kernel})
    savemat(tmp_path / "struct.mat", {"kernels": {"a": kernel}})
    savemat(tmp_path / "cut.mat", {"kernels": np.random.default_rng(0).random((50, 50))})
    (tmp_path / "cut.mat").write_bytes((tmp_path / "cut.mat").read_bytes()[:3000])
    write_v73(tmp_path / "cut73.mat", {"kernels": kernel})
    (tmp_path / "cut73.mat").write_bytes((tmp_path / "cut73.mat").read_bytes()[:1500])
    with h5py.File(tmp_path / "struct73.mat", "w") as file:
        file.create_group("kernels")
    (tmp_path / "text.mat").write_text("no kernel")
    (tmp_path / "empty.mat").write_bytes(b"")
    (tmp_path / "text.png").write_text("no kernel")
    for name, value in {"whole": kernel, "objects": np.array([None]), "several": np.ones((2, 3, 3))}.items():
        np.save(tmp_path / f"{name}.npy", value)
    whole = (tmp_path / "whole.npy").read_bytes()
    for name, content in {
        "text": b"no kernel",
        "empty": b"",
        "cut": whole[:-1],
        "torn": whole.replace(b"(3, 3)", b"(((((("),
        "negative": whole.replace(b"(3, 3)", b"(-3,3)"),
        "untyped": whole.replace(b"'<f8'", b"()   "),
        "vast": whole.replace(b"(3, 3), }     ", b"(99999999, 3)}"),
    }.items():
        (tmp_path / f"{name}.npy").write_bytes(content)
    colours = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    for name, message in {
        "nowhere.mat": "there is no kernel file",
        "two.mat": "holds a, b, and a variable named kernels is wanted",
        "struct.mat": "a kernel is a matrix of numbers",
        "struct73.mat": "kernels is a struct",
        "cut.mat": "damaged or no .mat file",
        "cut73.mat": "damaged or no .mat file",
        "text.mat": "damaged or no .mat file",
        "empty.mat": "damaged or no .mat file",
        "text.png": "no .mat or .npy file, nor an image",
        "text.npy": "damaged or no .npy file",
        "empty.npy": "damaged or no .npy file",
        "cut.npy": "damaged or no .npy file",
        "torn.npy": "damaged or no .npy file",
        "negative.npy": "damaged or no .npy file",
        "untyped.npy": "damaged or no .npy file",
        "vast.npy": "damaged or no .npy file",
        "objects.npy": "damaged or no .npy file",
        "several.npy": "a kernel is a matrix of numbers, not float64 of shape",
        "colour.png": "is a colour image",
    }.items():
        with pytest.raises(UnfoldError, match=message) as error:
            read_kernels(tmp_path / name)
        assert "\n" not in str(error.value)
        assert name in str(error.value)


def test_a_variable_stands_in_the_path_of_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELS", str(tmp_path))
    np.save(tmp_path / "k.npy", np.ones((3, 3)))
    for text in ("$KERNELS/k.npy", "${KERNELS}/k.npy:1"):
        assert named_kernel(text, 1).shape == (3, 3)
    monkeypatch.delenv("KERNELS")
    with pytest.raises(UnfoldError, match="KERNELS, which is not set"):
        named_kernel("$KERNELS/k.npy", 1)
