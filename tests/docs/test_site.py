"""The site is built strictly, asks nothing of other machines, and its search finds what people look for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts import docs_hook as hook
from scripts import docs_reference as reference

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-docs" / "bin" / "python"  # as scripts/docs makes it
PYTHON = str(TOOLS) if TOOLS.exists() else sys.executable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TOOLS.exists() and find_spec("mkdocs") is None, reason="no mkdocs: run scripts/docs once"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    reference.write(hook.REFERENCE)
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    environment.pop("PYTHONPATH", None)
    command = [PYTHON, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_loads_anything_from_another_machine(site: Path) -> None:
    for page in [*site.rglob("*.html"), *site.rglob("*.css")]:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]* src="?([^" >]+)', text)
        loaded += re.findall(r'<link[^>]* href="?([^" >]+)', text) + re.findall(r"url\(['\"]?([^'\")]+)", text)
        outside = [one for one in loaded if re.match(r"(https?:)?//", one)]
        assert not outside, f"{page.relative_to(site)} loads {outside}"


def test_every_page_is_there_and_equations_are_drawn(site: Path) -> None:
    for page in [*hook.outside(), *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]:
        place = site / hook.site_place(page)
        name = place.parent / "index.html" if place.name == "README.md" else place.with_suffix(".html")
        assert name.is_file(), page
    loop = (site / "concepts" / "the_loop.html").read_text(encoding="utf-8")
    assert "<math" in loop
    for page in site.rglob("concepts/*.html"):
        text = page.read_text(encoding="utf-8")
        assert "arithmatex" not in text
        assert not re.search(r"<m\w+>\\", text), f"{page.name}: a command of LaTeX that was not understood"


def test_the_search_finds_settings_parts_functions_and_words(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    found = {
        word: {
            entry["location"].partition("#")[0]
            for entry in index
            if word in f"{entry['title']} {entry['text']}".lower()
        }
        for word in (
            "augmentation",
            "early stopping",
            "receptive field",
            "train.ema",
            "closed_form",
            "--resume",
            "psnr",
        )
    }
    assert "guides/train.html" in found["augmentation"] & found["early stopping"]
    assert "concepts/priors.html" in found["receptive field"]
    assert "reference/settings.html" in found["train.ema"]
    assert "reference/parts.html" in found["closed_form"]
    assert "reference/commands.html" in found["--resume"]
    assert "reference/python/metrics.html" in found["psnr"]
