"""What mkdocs does beside its own: pages from outside docs/, links as the repository has them, equations as MathML.

Pages keep their place in the repository, so that a link works in both: README.md is index.md of the site, docs/a.md is
a.md, and tasks/sr/README.md is itself. A link whose text is a page's path has that page's title on the site.
A link to another file of the repository, such as a script, puts the file on the
site; one to a folder is one to its README.md. Equations, $...$ in a page, become MathML, which browsers draw.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "build" / "docs" / "reference"
OUTSIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "datasets/README.md", "pretrained/README.md")
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")


def outside() -> list[str]:
    """The pages of the repository that lie outside docs/, as paths in it."""
    return [*OUTSIDE, *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("tasks/**/README.md"))]


def site_place(path: str) -> str:
    """Where a file of the repository is on the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def in_repository(uri: str) -> str:
    """Where a file of the site is in the repository."""
    if uri == "index.md":
        return "README.md"
    return uri if uri in outside() else f"docs/{uri}"


def moved(uri: str, link: str) -> tuple[str, str]:
    """A link of the page ``uri`` as the site has it, and the file in the repository; ("", "") for what is no file."""
    path, hash_, anchor = link.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return "", ""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository(uri)), path))
    if (ROOT / target).is_dir():
        target += "/README.md"
    return posixpath.relpath(site_place(target), posixpath.dirname(uri) or ".") + hash_ + anchor, target


def named(text: str, target: str) -> str:
    """The first part of a link, "[docs/cluster.md](": with the title of its page, without what follows a colon, where
    the text is the page's path, or that of its folder.
    """
    path = text.removeprefix("[").removesuffix("](").strip("`")
    if not target.endswith(".md") or text.startswith("!") or not is_path_of(path, target):
        return text
    title = re.search(r"^# (.+)$", (ROOT / target).read_text(encoding="utf-8"), re.MULTILINE)
    return f"[{title[1].partition(': ')[0]}](" if title else text


def is_path_of(text: str, target: str) -> bool:
    """Whether a text is the path of a page, or its end: docs/cluster.md, cluster.md, tasks/sr."""
    folder = target.removesuffix("/README.md")
    shaped = text.endswith(".md") or "/" in text
    return shaped and any(one == text or one.endswith(f"/{text}") for one in (target, folder))


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    def add(uri: str, path: Path) -> None:
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, abs_src_path=str(path)))

    for path in outside():
        add(site_place(path), ROOT / path)
    for page in sorted(REFERENCE.rglob("*.md")):
        add(f"reference/{page.relative_to(REFERENCE).as_posix()}", page)
    for page in list(files.documentation_pages()):
        for _, link, _ in LINK.findall(Path(page.abs_src_path).read_text(encoding="utf-8")):
            _, target = moved(page.src_uri, link)
            if target and (ROOT / target).is_file():
                add(site_place(target), ROOT / target)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    def rewritten(found: re.Match[str]) -> str:
        link, target = moved(page.file.src_uri, found[2])
        return named(found[1], target) + (link if target else found[2]) + found[3]

    return markdown if page.file.src_uri.startswith("reference/") else LINK.sub(rewritten, markdown)


def on_page_content(html: str, **_: Any) -> str:
    from latex2mathml.converter import convert

    def drawn(found: re.Match[str]) -> str:
        text = found[3].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        kind = "block" if found[1] == "div" else "inline"
        return f'<{found[1]} class="equation">{convert(text, display=kind)}</{found[1]}>'

    html = re.sub(r'<(div|span) class="arithmatex">\\([\[(])(.*?)\\[\])]</\1>', drawn, html, flags=re.DOTALL)
    return re.sub(r":(?:func|class|meth|mod|attr|data):(<code)", r"\1", html)
