"""An outside project against an installed wheel: nothing in the package is written or edited."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene

ROOT = Path(__file__).parents[2]


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_a_project_works_with_an_installed_wheel_whose_files_stay_as_they_are(tmp_path: Path, pictures: Path) -> None:
    site, source = tmp_path / "site", tmp_path / "source"
    source.mkdir()
    for name in ("unfold", "pretrained"):  # a copy: building leaves files beside the source
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, str(source)], check=True, capture_output=True, text=True)
    for path in sorted(site.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = digests(site)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: object, where: Path = tmp_path) -> str:
        words = [sys.executable, "-m", "unfold", *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=where)
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = subprocess.run(
        [sys.executable, "-c", "import unfold; print(unfold.__file__)"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    assert place.stdout.startswith(str(site))
    project = tmp_path / "project"
    run("new", project)
    small = [
        "MODEL.ARGS.stages",
        "2",
        "MODEL.ARGS.features",
        "4",
        "TRAIN.EPOCHS",
        "1",
        "TRAIN.PATCHES",
        "2",
        "TRAIN.BATCH",
        "2",
        "TRAIN.PATCH",
        "16",
    ]
    data = [word for key in ("TRAIN", "VAL", "TEST") for word in (f"DATA.{key}", str(pictures))]
    run("train", "--config", "recipe.yaml", *small, *data, where=project)
    weights = "runs/holes/checkpoints/last.pth"
    run("test", "--config", "recipe.yaml", "--weights", weights, *small, *data, where=project)
    Image.fromarray(scene(40, 30, seed=2)).save(project / "a.png")
    Image.fromarray(np.full((40, 30), 255, np.uint8)).save(project / "mask.png")
    told = ("--weights", weights, "--model", "ista.py:ISTANet", "--input", "mask=mask.png")
    run("restore", "a.png", "-o", "b.png", *told, where=project)
    run("trace", "a.png", "-o", "traced", *told, where=project)
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_project.py"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=project,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout
    assert digests(site) == before
