"""The pages whose commands are run: their blocks, and a folder in which they run.

A block says by itself what becomes of it: ```bash and ```python are run, in the order of the page; one with a title is
a file of that name; ```text is what the block before it prints, where digits may be others. A comment above a block,
<!-- not run: WHY -->, leaves it out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "first_steps.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "concepts").glob("*.md"))
_BLOCK = re.compile(
    r'(?:<!-- not run: (?P<why>[^>]+?) -->\n)?^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    page: Path
    language: str
    title: str
    why_not: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [
        Block(page, found["language"], found["title"] or "", found["why"] or "", found["text"])
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def commands(text: str) -> list[str]:
    """The lines of a shell block that call something."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run_page(page: Path, folder: Path) -> None:
    """Run all blocks of a page in a folder that looks like the project's root. AssertionError for one that fails."""
    for name in ("configs", "datasets", "pretrained", "scripts", "tasks"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    for name, options in (("unfold", "-m unfold"), ("torchrun", "-m torch.distributed.run"), ("python", "")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
        script.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "UNFOLD_CACHE": str(folder / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("UNFOLD_DATA", None)
    printed = ""
    for block in blocks(page):
        if block.why_not:
            continue
        if block.title:
            (folder / block.title).write_text(block.text)
        elif block.language in ("bash", "python"):
            words = ["bash", "-e", "-c"] if block.language == "bash" else [sys.executable, "-c"]
            done = subprocess.run(
                [*words, block.text], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{page.name}:\n{block.text}\n{done.stdout}\n{done.stderr}"
            printed = done.stdout
        elif block.language == "text":
            for line in block.text.splitlines():
                assert _shape(line) in _shape(printed), f"{page.name} shows {line!r}, and this was printed:\n{printed}"


def _shape(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "0", text)
