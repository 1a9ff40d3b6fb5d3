"""Devices by name, and what runs elsewhere if a device lacks it: with stand-ins, as no other device was available."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.narrow import inputs, narrow
from unfold.errors import UnfoldError
from unfold.metrics import psnr
from unfold.physics.batched_degrade import blur_levels
from unfold.training.processes.distributed import Processes
from unfold.util import device as module
from unfold.util import log_once
from unfold.util.device import can, count, devices_for, free_memory, pick_device
from unfold.util.precision import autocast_for

CPU = torch.device("cpu")


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """accelerator(kind, number): torch finds so many."""

    def there(kind: str, number: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number if kind == "cuda" else 0)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: number)
        monkeypatch.setattr(torch, "empty", lambda *size, device: None)

    return there


@pytest.mark.parametrize(("kind", "number"), [("cuda", 2), ("mps", 1), ("xpu", 3), ("hpu", 1)])
def test_auto_takes_the_accelerator_that_torch_finds(
    accelerator: Callable[[str, int], None], kind: str, number: int
) -> None:
    accelerator(kind, number)
    assert pick_device("auto") == torch.device(kind)
    assert pick_device(f"{kind}:0") == torch.device(f"{kind}:0")
    assert count(torch.device(kind)) == number
    each = [f"{kind}:{i}" for i in range(number)] if number > 1 else [kind]
    assert devices_for("auto", None) == each
    assert devices_for("auto", 4) == [each[i % number] for i in range(4)]
    assert devices_for("cpu", 2) == ["cpu", "cpu"]


@pytest.mark.parametrize("name", ["tpu", "warp", "meta", "cuda:x", "", "0"])
def test_what_is_no_device_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UnfoldError, match=f"the device {name} cannot be used here") as error:
        pick_device(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mps", "xpu", "hpu"])
def test_an_accelerator_that_is_not_here_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UnfoldError, match=f"the device {name} cannot be used here .*try auto or cpu") as error:
        pick_device(name)
    assert "\n" not in str(error.value)


@pytest.fixture
def poor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CPU stands for a device without Fourier transforms, float64 and bfloat16."""
    log_once.forget()
    monkeypatch.setattr(module, "WHOLE", ("meta",))
    monkeypatch.setattr(module, "_tried", lambda kind, ability: False)
    yield
    log_once.forget()


def test_what_a_device_lacks_is_said_once_each(poor: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "unfold")
    for _ in range(2):
        assert not can(CPU, "fft")
        assert not can(CPU, "float64")
    assert caplog.messages == [
        "note: cpu has no fft: Fourier transforms run on the CPU",
        "note: cpu has no float64: what is computed in float64 runs on the CPU",
    ]


@pytest.mark.parametrize("name", ["usrnet", "nrl_gdn"])
def test_networks_give_the_same_numbers_with_their_transforms_on_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, given = narrow(name).eval(), inputs(name, 1, 32, 32)
    with torch.no_grad():
        expected = net(**given)
        moved: list[str] = []
        cpu = torch.Tensor.cpu
        monkeypatch.setattr(module, "WHOLE", ("meta",))
        monkeypatch.setattr(module, "_tried", lambda kind, ability: False)
        monkeypatch.setattr(torch.Tensor, "cpu", lambda self: (moved.append("cpu"), cpu(self))[1])
        assert torch.equal(net(**given), expected)
    assert moved, "every transform asks where it may run"


def test_metrics_and_synthesis_are_the_same_where_float64_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    levels, kernel = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8), torch.full((1, 1, 3, 3), 1 / 9)
    expected = psnr(a, b), blur_levels(levels, kernel)
    monkeypatch.setattr(module, "WHOLE", ("meta",))
    monkeypatch.setattr(module, "_tried", lambda kind, ability: False)
    assert all(map(torch.equal, (psnr(a, b), blur_levels(levels, kernel)), expected))


def test_without_bfloat16_float32_is_used(poor: None) -> None:
    x, weight = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 3, 3)
    with autocast_for(CPU, "bf16"):
        assert torch.nn.functional.conv2d(x, weight).dtype == torch.float32


def test_abilities_are_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    module._tried.cache_clear()
    assert all(module._tried("cpu", ability) for ability in ("fft", "float64", "bfloat16"))
    module._tried.cache_clear()

    def missing(*arguments: Any, **options: Any) -> None:
        raise NotImplementedError("no such operator")

    monkeypatch.setattr(torch.fft, "rfft2", missing)
    assert not module._tried("cpu", "fft")
    module._tried.cache_clear()


def test_memory_of_a_device_is_what_it_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    reporting = types.SimpleNamespace(
        mem_get_info=lambda device: (100, 900), memory_reserved=lambda device: 30, memory_allocated=lambda device: 10
    )
    monkeypatch.setattr(torch, "xpu", reporting)
    assert free_memory(torch.device("xpu")) == 120
    monkeypatch.setattr(torch, "mps", types.SimpleNamespace())
    assert free_memory(torch.device("mps")) is None
    assert free_memory(CPU) is None


def test_several_processes_on_another_accelerator_are_refused(accelerator: Callable[[str, int], None]) -> None:
    accelerator("xpu", 2)
    watch: Any = types.SimpleNamespace(store=None, begin=lambda: None, meet=lambda patience: None)
    with pytest.raises(UnfoldError, match="CUDA GPUs or on the CPU, not on xpu: set DEVICE cpu"):
        Processes(0, 2, 0, watch).join("auto")


def test_training_goes_on_where_sums_and_scores_are_elsewhere(
    recipe: Path, poor: None, command: Callable[..., tuple[int, str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    code, out, err = command("train", "--config", recipe, "TRAIN.EPOCHS", 1, "TRAIN.PRECISION", "bfloat16")
    assert code == 0, err
    assert sum("float32 is used in its place" in message for message in caplog.messages) == 1
    assert np.isfinite(float(out.rpartition("PSNR ")[2].split()[0]))
