"""What is known of a file of weights. Neither this nor each network's list of them imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WITH_US = "the project's repository, folder pretrained"  # the source of our own


@dataclass(frozen=True)
class Weights:
    """Weights that can be had by name.

    model: which network they are for, a name of `unfold models`; file: the name they are kept under; source: the file's
    address, or where only a cloud drive has it, a sentence; sha256 and size in bytes where known. result: of our own,
    what they reach, in a few words. options: of the network, which the file does not show; beside: of those that name
    files, what the authors call them, below UNFOLD_DATA.
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
        """Whether they come with the package."""
        return bool(self.result)

    @property
    def url(self) -> str | None:
        """The address to download from, None where a person has to fetch the file."""
        return self.source if self.source.startswith("http") else None
