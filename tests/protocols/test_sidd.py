"""SIDD's validation blocks: found in both kinds of file, averaged over turns, scored and saved as they should be."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from tests import narrow
from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.evaluation.run_protocol import evaluate
from unfold.metrics import ssim
from unfold.models.run_on_arrays import network
from unfold.models.self_ensemble import ensembled
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.sidd import CLEAN, NOISY, SIDD

Command = Callable[..., tuple[int, str, str]]


def made(seed: int) -> np.ndarray:
    """Blocks [2,3,32,40,3], all different."""
    return np.stack([scene(32, 40, seed + i) for i in range(6)]).reshape(2, 3, 32, 40, 3)


def compressed(path: Path, content: dict[str, Any]) -> None:
    savemat(path, content, do_compression=True)


def hdf5(path: Path, content: dict[str, Any]) -> None:
    """As MATLAB 7.3 stores arrays: HDF5 with the axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in content.items():
            file.create_dataset(name, data=value.T, chunks=True, compression="gzip")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "sidd"
    root.mkdir()
    savemat(root / f"{NOISY}.mat", {NOISY: made(0)})
    savemat(root / f"{CLEAN}.mat", {CLEAN: made(100)})
    return root


@pytest.mark.parametrize("write", [savemat, compressed, hdf5])
def test_every_block_is_a_case_with_its_reference(write: Callable[..., None], folder: Path) -> None:
    write(folder / f"{NOISY}.mat", {"other": np.ones(3), NOISY: made(0)})
    write(folder / f"{CLEAN}.mat", {CLEAN: made(100)})
    cases = SIDD().cases(str(folder))
    assert [case.name for case in cases] == ["0001_01", "0001_02", "0001_03", "0002_01", "0002_02", "0002_03"]
    for i, case in enumerate(cases):
        sample = SIDD().sample(case)
        assert sample.inputs["y"].dtype == np.float32
        assert np.array_equal(sample.inputs["y"], scene(32, 40, i) / np.float32(255))
        assert sample.target is not None
        assert np.array_equal(sample.target, scene(32, 40, 100 + i))


def test_results_are_compared_in_rgb_without_rounding(folder: Path) -> None:
    protocol = SIDD(ensemble=1)
    result, *_ = evaluate(protocol, lambda given: given["y"] + np.float32(0.3), protocol.cases(str(folder)))
    expected = np.minimum(scene(32, 40, 0) / np.float32(255) + np.float32(0.3), 1)
    assert expected.max() == 1
    assert np.array_equal(result.image, expected)
    target = scene(32, 40, 100) / 255
    assert result.scores["psnr"] == pytest.approx(-10 * math.log10(np.square(expected - target).mean()), abs=1e-9)
    assert result.scores["ssim"] == pytest.approx(ssim(expected.astype(np.float64), target, kind="matlab3d"), abs=1e-9)


def test_the_ensemble_of_what_knows_no_direction_is_the_plain_result() -> None:
    def blur(given: dict[str, Any]) -> np.ndarray:
        y = np.pad(given["y"], ((1, 1), (1, 1), (0, 0)), mode="edge")
        return (y[1:-1, :-2] + y[1:-1, 2:] + y[:-2, 1:-1] + y[2:, 1:-1]) / np.float32(4)

    y = np.random.default_rng(0).random((5, 8, 3), np.float32)
    assert np.allclose(ensembled(blur, 8)({"y": y}), blur({"y": y}), atol=1e-6)
    assert ensembled(blur, 1) is blur


def test_the_ensemble_is_the_mean_over_the_eight_symmetries_before_clamping() -> None:
    """For a method that adds a ramp and cuts a corner, every one of the eight written out by transposes and flips."""
    sides = []

    def method(given: dict[str, Any]) -> np.ndarray:
        height, width = given["y"].shape[:2]
        sides.append((height, width))
        ramp = np.arange(height)[:, None] * 3.0 + np.arange(width)[None] ** 2 + given["strength"]
        return given["y"] * ramp[..., None].astype(np.float32) - 7

    def flip(x: np.ndarray, rows: bool, columns: bool) -> np.ndarray:
        return x[:: -1 if rows else 1, :: -1 if columns else 1]

    y = np.random.default_rng(0).random((5, 8, 3), np.float32)
    results = []
    for rows in (False, True):
        for columns in (False, True):
            results.append(flip(method({"y": flip(y, rows, columns), "strength": 2}), rows, columns))
            turned = flip(y, rows, columns).transpose(1, 0, 2)
            results.append(flip(method({"y": turned, "strength": 2}).transpose(1, 0, 2), rows, columns))
    sides.clear()
    found = ensembled(method, 8)({"y": y, "strength": 2})
    assert found.dtype == np.float32
    assert np.allclose(found, np.mean(results, axis=0), atol=1e-5)
    assert not np.allclose(found, results[0], atol=1)
    assert sorted(sides) == [(5, 8)] * 4 + [(8, 5)] * 4


