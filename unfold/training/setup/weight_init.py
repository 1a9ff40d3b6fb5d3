"""Weight initialisation: by a rule, or from a checkpoint."""

from __future__ import annotations

from torch import Tensor, nn

from unfold.errors import UnfoldError, check_choice
from unfold.models.unfolding import UnfoldingNetwork

GENERAL = ("default", "orthogonal", "xavier")  # for any network; others are methods start_as_NAME of the network


def check_start(net: UnfoldingNetwork, how: str) -> None:
    """UnfoldError if the network has no such initialisation."""
    own = [name.removeprefix("start_as_") for name in dir(net) if name.startswith("start_as_")]
    if how in GENERAL or how in own:
        return
    if how == "identity":
        raise UnfoldError(f"OPTIM.START identity is not for {type(net).__name__}: use default")
    check_choice("OPTIM.START", how, [*GENERAL, *own])


def fill(net: UnfoldingNetwork, how: str) -> None:
    """Fill the weights of convolutions by a rule.

    orthogonal: gain 0.2, biases 0 (USRNet); xavier: normal, for convolutions that are not transposed (NRL-GDN);
    default: keep the constructor's weights (DGUNet); any other name: the network's method start_as_NAME (identity:
    near data steps alone; ours, for USRNet, NRL-GDN and DGUNet-CS). UnfoldError for a network without such a method.
    """
    check_start(net, how)
    if how not in GENERAL:
        try:
            getattr(net, f"start_as_{how}")()
        except ValueError as error:
            raise UnfoldError(f"OPTIM.START {how}: {error}; make the first of MODEL.ARGS.widths larger") from None
    for module in net.modules():
        if how == "orthogonal" and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.orthogonal_(module.weight, gain=0.2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if how == "xavier" and isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)


def take_over(net: UnfoldingNetwork, state: dict[str, Tensor]) -> list[str]:
    """Load tensors that match by name and shape; returns the names of the network's other tensors."""
    own = net.state_dict()
    fitting = {
        name: value
        for name, value in state.items()
        if name in own and own[name].shape == value.shape and own[name].is_floating_point() == value.is_floating_point()
    }
    net.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]
