"""The log of a run: one JSON object per epoch, the curve drawn from it, and the last validation per image."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from unfold.report.curve import Curve, draw_curves
from unfold.util.atomic_files import whole_file


class RunLog:
    """log.jsonl, curve.png and validation.json in the run folder.

    A resumed run keeps the rows up to ``step`` and appends. write: False in processes other than the first.
    """

    def __init__(self, folder: Path, step: int = 0, write: bool = True) -> None:
        self.path, self.picture, self.scores = (folder / n for n in ("log.jsonl", "curve.png", "validation.json"))
        self.rows = [row for row in read_log(self.path) if row["step"] <= step] if step else []
        if write:
            self._rewrite()

    def _rewrite(self) -> None:
        with whole_file(self.path) as file:
            file.write("".join(json.dumps(row) + "\n" for row in self.rows).encode())

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())  # the checkpoint at the end of the epoch comes after it

    def validated(self, step: int, scores: dict[str, float]) -> None:
        """Write the last validation: PSNR in dB by image."""
        with whole_file(self.scores) as file:
            file.write(json.dumps({"step": step, "psnr": scores}, indent=1).encode())

    def draw(self) -> None:
        """Training loss, validation PSNR and learning rate against the epoch; for a mixture, one row per part."""
        validated = [row for row in self.rows if row["val_psnr"] is not None and math.isfinite(row["val_psnr"])]
        best = max(validated, key=lambda row: row["val_psnr"], default=None)
        best_so_far = f", best {best['val_psnr']:.2f} in epoch {best['epoch']}" if best else ""
        draw_curves(
            self.picture,
            [
                ("training loss", [(row["epoch"], row["loss"]) for row in self.rows]),
                (f"validation PSNR (dB){best_so_far}", [(row["epoch"], row["val_psnr"]) for row in validated]),
                ("learning rate", [(row["epoch"], row["lr"]) for row in self.rows]),
                *self._of_parts(),
            ],
            xlabel="epoch",
            columns=3,
        )

    def _of_parts(self) -> list[Curve]:
        """Loss, validation PSNR and training PSNR of each part of a mixture."""
        first = self.rows[0] if self.rows else {}
        parts = [key.removeprefix("loss/") for key in first if key.startswith("loss/")]
        shown = {"loss": "training loss", "val_psnr": "validation PSNR (dB)", "train_psnr": "training PSNR (dB)"}
        return [
            (
                f"{part}: {title}",
                [(row["epoch"], row[f"{key}/{part}"]) for row in self.rows if row.get(f"{key}/{part}") is not None],
            )
            for part in parts
            for key, title in shown.items()
        ]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line cut short by a crash is left out."""
    rows: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows
