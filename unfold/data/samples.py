"""What training samples are made of, task by task: pairs of images, or clean ones that are degraded on the way.

A kind of samples works in two places. ``make`` runs in a worker, for one patch, and draws all random numbers from the
sample's own generator: so a sample is a pure function of (seed, epoch, number). ``render`` runs on the training device,
for a batch, draws nothing, and does what is cheap there and dear in a worker. None of the published random streams is
followed: they depend on the number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageEnhance
from torch import Tensor

from unfold.data.images import find_images, read_image, read_uint8, to_float
from unfold.data.pairs import Pair, find_pairs, read_pair
from unfold.data.patches import Images
from unfold.physics.rain import Rain, add_rain, coverage, random_streaks

Rng = np.random.Generator


class SampleKind(ABC):
    """inputs: what a network may ask for."""

    inputs: ClassVar[tuple[str, ...]] = ("y",)

    def sources(self, source: str) -> Sequence[Any]:
        """What a training set consists of; here, image files. UnfoldError where there are none."""
        return find_images(source, "train")

    def read(self, source: Any) -> Images:
        """The images of one of them, integers; here, RGB of 8 bits. UnfoldError where it cannot be used."""
        return {"target": read_uint8(source)}

    @abstractmethod
    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        """The sample of a patch: arrays (H,W,C) and numbers, "target" among them."""

    def render(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch on the device -> target and inputs in [0,1]; here, integers become float32."""
        return {name: unit(value) if isinstance(value, Tensor) else value for name, value in batch.items()}


def unit(x: Tensor) -> Tensor:
    """uint8 -> float32 in [0,1]; floats as they are."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Denoising(SampleKind):
    """Clean colour images of 8 or 16 bits. degrade: (target in [0,1], generator) -> the network's inputs."""

    degrade: Callable[[NDArray[np.float32], Rng], dict[str, NDArray[np.float32]]]

    def read(self, source: Path) -> Images:
        return {"target": read_image(source)}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = to_float(images["target"])
        return {"target": target, **self.degrade(target, rng)}


@dataclass(frozen=True)
class Paired(SampleKind):
    """Pairs of images, partners by name (see :func:`unfold.data.pairs.find_pairs`), in the split "train".

    saturation: with chance 1/3 change the colour saturation of both by one factor, uniform from 0.8 to 1.2, as DGUNet's
    deblurring does. (Its change of gamma has no effect as published and is left out; its 9 ways to turn and mirror,
    which leave an image as it is twice as often as any other, are 8 of equal chance here.)
    """

    saturation: bool = False

    def sources(self, source: str) -> Sequence[Pair]:
        return find_pairs(source, "train")

    def read(self, source: Pair) -> Images:
        y, target = read_pair(source)
        return {"input": y, "target": target}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        y, target = images["input"], images["target"]
        if self.saturation and rng.uniform() < 1 / 3:
            factor = rng.uniform(0.8, 1.2)
            y, target = saturated(y, factor), saturated(target, factor)
        return {"target": target, "y": y}


def saturated(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """(H,W,3), blended with its grey version: factor 0 is grey, 1 the image, more is more colour."""
    return np.asarray(ImageEnhance.Color(Picture.fromarray(np.ascontiguousarray(image))).enhance(factor))


@dataclass(frozen=True)
class SyntheticRain(SampleKind):
    """Clean images with rain of our own model, :mod:`unfold.physics.rain`, rounded to 8 bits as rainy pictures are.

    Rates from ``rates`` in mm/h, uniform on a logarithmic scale; wind across the picture uniform up to ``wind`` m/s to
    either side.
    """

    rates: ClassVar = (2.0, 100.0)
    wind: ClassVar = 5.0

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        low, high = np.log(self.rates)
        rain = Rain(rate=float(np.exp(rng.uniform(low, high))), wind=rng.uniform(-self.wind, self.wind))
        size = (target.shape[0], target.shape[1])
        y = add_rain(to_float(target), coverage(random_streaks(size, rain, rng), size))
        return {"target": target, "y": np.rint(255 * y).astype(np.uint8)}


@dataclass(frozen=True)
class GreyPatches(SampleKind):
    """Compressive sensing: patches of brightness, which the network measures itself.

    Colour becomes Y = (16 + (65.481 R + 128.553 G + 24.966 B) / 255) / 255, from 16/255 to 235/255, not rounded, as
    in DGUNet's training; grey images are taken as they are, in the full range. (Tests of colour images are published
    with a full range Y; the published sets are grey.) Published patches have 32x32 pixels, one block.
    """

    inputs: ClassVar = ("image",)

    def read(self, source: Path) -> Images:
        image = read_uint8(source)
        return {"target": image[..., :1] if (image == image[..., :1]).all() else image}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        if target.shape[2] == 3:
            weights = np.array([[65.481], [128.553], [24.966]]) / 255
            return {"target": ((16 + target @ weights) / 255).astype(np.float32)}
        return {"target": to_float(target)}

    def render(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "image": batch["target"]}
