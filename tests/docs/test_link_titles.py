"""On the site, a link whose text is a file name has the title of the page instead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scripts import docs_hook as hook


@pytest.mark.parametrize(
    ("uri", "markdown", "shown"),
    [
        ("index.md", "see [docs/cluster.md](docs/cluster.md).", "[On a cluster](cluster.md)"),
        ("kernels.md", "([photographs.md](photographs.md))", "[Photographs of unknown origin](photographs.md)"),
        ("kernels.md", "[protocols.md](protocols.md#pairs)", "[Protocols](protocols.md#pairs)"),
        ("training.md", "[`zoo.md`](zoo.md)", "[Zoo](zoo.md)"),
        ("kernels.md", "[tasks/deblur](../tasks/deblur/README.md)", "[Deblurring](tasks/deblur/README.md)"),
        (
            "tasks/sr/README.md",
            "[docs/kernels.md](../../docs/kernels.md)",
            "[Which kernel? Which noise?](../../kernels.md)",
        ),
        ("training.md", "[guide](guides/train.md)", "[guide](guides/train.md)"),
        ("training.md", "[datasets](../datasets/README.md)", "[datasets](datasets/README.md)"),
        ("index.md", "![docs/quickstart.png](docs/quickstart.png)", "![docs/quickstart.png](quickstart.png)"),
        ("index.md", "[a.md](https://example.org/a.md)", "[a.md](https://example.org/a.md)"),
    ],
)
def test_a_file_name_becomes_the_title_of_its_page_and_other_texts_stay(uri: str, markdown: str, shown: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
    assert shown in hook.on_page_markdown(markdown, page)


def test_no_page_of_the_site_has_a_file_name_as_a_link() -> None:
    pages = [*hook.outside(), *(str(path.relative_to(hook.ROOT)) for path in (hook.ROOT / "docs").rglob("*.md"))]
    for path in pages:
        page = SimpleNamespace(file=SimpleNamespace(src_uri=hook.site_place(path)))
        text = hook.on_page_markdown((hook.ROOT / path).read_text(encoding="utf-8"), page)
        named = [found for found, _, _ in hook.LINK.findall(text) if found.endswith(".md](")]
        assert not named, f"{path}: {named}"
