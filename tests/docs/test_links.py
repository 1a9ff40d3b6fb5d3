"""Every link of a page leads somewhere, in the repository and on the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from scripts import docs_hook as hook

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in hook.outside()] + sorted((ROOT / "docs").rglob("*.md"))
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for _, link, _ in hook.LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_to_a_heading_of_it(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_file() or (target / "README.md").is_file(), f"{link}: a folder without a README.md"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_is_to_the_same_file_on_the_site(page: Path) -> None:
    uri = hook.site_place(str(page.relative_to(ROOT)))
    for link in links(page):
        if link.startswith("#"):
            continue
        moved, target = hook.moved(uri, link)
        path = moved.partition("#")[0]
        here = (Path("/site") / uri).parent / path
        assert Path(hook.site_place(target)) == Path(*here.resolve().parts[2:])
        assert (ROOT / target).is_file()


def test_the_menu_has_every_page_once() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)
    menu = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]

    def pages(item: object) -> list[str]:
        if isinstance(item, str):
            return [item]
        inside = item if isinstance(item, list) else list(item.values())  # type: ignore[attr-defined]
        return [page for one in inside for page in pages(one)]

    named = [page for page in pages(menu) if not page.startswith("reference/")]
    assert sorted(named) == sorted(hook.site_place(str(page.relative_to(ROOT))) for page in PAGES)
