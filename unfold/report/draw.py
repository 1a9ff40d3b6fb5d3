"""Text and small shapes on pictures, with Pillow's built-in font."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, SOFT, GRID, PAPER, ACCENT = "#1a1a1a", "#666666", "#e4e4e4", "#ffffff", "#1f5fb4"


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, size: int, fill: str = INK, anchor: str = "la"
) -> None:
    draw.text(at, words, fill=fill, font=font(size), anchor=anchor)


def to_picture(image: NDArray[np.float32]) -> Image.Image:
    """Convert (H,W,3), or (H,W,1) for grey, in [0,1]: clamped and rounded to 8 bits."""
    pixels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
