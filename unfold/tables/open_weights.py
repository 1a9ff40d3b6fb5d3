"""The networks of a table, from their weights."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from unfold.errors import UnfoldError
from unfold.models.known.weight_facts import Weights
from unfold.models.registry import network_part, same_network
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Protocol
from unfold.registry import NETWORK, absolute, is_code, is_known, short
from unfold.util.download import sha256_of
from unfold.util.matrix_files import digest_beside
from unfold.util.nested import plain
from unfold.weights.known_weights import WEIGHTS
from unfold.weights.load_model import check_files, identify, load_named, open_weights
from unfold.weights.resolve_weights import known_as, published

logger = logging.getLogger("unfold")

FOR_LOOKS = ("usrgan", "usrgan_tiny")  # networks trained for looks, not for the scores of the published row


@dataclass(frozen=True)
class Net:
    """Weights and the network they are for.

    known: their name among published weights, if the given name, the file's name or its digest identifies them;
    as_published: whether the network has the published widths and stages (and any sampling ratio); arguments: of its
    constructor, as JSON; code: SHA-256 of its source file; key: which of the networks in the file, if given.
    """

    model: str
    path: Path
    sha256: str
    known: str | None
    as_published: bool
    arguments: str = "{}"
    code: str | None = None
    beside: str = ""  # SHA-256 of the files that the weights need
    key: str | None = None

    @property
    def name(self) -> str:
        """The network's name in tables."""
        return short(self.model)

    def is_row(self, network: str) -> bool:
        """Whether it is the network of a published row."""
        other = self.known is not None and (self.known in FOR_LOOKS or WEIGHTS[self.known].ours)
        return self.as_published and not other and same_network(self.model, network)

    def load(self) -> UnfoldingNetwork:
        return load_named(self.path, self.model, json.loads(self.arguments), key=self.key)[2]


def open_net(text: str, key: str | None = None) -> Net:
    """The weights that ``text`` names: FILE, a published NAME, MODEL=FILE where the file does not name the network, or
    NAME=FILE where the file holds published weights of that name.

    key: which of several networks in the file.
    """
    model, equals, rest = text.partition("=")
    weights = WEIGHTS.get(model) if equals else None
    named = equals and (is_known(NETWORK, model) or is_code(model) or model.endswith((".yaml", ".yml")))
    source, name = (rest, absolute(model, Path.cwd())) if named else (text, None)
    if weights is not None and not named:
        source, name = rest, weights.model
    path, checkpoint, name = open_weights(source, name, key)
    weights = weights or published(source) or known_as(path)
    weights = weights or next((w for w in WEIGHTS.values() if _called(w, path)), None)
    if name is None and weights is not None and checkpoint.model is None:
        name = weights.model
    name, arguments = identify(checkpoint, path, name)
    part = network_part(name)
    if weights is not None and part.files() and checkpoint.model is None and same_network(name, weights.model):
        arguments = {**weights.beside, **weights.options, **arguments}
    check_files(part, checkpoint, path, arguments)
    beside = " ".join(digest_beside(arguments[one]) for one in part.files() if arguments.get(one) is not None)
    given = {one: tuple(value) if isinstance(value, list) else value for one, value in arguments.items()}
    for one in ("ratio", *part.files()):
        given.pop(one, None)
    digest = sha256_of(path)
    known = next((w.name for w in WEIGHTS.values() if digest == w.sha256 or source == w.name), None)
    if known is None and not named and equals and weights is not None:
        known = weights.name  # as was said
    known = known or next((w.name for w in WEIGHTS.values() if _called(w, path)), None)
    usual = plain(part.defaults())
    as_published = all(key in usual and usual[key] == value for key, value in plain(given).items())
    as_published = as_published and is_known(NETWORK, name)
    return Net(name, path, digest, known, as_published, json.dumps(plain(arguments)), part.sha256, beside, key)


def _called(weights: Weights, path: Path) -> bool:
    """Whether a file has the name of weights without a known digest."""
    return weights.sha256 is None and weights.file == path.name


def why_not(net: Net, loaded: UnfoldingNetwork, protocol: Protocol) -> str:
    """Why the network does not run through the protocol; "" if it does."""
    if not set(loaded.required) <= set(protocol.inputs):
        takes, gives = ", ".join(sorted(loaded.required)), ", ".join(sorted(protocol.inputs))
        return f"{net.name} takes {takes}, and {protocol.name} gives {gives}"
    try:
        protocol.check(loaded)
    except UnfoldError as error:
        return str(error)
    return ""
