"""Tables as text: results with a row per image, columns per method, and the mean; and tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

COLUMNS = f"{'PSNR':>6} {'SSIM':>6} {'s':>6}"


@dataclass
class Score:
    """One method on one image: PSNR in dB, SSIM, wall time in seconds, PSNR after each stage (networks only)."""

    psnr: float
    ssim: float
    seconds: float = 0.0
    stages: list[float] = field(default_factory=list)


def mean_score(scores: Sequence[Score]) -> Score:
    """Mean PSNR, SSIM and seconds over images."""
    psnr, ssim, seconds = np.mean([(s.psnr, s.ssim, s.seconds) for s in scores], axis=0).tolist()
    return Score(psnr, ssim, seconds)


def format_table(rows: Mapping[str, Mapping[str, Score]], mean: Mapping[str, Score]) -> str:
    """rows: image name -> method -> score, the same methods in every row and in the mean."""
    methods = list(mean)
    wide = max(len(name) for name in [*rows, "image"])
    widths = [max(len(method), len(COLUMNS)) for method in methods]
    head = f"{'':{wide}}" + "".join(f" | {method:^{w}}" for method, w in zip(methods, widths, strict=True))
    units = f"{'image':{wide}}" + "".join(f" | {COLUMNS:{w}}" for w in widths).rstrip()
    rule = "-" * wide + "".join("-+-" + "-" * w for w in widths)
    body = [_line(name, row, wide) for name, row in rows.items()]
    return "\n".join([head, units, rule, *body, rule, _line("mean", mean, wide)])


def _line(name: str, row: Mapping[str, Score], wide: int) -> str:
    cells = [(max(len(method), len(COLUMNS)), s) for method, s in row.items()]
    texts = [f" | {f'{s.psnr:6.2f} {s.ssim:6.4f} {s.seconds:6.2f}':{w}}" for w, s in cells]
    return f"{name:{wide}}{''.join(texts)}".rstrip()


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; "" without rows."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""
