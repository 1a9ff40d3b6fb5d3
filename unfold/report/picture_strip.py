"""A strip of pictures: the same crop of the degraded image, some estimates and the target, each with its PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from unfold.data.crop_to_show import busiest_crop
from unfold.report.draw import INK, PAPER, SOFT, text, to_picture

PANEL, GAP, CAPTION = 160, 6, 40


class Panel(NamedTuple):
    """image (H,W,3) in [0,1]; title; psnr in dB of the whole image, None for the target."""

    image: NDArray[np.float32]
    title: str
    psnr: float | None


def draw_strip(path: Path, panels: Sequence[Panel]) -> None:
    """Write :func:`strip` as a PNG."""
    strip(panels).save(path, optimize=True)


def strip(panels: Sequence[Panel], side: int = PANEL) -> Image.Image:
    """The panels side by side, pixel for pixel, cropped where the last one (the target) has the most detail.

    side: of the crop in pixels.
    """
    window = busiest_crop(panels[-1].image, side)
    height = window[0].stop - window[0].start
    picture = Image.new("RGB", (len(panels) * (side + GAP) - GAP, height + CAPTION), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, panel in enumerate(panels):
        left = i * (side + GAP)
        crop = to_picture(panel.image[window])
        picture.paste(crop, (left + (side - crop.width) // 2, 0))
        middle = left + side / 2
        text(draw, (middle, height + 5), panel.title, 14, INK, "ma")
        if panel.psnr is not None:
            text(draw, (middle, height + 22), f"{panel.psnr:.2f} dB", 13, SOFT, "ma")
    return picture


def some_stages(count: int, most: int) -> list[int]:
    """At most ``most`` stages before the last of ``count``, evenly spread, starting with the first; indices from 0."""
    return sorted({round(i) for i in np.linspace(0, count - 2, min(most, count - 1))}) if count > 1 else []
