"""What `unfold models NAME` states about every network holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests import narrow
from unfold import list_models
from unfold.models.dgunet import DGUNet
from unfold.models.dgunet_cs import DGUNetCS
from unfold.models.golden.golden_rules import fill
from unfold.models.nrl_gdn import NRLGDN
from unfold.models.registry import skeleton
from unfold.models.unfolding import UnfoldingNetwork
from unfold.models.usrnet import USRNet
from unfold.priors import pathway_unet
from unfold.priors.resunet import ResUNet
from unfold.registry import NETWORK
from unfold.report.models_list import describe_model


@pytest.mark.parametrize("name", list_models())
def test_the_contract_names_the_inputs_that_the_network_takes(name: str) -> None:
    net = skeleton(name, {})
    taken = inspect.signature(net._begins_with()).parameters
    assert set(net.inputs) <= set(taken)
    assert set(net.required) <= set(net.example(8, 8)) == set(net.inputs)


def test_the_contract_is_shown() -> None:
    expected, contract = describe_model("usrnet_tiny"), skeleton("usrnet_tiny", {})
    assert all(f"{key}: {what.about}" in expected for key, what in contract.inputs.items())
    assert f"halo       {contract.tiling.reach} pixels, and the kernel's radius" in expected
    assert contract.tiling.halo(25) == contract.tiling.reach + 12
    assert "590,332 parameters" in expected


def furthest_change(net: Callable[[Tensor], Tensor], channels: int, size: int, place: int) -> int:
    """How far from a pixel that is changed the result changes, in rows and columns."""
    x = torch.rand(1, channels, size, size, dtype=torch.float64)
    changed = x.clone()
    changed[..., place, place] += 0.5
    with torch.no_grad():
        different = (net(changed) - net(x)).abs().amax((0, 1)) > 0
    rows, columns = different.any(1).nonzero(), different.any(0).nonzero()
    ends = [rows.min(), rows.max(), columns.min(), columns.max()]
    return int(max(abs(end - place) for end in ends))


@pytest.mark.parametrize(("depth", "reach"), [(2, USRNet.tiling.reach), (4, NRLGDN.tiling.reach - 14)])
def test_the_resunet_looks_as_far_as_the_contract_says(depth: int, reach: int) -> None:
    """Pixels at two places of the 8x8 grid. The blocks D and H of NRL-GDN, 7 layers of 5x5, add 14."""
    net = fill(ResUNet(3, 3, (3, 3, 3, 3), depth), narrow.strong_rule).double()
    size = 2 * reach + 24
    found = max(furthest_change(net, 3, size, size // 16 * 8 + phase) for phase in (0, 7))
    assert reach - 12 <= found <= reach


@pytest.mark.parametrize(
    ("name", "reach"), [("dgunet_deblur", DGUNet.tiling.reach), ("dgunet_cs", DGUNetCS.tiling.reach)]
)
def test_one_stage_of_dgunet_looks_as_far_as_the_contract_says(
    name: str, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stage, with everything that takes statistics of the whole image put out of action."""
    monkeypatch.setattr(pathway_unet.InstanceNorm, "forward", lambda self, x: x)
    monkeypatch.setattr(pathway_unet.ChannelAttention, "forward", lambda self, x: 0.5 * x)
    widths = {"width": 4, "growth": 2}
    net = narrow.narrow(name, **widths).double()
    channels, key = (1, "image") if name == "dgunet_cs" else (3, "y")
    found = max(
        furthest_change(lambda x: next(net.iterate(**{key: x})), channels, 256, 128 + phase) for phase in (0, 31)
    )
    assert reach - 12 <= found <= reach


def test_the_whole_of_dgunet_looks_at_the_whole_image() -> None:
    """Why its tiles are approximate."""
    net = narrow.narrow("dgunet_deblur").double()
    assert furthest_change(lambda x: next(net.iterate(x)), 3, 256, 0) == 255


def test_a_networks_skeleton_is_given_its_options_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    class Takes(UnfoldingNetwork):
        def __init__(self, what: object = None) -> None:
            given.append(what)
            super().__init__(1)

        def begin(self, y):  # type: ignore[no-untyped-def]
            return y, None

        def stage(self, k, x, memory, context):  # type: ignore[no-untyped-def]
            return x, memory

    monkeypatch.setitem(NETWORK.registered, "takes_anything", Takes)
    for what in (Path("a"), {1: 2}, 5, [1, "2"]):
        skeleton("takes_anything", {"what": what})
    assert given == [Path("a"), {1: 2}, 5, [1, "2"]]
