"""The user's own pairs of pictures: the result against the ground truth."""

from __future__ import annotations

from typing import Any, ClassVar

from unfold.data.images import to_float
from unfold.data.pairs import Pair, find_pairs, read_pair
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.metrics.colour import Channel
from unfold.models.run_on_arrays import Image
from unfold.protocols.given_pairs import middle_of_pair
from unfold.protocols.protocol import Case, Protocol, Sample


class Pairs(Protocol):
    """Any two folders of pictures, paired by name. No published table.

    crop: side of the central square of each pair that is used, 0 for all of it. channel: what is scored:
    "rgb", all channels together, or "y", "y_float" or "luma" of :mod:`unfold.metrics.colour`. input, target: folders of
    the two sides, inside the data, where their names are unusual. name: template of input names, {id} being the
    target's name, as :func:`unfold.data.pairs.find_pairs` takes it.

    - Pictures are PNG, JPEG or any other readable format, of 8 or 16 bits, each divided by its own peak, 255 or 65535.
      The two of a pair may differ in depth. A grey picture becomes three equal channels; a network of more than three
      channels gets TIFF of so many bands, or .npy.
    - The target may be a whole number of times as large as the input, which is given as ``scale``.
    - The result is clamped to [0,1] and not rounded: results saved with 8 bits score slightly differently. Only channel
      "y" rounds, as MATLAB's rgb2ycbcr of 8-bit images does.
    - psnr is for a peak of 1, over pixels and channels together. ssim is that of Wang et al. (11x11 Gaussian window of
      width 1.5, inside the picture), each channel separately, averaged. No border is removed.
    """

    name: ClassVar = "pairs"
    inputs: ClassVar = ("y", "scale")
    places: ClassVar = ("input", "target", "name")

    def __init__(
        self, crop: int = 0, channel: Channel = "rgb", input: str = "", target: str = "", name: str = ""
    ) -> None:
        if crop < 0:
            raise UnfoldError(f"crop is a number of pixels, or 0 for the whole picture, not {crop}")
        self.crop, self.channel = crop, channel
        self.given = {key: value for key, value in (("input", input), ("target", target), ("name", name)) if value}

    def options(self) -> dict[str, object]:
        return {"crop": self.crop, "channel": self.channel, **self.given}

    def cases(self, source: str, split: str = "test") -> list[Case]:
        return [Case(pair.name, (pair.input, pair.target)) for pair in find_pairs(source, split, **self.given)]

    def sample(self, case: Case) -> Sample:
        pair = Pair(case.name, *case.files)
        y, target, scale = middle_of_pair(*read_pair(pair, self.channels), pair, self.crop)
        return Sample({"y": to_float(y), "scale": scale}, to_float(target))

    def score(self, result: Image, target: Image) -> dict[str, float]:
        given: Any = {"channel": self.channel, "channels": target.shape[2]}
        return {"psnr": psnr(result, target, **given), "ssim": ssim(result, target, **given)}
