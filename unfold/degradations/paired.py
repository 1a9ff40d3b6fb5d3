"""Pairs of images: what was measured, and what it should become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageEnhance
from torch import nn

from unfold.data.images import as_channels
from unfold.data.pairs import Pair, find_pairs, read_pair
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng


class Paired(Degradation):
    """Pairs of images, partners by name (see :func:`unfold.data.pairs.find_pairs`), in the split "train".

    saturation: with chance 1/3 change the colour saturation of both by one factor, uniform from 0.8 to 1.2, as DGUNet's
    deblurring does. (Its change of gamma has no effect as published and is left out; its 9 ways to turn and mirror,
    which leave an image as it is twice as often as any other, are 8 of equal chance here.)
    """

    clean = False
    cache = "pairs"

    def __init__(self, saturation: bool = False) -> None:
        self.saturation = saturation

    def protocol(self, net: nn.Module) -> str:
        return "deblur_rgb"

    def sources(self, source: str) -> Sequence[Pair]:
        return find_pairs(source, "train")

    def read(self, source: Pair) -> Images:
        y, target = read_pair(source)
        fitted = (
            as_channels(image, self.channels, path) for image, path in ((y, source.input), (target, source.target))
        )
        return dict(zip(("input", "target"), fitted, strict=True))

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        y, target = images["input"], images["target"]
        if self.saturation and rng.uniform() < 1 / 3:
            factor = rng.uniform(0.8, 1.2)
            y, target = saturated(y, factor), saturated(target, factor)
        return {"target": target, "y": y}


def saturated(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """(H,W,3), blended with its grey version: factor 0 is grey, 1 the image, more is more colour. Grey stays."""
    if image.shape[2] != 3:
        return image
    return np.asarray(ImageEnhance.Color(Picture.fromarray(np.ascontiguousarray(image))).enhance(factor))