def test_the_option_decides_how_often_a_network_runs(folder: Path) -> None:
    run = network(narrow.narrow("dgunet_deblur"), torch.device("cpu"))
    for number in (1, 8):
        calls = []

        def counted(given: dict[str, Any], calls: list[int] = calls) -> np.ndarray:
            calls.append(1)
            return run(given)

        protocol = SIDD(number)
        case, *_ = protocol.cases(str(folder))
        (result,) = evaluate(protocol, counted, [case])
        assert len(calls) == number
        plain = ensembled(run, number)(protocol.sample(case).inputs)
        assert plain.max() > 1 or plain.min() < 0
        assert np.array_equal(result.image, plain.clip(0, 1))


def test_the_saved_file_is_one_array_of_all_blocks(folder: Path, command: Command, tmp_path: Path) -> None:
    out, numbers = tmp_path / "out", tmp_path / "numbers.json"
    given = ("test", "--protocol", "sidd:ensemble=1", "--data", folder, "--model", "identity", "--device", "cpu")
    code, table, err = command(*given, "--output", out, "--json", numbers)
    assert (code, err) == (0, "")
    assert [path.name for path in out.iterdir()] == ["Idenoised.mat"]
    head = (out / "Idenoised.mat").read_bytes()[:128]
    assert head.startswith(b"MATLAB 7.3 MAT-file")
    assert head[124:] == b"\x00\x02IM"
    with h5py.File(out / "Idenoised.mat") as file:
        stored = file["Idenoised"]
        assert stored.attrs["MATLAB_class"] == b"single"
        assert stored.dtype == np.float32
        assert np.array_equal(stored[()].T, made(0) / np.float32(255))
    found = json.loads(numbers.read_text())
    assert found["protocol"] == {"name": "sidd", "version": 1, "options": {"ensemble": 1}}
    assert [row["options"] for row in found["images"]] == [{}] * 6
    errors = np.square(made(0) / 255 - made(100) / 255).mean(axis=(2, 3, 4))
    assert found["mean"]["psnr"] == pytest.approx((-10 * np.log10(errors)).mean(), abs=1e-5)
    assert f"{found['mean']['psnr']:.3f}" in table.splitlines()[-2]


def test_a_run_that_fails_leaves_no_half_file(folder: Path, tmp_path: Path) -> None:
    protocol = SIDD(ensemble=1)
    cases = protocol.cases(str(folder))
    seen = []

    def method(given: dict[str, Any]) -> np.ndarray:
        seen.append([path.name for path in tmp_path.iterdir() if path.is_file()])
        return given["y"] * (np.nan if len(seen) > 2 else 1)

    def run() -> None:
        with protocol.saving(tmp_path, cases) as save:
            for result in evaluate(protocol, method, cases):
                save(result.image, result.case)

    with pytest.raises(UnfoldError, match=r"\(0001_03\): the result is not finite"):
        run()
    assert seen == [[".Idenoised.mat.part"]] * 3
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_pictures_are_let_go_while_a_set_runs(
    pictures: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hundreds of results of a large set would not fit into memory together."""
    alive: list[Any] = []

    def save(self: object, result: np.ndarray, case: object, folder: object) -> None:
        assert [image() is not None for image in alive[:-1]] == [False] * len(alive[:-1])
        alive.append(weakref.ref(result))

    monkeypatch.setattr(GaussianDenoising, "save", save)
    given = ("test", "--protocol", "gaussian_denoise", "--data", pictures, "--model", "identity", "--device", "cpu")
    assert command(*given, "--output", tmp_path / "out")[0] == 0
    assert len(alive) == 3


def test_a_network_runs_by_the_command_line(folder: Path, command: Command, tmp_path: Path) -> None:
    given = ("--data", folder, "--weights", narrow.saved("dgunet_deblur", tmp_path / "net.pth"), "--device", "cpu")
    code, table, err = command("test", "--protocol", "sidd", *given)
    assert (code, err) == (0, "")
    assert len(table.splitlines()) == 10


def test_files_that_are_missing_or_something_else_are_reported(folder: Path) -> None:
    def message(name: str, content: bytes | dict[str, Any] | None, write: Callable[..., None] = savemat) -> str:
        path = folder / f"{name}.mat"
        before = path.read_bytes()
        if content is None:
            path.unlink()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write(path, content)
        with pytest.raises(UnfoldError) as error:
            SIDD().cases(str(folder))
        path.write_bytes(before)
        assert "\n" not in str(error.value)
        assert name in str(error.value)
        return str(error.value)

    assert "there is no" in message(CLEAN, None)
    assert "damaged or no .mat file" in message(NOISY, b"nothing of the kind" * 20)
    whole = (folder / f"{NOISY}.mat").read_bytes()
    assert "damaged or no .mat file" in message(NOISY, whole[: len(whole) // 2])
    for write in (savemat, hdf5):
        assert f"holds other, and {CLEAN} is wanted" in message(CLEAN, {"other": made(0)}, write)
        assert "is float64 [2, 3, 32, 40, 3], not uint8" in message(NOISY, {NOISY: made(0) / 255}, write)
        assert "is uint8 [3, 32, 40, 3], not" in message(NOISY, {NOISY: made(0)[0]}, write)
    savemat(folder / f"{CLEAN}.mat", {CLEAN: made(0)[:1]})
    with pytest.raises(UnfoldError, match=r"noisy blocks are \[2, 3, 32, 40, 3\] and the clean \[1, 3, 32, 40, 3\]"):
        SIDD().cases(str(folder))
    with pytest.raises(UnfoldError, match="ensemble is 8"):
        SIDD(4)
