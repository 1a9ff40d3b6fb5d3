"""The denoiser that estimates its noise level: without noise nothing happens, and stages follow their equations."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from unfold import create_model
from unfold.errors import UnfoldError
from unfold.losses.noise_level import NoiseLevel
from unfold.models.hqs_denoiser import LEAST, MOST, HQSDenoiser
from unfold.models.unfolding import Output

NARROW: Mapping[str, object] = {"widths": (8, 8, 8, 8), "depth": 1, "level_width": 4}


@pytest.fixture(name="net")
def _net() -> HQSDenoiser:
    torch.manual_seed(0)
    net = create_model("hqs_denoiser", **NARROW)
    assert isinstance(net, HQSDenoiser)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


def test_strength_0_leaves_the_picture_bit_for_bit(net: HQSDenoiser) -> None:
    y = torch.rand(2, 3, 21, 38)
    with torch.no_grad():
        assert torch.equal(net(y, strength=0.0), y)


def test_a_new_network_leaves_the_picture_as_it_is() -> None:
    y = torch.rand(1, 3, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(create_model("hqs_denoiser", **NARROW)(y), y)


def test_stages_follow_their_equations(net: HQSDenoiser) -> None:
    y = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        blocks = F.pixel_unshuffle(y, 2)
        level = 1.7 * net.level(blocks).exp()
        x = blocks
        for k, prior in enumerate(net.priors):
            mu = net.log_mu[k].exp()
            z = (blocks + mu * x) / (1 + mu)
            x = z + level * prior(torch.cat([z, blocks, level.log()], 1))
        torch.testing.assert_close(net(y, strength=1.7), F.pixel_shuffle(x, 2))


def test_a_strength_below_0_is_refused(net: HQSDenoiser) -> None:
    with pytest.raises(UnfoldError, match="strength is a number of at least 0, not -1"):
        net(torch.rand(1, 3, 16, 16), strength=-1)


def test_strength_may_differ_between_samples(net: HQSDenoiser) -> None:
    y = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        both = net(y, strength=torch.tensor([0.5, 2.0]))
        for i, strength in enumerate((0.5, 2.0)):
            torch.testing.assert_close(both[i : i + 1], net(y[i : i + 1], strength=strength))


def test_the_level_stays_in_its_range(net: HQSDenoiser) -> None:
    with torch.no_grad():
        for y in (torch.zeros(1, 3, 32, 32), 3 * torch.rand(1, 3, 32, 32)):
            level = net.run(y).extras["level"][0]
            assert level.min() >= LEAST * 0.999
            assert level.max() <= MOST * 1.001


def test_its_state_dict_is_recognised_with_all_options() -> None:
    options = {"widths": (8, 12, 10, 6), "depth": 1, "stages": 3, "level_width": 5, "channels": 1}
    found = HQSDenoiser.recognise(HQSDenoiser(**options).state_dict())  # type: ignore[arg-type]
    assert found == options
    assert HQSDenoiser.recognise({"p.m_head.weight": torch.zeros(1)}) is None


def test_the_loss_of_the_level_is_0_where_the_level_is_right_and_log_2_where_it_is_double() -> None:
    target = torch.full((1, 3, 64, 64), 0.5)
    y = target + 0.04 * torch.sign(torch.randn(1, 3, 64, 64))
    for factor, wanted in ((1.0, 0.0), (2.0, 0.6931472)):
        output = Output([y], {"level": [torch.full((1, 1, 32, 32), factor * 0.04)]})
        assert NoiseLevel()(output, {"y": y, "target": target}).item() == pytest.approx(wanted, abs=1e-4)
    with pytest.raises(UnfoldError, match="hqs_denoiser"):
        NoiseLevel()(Output([y], {}), {"y": y, "target": target})
