"""Data steps solve what they say they solve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.narrow import inputs, kernels, narrow
from unfold.physics.blur import blur, blur_adjoint, decimate
from unfold.physics.edge_taper import taper_weights
from unfold.steps.closed_form import prepare
from unfold.steps.data_step import BlurGradient, ClosedForm, DataStep, LearnedGradient
from unfold.steps.gradient import LearnedOperator, gradient_step
from unfold.steps.inverse_filter import GRADIENT_PENALTY, inverse_filter

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("lr", [(6, 8), (7, 9), (11, 6)])
@pytest.mark.parametrize("shared", [True, False])
def test_the_closed_form_solves_its_normal_equations(scale: int, lr: tuple[int, int], shared: bool) -> None:
    """|A z - y|^2 / 2 + alpha |z - x|^2 / 2 has no slope there, for A = decimation of circular blur."""
    y = torch.rand(2, 3, *lr, dtype=torch.float64)
    x = torch.rand(2, 3, lr[0] * scale, lr[1] * scale, dtype=torch.float64)
    k, alpha = (
        kernels(1 if shared else 2, 5, torch.float64),
        torch.tensor([1e-4, 0.3], dtype=torch.float64)[:, None, None, None],
    )
    step = prepare(k, (x.shape[-2], x.shape[-1]), scale)
    z = step.solve(x, step.spectrum(y), alpha).requires_grad_()
    cost = (decimate(blur(z, k, "circular"), scale) - y).square().sum() / 2 + (alpha * (z - x).square()).sum() / 2
    (gradient,) = torch.autograd.grad(cost, z)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("scale", [1, 3])
def test_the_closed_form_equals_the_published_code_in_float64(scale: int) -> None:
    golden = np.load(GOLDEN / "usrnet.npz")
    x, y, k, alpha, z = (torch.from_numpy(golden[f"f64_x{scale}_{name}"]) for name in ("x", "y", "k", "alpha", "z"))
    step = prepare(k, (x.shape[-2], x.shape[-1]), scale)
    assert (step.solve(x, step.spectrum(y), alpha) - z).abs().max() <= 1e-10


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("content", ["smooth", "noise"])
def test_float32_stays_near_float64_at_the_smallest_alpha(scale: int, content: str) -> None:
    """And nowhere does fold(|K|^2), which alpha is added to, go below zero."""
    axis = torch.arange(-12.0, 13, dtype=torch.float64)
    k = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.6**2))[None, None]
    k, alpha = k / k.sum(), torch.tensor(3e-6, dtype=torch.float64)
    side = 12 * scale * 4
    hr = blur(torch.rand(1, 3, side, side, dtype=torch.float64), kernels(1, 7, torch.float64), "circular")
    y = torch.rand(1, 3, side // scale, side // scale, dtype=torch.float64)
    y = decimate(blur(hr, k, "circular"), scale) if content == "smooth" else y
    x = F.interpolate(y, scale_factor=scale, mode="nearest")

    def solve(dtype: torch.dtype) -> torch.Tensor:
        step = prepare(k.to(dtype), (side, side), scale)
        assert (step.power >= 0).all()
        return step.solve(x.to(dtype), step.spectrum(y.to(dtype)), alpha.to(dtype))

    assert (solve(torch.float32) - solve(torch.float64)).abs().max() < (1e-4 if content == "smooth" else 1e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("lr", [(4, 5), (5, 4), (3, 3)])
def test_the_folded_power_is_the_mean_over_the_aliases_of_the_whole_spectrum(scale: int, lr: tuple[int, int]) -> None:
    size = (lr[0] * scale, lr[1] * scale)
    k = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    whole = torch.fft.fft2(k, s=size).abs().square()
    rows, columns = torch.arange(scale) * lr[0], torch.arange(scale) * lr[1]
    for u in range(lr[0]):
        for v in range(lr[1]):
            aliases = whole[:, 0, rows + u][:, :, columns + v]
            assert torch.allclose(prepare(k, size, scale).power[:, 0, u, v], aliases.mean(dim=(1, 2)))


def test_a_prepared_kernel_is_for_its_size_and_of_full_precision() -> None:
    assert prepare(kernels(1).bfloat16(), (8, 8), 1).otf.dtype == torch.complex64
    for kernel, size, scale, expected in [
        (kernels(1, 9), (8, 20), 1, "9x9, is larger than the image, 8x20"),
        (kernels(1), (9, 8), 2, "9x8 is no multiple of scale 2"),
        (kernels(1), (8, 8), 0, "scale must be a whole number"),
        (kernels(1)[0], (8, 8), 1, "kernel must have shape"),
    ]:
        with pytest.raises(ValueError, match=expected):
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
        size = (x.shape[-2], x.shape[-1])
        step = prepare(k, size, size[0] // y.shape[-2])
        return step.solve(x, step.spectrum(y), alpha)

    def double(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(closed, (x, y, k, alpha), fast_mode=True)
    assert torch.autograd.gradcheck(closed, (double(1, 2, 9, 7), double(1, 2, 9, 7), k, alpha), fast_mode=True)
    assert torch.autograd.gradcheck(closed, (double(1, 1, 15, 9), double(1, 1, 5, 3), k, alpha), fast_mode=True)
    assert torch.autograd.gradcheck(inverse_filter, (x, k), fast_mode=True)


@pytest.mark.parametrize("kind", [ClosedForm, BlurGradient, LearnedGradient])
def test_composable_steps_agree_with_finite_differences_in_their_parameters_too(kind: type[DataStep]) -> None:
    data = kind(2).double()
    given = {} if kind is LearnedGradient else {"kernel": kernels(1, 3, torch.float64)}

    def run(image: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        x, context = data.begin(image, **given)
        return data(1, 0.9 * x, context)

    image = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (image, *data.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", ["nrl_gdn", "nrl_gdn_y0", "rgdn_uniform", "dgunet_cs", "dgunet_deblur", "usrnet"])
def test_whole_stages_agree_with_finite_differences(name: str) -> None:
    net, given = narrow(name).double(), inputs(name, 1, 8, 8, torch.float64)
    key = "image" if name == "dgunet_cs" else "y"

    def stage(image: torch.Tensor) -> torch.Tensor:
        x, context = net.begin(**{**given, key: image})
        return net.stage(0, x, None, context)[0].mean(dim=(2, 3))

    assert torch.autograd.gradcheck(stage, given[key].clone().requires_grad_(), fast_mode=True)


def test_the_learned_operator_agrees_with_finite_differences() -> None:
    x = torch.rand(1, 2, 8, 6, dtype=torch.float64, requires_grad=True)
    operator = LearnedOperator(torch.nn.PReLU(), channels=2, width=4).double()
    assert torch.autograd.gradcheck(operator, x, fast_mode=True)
