"""Compressive-sensing DGUNet is the published network, on blocks and on whole images, with Phi learned or given."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.narrow import narrow
from unfold import create_model
from unfold.errors import UnfoldError
from unfold.models.golden.dgunet_golden import dgunet_rule
from unfold.models.golden.golden_rules import fill

GOLDEN = Path(__file__).parents[1] / "golden" / "dgunet_cs.npz"


@pytest.mark.parametrize("name", ["dgunet_cs", "dgunet_plus_cs"])
def test_every_stage_equals_the_published_code_on_blocks_and_on_the_whole_image(name: str) -> None:
    golden = np.load(GOLDEN)
    image = torch.from_numpy(np.random.RandomState(0).rand(1, 3, 64, 64).astype(np.float32)[:, :1])
    blocks = torch.stack([image[0, :, i : i + 32, j : j + 32] for i in (0, 32) for j in (0, 32)])
    net = fill(create_model(name), dgunet_rule).eval()
    for x, key in ((image, "whole"), (blocks, "blocks")):
        with torch.inference_mode():
            stages = net(image=x, return_stages=True)
        found = np.stack([stage[..., ::2, 1::2].numpy() for stage in stages])
        assert np.abs(found - golden[f"{name}_{key}"]).max() <= 1e-5


@pytest.mark.parametrize(
    ("ratio", "measurements"), [(1, 11), (4, 41), (10, 103), (25, 256), (30, 308), (40, 410), (50, 512)]
)
@pytest.mark.parametrize(("name", "others"), [("dgunet_cs", 2_284_604), ("dgunet_plus_cs", 6_810_140)])
def test_parameters_follow_the_ratio(name: str, others: int, ratio: int, measurements: int) -> None:
    assert measurements == math.ceil(ratio * 0.01 * 1024)
    with torch.device("meta"):
        net = create_model(name, ratio=ratio)
    assert net.Phi.shape == (measurements, 1024)
    assert sum(p.numel() for p in net.parameters()) == others + 1024 * measurements


@pytest.mark.parametrize("name", ["dgunet_cs", "dgunet_plus_cs"])
def test_an_image_is_measured_and_restored_in_one_or_in_two(name: str) -> None:
    net, x = narrow(name), torch.rand(2, 1, 64, 96)
    with torch.inference_mode():
        m = net.measure(x)
        assert m.shape == (2, len(net.Phi), 2, 3)
        assert torch.allclose(m[1, :, 1, 2], net.Phi @ x[1, 0, 32:, 64:].flatten(), atol=1e-5)
        assert torch.equal(net(m), net(image=x))


def test_sizes_that_are_no_multiple_are_padded_by_zeros_and_cropped() -> None:
    net, x = narrow("dgunet_cs"), torch.rand(1, 1, 40, 33)
    padded = torch.zeros(1, 1, 64, 64)
    padded[..., :40, :33] = x
    with torch.inference_mode():
        assert torch.equal(net(image=x), net(image=padded)[..., :40, :33])
        assert net(net.measure(x)).shape == (1, 1, 64, 64)


def test_phi_is_learned_or_given(tmp_path: Path) -> None:
    net, x = narrow("dgunet_cs"), torch.rand(1, 1, 32, 32)
    net.measure(x).square().sum().backward()
    assert torch.allclose(net.Phi.grad, 2 * (net.Phi @ x.flatten())[:, None] * x.flatten()[None], rtol=1e-3, atol=1e-4)
    net.zero_grad()
    with torch.no_grad():
        m = net.measure(x)
    net(m).square().sum().backward()
    restoring = net.Phi.grad.clone()
    net.zero_grad()
    net(image=x).square().sum().backward()
    assert not torch.allclose(net.Phi.grad, restoring), "the measurement has a part in the gradient, too"
    rows = torch.linalg.qr(torch.randn(1024, len(net.Phi)))[0].T
    net.give_sampling(rows)
    assert torch.equal(net.Phi, rows)
    net.zero_grad()
    net(image=x).square().sum().backward()
    assert net.Phi.grad is None
    with pytest.raises(ValueError, match=r"shape \(5, 1024\), not"):
        net.give_sampling(rows[:5])
    np.save(tmp_path / "phi.npy", rows.double().numpy())
    other = narrow("dgunet_cs", learn_phi=False)
    assert not other.Phi.requires_grad
    for given in (tmp_path / "phi.npy", rows.numpy()):
        other.give_sampling(given)
        assert torch.allclose(other.Phi, rows)


def test_inputs_that_do_not_fit_are_refused() -> None:
    net = narrow("dgunet_cs")
    for given, expected in [
        ({}, "either measurements"),
        ({"m": torch.rand(1, 103, 1, 1), "image": torch.rand(1, 1, 32, 32)}, "either measurements"),
        ({"m": torch.rand(1, 7, 1, 1)}, r"measurements have shape \(B, 103, h, w\)"),
        ({"image": torch.rand(1, 3, 32, 32)}, r"shape \(B, 1, H, W\)"),
    ]:
        with pytest.raises(ValueError, match=expected):
            net(**given)
    for ratio in (0, 101):
        with pytest.raises(UnfoldError, match="ratio"):
            create_model("dgunet_cs", ratio=ratio)


@pytest.mark.parametrize("name", ["dgunet_cs", "dgunet_plus_cs"])
def test_started_as_identity_it_returns_the_low_frequencies_and_learns(name: str) -> None:
    net = narrow(name)
    net.start_as_identity()
    assert torch.allclose(net.Phi @ net.Phi.T, torch.eye(len(net.Phi)), atol=1e-5)
    ramp = torch.linspace(0.2, 0.8, 32).expand(1, 1, 32, 32).contiguous()
    with torch.inference_mode():
        stages = net(image=ramp, return_stages=True)
    assert all(torch.allclose(stage, stages[0], atol=1e-5) for stage in stages)
    assert torch.allclose(stages[0], ramp, atol=0.02), "a smooth block has hardly anything but low frequencies"
    assert stages[0].mean().item() == pytest.approx(0.5, abs=1e-4)
    net(image=torch.rand(1, 1, 64, 64)).square().mean().backward()
    assert net.tail.weight.grad is not None
    assert net.tail.weight.grad.abs().max() > 0
