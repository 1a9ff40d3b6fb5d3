"""The log of a run: one JSON object per epoch, and the curve drawn from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unfold.report.curve import draw_curves


class RunLog:
    """log.jsonl and curve.png in the run folder. A resumed run keeps the rows up to ``epoch`` and goes on."""

    def __init__(self, folder: Path, epoch: int = 0) -> None:
        self.path, self.picture = folder / "log.jsonl", folder / "curve.png"
        self.rows = [row for row in read_log(self.path) if row["epoch"] <= epoch] if epoch else []
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def draw(self) -> None:
        """Training loss and validation PSNR against the epoch."""
        validated = [row for row in self.rows if row["val_psnr"] is not None]
        draw_curves(
            self.picture,
            [
                ("training loss", [(row["epoch"], row["loss"]) for row in self.rows]),
                ("validation PSNR (dB)", [(row["epoch"], row["val_psnr"]) for row in validated]),
            ],
            xlabel="epoch",
        )


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
