"""The networks by name: `unfold.create_model`, and facts of a network before it is built."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from unfold import registry
from unfold.builtin import BUILTIN
from unfold.errors import UnfoldError
from unfold.facts import Input
from unfold.models.unfolding import UnfoldingNetwork
from unfold.registry import NETWORK, Options, Part
from unfold.user_files import line_of
from unfold.util.device import pick_device

logger = logging.getLogger("unfold")
SKELETONS = 8  # kept in the cache
_skeletons: dict[tuple[Any, ...], UnfoldingNetwork] = {}
LARGEST = 10_000  # a larger width or number of stages is a mistake, or an attack on memory


def list_models() -> list[str]:
    """Names of all networks, sorted: built-in ones, and those of installed packages."""
    return registry.names(NETWORK)


def list_networks() -> list[type[UnfoldingNetwork]]:
    """The classes behind the names, each once, the package's first. Installed ones that fail to load are skipped and
    logged.
    """
    found: dict[object, None] = {}
    for name in dict.fromkeys([*BUILTIN["network"], *list_models()]):
        try:
            found[registry.find(NETWORK, name).make] = None
        except UnfoldError as error:
            logger.warning("left out: %s", error)
    return [make for make in found if isinstance(make, type)]


def network_part(name: str) -> Part:
    """Import the network of that name: the package's, an installed one's, or code. UnfoldError if unknown."""
    return registry.find(NETWORK, name)


def about(part: Part) -> str:
    """A one-line description of a network."""
    preset = getattr(part.make, "presets", {}).get(part.name)
    return preset.about if preset else next(iter((part.make.__doc__ or "").strip().splitlines()), "")


def same_network(a: str, b: str) -> bool:
    """Whether two names are the same network, as dgunet_deblur and dgunet_denoise are."""
    left, right = network_part(a), network_part(b)
    return left.make is right.make and left.defaults() == right.defaults()


def create_model(name: str, *, device: str | torch.device | None = None, **options: object) -> UnfoldingNetwork:
    """Build a network with random initial weights.

    name: one of :func:`list_models`, or code: "ista.py:ISTANet", "package.module:ISTANet". device: "auto", "cpu",
    "cuda" or a torch.device; None: torch's default. options: constructor arguments that replace the published ones,
    e.g. ``create_model("dgunet_denoise", stages=4)``. The network checks its inputs, see
    :attr:`unfold.models.unfolding.UnfoldingNetwork.checks_inputs`. Raises UnfoldError for an unknown name, argument,
    value or device.
    """
    return for_people(plain_model(name, **options), device)


def plain_model(name: str, **options: object) -> UnfoldingNetwork:
    """As :func:`create_model`, for internal use: the network does not check its inputs."""
    return built(network_part(name), options)


def for_people(net: UnfoldingNetwork, device: str | torch.device | None) -> UnfoldingNetwork:
    """The network on that device, with checks of its inputs."""
    net.checks_inputs = True
    return net if device is None else net.to(pick_device(device))


def built(part: Part, options: Options, where: Callable[[str], str] | None = None) -> UnfoldingNetwork:
    """Build a part's network with these options. UnfoldError if they do not fit; where: see Part.checked."""
    largest = max(_whole_numbers(options), default=0)
    if largest > LARGEST:
        raise UnfoldError(f"{part.name} cannot be built with {largest}: more than {LARGEST} of anything is a mistake")
    net: UnfoldingNetwork = part.build(options, where)
    _check_begin(net)
    return net


def _check_begin(net: UnfoldingNetwork) -> None:
    """UnfoldError if ``inputs`` is invalid, ``begin`` does not take them, or ``forward`` is replaced."""
    kind = type(net)
    inputs: Any = net.inputs
    if not isinstance(inputs, Mapping) or not inputs or not all(isinstance(one, Input) for one in inputs.values()):
        raise UnfoldError(
            f"{line_of(kind)}: inputs of {kind.__name__} is a dict such as {{'y': image(3), 'sigma': level()}}, "
            f"made by the functions of unfold.facts, and {str(inputs)[:80]} is not"
        )
    if (first := inputs[net.picture]).kind != "image":
        raise UnfoldError(
            f"{line_of(kind)}: the first of inputs of {kind.__name__} is the picture to be restored, an image, and "
            f"{net.picture} is of the kind {first.kind}"
        )
    taken_by_forward = inspect.signature(net.forward).parameters
    if "return_output" not in taken_by_forward and not any(
        one.kind is one.VAR_KEYWORD for one in taken_by_forward.values()
    ):
        raise UnfoldError(
            f"{line_of(kind.forward)}: {kind.__name__} has a forward of its own, which training, tests and restoring "
            "do not run: leave it out, and say by begin and stage what it does (finish undoes a padding)"
        )
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
    """The network on the meta device, for its facts and counts: takes no memory. Do not modify it."""
    part = network_part(name)
    key = (part.make, name, repr(sorted(options.items())))  # the class behind a name may change
    if key not in _skeletons:
        _skeletons[key] = _without_numbers(part, options)
    while len(_skeletons) > SKELETONS:
        del _skeletons[next(iter(_skeletons))]
    return _skeletons[key]


def _without_numbers(part: Part, options: Options) -> UnfoldingNetwork:
    try:
        with torch.device("meta"):
            return built(part, options)
    except UnfoldError:
        return built(part, options)  # a constructor may compute, which needs real tensors; else the same error


def _whole_numbers(value: object) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _whole_numbers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _whole_numbers(item)
