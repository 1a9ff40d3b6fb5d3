"""DND: crops are cut where info.mat says, and what is written is what its server reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import loadmat

from unfold.errors import UnfoldError
from unfold.evaluation.run_protocol import evaluate
from unfold.protocols.dnd import DND

Command = Callable[..., tuple[int, str, str]]
BOXES = [np.array([[1, 1, 16, 16], [5, 9, 20, 24], [9, 21, 24, 36]]), np.array([[2, 3, 17, 18]] * 3)]


def image(i: int) -> np.ndarray:
    return np.random.default_rng(i).random((24, 36, 3), np.float32)


def write_info(path: Path, boxes: list[np.ndarray]) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_dataset("info/boundingboxes", (1, len(boxes)), dtype=h5py.ref_dtype)
        for i, rows in enumerate(boxes):
            references[0, i] = file.create_dataset(f"#refs#/{i}", data=rows.T.astype(np.float64)).ref


def write_image(path: Path, pixels: np.ndarray, name: str = "InoisySRGB") -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset(name, data=pixels.T)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "dnd"
    (root / "images_srgb").mkdir(parents=True)
    write_info(root / "info.mat", BOXES)
    for i in range(2):
        write_image(root / "images_srgb" / f"{i + 1:04d}.mat", image(i))
    return root


def test_crops_are_cut_where_the_boxes_say_ends_included(folder: Path) -> None:
    cases = DND().cases(str(folder))
    assert [case.name for case in cases] == ["0001", "0002"]
    for i, case in enumerate(cases):
        sample = DND().sample(case)
        assert sample.target is None
        assert len(sample.inputs["y"]) == 3
        for crop, (top, left, bottom, right) in zip(sample.inputs["y"], BOXES[i].tolist(), strict=True):
            assert crop.dtype == np.float32
            assert np.array_equal(crop, image(i)[top - 1 : bottom, left - 1 : right])


def test_every_crop_is_restored_by_itself_and_clamped(folder: Path) -> None:
    protocol = DND(ensemble=1)
    shapes = []

    def method(given: dict[str, Any]) -> np.ndarray:
        shapes.append(given["y"].shape)
        return 3 * given["y"] - 1

    result, other = evaluate(protocol, method, protocol.cases(str(folder)))
    assert shapes == [(16, 16, 3)] * 6
    assert result.scores == other.scores == {}
    assert np.array_equal(result.image[1], (3 * image(0)[4:20, 8:24] - 1).clip(0, 1))
    shapes.clear()
    (result,) = evaluate(DND(), method, protocol.cases(str(folder))[:1])
    assert len(shapes) == 24
    assert np.allclose(result.image[1], (3 * image(0)[4:20, 8:24] - 1).clip(0, 1), atol=1e-6)


def test_a_file_per_image_is_written_as_the_server_takes_it(folder: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("test", "--protocol", "dnd", "--data", folder, "--model", "identity", "--device", "cpu")
    code, _, err = command(*given, "--output", out)
    assert (code, err) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["0001.mat", "0002.mat"]
    for i in range(2):
        found = loadmat(out / f"{i + 1:04d}.mat")
        assert found["Idenoised"].shape == (1, 3)
        assert found["israw"].item() == 0
        assert found["eval_version"].item() == "1.0"
        for crop, (top, left, bottom, right) in zip(found["Idenoised"][0], BOXES[i].tolist(), strict=True):
            assert crop.dtype == np.float32
            assert np.allclose(crop, image(i)[top - 1 : bottom, left - 1 : right], atol=1e-6)
    code, _, err = command(*given)
    assert code == 2
    assert "dnd has no reference: give --output" in err


def test_files_that_are_missing_or_damaged_are_reported(folder: Path) -> None:
    first, info = folder / "images_srgb" / "0001.mat", folder / "info.mat"

    def message() -> str:
        with pytest.raises(UnfoldError) as error:
            DND().sample(DND().cases(str(folder))[0])
        assert "\n" not in str(error.value)
        return str(error.value)

    write_image(first, image(0), "Inoisy")
    assert message() == f"{first} holds Inoisy, and InoisySRGB is wanted"
    write_image(first, image(0)[..., 0])
    assert "InoisySRGB is float32 [24, 36], and a colour image" in message()
    write_image(first, np.full((24, 36, 3), np.nan, np.float32))
    assert "values that are not finite" in message()
    write_image(first, image(0)[:23])
    assert "is 36x23, and its box [9, 21, 24, 36] is not inside" in message()
    write_image(first, image(0))
    first.write_bytes(first.read_bytes()[:1500])
    assert f"{first} is damaged or no .mat file" in message()
    first.unlink()
    assert message() == f"there is no {first}, one of the 2 images of {info}"
    write_image(first, image(0))
    write_info(info, [BOXES[0][:, :3], BOXES[1]])
    assert "the boxes of image 1 are [3, 3], not [20, 4]" in message()
    write_info(info, [BOXES[0] - 1, BOXES[1]])
    assert "its box [0, 0, 15, 15] is not inside" in message()
    with h5py.File(info, "w") as file:
        file.create_group("info")
    assert "holds info, and info/boundingboxes is wanted" in message()
    info.unlink()
    assert message() == f"there is no {info}"
    with pytest.raises(UnfoldError, match="ensemble is 8"):
        DND(2)
