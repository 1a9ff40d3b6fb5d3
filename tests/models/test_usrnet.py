"""USRNet is the published network, and takes kernels, scales and noise levels per sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.narrow import inputs, kernels, narrow
from unfold import create_model
from unfold.models.golden.golden_rules import fill
from unfold.models.golden.usrnet_golden import usrnet_rule
from unfold.steps.closed_form import prepare

GOLDEN = Path(__file__).parents[1] / "golden" / "usrnet.npz"


@pytest.mark.parametrize("name", ["usrnet", "usrnet_tiny"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_results_and_what_lies_between_equal_the_published_code(name: str, scale: int) -> None:
    golden = np.load(GOLDEN)
    shape = (1, 3, 36, 30) if scale == 1 else (1, 3, 24, 20)
    y = torch.from_numpy(np.random.RandomState(0).rand(*shape).astype(np.float32))
    given = {"kernel": torch.from_numpy(golden["kernel"])[None, None], "scale": scale, "sigma": 0.01 * (scale - 1)}
    net = fill(create_model(name), usrnet_rule).eval()
    with torch.inference_mode():
        x, context = net.begin(y, **given)
        z = context.data.solve(x, context.alphas[:, :1])
        stages = net(y, **given, return_stages=True)
    hyper = torch.cat([context.alphas, context.betas], dim=1).numpy()
    assert np.abs(hyper - golden[f"{name}_x{scale}_ab"]).max() <= 1e-6
    for result, key in ((z, "z1"), (stages[0], "x1"), (stages[-1], "out")):
        assert np.abs(result[..., ::2, 1::2].numpy() - golden[f"{name}_x{scale}_{key}"]).max() <= 1e-5


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_prepared_kernel_gives_the_same_for_any_number_of_images(scale: int) -> None:
    net, k = narrow("usrnet"), kernels(1, 5)
    step = prepare(k, (12 * scale, 10 * scale), scale)
    for _ in range(2):
        y = torch.rand(2, 3, 12, 10)
        with torch.inference_mode():
            assert torch.equal(net(y, kernel=step, scale=scale, sigma=0.02), net(y, kernel=k, scale=scale, sigma=0.02))
    with pytest.raises(ValueError, match="prepared for size"):
        net(torch.rand(1, 3, 13, 10), kernel=step, scale=scale, sigma=0.02)


def test_kernels_and_noise_levels_are_each_samples_own() -> None:
    net, given = narrow("usrnet"), inputs("usrnet", 3, 12, 10)
    with torch.inference_mode():
        whole = net(**given)
        swapped = net(**{**given, "sigma": given["sigma"].flip(0)})
        shared = net(**{**given, "kernel": given["kernel"][:1]})
        number = net(**{**given, "sigma": float(given["sigma"][0])})
    assert torch.allclose(whole[1], swapped[1], atol=1e-6), "the middle one keeps its level"
    assert not torch.allclose(whole[0], swapped[0], atol=1e-4)
    assert torch.allclose(whole[0], shared[0], atol=1e-6)
    assert not torch.allclose(whole[1], shared[1], atol=1e-4)
    assert torch.allclose(whole[0], number[0], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kernel": torch.rand(1, 1, 25, 25)}, "the kernel, 25x25, is larger than the image, 24x20"),
        ({"kernel": torch.rand(5, 5)}, "kernel must have shape"),
        ({"kernel": torch.rand(3, 1, 5, 5)}, "3 kernels"),
        ({"scale": 1.5}, "scale must be a whole number"),
        ({"scale": 0}, "scale must be a whole number"),
        ({"y": torch.rand(1, 1, 12, 10)}, "y must have shape"),
        ({"sigma": torch.rand(3)}, "sigma"),
        ({"kernel": prepare(torch.rand(1, 1, 5, 5).double(), [24, 20], 2)}, "prepared in torch.float64"),
        ({"kernel": prepare(torch.rand(1, 1, 5, 5), [24, 22], 2)}, "prepared for size 24x22"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        narrow("usrnet")(**{**inputs("usrnet", 2, 12, 10), **change})
