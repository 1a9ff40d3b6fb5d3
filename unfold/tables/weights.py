"""Networks that take part in a table, by their weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from unfold.checkpoints.load import identify, load_named, open_weights
from unfold.checkpoints.registry import WEIGHTS
from unfold.download import sha256_of
from unfold.errors import UnfoldError
from unfold.models.registry import list_models, model_info, same_network
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Protocol

logger = logging.getLogger("unfold")

FOR_LOOKS = ("usrgan", "usrgan_tiny")  # a published row's network, trained for another end than its numbers


@dataclass(frozen=True)
class Net:
    """Weights and the network they are for.

    known: their name among published weights, as far as the name, the file's name or its digest tells; as_published:
    whether the network has the published widths and stages (and any sampling ratio).
    """

    model: str
    path: Path
    sha256: str
    known: str | None
    as_published: bool

    def is_row(self, network: str) -> bool:
        """Whether it is the network of a published row."""
        other = self.known is not None and (self.known in FOR_LOOKS or WEIGHTS[self.known].ours)
        return self.as_published and not other and same_network(self.model, network)

    @property
    def names(self) -> set[str]:
        """The inputs that the network takes."""
        return set(model_info(self.model).example(8))

    def load(self) -> UnfoldingNetwork:
        return load_named(self.path, self.model)[2]


def open_net(text: str) -> Net:
    """The weights that ``text`` means: FILE, a published NAME, or MODEL=FILE where the file leaves it open."""
    model, equals, rest = text.partition("=")
    source, name = (rest, model) if equals and model in list_models() else (text, None)
    path, checkpoint, name = open_weights(source, name)
    name, arguments = identify(checkpoint, path, name)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    given.pop("ratio", None)
    digest = sha256_of(path)
    known = next((w.name for w in WEIGHTS.values() if digest == w.sha256 or source == w.name), None)
    known = known or next((w.name for w in WEIGHTS.values() if w.sha256 is None and w.file == path.name), None)
    return Net(name, path, digest, known, given.items() <= model_info(name).full_arguments().items())


def why_not(net: Net, loaded: UnfoldingNetwork, protocol: Protocol) -> str:
    """Why the network does not run through the protocol; nothing where it does."""
    if not net.names <= set(protocol.inputs):
        takes, gives = ", ".join(sorted(net.names)), ", ".join(sorted(protocol.inputs))
        return f"{net.model} takes {takes}, and {protocol.name} gives {gives}"
    try:
        protocol.check(loaded)
    except UnfoldError as error:
        return str(error)
    return ""
