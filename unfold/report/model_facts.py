"""`unfold models`: the networks, and their costs.

Loading torch takes seconds, so facts about the package's own networks are kept in model_facts.json. `python
scripts/model_facts.py` writes it, and a test compares it with the networks.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from unfold import registry
from unfold.builtin import BUILTIN
from unfold.errors import UnfoldError

SIZE = 256  # side of the image for counting multiply-accumulates
FILE = Path(__file__).with_name("model_facts.json")


class ModelRow(NamedTuple):
    """Facts of a network: parameters, billions of multiply-accumulates for an image of SIZE x SIZE (both as text), the
    multiple that sizes are padded to, and a description.
    """

    parameters: str
    gmac: str
    size_multiple: int
    about: str


class ModelFacts(NamedTuple):
    """Its row in the table, and its page."""

    row: ModelRow
    page: str


@lru_cache(maxsize=1)
def recorded() -> dict[str, ModelFacts]:
    """The recorded facts of the package's own networks, by name."""
    kept = json.loads(FILE.read_text())
    return {name: ModelFacts(ModelRow(*facts["row"]), "\n".join(facts["page"])) for name, facts in kept.items()}


def counted() -> str:
    """The content of the file, counted on the networks."""
    from unfold.report.models_list import costs, describe_model

    names = BUILTIN["network"]
    facts = {name: {"row": list(costs(name)), "page": describe_model(name).splitlines()} for name in sorted(names)}
    return json.dumps(facts, indent=1) + "\n"


def format_models() -> str:
    """A table of all networks: the package's own, and those of installed packages with the package's name."""
    names = registry.names(registry.NETWORK)
    wide = max(22, *(len(name) + 2 for name in names))
    lines = [f"{'name':<{wide}}{'parameters':>12}{f'GMAC @ {SIZE}x{SIZE}':>17}{'size multiple':>15}   what"]
    for name in names:
        try:
            row = _row(name)
        except UnfoldError as error:  # a network of another package, or with options without default
            lines.append(f"{name:<{wide}}{'':>44}   {error}")
            continue
        whose = registry.origin(registry.NETWORK, name)
        figures = f"{row.parameters:>12}{row.gmac:>17}{row.size_multiple:>15}"
        lines.append(f"{name:<{wide}}{figures}   {row.about}{f' ({whose})' if whose else ''}")
    return "\n".join(lines)


def model_page(name: str) -> str:
    """The facts of one network: `unfold models NAME`, also for code and for a recipe."""
    if name in recorded():
        return recorded()[name].page
    if not name.endswith((".yaml", ".yml")):
        registry.check_name(registry.NETWORK, name)  # a misspelled name fails before torch is loaded
    from unfold.report.models_list import describe_model

    return describe_model(name)


def _row(name: str) -> ModelRow:
    if name in recorded():
        return recorded()[name].row
    from unfold.report.models_list import costs

    return costs(name)
