"""`unfold data list`: the data sets of the papers, and which of them are present."""

from __future__ import annotations

from unfold.data.catalog.paper_sets import SETS, DataSet, State
from unfold.data.catalog.set_verdicts import states
from unfold.data.images import data_root
from unfold.report.text_table import markdown


def format_sets() -> str:
    """One line per set: name, its files below UNFOLD_DATA, and a description."""
    wide = max(len(one.name) for one in SETS)
    lines = [
        f"{one.name:<{wide}}  {_there(one, found):<28}  {one.about}"
        for one, found in zip(SETS, states(SETS), strict=True)
    ]
    return "\n".join([f"below {data_root()} (UNFOLD_DATA); layouts and sources: datasets/README.md", *lines])


def _there(one: DataSet, found: State) -> str:
    if not found.files:
        return "not found"
    if one.files and found.files != one.files:
        return f"{found.files} of {one.files} files"
    verdict = {None: "", True: ", digest right", False: ", digest differs"}[found.right]
    return f"{found.files} files{verdict}"


def sets_as_markdown() -> str:
    """The table of datasets/README.md."""
    rows = [
        (
            one.name,
            one.about,
            ", ".join(f"`{layout}`" for layout in one.layouts),
            str(one.files or "?"),
            one.use,
            one.source,
            one.licence,
            one.traps,
            f"`{one.digest[:12]}`" if one.digest else "",
        )
        for one in SETS
    ]
    head = ("set", "holds", "layouts", "files", "use", "source", "licence", "traps", "digest")
    return markdown(head, rows)
