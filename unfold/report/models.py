"""`unfold models`: what there is, and what it costs."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from unfold.models.registry import create_model, list_models, model_info
from unfold.models.unfolding import UnfoldingNetwork

SIZE = 256


def count_parameters(net: UnfoldingNetwork) -> int:
    """Numbers in the network's parameters, each shared one counted once."""
    return sum(parameter.numel() for parameter in net.parameters())


def gmac(net: UnfoldingNetwork, size: int = SIZE) -> float:
    """Billions of multiply-accumulates of one forward pass on a square image: convolutions and matrix products."""
    counter = FlopCounterMode(display=False)
    device = next(net.parameters()).device
    with counter, torch.no_grad():
        net(torch.empty(1, 3, size, size, device=device))
    return float(counter.get_total_flops()) / 2e9


def format_models() -> str:
    """A table of all networks. Nothing is computed: the networks are built without their numbers (meta tensors)."""
    lines = [f"{'name':<22}{'parameters':>12}{f'GMAC @ {SIZE}x{SIZE}':>17}{'size multiple':>15}   what"]
    for name in list_models():
        info = model_info(name)
        with torch.device("meta"):
            net = create_model(name)
        cost = gmac(net)
        lines.append(
            f"{name:<22}{count_parameters(net):>12,}{cost:>17.1f}{info.build.size_multiple:>15}   {info.about}"
        )
    return "\n".join(lines)
