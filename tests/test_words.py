"""Words that the project avoids (they have plainer ones in the field's language) stand nowhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Folders and files whose texts are checked. Pages join the list when they have been rewritten.
PLACES = ("unfold", "scripts", "configs", "tasks/**/*.yaml", ".ci", "pyproject.toml")
WORDS = re.compile(
    r"\b(?:tells?|told|telling|heed(?:s|ed|ing)?|mend(?:s|ed|ing)?|hinder(?:s|ed|ing)?|for ever|in vain)\b"
    r"|what cannot be(?! \w)|_(?:tells?|told|heeds?|heeded)(?=_|\b)|in_vain|\b(?:tells?|told|heeds?|heeded)_",
    re.IGNORECASE,
)
ALLOWED = (r"\.tell\(\)", r"def tell\(self\)")  # the position in a file, as Python calls it


def tracked() -> list[str]:
    git = subprocess.run(
        ["git", "ls-files", "--", *(f":(glob){place}" if "*" in place else place for place in PLACES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return git.stdout.split("\n")[:-1]


def found_in(text: str) -> list[str]:
    for allowed in ALLOWED:
        text = re.sub(allowed, "", text)
    return [f"{i}: {line.strip()[:100]}" for i, line in enumerate(text.splitlines(), 1) if WORDS.search(line)]


def test_avoided_words_stand_nowhere() -> None:
    files = tracked()
    if not files:
        pytest.skip("no checkout of git")
    wrong = []
    for name in files:
        path = ROOT / name
        if path == Path(__file__) or path.suffix in (".npz", ".png", ".jpg", ".h5", ".safetensors", ".ttf"):
            continue
        if path.is_file():
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
