"""The subspace merge is an orthogonal projection, also where its maps say nothing."""

from __future__ import annotations

import pytest
import torch

from unfold.priors.pathway_unet import SubspaceMerge


def merge(dtype: torch.dtype = torch.float32) -> tuple[SubspaceMerge, torch.Tensor, torch.Tensor]:
    module = SubspaceMerge(6, rank=4).to(dtype)
    return module, torch.rand(2, 12, 10, 9, dtype=dtype), torch.rand(2, 6, 10, 9, dtype=dtype)


def test_every_channel_is_projected_orthogonally() -> None:
    module, features, bridge = merge(torch.float64)
    with torch.no_grad():
        projected = module.project(features, bridge)
        basis = module.subnet(features).flatten(2)
    residual = (bridge - projected).flatten(2)
    assert (residual @ basis.mT).abs().max() < 1e-10 * basis.abs().max()
    expected = [torch.linalg.lstsq(b.mT, x.mT).solution.mT @ b for b, x in zip(basis, bridge.flatten(2), strict=True)]
    assert torch.allclose(projected.flatten(2), torch.stack(expected), atol=1e-10)


@pytest.mark.parametrize("dead", [1, 4])
def test_dead_maps_are_left_out_of_the_subspace(dead: int) -> None:
    module, features, bridge = merge()
    with torch.no_grad():
        module.subnet.weight[:dead] = 0
        module.subnet.bias[:dead] = 0
        projected = module.project(features, bridge)
        basis = module.subnet(features).flatten(2)[:, dead:]
    assert projected.isfinite().all()
    if dead == 4:
        assert not projected.any()
    else:
        residual = (bridge - projected).flatten(2)
        assert (residual @ basis.mT).abs().max() < 1e-3 * (bridge.flatten(2) @ basis.mT).abs().max()


def test_two_equal_maps_stay_finite_with_finite_gradients() -> None:
    module, features, bridge = merge()
    with torch.no_grad():
        module.subnet.weight[1] = module.subnet.weight[0]
        module.subnet.bias[1] = module.subnet.bias[0]
    projected = module.project(features, bridge.requires_grad_())
    projected.square().sum().backward()
    assert projected.isfinite().all()
    assert projected.norm() < 1.01 * bridge.norm(), "a projection shortens"
    assert module.subnet.weight.grad.isfinite().all()


def test_under_autocast_all_of_the_projection_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    module, features, bridge = merge()
    seen = []
    solve = torch.linalg.solve_ex
    monkeypatch.setattr(torch.linalg, "solve_ex", lambda a, b: seen.append(a) or solve(a, b))
    with torch.no_grad():
        module.project(features.bfloat16(), bridge.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            projected = module.project(features.bfloat16(), bridge.bfloat16())
    assert projected.dtype == torch.bfloat16
    assert [gram.dtype for gram in seen] == [torch.float32] * 2
    assert torch.equal(*seen), "autocast changes nothing: maps and Gram matrix are float32 to the digit"
