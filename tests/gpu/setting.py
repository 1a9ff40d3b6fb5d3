"""Precisions, inputs and peak memory: what the checks on a GPU and scripts/gpu_checks.py have in common."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from unfold.inference.memory import Living
from unfold.models.registry import model_info

PRECISIONS = ("float32", "tf32", "bfloat16")


@contextlib.contextmanager
def computed_in(precision: str, device: torch.device) -> Iterator[None]:
    """tf32: float32, whose convolutions and matrix products may use TF32; bfloat16: autocast, without TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def random_inputs(name: str, batch: int, height: int, width: int, device: torch.device) -> dict[str, Any]:
    """The registry's example inputs of a published network, with random images and a flat kernel."""
    given = model_info(name).example(8)
    for key, value in given.items():
        if key == "kernel":
            given[key] = torch.full_like(value, 1 / value[0].numel(), device=device)
        elif isinstance(value, Tensor):
            given[key] = torch.rand(batch, value.shape[1], height, width, device=device)
    return given


def free_memory(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """Bytes that a run needs at most, beside what is held before it."""
    if device.type == "cpu":
        with Living() as living:
            run()
        return living.peak
    run()  # libraries take their workspaces once
    free_memory(device)
    torch.cuda.reset_peak_memory_stats()
    # Bytes asked for: blocks, which max_memory_allocated counts, are larger by what could not be split off.
    before = torch.cuda.memory_stats()["requested_bytes.all.current"]
    run()
    torch.cuda.synchronize()
    return int(torch.cuda.memory_stats()["requested_bytes.all.peak"] - before)
