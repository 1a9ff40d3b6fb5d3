"""NRL-GDN and RGDN are the published networks, stop where they stop, and treat each image of a batch as its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from tests.narrow import inputs, kernels, narrow, of_sample
from unfold import create_model
from unfold.errors import UnfoldError
from unfold.models.golden.golden_rules import fill
from unfold.models.golden.nrl_gdn_golden import fill_plain_descent, nrl_gdn_rule
from unfold.models.nrl_gdn import NRLGDN
from unfold.physics.blur import blur

GOLDEN = Path(__file__).parents[1] / "golden" / "nrl_gdn.npz"
NARROW = {"widths": (4, 4, 4, 4), "depth": 1, "width": 6}


def descent(step: float, **arguments: object) -> NRLGDN:
    """Plain gradient descent in the shape of the network."""
    return fill_plain_descent(create_model("nrl_gdn_y0", **NARROW, **arguments), step).eval()


@pytest.mark.parametrize("name", ["nrl_gdn", pytest.param("nrl_gdn_y0", marks=pytest.mark.slow), "rgdn_uniform"])
def test_every_stage_equals_the_published_code(name: str) -> None:
    golden = np.load(GOLDEN)
    y = torch.from_numpy(np.random.RandomState(0).rand(1, 3, 64, 64).astype(np.float32))
    with torch.inference_mode():
        net = fill(create_model(name), nrl_gdn_rule).eval()
        stages = net(y, kernel=torch.from_numpy(golden["kernel"])[None, None], return_stages=True)
    assert len(stages) == len(golden[name]) == 6
    found = np.stack([x[0, :, ::2, 1::2].numpy() for x in stages])
    assert np.abs(found - golden[name]).max() <= 1e-5


@pytest.mark.parametrize(("step", "stops"), [(0.3, 16), (1.0, 17), (1.9, 18)])
@pytest.mark.parametrize("noise_model", ["residual", "gradient"])
def test_plain_descent_stops_where_the_published_code_stops(step: float, stops: int, noise_model: str) -> None:
    golden = np.load(GOLDEN)
    y, kernel = torch.from_numpy(golden["descent_y"]), torch.from_numpy(golden["descent_kernel"])[None, None]
    with torch.inference_mode():
        stages = descent(step, noise_model=noise_model)(y, kernel=kernel, return_stages=True)
    assert len(stages) == stops
    if step == 1.0:
        found = np.stack([x[0, :, ::2, 1::2].numpy() for x in stages])
        assert np.abs(found - golden["descent"]).max() <= 1e-5


def stops_of(stages: list[torch.Tensor], y: torch.Tensor, kernel: torch.Tensor) -> int:
    """The published rule, written anew: how many of these stages it lets happen."""
    errors, changes = [], []
    for t, x in enumerate(stages):
        blurred = [
            ndimage.convolve(c, k[0], mode="constant") for image, k in zip(x, kernel, strict=True) for c in image
        ]
        errors.append(0.5 * float(np.linalg.norm(np.stack(blurred) - y.flatten(0, 1).numpy())))
        changes.append(0.0 if t == 0 else (abs(errors[t] - errors[t - 1]) + 1e-10) / (errors[t - 1] + 1e-10))
        if t > 4 and changes[t - 1] - changes[t] < 1e-3:
            return t + 1
    return len(stages)


def hard_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Images that plain descent stops at after different numbers of steps."""
    x = torch.rand(3, 3, 24, 24)
    k = torch.stack([torch.eye(7), torch.full((7, 7), 1.0), torch.eye(7).flip(0) + torch.eye(7)])[:, None]
    k = k / k.sum(dim=(2, 3), keepdim=True)
    return blur(x, k) + torch.tensor([0.0, 0.02, 0.2])[:, None, None, None] * torch.randn(3, 3, 24, 24), k


def test_each_image_of_a_batch_stops_where_it_stops_alone() -> None:
    y, k = hard_batch()
    with torch.inference_mode():
        forever = descent(1.5, stop="never")(y, kernel=k, return_stages=True)
        batch = descent(1.5)(y, kernel=k, return_stages=True)
        expected = [stops_of([x[i : i + 1] for x in forever], y[i : i + 1], k[i : i + 1]) for i in range(3)]
        alone = [descent(1.5)(y[i : i + 1], kernel=k[i : i + 1], return_stages=True) for i in range(3)]
    assert len(set(expected)) > 1, "the example must distinguish images"
    assert [len(stages) for stages in alone] == expected
    assert len(batch) == max(expected)
    for i, stop in enumerate(expected):
        assert torch.allclose(batch[-1][i], forever[stop - 1][i], atol=1e-6)
        assert torch.allclose(batch[-1][i], alone[i][-1][0], atol=1e-6)


