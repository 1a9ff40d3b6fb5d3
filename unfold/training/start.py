"""How weights begin: filled by a rule, or taken from a checkpoint."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork

Start = Literal["default", "orthogonal", "xavier", "identity"]


def fill(net: UnfoldingNetwork, how: Start) -> None:
    """Fill the weights of convolutions by a rule.

    orthogonal: gain 0.2, biases 0 (USRNet); xavier: normal, of convolutions that are not transposed (NRL-GDN); default:
    leave all as torch made it (DGUNet); identity: begin with steps that change little (ours, for networks that have a
    method start_as_identity: USRNet and NRL-GDN). UnfoldError for a network that has no such way.
    """
    if how == "identity":
        begin = getattr(net, "start_as_identity", None)
        if begin is None:
            raise UnfoldError(f"OPTIM.START identity is not for {type(net).__name__}: use default")
        try:
            begin()
        except ValueError as error:
            raise UnfoldError(f"OPTIM.START identity: {error}; make the first of MODEL.WIDTHS larger") from None
    for module in net.modules():
        if how == "orthogonal" and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.orthogonal_(module.weight, gain=0.2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if how == "xavier" and isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)


def take_over(net: UnfoldingNetwork, state: dict[str, Tensor]) -> list[str]:
    """Load what fits by name and shape; returns the names of the network's tensors that stay as they are."""
    own = net.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    net.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]
