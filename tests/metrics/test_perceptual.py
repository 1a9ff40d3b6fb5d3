"""LPIPS is handed what its package wants, and says what is missing. The package itself need not be installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.metrics import lpips, perceptual


class Distance(torch.nn.Module):
    """In LPIPS's place: keeps what it is given and answers as LPIPS does, with (B,1,1,1)."""

    made: list[Distance] = []  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        super().__init__()
        assert options == {"net": "alex", "verbose": False}
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.made.append(self)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.given = x, y
        return self.weight * (x - y).square().mean(dim=(1, 2, 3), keepdim=True)


@pytest.fixture(autouse=True)
def _package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Distance))
    Distance.made.clear()
    perceptual._network.cache_clear()
    yield
    perceptual._network.cache_clear()


def test_images_are_given_in_the_range_from_minus_one_to_one() -> None:
    a, b = scene(32, 40), scene(32, 40, 1)
    found = lpips(a, b)
    assert isinstance(found, float)
    for given, image in zip(Distance.made[0].given, (a, b), strict=True):
        assert given.shape == (1, 3, 32, 40)
        assert given.dtype == torch.float32
        assert np.abs(given[0].permute(1, 2, 0).numpy() - (image / 127.5 - 1)).max() < 1e-6
    assert found == pytest.approx(np.mean((a / 127.5 - b / 127.5) ** 2), rel=1e-5)
    assert lpips(a / 255, b / 255) == pytest.approx(found, rel=1e-6)


def test_a_batch_gets_one_value_per_image_and_the_network_is_made_once() -> None:
    a = (0.9 * torch.rand(2, 3, 32, 32)).requires_grad_()
    found = lpips(a, a.detach() + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1))
    assert found.tolist() == pytest.approx([0, 0.04], rel=1e-5)
    found.sum().backward()
    assert a.grad is not None
    assert lpips(a.detach(), a.detach()).tolist() == [0, 0]
    (network,) = Distance.made
    assert not network.training
    assert network.weight.grad is None


def test_round8_compares_what_a_file_would_hold() -> None:
    a = scene(32, 32)
    assert lpips(a, a / 255 + 0.4 / 255) > 0
    assert lpips(a, (a / 255 + 0.4 / 255), round8=True) == 0


def test_a_missing_package_and_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    a = scene(32, 32)

    def offline(**_: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=offline))
    with pytest.raises(UnfoldError, match=r"weights of LPIPS could not be downloaded: .*no route to host"):
        lpips(a, a)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UnfoldError, match=r'pip install "unfold-restoration\[perceptual\]"'):
        lpips(a, a)


def test_images_it_cannot_take_are_refused() -> None:
    a = scene(32, 32)
    for image, reason in ((a[..., 0], "three channels, not 1"), (a[:30], "at least 31x31 pixels, not 32x30")):
        with pytest.raises(UnfoldError, match=reason):
            lpips(image, image)
    with pytest.raises(UnfoldError, match="differ in shape"):
        lpips(a, a[:31])