def test_the_published_rule_for_the_whole_batch_is_an_option() -> None:
    y, k = (t[:2] for t in hard_batch())
    with torch.inference_mode():
        forever = descent(1.5, stop="never")(y, kernel=k, return_stages=True)
        joint = descent(1.5, stop="batch")(y, kernel=k, return_stages=True)
    assert len(forever) == 40
    assert len(joint) == stops_of(forever, y, k)
    assert torch.allclose(joint[-1], forever[len(joint) - 1], atol=1e-6)


def test_training_runs_a_fixed_number_of_stages() -> None:
    net, given = narrow("nrl_gdn", train_stages=4).train(), inputs("nrl_gdn", 2, 16, 16)
    assert len(net(**given, return_stages=True)) == 4
    assert create_model("nrl_gdn", **NARROW).train_stages == 6
    with torch.inference_mode():
        trained, tested = net(**given), narrow("nrl_gdn", stop="never", stages=4)(**given)
    assert torch.allclose(trained, tested, atol=1e-6)


def test_the_operator_is_applied_once_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("unfold.models.nrl_gdn.blur", lambda *a: calls.append(1) or blur(*a))
    given = inputs("nrl_gdn_y0", 1, 16, 16)
    with torch.inference_mode():
        stages = narrow("nrl_gdn_y0")(**given, return_stages=True)
    assert len(calls) == len(stages) + 1, "and once for the first residual"


def test_variants_differ_as_they_should() -> None:
    given = inputs("nrl_gdn", 1, 24, 24)
    with torch.inference_mode():
        results = [narrow(name)(**given) for name in ("nrl_gdn", "nrl_gdn_y0", "rgdn_uniform")]
        zero = [narrow(name).begin(**given)[0] for name in ("nrl_gdn", "nrl_gdn_y0")]
    assert all(not torch.equal(results[i], results[i - 1]) for i in range(3))
    assert torch.equal(zero[1], given["y"])
    assert not torch.equal(zero[0], given["y"])


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (torch.rand(1, 1, 4, 4), r"4x4; .* around its centre pixel \(2, 2\) to 5x5"),
        (torch.rand(1, 1, 3, 7), r"3x7; .* to 7x7"),
        (torch.rand(1, 1, 25, 25), "25x25, is larger than the image, 24x24"),
        (torch.rand(3, 3), "kernel must have shape"),
        (torch.rand(3, 1, 3, 3), "kernel must have shape"),
    ],
)
def test_kernels_that_do_not_fit_are_refused_with_what_to_do(kernel: torch.Tensor, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        narrow("nrl_gdn")(torch.rand(2, 3, 24, 24), kernel=kernel)


def test_samples_have_their_own_kernels() -> None:
    given = inputs("nrl_gdn", 2, 20, 22)
    net = narrow("nrl_gdn")
    with torch.inference_mode():
        both = net(**given)
        assert torch.allclose(both[1:], net(**of_sample(given, 1)), atol=1e-5)
        other = net(given["y"], kernel=torch.cat([given["kernel"][:1], kernels(1, 5)]))
    assert torch.allclose(both[0], other[0], atol=1e-5)
    assert not torch.allclose(both[1], other[1], atol=1e-4)


def test_unknown_variants_are_refused() -> None:
    with pytest.raises(UnfoldError, match="train_stages must be at least 1"):
        create_model("nrl_gdn", **NARROW, train_stages=0)
    with pytest.raises(ValueError, match="4x30; NRL-GDN needs"):
        narrow("nrl_gdn")(torch.rand(1, 3, 4, 30), kernel=torch.ones(1, 1, 1, 1))
    for wrong in ({"stop": "sometimes"}, {"initial": "zero"}, {"noise_model": "both"}):
        with pytest.raises(ValueError, match="is one of"):
            create_model("nrl_gdn", **NARROW, **wrong)
