"""All-in-one restoration: the evaluation of one network for several degradations (PromptIR, AdaIR, MoCE-IR, VLU-Net).

Facts from the data code that these share, and from their printed tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from unfold.data.images import eight_bits, find_images, read_uint8, sliced, to_float
from unfold.data.pairs import Pair, find_pairs, marked_inputs, read_pair, scale_of
from unfold.data.stores.cut_store import centred
from unfold.data.stores.image_stores import inside, read_head
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import Image
from unfold.physics.noise import truncated_gaussian
from unfold.protocols.protocol import Case, Protocol, Sample, generator_of
from unfold.util.arrays import width_x_height

MULTIPLE = 16  # sides are cropped to multiples of it


@dataclass(frozen=True)
class AllInOne(Protocol):
    """The tables of three and of five degradations, and of Gaussian denoising alone.

    sigma: noise of this standard deviation in 255 units is added to clean images; 0: pairs are given. noise: drawn per
    image from a generator seeded with the file's name ("name"), or from one stream for all images, seeded with 0, in
    the order of file names ("published"). The published code follows os.listdir, whose order differs between machines;
    the published numbers hold for their order.

    - Both images are cropped at the centre to sides that are multiples of 16 (data/stores/cut_store.py), before noise.
    - Noise is added in 8 bits and fractions are dropped; inputs are those 8 bits over 255. Deeper files are rounded to
      8 bits first.
    - The result is clamped to [0,1] and not rounded.
    - psnr is for a peak of 1, over pixels and channels together. ssim is scikit-image's default (7x7 uniform window),
      each channel separately. No border is removed.
    - A table has means over images, and the unweighted mean over tasks.
    """

    sigma: float = 0.0
    noise: Literal["name", "published"] = "name"
    name: ClassVar = "aio"
    inputs: ClassVar = ("y", "sigma")
    # State of the published stream by numbers drawn, so that the noise stays a pure function of the case.
    _states: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 255:
            raise UnfoldError(f"sigma is the noise's standard deviation in 255 units, 0 for pairs, not {self.sigma}")
        if self.noise not in ("name", "published"):
            raise UnfoldError(f"noise is one of name, published, not {self.noise!r}")
        if self.noise == "published" and not self.sigma:
            raise UnfoldError("noise=published says how noise is drawn, and sigma is 0: set sigma, too")
        if not self.sigma:
            object.__setattr__(self, "inputs", ("y",))

    def options(self) -> dict[str, Any]:
        return {"sigma": self.sigma, **({"noise": self.noise} if self.noise != "name" else {})}

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The pairs of a set, where many inputs may share one target; or its clean images."""
        if not self.sigma:
            return [Case(pair.name, (pair.input, pair.target)) for pair in find_pairs(source, split)]
        paths = find_images(source, split)
        if degraded := marked_inputs(paths):
            raise UnfoldError(
                f"{degraded[0]} is the degraded side of a pair: aio:sigma={self.sigma:g} takes clean ones"
            )
        if self.noise == "name":
            return [Case(path.stem, (path,)) for path in paths]
        before, drawn = {}, 0
        every = find_images(sliced(source)[0], split)  # a slice has the noise that its images have in the whole set
        for path in sorted(every, key=lambda path: path.name):
            before[path] = drawn
            middle = centred(read_head(path).size, MULTIPLE)
            drawn += middle.height * middle.width * self.bands
        return [Case(path.stem, (path,), {"before": before[path]}) for path in paths]

    def sample(self, case: Case) -> Sample:
        if not self.sigma:
            pair = Pair(case.name, *case.files)
            y, target = read_pair(pair, self.channels)
            if scale_of(pair, y, target) != 1:
                raise UnfoldError(f"{pair.input} is smaller than {pair.target}, and a pair of one size is wanted")
            y, target = (
                self._cut(eight_bits(side, path), path) for side, path in zip((y, target), pair[1:], strict=True)
            )
            return Sample({"y": to_float(y)}, to_float(target))
        (path,) = case.files
        clean = self._cut(read_uint8(path, self.bands), path)
        y = truncated_gaussian(clean, self.sigma, self._normal(clean.shape, case))
        return Sample({"y": to_float(y), "sigma": self.sigma / 255}, to_float(clean))

    @staticmethod
    def _cut(image: Image, path: Any) -> Image:
        middle = centred((image.shape[0], image.shape[1]), MULTIPLE)
        if not middle.height or not middle.width:
            raise UnfoldError(
                f"{path} is {width_x_height(image.shape)} pixels, and at least {MULTIPLE}x{MULTIPLE} are needed"
            )
        return image[inside(middle, (image.shape[0], image.shape[1]))]

    def _normal(self, shape: tuple[int, ...], case: Case) -> Any:
        if self.noise == "name":
            return generator_of(case.files[0]).standard_normal(shape)
        before = case.options["before"]
        stream = np.random.RandomState(0)
        known = max((drawn for drawn in self._states if drawn <= before), default=0)
        if known:
            stream.set_state(self._states[known])
        stream.randn(before - known)  # skip the numbers of other images
        self._states[before] = stream.get_state()
        normal = stream.randn(*shape)
        self._states[before + normal.size] = stream.get_state()
        return normal

    def score(self, result: Image, target: Image) -> dict[str, float]:
        bands = target.shape[2]
        return {
            "psnr": psnr(result, target, channels=bands),
            "ssim": ssim(result, target, kind="skimage", channels=bands),
        }
