"""Losses are the published formulas, over the stages that they are for, and reach those alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch import Tensor

from unfold.losses.edge import Edge, laplacian
from unfold.losses.loss import ImageLoss, Term, TotalLoss
from unfold.losses.pixel import L1, MSE, Charbonnier, LogMSE, charbonnier
from unfold.models.unfolding import Output


def total(stages: list[Tensor], target: Tensor, *terms: Term) -> Tensor:
    return TotalLoss(terms)(Output(stages, {}), {"target": target})


def every(loss: ImageLoss, weight: float = 1.0) -> Term:
    return Term(loss, weight, every_stage=True)


def test_charbonnier_is_the_formula() -> None:
    x, target = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    expected = np.mean(np.sqrt((x.double().numpy() - target.double().numpy()) ** 2 + 1e-6))
    assert charbonnier(x, target).item() == pytest.approx(expected, rel=1e-6)
    assert charbonnier(target, target, eps=0.01).item() == pytest.approx(0.01)


def test_log_mse_weighs_each_sample_by_its_own_error() -> None:
    rng = np.random.default_rng(0)
    target = rng.uniform(size=(3, 2, 4, 5))
    x = target + np.array([1e-3, 1e-2, 0.3])[:, None, None, None] * rng.normal(size=target.shape)
    estimate = torch.tensor(x, requires_grad=True)
    loss = LogMSE(eps=1e-6).distance(estimate, torch.tensor(target))
    np.testing.assert_allclose(float(loss), np.mean([np.log(np.mean((x[i] - target[i]) ** 2)) for i in range(3)]), 1e-6)
    loss.backward()
    assert estimate.grad is not None
    # d log(m) / d x . (x - target) = 2, however large the error is
    reached = (estimate.grad * (estimate.detach() - torch.tensor(target))).flatten(1).sum(1)
    np.testing.assert_allclose(reached.numpy(), np.full(3, 2 / 3), rtol=1e-4)
    exact = torch.zeros(1, 1, 2, 2, requires_grad=True)
    LogMSE().distance(exact, torch.zeros(1, 1, 2, 2)).backward()
    assert exact.grad is not None
    assert not exact.grad.any()


def test_stages_are_summed_and_each_gets_its_gradient() -> None:
    target = torch.rand(1, 3, 4, 4)
    stages = [torch.rand(1, 3, 4, 4, requires_grad=True) for _ in range(3)]
    loss = total(stages, target, every(Charbonnier()))
    assert loss.item() == pytest.approx(sum(charbonnier(x, target).item() for x in stages), rel=1e-6)
    loss.backward()
    for x in stages:
        d = (x - target).detach()
        assert torch.allclose(x.grad, d / (d**2 + 1e-6).sqrt() / d.numel(), rtol=1e-5)


def test_bfloat16_estimates_are_compared_in_float32() -> None:
    assert charbonnier(torch.rand(1, 3, 4, 4).bfloat16(), torch.rand(1, 3, 4, 4)).dtype == torch.float32


def test_the_loss_of_the_last_stage_reaches_no_other() -> None:
    target = torch.rand(2, 3, 4, 4)
    stages = [torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(3)]
    loss = total(stages, target, Term(L1(), 0.25))
    assert loss.item() == pytest.approx(0.25 * np.abs((stages[-1] - target).detach().numpy()).mean(), rel=1e-6)
    loss.backward()
    assert [x.grad is not None for x in stages] == [False, False, True]


def test_clamped_estimates_get_no_gradient_beyond_the_range() -> None:
    target = torch.full((1, 1, 1, 3), 0.5)
    x = torch.tensor([-0.5, 0.25, 1.5]).view(1, 1, 1, 3).requires_grad_()
    loss = total([x], target, Term(MSE(), every_stage=True, clamp=True))
    assert loss.item() == pytest.approx((0.25 + 0.0625 + 0.25) / 3)
    loss.backward()
    assert x.grad.flatten().tolist() == pytest.approx([0, -2 * 0.25 / 3, 0])


def test_the_laplacian_is_the_published_one_written_with_another_library() -> None:
    x = np.random.default_rng(0).random((11, 14))
    taps = np.array([0.05, 0.25, 0.4, 0.25, 0.05])
    kernel = np.outer(taps, taps)
    low = correlate(x, kernel, mode="nearest")
    kept = np.zeros_like(low)
    kept[::2, ::2] = 4 * low[::2, ::2]
    expected = x - correlate(kept, kernel, mode="nearest")
    found = laplacian(torch.from_numpy(np.stack([x, 2 * x]))[None])[0].numpy()
    assert np.allclose(found, np.stack([expected, 2 * expected]), atol=1e-12)


def test_the_edge_loss_is_the_charbonnier_loss_of_laplacians_and_is_weighed() -> None:
    x, target = torch.rand(2, 3, 8, 9), torch.rand(2, 3, 8, 9)
    expected = charbonnier(laplacian(x), laplacian(target)).item()
    assert Edge().distance(x, target).item() == pytest.approx(expected, rel=1e-6)
    both = total([x, x], target, every(Charbonnier()), every(Edge(), 0.05)).item()
    assert both == pytest.approx(2 * (charbonnier(x, target).item() + 0.05 * expected), rel=1e-6)
