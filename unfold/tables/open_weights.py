"""Networks that take part in a table, by their weights."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from unfold.errors import UnfoldError
from unfold.models.registry import network_part, same_network
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Protocol
from unfold.registry import NETWORK, absolute, is_code, is_known, short
from unfold.util.download import sha256_of
from unfold.util.nested import plain
from unfold.weights.known_weights import WEIGHTS
from unfold.weights.load_model import identify, load_named, open_weights

logger = logging.getLogger("unfold")

FOR_LOOKS = ("usrgan", "usrgan_tiny")  # a published row's network, trained for another end than its numbers


@dataclass(frozen=True)
class Net:
    """Weights and the network they are for.

    known: their name among published weights, as far as the name, the file's name or its digest tells; as_published:
    whether the network has the published widths and stages (and any sampling ratio); arguments: of its constructor, as
    JSON; code: SHA-256 of the file that it is code in.
    """

    model: str
    path: Path
    sha256: str
    known: str | None
    as_published: bool
    arguments: str = "{}"
    code: str | None = None

    @property
    def name(self) -> str:
        """The network's, as tables have it."""
        return short(self.model)

    def is_row(self, network: str) -> bool:
        """Whether it is the network of a published row."""
        other = self.known is not None and (self.known in FOR_LOOKS or WEIGHTS[self.known].ours)
        return self.as_published and not other and same_network(self.model, network)

    def load(self) -> UnfoldingNetwork:
        return load_named(self.path, self.model, **json.loads(self.arguments))[2]


def open_net(text: str) -> Net:
    """The weights that ``text`` means: FILE, a published NAME, or MODEL=FILE where the file leaves it open."""
    model, equals, rest = text.partition("=")
    named = equals and (is_known(NETWORK, model) or is_code(model) or model.endswith((".yaml", ".yml")))
    source, name = (rest, absolute(model, Path.cwd())) if named else (text, None)
    path, checkpoint, name = open_weights(source, name)
    name, arguments = identify(checkpoint, path, name)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    given.pop("ratio", None)
    digest = sha256_of(path)
    known = next((w.name for w in WEIGHTS.values() if digest == w.sha256 or source == w.name), None)
    known = known or next((w.name for w in WEIGHTS.values() if w.sha256 is None and w.file == path.name), None)
    published = plain(network_part(name).defaults())
    as_published = all(key in published and published[key] == value for key, value in plain(given).items())
    code = network_part(name).sha256
    return Net(name, path, digest, known, as_published and is_known(NETWORK, name), json.dumps(plain(arguments)), code)


def why_not(net: Net, loaded: UnfoldingNetwork, protocol: Protocol) -> str:
    """Why the network does not run through the protocol; nothing where it does."""
    if not set(loaded.required) <= set(protocol.inputs):
        takes, gives = ", ".join(sorted(loaded.required)), ", ".join(sorted(protocol.inputs))
        return f"{net.name} takes {takes}, and {protocol.name} gives {gives}"
    try:
        protocol.check(loaded)
    except UnfoldError as error:
        return str(error)
    return ""
