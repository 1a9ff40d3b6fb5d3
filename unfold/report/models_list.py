"""Costs and inputs of networks, counted on the networks themselves."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from unfold.models.registry import about, network_part, skeleton
from unfold.models.sizes_taken import size_fault
from unfold.models.unfolding import UnfoldingNetwork
from unfold.report.model_facts import SIZE, ModelRow
from unfold.util.arrays import Named
from unfold.weights.load_model import of_recipe


def count_parameters(net: UnfoldingNetwork) -> int:
    """The number of parameters, shared ones counted once."""
    return sum(parameter.numel() for parameter in net.parameters())


def gmac(net: UnfoldingNetwork, size: int = SIZE) -> float:
    """Billions of multiply-accumulates of a network on the meta device for one square image, see :func:`count_gmac`."""
    with torch.device("meta"):
        return count_gmac(net, net.example(size, size))


def count_gmac(net: UnfoldingNetwork, given: Named) -> float:
    """Billions of multiply-accumulates for these inputs: convolutions and matrix products, not Fourier transforms.

    Counted for the stages that run in training: NRL-GDN, which has a stopping rule at evaluation, has no other fixed
    number. Nothing is computed where network and inputs are on the meta device.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(**given)
    return float(counter.get_total_flops()) / 2e9


def costs(name: str) -> ModelRow:
    """The row of one network in the table. UnfoldError if it needs options to be built."""
    part, net = network_part(name), skeleton(name, {})
    return ModelRow(f"{count_parameters(net):,}", _gmac_or_not(net), net.size_multiple, about(part))


def _gmac_or_not(net: UnfoldingNetwork) -> str:
    try:
        return f"{gmac(net):.1f}"
    except Exception:  # other networks may not run on the meta device
        return "?"


def describe_model(name: str) -> str:
    """The facts of one network: `unfold models NAME`, also for code."""
    name, options = of_recipe(name) if name.endswith((".yaml", ".yml")) else (name, {})
    part, net = network_part(name), skeleton(name, options)
    tiling = net.tiling
    halo = f"{tiling.halo()} pixels" + (", and the kernel's radius" if tiling.blurred else "")
    sizes = f"any from {net.min_size}x{net.min_size} up, padded inside to multiples of {net.size_multiple}"
    rows = [
        *((("input", "")[i > 0], f"{key}: {what}") for i, (key, what) in enumerate(_inputs(net).items())),
        ("output", net.output),
        ("sizes", size_fault(net) or sizes),
        ("bfloat16", f"by torch.autocast: {net.bf16}"),
        (
            "tiles",
            "exact, where they overlap by the reaches of all stages"
            if tiling.exact
            else (f"none: {tiling.whole}" if tiling.whole else f"approximate: {tiling.beyond}"),
        ),
        ("halo", f"{halo}: what one stage's convolutions look at around a pixel of the result"),
        *(("file", f"{key}: {what}") for key, what in part.files().items()),
        ("arguments", ", ".join(f"{key}={value!r}" for key, value in part.full(options).items())),
        ("cost", f"{count_parameters(net):,} parameters, {_gmac_or_not(net)} GMAC for {SIZE}x{SIZE}"),
    ]
    return "\n".join([f"{part.name}: {about(part)}", *(f"  {what:<11}{text}" for what, text in rows)])


def _inputs(net: UnfoldingNetwork) -> dict[str, str]:
    """A description of every input, with optional ones marked."""
    own = {name: one.about + ("" if name in net.required else " (may be left out)") for name, one in net.inputs.items()}
    other = net.measurement
    return {**({} if other is None else {other.name: f"{other.about}; or instead"}), **own}
