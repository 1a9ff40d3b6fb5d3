"""The loss is the published formula, over all stages, and reaches all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unfold.training.losses import charbonnier, charbonnier_of_stages


def test_charbonnier_is_the_formula() -> None:
    x, target = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    expected = np.mean(np.sqrt((x.double().numpy() - target.double().numpy()) ** 2 + 1e-6))
    assert charbonnier(x, target).item() == pytest.approx(expected, rel=1e-6)
    assert charbonnier(target, target, eps=0.01).item() == pytest.approx(0.01)


def test_stages_are_summed_and_each_gets_its_gradient() -> None:
    target = torch.rand(1, 3, 4, 4)
    stages = [torch.rand(1, 3, 4, 4, requires_grad=True) for _ in range(3)]
    loss = charbonnier_of_stages(stages, target)
    assert loss.item() == pytest.approx(sum(charbonnier(x, target).item() for x in stages), rel=1e-6)
    loss.backward()
    for x in stages:
        d = (x - target).detach()
        assert torch.allclose(x.grad, d / (d**2 + 1e-6).sqrt() / d.numel(), rtol=1e-5)


def test_bfloat16_estimates_are_compared_in_float32() -> None:
    assert charbonnier(torch.rand(1, 3, 4, 4).bfloat16(), torch.rand(1, 3, 4, 4)).dtype == torch.float32
