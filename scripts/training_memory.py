"""Measured memory of a training step against the estimate of `unfold train --check`.

    python scripts/training_memory.py RECIPE [KEY VALUE ...]

Two steps of the recipe's network on a batch of zeros of its size, on DEVICE. Measured on the CPU: the process's largest
resident memory less what it held after steps of a tiny network; on CUDA: the allocator's largest sum of blocks.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import torch
from torch import Tensor
from yacs.config import CfgNode

from unfold.config import load_config
from unfold.from_config import build_network
from unfold.training.memory_count import example_batch, step_memory
from unfold.training.processes.distributed import Processes
from unfold.training.setup.build_parts import build_loss, build_update
from unfold.util.device import pick_device, place


def resident() -> int:
    """Bytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def train(cfg: CfgNode, device: torch.device) -> None:
    """Two steps."""
    net = place(build_network(cfg), device).train()
    net.checkpoint_stages = cfg.TRAIN.CHECKPOINT_STAGES
    update, _ = build_update(cfg, net, build_loss(cfg, device), Processes())
    batch = example_batch(cfg, cfg.TRAIN.BATCH)
    for _ in range(2):
        update({name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()})


def main() -> None:
    cfg = load_config(sys.argv[1], sys.argv[2:])
    device = pick_device(cfg.DEVICE)
    settings = [
        "TRAIN.PATCH",
        "32",
        "TRAIN.BATCH",
        "1",
        "TRAIN.ACCUMULATE",
        "1",
        "MODEL.ARGS.width",
        "4",
        "MODEL.ARGS.growth",
        "2",
    ]
    narrow = Path(__file__).parents[1] / "configs" / "models" / "dgunet_narrow.yaml"
    train(load_config(narrow, settings), device)  # loads the libraries
    before = resident()
    train(cfg, device)
    if device.type == "cuda":
        measured = torch.cuda.max_memory_allocated(device)
    else:
        measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    counted = step_memory(cfg)
    print(f"measured {measured / 1e6:.0f} MB, counted {counted / 1e6:.0f} MB, {measured / counted:.2f} of it")


if __name__ == "__main__":
    main()
