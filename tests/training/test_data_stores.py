"""A run is the same by every store of decoded images, and shares one with all processes of the machine."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.ranks import commands, ended, start
from tests.synthetic import scene
from unfold.config import load_config
from unfold.data.images import read_uint8
from unfold.data.patches import MemoryStore
from unfold.data.stores import choose_store
from unfold.data.stores.fingerprint import fingerprint
from unfold.degradations.degradation import Degradation
from unfold.training.checkpoint import read_run
from unfold.training.setup.build_run import build_trainer
from unfold.training.setup.environment import read_starts

COUNT = 12


@pytest.fixture
def recipe(recipe: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training set of its own, whose images are decoded when they are first needed."""
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose_store, "SMALL", -1)
    (tmp_path / "set").mkdir()
    for i in range(COUNT):
        Image.fromarray(scene(40 + i, 50, seed=i)).save(tmp_path / "set" / f"{i}.png")
    recipe.write_text(
        recipe.read_text()
        .replace(f"TRAIN: {pictures}", f"TRAIN: {tmp_path / 'set'}")
        .replace("CHES: 6", "CHES: 8, VALIDATE_EVERY: 2")
    )
    return recipe


def built(recipe: Path, *words: str, **how: Any) -> Any:
    return build_trainer(load_config(recipe, words), **how)


def weights(folder: Path) -> dict[str, Any]:
    return read_run(folder / "checkpoints" / "last.pth").state


def data_of(recipe: Path) -> dict[str, Any]:
    images = [{"target": read_uint8(recipe.parent / "set" / f"{i}.png")} for i in range(COUNT)]
    return {"images": COUNT, "sha256": fingerprint(MemoryStore(images))}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_run_ends_in_the_same_weights_by_every_store_and_any_number_of_workers(recipe: Path, tmp_path: Path) -> None:
    found = []
    for place, workers in (("memory", 2), ("disk", 2), ("files", 0)):
        folder = tmp_path / f"{place}{workers}"
        built(recipe, "OUTPUT", str(folder), "DATA.STORE", place, "TRAIN.WORKERS", str(workers)).fit()
        found.append(weights(folder))
        assert read_starts(folder)[-1]["data"] == data_of(recipe), "noted when all images had been decoded"
    for other in found[1:]:
        assert all(torch.equal(value, other[name]) for name, value in found[0].items())


def test_a_check_writes_nothing_into_the_cache(
    recipe: Path, command: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = sorted(tmp_path.rglob("*"))
    code, *_ = command("train", "--check", "--config", recipe, "DATA.STORE", "disk")
    assert code == 0
    assert "decoded: each time, from their files" in caplog.text
    assert sorted(tmp_path.rglob("*")) == before


def test_a_resume_knows_the_images_without_decoding_them_and_notices_others(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = built(recipe)
    assert "sha256" not in read_starts(tmp_path / "run")[-1]["data"]
    run.fit(until=1)
    assert "sha256" not in read_starts(tmp_path / "run")[-1]["data"], "not all images were needed by then"
    run.fit(until=2)
    assert read_starts(tmp_path / "run")[-1]["data"] == data_of(recipe)
    again = built(recipe, resume=True)
    assert not again.loader.dataset.store.complete()
    assert read_starts(tmp_path / "run")[-1]["data"] == data_of(recipe)
    (tmp_path / "set").rename(tmp_path / "moved")
    caplog.set_level(logging.INFO)
    moved = ["DATA.TRAIN", str(tmp_path / "moved")]
    built(recipe, *moved, resume=True)
    assert f"DATA.TRAIN is {tmp_path / 'moved'} and was {tmp_path / 'set'}: the images are the same" in caplog.text
    Image.fromarray(scene(40, 50, seed=77)).save(tmp_path / "moved" / "0.png")
    built(recipe, *moved, resume=True)
    assert "holds other images than when this run was last started" in caplog.text


def test_the_processes_of_a_run_decode_each_image_once_together(recipe: Path, tmp_path: Path) -> None:
    words = ["DATA.STORE", "memory", "TRAIN.BATCH", "6", "TRAIN.PATCHES", "24"]
    argv = ["train", "--config", str(recipe), *words]
    ranks = start(2, tmp_path / "logs", counted, argv, tmp_path / "decoded")
    for code, _, err in ended(ranks, tmp_path / "logs"):
        assert code == 0, err
    decoded = (tmp_path / "decoded").read_text().split()
    assert sorted(set(decoded)) == sorted(str(i) for i in range(COUNT))
    assert len(decoded) == COUNT + 2, "each once, and the first by each process to see what it is like"


def counted(argv: list[str], log: Path) -> int:
    read = Degradation.read

    def noting(self: Degradation, source: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{source.stem}\n")
        return read(self, source)

    noting.__module__, noting.__qualname__ = read.__module__, read.__qualname__
    Degradation.read = noting  # type: ignore[method-assign]
    choose_store.SMALL = -1
    return commands(argv)


KILLED = """
import os, signal, sys
from unfold.data.stores import choose_store, pixel_file
from unfold.cli import main
choose_store.SMALL, put, left = -1, pixel_file.PixelFile.put, [5]
def killing(self, slot, images):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(self, slot, images)
if sys.argv[1] == "kill":
    pixel_file.PixelFile.put = killing
sys.exit(main(sys.argv[2:]))
"""


def test_a_run_that_is_killed_amid_the_first_filling_goes_on_to_the_same_end(recipe: Path, tmp_path: Path) -> None:
    def run(how: str, folder: str, *words: str) -> int:
        argv = ["train", "--config", recipe, "OUTPUT", tmp_path / folder, "DATA.STORE", "disk", "TRAIN.SAVE_EVERY", "1"]
        call = [sys.executable, "-c", KILLED, how, *argv, *words]
        return subprocess.run(
            call, check=False, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ).returncode

    assert run("kill", "killed") == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoints" / "last.pth").exists()
    assert run("on", "killed", "--resume") == 0
    built(recipe, "OUTPUT", str(tmp_path / "whole"), "TRAIN.SAVE_EVERY", "1").fit()
    one, other = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    starts = json.loads((tmp_path / "killed" / "environment.json").read_text())
    assert starts[-1]["step"] > 0
    assert starts[-1]["data"] == data_of(recipe)
