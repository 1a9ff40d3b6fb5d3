"""The package imports quickly, and its folders are in order."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
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
        "from unfold.cli.arguments import parser; parser().format_help()",
        "from unfold.report.weights_list import format_weights; format_weights()",
        "from unfold.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass",
        "from unfold.cli import main\nassert main(['models']) == main(['models', 'usrnet']) == 0",
        "from unfold.cli import main\nassert main(['models', 'dgunet']) == 2  # no network's name",
    ],
)
def test_importing_and_asking_for_help_or_for_known_weights_loads_nothing_heavy(code: str) -> None:
    check = f"{code}\nimport sys\nprint('loaded:', [m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("loaded: []\n")


def test_the_public_face_is_there() -> None:
    for name in unfold.__all__:
        assert getattr(unfold, name) is not None
    assert callable(unfold.metrics.psnr)
    assert unfold.UnfoldError is unfold.errors.UnfoldError
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unfold.nothing  # noqa: B018


@pytest.mark.parametrize("script", sorted(ROOT.glob("tasks/*/t*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_task_scripts_are_thin_and_are_the_command_line(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 15
    arguments = ["--config", "nowhere.yaml"] + (["--weights", "nowhere"] if script.stem == "test" else [])
    result = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"unfold {script.stem}: config nowhere.yaml")


RANKS = [
    {"__main__", "template"},
    {"cli"},
    {"api"},
    {"bench"},
    {"training"},
    {"inference", "tables"},
    {"evaluation"},
    {"from_config"},
    {"report"},
    {"protocols"},
    {"degradations", "losses"},
    {"data", "weights"},
    {"models"},
    {"steps", "priors"},
    {"physics", "metrics"},
    {"config", "settings"},
    {"merge_recipes"},
    {"old_keys"},
    {"registry"},
    {"option_values"},
    {"user_files", "builtin", "facts"},
    {"util"},
    {"errors"},
]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_one_way() -> None:
    """A module imports from its own folder and from the rows below its own, and from nothing above."""
    rank = {name: i for i, row in enumerate(RANKS) for name in row}
    package = ROOT / "unfold"
    for path in package.rglob("*.py"):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for name in imported(path):
            words = [*name.split("."), "__version__"]  # `import unfold` is for its version
            if words[0] == "unfold" and words[1] not in (part, "__version__"):
                assert rank[words[1]] > rank[part], f"{path} imports {name}"


def test_rooms_are_small_and_no_name_stands_for_two_things() -> None:
    files = [path for path in (ROOT / "unfold").rglob("*.py") if "template" not in path.parts]
    names = [path.name for path in files if path.name != "__init__.py"]
    twice = {name for name in names if names.count(name) > 1}
    # The registry of parts, and that of networks, which is built on it.
    assert twice <= {"registry.py"}
    for folder in {path.parent for path in files}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 16, folder
