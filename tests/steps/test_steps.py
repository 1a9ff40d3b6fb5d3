"""Data steps solve what they say they solve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.narrow import kernels
from unfold.physics.blur import blur, blur_adjoint, decimate, decimate_adjoint
from unfold.physics.edge_taper import taper_weights
from unfold.steps.closed_form import prepare
from unfold.steps.data_step import BlurGradient
from unfold.steps.gradient import LearnedOperator, gradient_step
from unfold.steps.inverse_filter import GRADIENT_PENALTY, inverse_filter

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("lr", [(6, 8), (7, 9), (11, 6)])
@pytest.mark.parametrize("shared", [True, False])
def test_the_closed_form_solves_its_normal_equations(scale: int, lr: tuple[int, int], shared: bool) -> None:
    """A^T (A z - y) + alpha (z - x) = 0 for A = decimation of circular blur."""
    y = torch.rand(2, 3, *lr, dtype=torch.float64)
    x = torch.rand(2, 3, lr[0] * scale, lr[1] * scale, dtype=torch.float64)
    k, alpha = (
        kernels(1 if shared else 2, 5, torch.float64),
        torch.tensor([1e-4, 0.3], dtype=torch.float64)[:, None, None, None],
    )
    step = prepare(k, (x.shape[-2], x.shape[-1]), scale)
    z = step.solve(x, step.spectrum(y), alpha)
    residual = decimate(blur(z, k, "circular"), scale) - y
    gradient = blur_adjoint(decimate_adjoint(residual, scale), k, "circular") + alpha * (z - x)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("scale", [1, 3])
def test_the_closed_form_equals_the_published_code_in_float64(scale: int) -> None:
    golden = np.load(GOLDEN / "usrnet.npz")
    x, y, k, alpha, z = (torch.from_numpy(golden[f"f64_x{scale}_{name}"]) for name in ("x", "y", "k", "alpha", "z"))
    step = prepare(k, (x.shape[-2], x.shape[-1]), scale)
    assert (step.solve(x, step.spectrum(y), alpha) - z).abs().max() <= 1e-10


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_float32_stays_near_float64_at_the_smallest_alpha(scale: int) -> None:
    """At alpha 3e-6 the published form is off by 4e-3 and more here."""
    torch.manual_seed(3)
    hr = F.avg_pool2d(torch.rand(1, 3, 14 + 12 * scale, 14 + 12 * scale, dtype=torch.float64), 3, 1, 1)[..., 1:-1, 1:-1]
    k, alpha = kernels(1, 5, torch.float64), torch.tensor(3e-6, dtype=torch.float64)
    hr = hr[..., : 12 * scale, : 12 * scale]
    y = decimate(blur(hr, k, "circular"), scale)
    x = F.interpolate(y, scale_factor=scale, mode="nearest")

    def solve(dtype: torch.dtype) -> torch.Tensor:
        step = prepare(k.to(dtype), (x.shape[-2], x.shape[-1]), scale)
        return step.solve(x.to(dtype), step.spectrum(y.to(dtype)), alpha.to(dtype))

    assert (solve(torch.float32) - solve(torch.float64)).abs().max() < 5e-4


def test_a_prepared_kernel_is_for_its_size_and_of_full_precision() -> None:
    assert prepare(kernels(1).bfloat16(), (8, 8), 1).otf.dtype == torch.complex64
    for kernel, size, scale, told in [
        (kernels(1, 9), (8, 20), 1, "9x9, is larger than the image, 8x20"),
        (kernels(1), (9, 8), 2, "9x8 is no multiple of scale 2"),
        (kernels(1), (8, 8), 0, "no multiple of scale 0"),
        (kernels(1)[0], (8, 8), 1, "kernel must have shape"),
    ]:
        with pytest.raises(ValueError, match=told):
            prepare(kernel, size, scale)


def test_a_gradient_step_goes_down_the_slope() -> None:
    x, y, k = (
        (torch.rand(1, 3, 12, 12, dtype=torch.float64, requires_grad=True) for _ in range(2)),
        None,
        kernels(1, 5, torch.float64),
    )
    x, y = x
    cost = 0.5 * (blur(x, k) - y).square().sum()
    (gradient,) = torch.autograd.grad(cost, x)
    step = torch.tensor(0.7, dtype=torch.float64)
    z = gradient_step(x, y, step, lambda u: blur(u, k), lambda v: blur_adjoint(v, k))
    assert torch.allclose(z, x - 0.7 * gradient)
    data = BlurGradient(2, "zero", step=0.7).double()
    start, context = data.begin(y, kernel=k)
    assert torch.equal(start, y)
    assert torch.allclose(data(1, x, context), z)


def test_the_inverse_filter_solves_its_normal_equations_and_equals_the_published_code() -> None:
    golden = np.load(GOLDEN / "nrl_gdn.npz")
    y = torch.from_numpy(np.random.RandomState(2).rand(1, 3, 64, 80).astype(np.float32))
    for i in (0, 3, 4):
        k = torch.from_numpy(golden[f"k{i}"]).float().flip(-2, -1)
        k = k.reshape(1, 1, *k.shape[-2:])
        assert np.abs(inverse_filter(y, k)[..., ::2, 1::2].numpy() - golden[f"init{i}"]).max() <= 1e-5
        wide = tuple(n + k.shape[-1] - 1 for n in (64, 80))
        assert np.abs(taper_weights(k, wide).numpy().squeeze() - golden[f"alpha{i}"].squeeze()).max() <= 1e-5
    # A constant image blurs to itself and has no gradient: it must come back.
    flat = torch.full((1, 3, 20, 24), 0.3, dtype=torch.float64)
    assert torch.allclose(inverse_filter(flat, kernels(1, 5, torch.float64)), flat)
    assert GRADIENT_PENALTY == 0.002


def test_steps_agree_with_finite_differences() -> None:
    x = torch.rand(1, 2, 8, 6, dtype=torch.float64, requires_grad=True)
    y = torch.rand(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    k = kernels(1, 3, torch.float64).requires_grad_()
    alpha = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    def closed(x: torch.Tensor, y: torch.Tensor, k: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        step = prepare(k, (8, 6), 2)
        return step.solve(x, step.spectrum(y), alpha)

    assert torch.autograd.gradcheck(closed, (x, y, k, alpha), fast_mode=True)
    assert torch.autograd.gradcheck(inverse_filter, (x, k), fast_mode=True)
    operator = LearnedOperator(torch.nn.PReLU(), channels=2, width=4).double()
    assert torch.autograd.gradcheck(operator, x, fast_mode=True)
