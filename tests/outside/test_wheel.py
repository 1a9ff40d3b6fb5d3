"""An outside project against an installed wheel: nothing in the package is written or edited."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
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
    site, source = tmp_path / "site", copied_source(tmp_path / "source")  # a copy: building leaves files beside it
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
    expected = ("--weights", weights, "--model", "ista.py:ISTANet", "--input", "mask=mask.png")
    run("restore", "a.png", "-o", "b.png", *expected, where=project)
    run("trace", "a.png", "-o", "traced", *expected, where=project)
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


def copied_source(to: Path) -> Path:
    """What a package is built of, without what a checkout has beside it."""
    to.mkdir()
    for name in ("unfold", "pretrained"):
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.pth"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    return to


def built(what: str, source: Path, to: Path) -> Path:
    """The sdist or the wheel of a folder, by the build backend that pyproject.toml names."""
    code = f"from setuptools import build_meta; print(build_meta.build_{what}({str(to)!r}))"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return to / done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_the_sdist_makes_a_wheel_that_works_in_a_fresh_environment(tmp_path: Path) -> None:
    """From source to sdist, unpacked, to wheel, installed by pip: all files are there, and the commands run."""
    source = copied_source(tmp_path / "source")
    sdist = built("sdist", source, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel = built("wheel", unpacked, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "unfold", "pretrained/*.safetensors"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {f"unfold/{name}" if name.startswith("pretrained/") else name for name in tracked} - {"unfold/pretrained"}
    assert wanted <= packed, f"not in the wheel: {sorted(wanted - packed)}"
    assert not [name for name in packed if not name.startswith(("unfold/", "unfold_restoration-"))]

    fresh = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", fresh], check=True)
    bin_ = fresh / ("Scripts" if os.name == "nt" else "bin")
    (site,) = fresh.glob("lib/python*/site-packages")
    here = sysconfig.get_paths()["purelib"]  # what unfold depends on, without what is installed there in place
    (site / "dependencies.pth").write_text(f"{here}\n")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words: object) -> str:
        done = subprocess.run(
            [str(word) for word in words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(bin_ / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    place = run(bin_ / "python", "-c", "import unfold; print(unfold.__file__)")
    assert Path(place.strip()).is_relative_to(site)
    unfold = bin_ / "unfold"
    assert run(unfold, "--version").startswith("unfold ")
    assert "dgunet_denoise_small" in run(unfold, "weights", "list")
    Image.fromarray(scene(40, 32, seed=3)).save(tmp_path / "a.png")
    run(unfold, "restore", "a.png", "-o", "b.png", "--weights", "dgunet_denoise_small")
    assert Image.open(tmp_path / "b.png").size == (32, 40)
    run(unfold, "new", tmp_path / "project")
    assert (tmp_path / "project" / "ista.py").is_file()
    assert "usrnet_bicubic" in run(unfold, "tables", "list")
