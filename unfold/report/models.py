"""`unfold models`: what there is, and what it costs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from unfold.models.registry import create_model, list_models, model_info
from unfold.models.unfolding import UnfoldingNetwork

SIZE = 256


def count_parameters(net: UnfoldingNetwork) -> int:
    """Numbers in the network's parameters, each shared one counted once."""
    return sum(parameter.numel() for parameter in net.parameters())


def gmac(name: str, size: int = SIZE) -> float:
    """Billions of multiply-accumulates of a published network for one square image, see :func:`count_gmac`."""
    with torch.device("meta"):
        return count_gmac(create_model(name), model_info(name).example(size))


def count_gmac(net: UnfoldingNetwork, given: dict[str, Any]) -> float:
    """Billions of multiply-accumulates for these inputs: convolutions and matrix products, not Fourier transforms.

    Of the stages that run in training: NRL-GDN, which stops by itself at evaluation, has no other fixed number. Nothing
    is computed where network and inputs are without numbers (meta tensors).
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(**given)
    return float(counter.get_total_flops()) / 2e9


def format_models() -> str:
    """A table of all networks."""
    lines = [f"{'name':<22}{'parameters':>12}{f'GMAC @ {SIZE}x{SIZE}':>17}{'size multiple':>15}   what"]
    for name in list_models():
        with torch.device("meta"):
            net = create_model(name)
        figures = f"{count_parameters(net):>12,}{gmac(name):>17.1f}{net.size_multiple:>15}"
        lines.append(f"{name:<22}{figures}   {model_info(name).about}")
    return "\n".join(lines)


def describe_model(name: str) -> str:
    """What a caller of one network may rely on: `unfold models NAME`."""
    model = model_info(name)
    with torch.device("meta"):
        net = create_model(name)
    tiling = model.contract.tiling
    halo = f"{tiling.halo()} pixels" + (", and the kernel's radius" if tiling.blurred else "")
    rows = [
        *((("input", "")[i > 0], f"{key}: {what}") for i, (key, what) in enumerate(model.contract.inputs.items())),
        ("output", model.contract.output),
        ("sizes", f"any from {net.min_size}x{net.min_size} up, padded inside to multiples of {net.size_multiple}"),
        ("bfloat16", f"by torch.autocast: {model.contract.bf16}"),
        ("tiles", f"{'exact' if tiling.exact else 'approximate'}: {tiling.beyond}"),
        ("halo", f"{halo}: what one stage's convolutions look at around a pixel of the result"),
        ("arguments", ", ".join(f"{key}={value!r}" for key, value in model.full_arguments().items())),
        ("cost", f"{count_parameters(net):,} parameters, {gmac(name):.1f} GMAC for {SIZE}x{SIZE}"),
    ]
    return "\n".join([f"{name}: {model.about}", *(f"  {what:<11}{text}" for what, text in rows)])
