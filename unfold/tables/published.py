"""The published numbers: CSV files beside this module, each with its source."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("published")
LABELS = ("method", "scale", "noise", "dataset", "map", "ratio")


class Number(NamedTuple):
    """A published number. note: a remark, where the number needs one."""

    value: float
    note: str


class Published(NamedTuple):
    """Numbers by method, key (see Setting.key) and metric; methods in the file's order; source: where from."""

    numbers: dict[tuple[str, tuple[str, ...], str], Number]
    methods: list[str]
    source: str


def read_published(name: str) -> Published:
    """The numbers of FOLDER/name.csv.

    Lines that start with # give the source and an optional note. Columns: the method, the parts of the key, and psnr
    (dB) and ssim; or instead of these a column of psnr for each value of the key's last part. Empty: no number. An
    optional last column, note, is a remark on its row.
    """
    lines = (FOLDER / f"{name}.csv").read_text().splitlines()
    header = dict(line[2:].split(": ", 1) for line in lines if line.startswith("#"))
    note = header.get("note", "")
    head, *rows = csv.reader(line for line in lines if not line.startswith("#"))
    wide = "psnr" not in head
    noted = head[-1] == "note"
    head = head[: len(head) - noted]
    keys = sum(column in LABELS for column in head)
    numbers = {}
    for row in rows:
        own = (row[-1] if noted else "") or note
        for column, text in zip(head[keys:], row[keys : len(row) - noted], strict=True):
            key = (*row[1:keys], column) if wide else tuple(row[1:keys])
            if text:
                numbers[row[0], key, "psnr" if wide else column] = Number(float(text), own)
    return Published(numbers, list(dict.fromkeys(row[0] for row in rows)), header["source"])
