"""Checks of networks on a device: the CPU in the ordinary run, a CUDA GPU with `-m gpu`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.gpu.setting import computed_in


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _float32() -> Iterator[None]:
    """TF32 nowhere but where a test asks for it."""
    with computed_in("float32", torch.device("cpu")):
        yield
