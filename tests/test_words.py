"""Words that the project avoids (they have plainer ones in the field's language) stand nowhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Files whose texts are not checked: the changelog says what was once said, and this file names the words.
EXEMPT = ("CHANGELOG.md", "tests/test_words.py")
BINARY = (".npz", ".png", ".jpg", ".h5", ".safetensors", ".ttf", ".pth", ".mat")
WORDS = re.compile(
    r"\b(?:tells?|told|telling|heed(?:s|ed|ing)?|mend(?:s|ed|ing)?|hinder(?:s|ed|ing)?|for ever|in vain)\b"
    r"|what cannot be(?! \w)|_(?:tells?|told|heeds?|heeded)(?=_|\b)|in_vain|\b(?:tells?|told|heeds?|heeded)_",
    re.IGNORECASE,
)
ALLOWED = (r"\.tell\(\)", r"def tell\(self\)")  # the position in a file, as Python calls it


def tracked() -> list[str]:
    """The texts of the project: code, tests, recipes and every page."""
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = git.stdout.split("\n")[:-1]
    return [name for name in names if name not in EXEMPT and not name.endswith(BINARY)]


def found_in(text: str) -> list[str]:
    for allowed in ALLOWED:
        text = re.sub(allowed, "", text)
    return [f"{i}: {line.strip()[:100]}" for i, line in enumerate(text.splitlines(), 1) if WORDS.search(line)]


def test_avoided_words_stand_nowhere() -> None:
    files = tracked()
    if not files:
        pytest.skip("no checkout of git")
    assert {"README.md", "docs/training.md", "tasks/sr/README.md", "pretrained/README.md"} <= set(files)
    wrong = []
    for name in files:
        if (path := ROOT / name).is_file():
            wrong += [f"{name}:{line}" for line in found_in(path.read_text(encoding="utf-8", errors="ignore"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("# the rest is told", True),
        ("told = 1", True),
        ("def test_it_is_told() -> None:", True),
        ("rate.in_vain(3)", True),
        ("UnfoldError for what cannot be.", True),
        ("for everything, recommended, amended, intellectual", False),
        ("place = file.tell()", False),
        ("what cannot be read", False),
    ],
)
def test_words_are_found_where_they_stand(text: str, wrong: bool) -> None:
    assert bool(found_in(text)) == wrong
