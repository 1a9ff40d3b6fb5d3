"""What commit bbfdcae wrote is still read, goes on and gives the numbers that it gave: see tests/pinned/make.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unfold
from tests.pinned.expected import RUNS, TABLE, crops, ending, outputs, table_of
from tests.pinned.made_up import PINNED, SETS, make_data, picture
from unfold.data.stores.image_stores import Window
from unfold.data.stores.patch_cache import PatchCache
from unfold.tables import work_plan

Command = Callable[..., tuple[int, str, str]]
EXPECTED = json.loads((PINNED / "expected.json").read_text())
CLOSE: dict[str, Any] = {"rel": 1e-6, "abs": 1e-6}


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures and kernels that the pinned files were made of."""
    make_data(tmp_path / "data")
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "data"))


def resumed(name: str, config: str, tmp_path: Path, command: Command) -> dict[str, Any]:
    """The end of a pinned run, of which a copy is resumed by that recipe."""
    folder = tmp_path / "run"
    shutil.copytree(PINNED / name, folder)
    recipe = folder / "config.yaml" if config == "its own config" else PINNED / f"{name}.yaml"
    code, _, err = command("train", "--config", recipe, "--resume", "OUTPUT", folder)
    assert code == 0, err
    assert len(json.loads((folder / "environment.json").read_text())) == 2, "the first start is kept"
    return ending(folder)


@pytest.mark.parametrize("config", ["its own config", "the recipe of then"])
@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_stopped_inside_an_epoch_goes_on_to_the_end_that_it_had(
    name: str, config: str, tmp_path: Path, command: Command
) -> None:
    found, expected = resumed(name, config, tmp_path, command), EXPECTED["runs"][name]
    assert found["counters"] == expected["counters"]
    assert [(row["epoch"], row["step"]) for row in found["log"]] == [
        (row["epoch"], row["step"]) for row in expected["log"]
    ]
    assert found["best"] == pytest.approx(expected["best"], **CLOSE)
    for row, before in zip(found["log"], expected["log"], strict=True):
        assert row == pytest.approx(before, **CLOSE)
    assert found["validation"]["step"] == expected["validation"]["step"]
    assert found["validation"]["psnr"] == pytest.approx(expected["validation"]["psnr"], **CLOSE)
    assert found["weights"].keys() == expected["weights"].keys()
    for key, sums in expected["weights"].items():
        assert found["weights"][key] == pytest.approx(sums, **CLOSE), key


def test_old_checkpoints_and_a_converted_one_load_by_themselves_and_restore_what_they_restored() -> None:
    with np.load(PINNED / "outputs.npz") as expected:
        for name, found in outputs().items():
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found, expected[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_an_old_patch_cache_holds_the_pictures_and_gives_the_crops_that_it_gave() -> None:
    cache = PatchCache(PINNED / "pairs.h5")
    for kind in ("input", "target"):
        sizes, seed = SETS[f"pairs/{kind}"]
        for i, size in enumerate(sizes):
            assert np.array_equal(cache.crop(i, Window(0, 0, *size))[kind], picture(*size, seed=seed + i))
    with np.load(PINNED / "outputs.npz") as expected:
        for name, found in crops(PINNED / "pairs.h5").items():
            assert np.array_equal(found, expected[name]), name


def test_an_old_patch_cache_is_kept_as_the_cache_of_its_files(tmp_path: Path, command: Command) -> None:
    path = shutil.copy(PINNED / "pairs.h5", tmp_path)
    code, out, err = command("data", "prepare", "cache", "pairs", "-o", path)
    assert (code, err) == (0, "")
    assert "0 of 2 pairs decoded now" in out
    assert Path(path).read_bytes() == (PINNED / "pairs.h5").read_bytes()


def test_scores_of_an_old_table_are_found_again_and_no_image_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    versions = EXPECTED["versions"]  # on which a score depends by intent
    monkeypatch.setattr(unfold, "__version__", versions["unfold"])
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(versions["torch"]))
    monkeypatch.setattr(work_plan, "_libraries", lambda: versions["libraries"])
    folder = tmp_path / "table"
    shutil.copytree(PINNED / "table", folder)
    code, _, err = command(*TABLE, "-o", folder)
    assert (code, err) == (0, "")
    provenance = json.loads((folder / "table.json").read_text())["provenance"]
    assert (provenance["images"], provenance["images measured now"]) == (12, 0)
    assert table_of(folder) == EXPECTED["table"]
    assert (folder / "cache.jsonl").read_bytes() == (PINNED / "table" / "cache.jsonl").read_bytes()
