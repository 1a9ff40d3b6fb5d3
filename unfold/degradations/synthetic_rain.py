"""Synthetic rain of our own models, :mod:`unfold.physics.rain` and ``rendered_rain``, on clean images."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import nn

from unfold.data.images import read_uint8, to_float
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng
from unfold.errors import check_share
from unfold.physics.rain import Rain, add_rain, coverage, random_streaks
from unfold.physics.rendered_rain import rendered_rain
from unfold.util.arrays import Named


class SyntheticRain(Degradation):
    """Clean images with synthetic rain, rounded to 8 bits as rainy pictures are.

    Falling drops: rates from ``rates`` in mm/h, log-uniform; wind across the picture uniform up to ``wind`` m/s to
    either side.

    rendered: share of the samples, in [0,1], with layers of rendered line streaks instead. UnfoldError for another one.
    """

    rates: ClassVar = (2.0, 100.0)
    wind: ClassVar = 5.0

    def __init__(self, rendered: float = 0.0) -> None:
        check_share("rendered", rendered)
        self.rendered = rendered

    def protocol(self, net: nn.Module) -> str:
        return "derain_y"

    def read(self, source: Any) -> Images:
        return {"target": read_uint8(source, self.channels)}

    def make(self, images: Images, rng: Rng, scale: int) -> Named:
        target = images["target"]
        if self.rendered and rng.uniform() < self.rendered:
            return {"target": target, "y": np.rint(255 * rendered_rain(to_float(target), rng)).astype(np.uint8)}
        low, high = np.log(self.rates)
        rain = Rain(rate=float(np.exp(rng.uniform(low, high))), wind=rng.uniform(-self.wind, self.wind))
        size = (target.shape[0], target.shape[1])
        y = add_rain(to_float(target), coverage(random_streaks(size, rain, rng), size))
        return {"target": target, "y": np.rint(255 * y).astype(np.uint8)}
