"""The package opens its door quickly, and the house is in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import unfold

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "torchvision", "cv2", "skimage", "h5py", "numpy", "scipy")


@pytest.mark.parametrize(
    "code",
    [
        "import unfold",
        "import unfold; dir(unfold); unfold.__version__",
        "from unfold.cli import parser; parser().format_help()",
        "from unfold.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_importing_and_asking_for_help_loads_nothing_heavy(code: str) -> None:
    check = f"{code}\nimport sys\nprint('loaded:', [m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("loaded: []\n")


def test_the_public_face_is_there() -> None:
    for name in unfold.__all__:
        assert getattr(unfold, name) is not None
    assert callable(unfold.metrics.psnr)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unfold.nothing  # noqa: B018


@pytest.mark.parametrize("script", sorted(ROOT.glob("tasks/*/t*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_task_scripts_are_thin_and_are_the_command_line(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 15
    arguments = ["--config", "nowhere.yaml"] + (["--weights", "nowhere"] if script.stem == "test" else [])
    result = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"unfold {script.stem}: config nowhere.yaml")


def test_imports_point_one_way() -> None:
    """cli -> training, report -> protocols, data -> models -> steps, priors, physics, metrics."""
    rank = {"cli": 0, "training": 1, "report": 1, "protocols": 2, "checkpoints": 3, "data": 3, "device": 3, "models": 4}
    rank |= dict.fromkeys(("steps", "priors", "physics", "metrics"), 5)
    for path in (ROOT / "unfold").rglob("*.py"):
        part = path.relative_to(ROOT / "unfold").parts[0].removesuffix(".py")
        for line in path.read_text().splitlines():
            if line.strip().startswith("from unfold.") and part in rank:
                other = line.split()[1].split(".")[1]
                assert rank.get(other, rank[part]) >= rank[part], f"{path}: {line}"
