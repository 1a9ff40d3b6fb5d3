"""A contact sheet: pictures of one size with a caption below each, in rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from unfold.report.draw import INK, PAPER, text, to_picture

GAP, CAPTION = 8, 26


def draw_sheet(panels: Sequence[tuple[str, NDArray[np.float32]]], side: int, across: int) -> Image.Image:
    """Panels (title, pixels (H,W,3) or (H,W,1) in [0,1]) of at most ``side`` pixels, ``across`` of them in a row."""
    down = -(-len(panels) // across)
    sheet = Image.new("RGB", (across * (side + GAP) - GAP, down * (side + CAPTION)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (title, pixels) in enumerate(panels):
        left, top = i % across * (side + GAP), i // across * (side + CAPTION)
        sheet.paste(to_picture(pixels), (left, top))
        text(draw, (left + pixels.shape[1] / 2, top + pixels.shape[0] + 5), title, 14, INK, "ma")
    return sheet
