"""A training step: what it says of itself, and how samples are blended before it."""

from __future__ import annotations

import pytest
import torch

from tests.narrow import inputs, narrow
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import MSE
from unfold.training.mixup import mixed
from unfold.training.train_step import Update


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_loss_and_psnr_of_a_step_are_sums_over_its_patches_before_it(accumulate: int) -> None:
    net, given = narrow("dgunet_deblur").train(), inputs("dgunet_deblur", 3, 16, 16)
    target = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        result = net(**given)
    errors = (result - target).square().mean((1, 2, 3))
    clamped = (result.clamp(0, 1) - target).square().mean((1, 2, 3))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    update = Update(net, net, TotalLoss([Term(MSE())]), optimizer, accumulate=accumulate)
    sums = dict(zip(update.names, update({"target": target, **given}).tolist(), strict=True))
    assert sums["loss"] == pytest.approx(errors.sum().item(), rel=1e-5)
    assert sums["psnr"] == pytest.approx((-10 * clamped.log10()).sum().item(), rel=1e-5)
    assert (sums["patches"], sums["steps"], sums["skipped"]) == (3, 1, 0)


def test_each_sample_is_blended_with_one_other_by_a_beta_share_of_its_own_the_same_for_all_its_images() -> None:
    count, alpha = 400, 0.6
    alone = torch.eye(count)[:, :, None, None]  # sample i is 1 in channel i
    found = mixed({"target": alone, "y": 3 * alone}, alpha, (7, 1, 2, 0))
    assert torch.allclose(found["y"], 3 * found["target"])
    weights = found["target"][..., 0, 0]
    assert torch.allclose(weights.sum(1), torch.ones(count))
    own = weights.diagonal()
    others = weights - torch.diag(own)
    partner = others.argmax(1)[own < 1]
    assert ((others > 0).sum(1) <= 1).all()
    assert len(partner.unique()) == len(partner) > count - 10, "each is the other of one"
    assert own.mean().item() == pytest.approx(0.5, abs=0.05)
    assert own.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.02)
    assert torch.equal(mixed({"target": alone}, alpha, (7, 1, 2, 0))["target"], found["target"])
    assert not torch.equal(mixed({"target": alone}, alpha, (7, 1, 3, 0))["target"], found["target"])
