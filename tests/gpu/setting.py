"""Precisions, inputs and peak memory: what the checks on a GPU and scripts/gpu_checks.py have in common."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable

import torch

from unfold.bench.variants import Way, computed, random_inputs
from unfold.inference.tile_memory import Living

__all__ = ["PRECISIONS", "computed_in", "free_memory", "peak_memory", "random_inputs"]
PRECISIONS = ("float32", "tf32", "bfloat16")


def computed_in(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """tf32: float32, whose convolutions and matrix products may use TF32; bfloat16: autocast, without TF32."""
    return computed(Way(precision, bf16=precision == "bfloat16", tf32=precision == "tf32"), device)


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
