"""What several tests use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: networks are tiny here, and two threads would wait for each other

import torch
from PIL import Image

from tests.synthetic import scene
from unfold.cli import main

ROOT = Path(__file__).parent.parent

TINY = """
MODEL: {NAME: dgunet_denoise, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, OPERATOR_WIDTH: 4}
TRAIN: {EPOCHS: 3, PATCHES: 6, BATCH: 2, PATCH: 16}
OPTIM: {LR: 2.0e-3, WARMUP: 1}
"""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three colour pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, size in enumerate([(48, 40), (40, 56), (33, 37)]):
        Image.fromarray(scene(*size, seed=i)).save(folder / f"picture{i}.png")
    return folder


@pytest.fixture
def recipe(tmp_path: Path, pictures: Path) -> Path:
    """A recipe of a very small network on those pictures, which trains in a second."""
    path = tmp_path / "tiny.yaml"
    data = f"DATA: {{TRAIN: {pictures}, VAL: {pictures}, TEST: {pictures}}}\n"
    path.write_text(f"OUTPUT: {tmp_path / 'run'}\nDEVICE: cpu\n{data}{TINY}")
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `unfold ...` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
