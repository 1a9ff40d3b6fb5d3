"""Checkpoints of a run: plain tensors and values, whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from unfold.files import whole_file


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; a reader sees the old file or the new one, whole."""
    with whole_file(path) as file:
        torch.save(content, file)
