"""Facts about a weights file. Neither this module nor the lists of weights import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WITH_US = "the project's repository, folder pretrained"  # the source of our own


@dataclass(frozen=True)
class Weights:
    """Weights that are available by name.

    model: their network, a name of `unfold models`; file: the file name in our cache; source: the file's URL, or a
    sentence where it is only on a cloud drive; sha256 and size in bytes where known. result: scores of our own weights,
    in a few words. options: of the network, which the file does not show; beside: files for options, by the authors'
    names, below UNFOLD_DATA.
    """

    name: str
    model: str
    file: str
    source: str
    sha256: str | None = None
    size: int | None = None
    result: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def ours(self) -> bool:
        """Whether they are our own, part of this project."""
        return bool(self.result)

    @property
    def url(self) -> str | None:
        """The address to download from, None if the file must be fetched by hand."""
        return self.source if self.source.startswith("http") else None
