"""The validation and the tests of a mixture (DATA.MIX): each part's images by the part's own protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from unfold.errors import UnfoldError
from unfold.models.on_arrays import Image
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Case, Protocol, Sample


class Mixed(Protocol):
    """Cases are called part/case. :meth:`of` says by which protocol a case goes, which is to be asked for everything.

    parts: protocols by the names of their parts; places: of each, the set by split ("val", "test").
    """

    name: ClassVar = "mixed"

    def __init__(self, parts: Mapping[str, Protocol], places: Mapping[str, Mapping[str, str]]) -> None:
        self.parts, self.places = parts, places

    def options(self) -> dict[str, Any]:
        return {name: {"protocol": part.name, **part.options()} for name, part in self.parts.items()}

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The cases of all parts, each from its own set; source: of parts whose split has no place of its own."""
        found = []
        for name, part in self.parts.items():
            try:
                cases = part.cases(self.places[name].get(split, source), split)
            except UnfoldError as error:
                raise UnfoldError(f"{name}: {error}") from None
            found += [case._replace(name=f"{name}/{case.name}") for case in cases]
        return found

    def fit(self, net: UnfoldingNetwork) -> None:
        for part in self.parts.values():
            part.fit(net)

    def of(self, case: Case) -> tuple[Protocol, Case]:
        part, _, name = case.name.partition("/")
        return self.parts[part], case._replace(name=name)

    def sample(self, case: Case) -> Sample:
        part, own = self.of(case)
        return part.sample(own)

    def finish(self, result: Image) -> NoReturn:
        raise AssertionError("a part of the mixture does this")

    def score(self, result: Image, target: Image) -> NoReturn:
        raise AssertionError("a part of the mixture does this")
