"""Pairs of images: degraded input and ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import ImageEnhance
from torch import nn

from unfold.data.images import to_float
from unfold.data.pair_names import check_template
from unfold.data.pairs import Given, Pair, find_paired_set, read_pair, scale_of
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng
from unfold.util.arrays import Array, Named
from unfold.util.log_once import say_once


class Paired(Degradation):
    """Pairs of images (see :func:`unfold.data.pairs.find_pairs`), in the split "train".

    saturation: with probability 1/3 change the colour saturation of both by one factor, uniform from 0.8 to 1.2, as in
    DGUNet's deblurring. (Its change of gamma has no effect as published and is left out; its 9 augmentations, of which
    the identity is twice as likely as the others, are 8 equally likely ones here.)
    input, target: folders of the two sides in DATA.TRAIN and DATA.VAL, if their names are unusual.
    name: template of input names, {id} being the target's name, such as "{id}_*" or "{id}x4".

    Targets may be a whole number of times as large as their inputs, the same for all: patches (TRAIN.PATCH of the
    target) are aligned, and a network that takes ``scale`` gets it.
    """

    inputs = ("y", "scale")
    clean = False
    cache = "pairs"

    def __init__(self, saturation: bool = False, input: str = "", target: str = "", name: str = "") -> None:
        if name:
            check_template(name)
        self.saturation, self.given = saturation, Given(input, target, name)

    def protocol(self, net: nn.Module) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.given._asdict().items() if value)
        usual = not options and self.channels in (1, 3) and "scale" not in self.asked
        return "deblur_rgb" if usual else f"pairs:{options}".rstrip(":")

    def sources(self, source: str) -> Sequence[Pair]:
        found = find_paired_set(source, "train", self.given)
        say_once(f"{len(found.pairs)} pairs in {source}: {found.rule}".replace("%", "%%"))
        return found.pairs

    def files(self, source: Pair) -> dict[str, Path]:
        ours = type(self).read.__module__.startswith("unfold.")
        return {"input": source.input, "target": source.target} if ours and isinstance(source, Pair) else {}

    def reading(self) -> str:
        return f"{self._counts()} channels"

    def _counts(self) -> tuple[int, int]:
        """Numbers of channels of input and target."""
        y = self.asked.get("y")
        return (y.channels if y is not None and y.kind == "image" else self.channels, self.channels)

    def read(self, source: Pair) -> Images:
        images = read_pair(source, self._counts())
        if "scales" not in vars(self):  # of the first pair: its store skips other pairs, or stops
            self.scales = (scale_of(source, *images),)
        return dict(zip(("input", "target"), images, strict=True))

    def make(self, images: Images, rng: Rng, scale: int) -> Named:
        y, target = images["input"], images["target"]
        if self.saturation and rng.uniform() < 1 / 3:
            factor = rng.uniform(0.8, 1.2)
            y, target = saturated(y, factor), saturated(target, factor)
        # 8 bits become floats on the device, which is cheap there; torch has few operations on 16 bits.
        y, target = (image if image.dtype == np.uint8 else to_float(image) for image in (y, target))
        return {"target": target, "y": y, **({"scale": scale} if "scale" in self.asked else {})}


def saturated(image: Array, factor: float) -> Array:
    """Blend (H,W,3) with its grey version: factor 0 is grey, 1 the image, more is more saturated. Grey images, and
    images of other numbers of channels, are unchanged. 16 bits and floats keep their depth, Y = 0.299 R + 0.587 G +
    0.114 B.
    """
    if image.shape[2] != 3:
        return image
    if image.dtype != np.uint8:
        x = to_float(image)
        grey = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        return np.clip(grey + np.float32(factor) * (x - grey), 0, 1)
    return np.asarray(ImageEnhance.Color(Picture.fromarray(np.ascontiguousarray(image))).enhance(factor))
