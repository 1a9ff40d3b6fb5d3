"""Relative links of the pages lead to files, and their anchors to headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "tasks", "datasets", "pretrained", "tests/golden", "unfold/template")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")


def text_of(page: Path) -> str:
    """Without code: fenced, by indentation, and inside a line."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    return re.sub(r"`[^`\n]*`", lambda code: code.group().replace("[", "").replace("]", ""), "\n".join(lines))


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(text_of(page)) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_to_a_heading_of_it(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_relative_to(ROOT), f"{link}: leads out of the repository"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_the_pages_have_links_to_check() -> None:
    assert len(PAGES) > 20
    assert sum(len(links(page)) for page in PAGES) > 100


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `--b`: c\n\n[x](nowhere.md) [y](page.md#a---b-c) `[z](code.md)`\n\n    [i](indented.md)\n")
    assert links(page) == ["nowhere.md", "page.md#a---b-c"]
    assert anchors(page) == {"a---b-c"}
