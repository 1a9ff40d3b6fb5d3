"""The networks by name: `unfold.create_model` and what is known of a network before it is built."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import torch

from unfold import registry
from unfold.builtin import BUILTIN
from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork
from unfold.registry import NETWORK, Options, Part
from unfold.user_files import line_of
from unfold.util.device import pick_device
from unfold.util.nested import plain

logger = logging.getLogger("unfold")
LARGEST = 10_000  # a width or a number of stages above it is a mistake, or an attack on memory


def list_models() -> list[str]:
    """Names of all networks, sorted: those that are built in, and those of installed packages."""
    return registry.names(NETWORK)


def list_networks() -> list[type[UnfoldingNetwork]]:
    """The classes that the names stand for, each once, the package's first. Others that fail are left out, noted."""
    found: dict[object, None] = {}
    for name in dict.fromkeys([*BUILTIN["network"], *list_models()]):
        try:
            found[registry.find(NETWORK, name).make] = None
        except UnfoldError as error:
            logger.warning("left out: %s", error)
    return [make for make in found if isinstance(make, type)]


def network_part(name: str) -> Part:
    """The network of that name, imported: the package's, an installed one's, or code. UnfoldError for none."""
    return registry.find(NETWORK, name)


def about(part: Part) -> str:
    """What a network is, in one line."""
    preset = getattr(part.make, "presets", {}).get(part.name)
    return preset.about if preset else next(iter((part.make.__doc__ or "").strip().splitlines()), "")


def same_network(a: str, b: str) -> bool:
    """Whether two names stand for one network, as dgunet_deblur and dgunet_denoise do."""
    left, right = network_part(a), network_part(b)
    return left.make is right.make and left.defaults() == right.defaults()


def create_model(name: str, *, device: str | torch.device | None = None, **options: object) -> UnfoldingNetwork:
    """Build a network with fresh weights.

    name: one of :func:`list_models`, or code: "ista.py:ISTANet", "package.module:ISTANet". device: "auto", "cpu",
    "cuda" or a torch.device; None: where torch puts it. options: constructor arguments in place of the published ones,
    e.g. ``create_model("dgunet_denoise", stages=4)``. What the network is given it looks at, see
    :attr:`unfold.models.unfolding.UnfoldingNetwork.checks_inputs`. Raises UnfoldError for an unknown name, argument,
    value or device.
    """
    return for_people(plain_model(name, **options), device)


def plain_model(name: str, **options: object) -> UnfoldingNetwork:
    """As :func:`create_model`, for the package's own use: the network does not look at what it is given."""
    return built(network_part(name), options)


def for_people(net: UnfoldingNetwork, device: str | torch.device | None) -> UnfoldingNetwork:
    """The network on that device, looking at what it is given."""
    net.checks_inputs = True
    return net if device is None else net.to(pick_device(device))


def built(part: Part, options: Options, where: Callable[[str], str] | None = None) -> UnfoldingNetwork:
    """The network that a part makes of options. UnfoldError where they do not fit; where: see Part.checked."""
    largest = max(_whole_numbers(options), default=0)
    if largest > LARGEST:
        raise UnfoldError(f"{part.name} cannot be built with {largest}: more than {LARGEST} of anything is a mistake")
    net: UnfoldingNetwork = part.build(options, where)
    _check_begin(net)
    return net


def _check_begin(net: UnfoldingNetwork) -> None:
    """UnfoldError where the constructor did not call that of its base, or ``begin`` does not take the inputs."""
    kind = type(net)
    if "_modules" not in vars(net) or "_stages" not in vars(net):
        raise UnfoldError(f"{line_of(kind)}: the constructor of {kind.__name__} has to call super().__init__(stages)")
    parameters = inspect.signature(net.begin).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    taken = [name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if unknown := [name for name in net.inputs if name not in taken]:
        raise UnfoldError(
            f"{line_of(kind.begin)}: begin of {kind.__name__} takes {', '.join(taken)}, and its inputs are "
            f"{', '.join(net.inputs)}: it has no argument {unknown[0]}"
        )


def skeleton(name: str, options: Options) -> UnfoldingNetwork:
    """The network without numbers, to be asked and counted: takes no memory. Not to be changed."""
    given = plain(options)
    try:
        text = json.dumps(given, sort_keys=True)
        same = json.loads(text) == given
    except TypeError:
        same = False
    return _cached_skeleton(name, text) if same else _skeleton(name, given)  # of what JSON changes, none is kept


@lru_cache(maxsize=8)
def _cached_skeleton(name: str, options: str) -> UnfoldingNetwork:
    return _skeleton(name, json.loads(options))


def _skeleton(name: str, given: Options) -> UnfoldingNetwork:
    try:
        with torch.device("meta"):
            return plain_model(name, **given)
    except UnfoldError:
        return plain_model(name, **given)  # what computes when it is built needs numbers; else the same error


def _whole_numbers(value: object) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _whole_numbers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _whole_numbers(item)
