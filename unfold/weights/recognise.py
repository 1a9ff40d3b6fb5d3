"""Recognise a network by the names and shapes of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from unfold.models.registry import list_models, list_networks, network_part
from unfold.models.unfolding import UnfoldingNetwork


def recognise(
    state: Mapping[str, Tensor], networks: Iterable[type[UnfoldingNetwork]] | None = None
) -> tuple[list[str], dict[str, object]] | None:
    """The registry's names that fit the state dict, and the constructor arguments from its shapes; None if none fits.

    Several names are the same network (dgunet_deblur and dgunet_denoise), or, for NRL-GDN and ISTA-Net+, different
    networks that share one layout. Any width is recognised: then the names are those of its family. Each network
    implements this itself (:meth:`unfold.models.unfolding.UnfoldingNetwork.recognise`). networks: those of the
    registry, for repeated calls.
    """
    found: tuple[list[str], dict[str, object]] | None = None
    for network in list_networks() if networks is None else networks:
        try:
            arguments = network.recognise(state)
        except (KeyError, IndexError, ValueError, ZeroDivisionError):  # its names with other shapes
            if found is None:
                return None
            continue
        if arguments is None:
            continue
        names, sizes = _named(network, arguments)
        if found is None:
            found = names, sizes
        elif sizes == found[1]:  # another network of the same layout
            found = [*found[0], *names], sizes
    return found


def _named(network: type[UnfoldingNetwork], arguments: dict[str, object]) -> tuple[list[str], dict[str, object]]:
    """The names of a network with these arguments, and the arguments that the names do not imply.

    An argument that is a choice, not a size (shared), makes another network, so a name implies it. Among the names with
    the same choices, those with these published sizes, or else all.
    """
    choices = {key: value for key, value in arguments.items() if isinstance(value, bool)}
    sizes = {key: value for key, value in arguments.items() if key not in choices}
    parts = {name: network_part(name) for name in list_models()}
    published = {name: part.defaults() for name, part in parts.items() if part.make is network}
    names = [name for name, given in published.items() if choices.items() <= given.items()]
    return [name for name in names if sizes.items() <= published[name].items()] or names, sizes
