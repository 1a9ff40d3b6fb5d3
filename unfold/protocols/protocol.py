"""An evaluation: its cases, their degradation, the treatment of results, and the scores."""

from __future__ import annotations

import inspect
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unfold.data.images import find_images
from unfold.errors import UnfoldError
from unfold.models.run_on_arrays import Image, Method
from unfold.models.unfolding import UnfoldingNetwork
from unfold.option_values import in_plain
from unfold.user_files import line_of
from unfold.util.arrays import Named, width_x_height
from unfold.util.value_checks import LEAST, MOST, found_range

SLACK = 1e-3  # tolerance for values that were computed and not clamped


class Case(NamedTuple):
    """One restoration: a unique name, its files, and its options.

    content: images that are already read, where many cases share a file.
    """

    name: str
    files: tuple[Path, ...]
    options: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    content: tuple[Image, ...] = ()


def generator_of(path: Path) -> np.random.Generator:
    """A generator seeded with the file's name: every method and every run sees the same noise on the same picture."""
    return np.random.default_rng(zlib.crc32(os.fsencode(path.name)))


@dataclass(frozen=True)
class Sample:
    """A degraded case.

    inputs: the known facts of the measurement, under the names that networks use: y (H,W,C) float32, kernel (kh,kw),
    scale, sigma (in [0,1] units), image; a method takes those it needs. target: (H,W,C) uint8 or float, None without
    ground truth. window: rows and columns of the method's result that are the restored image.
    """

    inputs: Named
    target: Image | None = None
    window: tuple[slice, slice] = field(default=(slice(None), slice(None)))


class Protocol(ABC):
    """An evaluation. Its options are its constructor's arguments; the docstring names the table and every choice.

    name: used in results; version: increases with every change that moves a number, and is part of every result.
    inputs: the inputs that a network may take. scored: whether there is ground truth. bands: channels that images are
    read in; channels: those of a given y and its target, 0 for those of the files; see :meth:`fit`. places: options
    that are paths and do not affect scores.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("y",)
    scored: ClassVar[bool] = True
    bands: ClassVar[int] = 3
    channels: ClassVar[tuple[int, int]] = (0, 0)
    places: ClassVar[tuple[str, ...]] = ()

    def options(self) -> dict[str, Any]:
        """The constructor's arguments that are stored under their names, for results."""
        names = inspect.signature(type(self)).parameters
        return {name: in_plain(getattr(self, name)) for name in names if hasattr(self, name)}

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The cases of a set, see :func:`unfold.data.images.find_images`; here, one per image."""
        return [Case(path.stem, (path,)) for path in find_images(source, split)]

    def fit(self, net: UnfoldingNetwork) -> None:
        """Check that the network fits, and read images in its number of channels from now on. For a network of one
        channel, which restores each channel separately, images are read in colour.
        """
        y = net.inputs.get("y")
        of_y = y.channels if y is not None and y.kind == "image" else net.channels
        both = (3, 3) if of_y == net.channels == 1 else (of_y, net.channels)
        object.__setattr__(self, "bands", both[1])  # protocols may be frozen
        object.__setattr__(self, "channels", both)
        self.check(net)

    def check(self, net: UnfoldingNetwork) -> None:  # noqa: B027  (most take any)
        """Raise UnfoldError for a network that takes these inputs but needs other options."""

    def of(self, case: Case) -> tuple[Protocol, Case]:
        """The protocol of a case, and the case under that protocol's name; differs only in a mixture."""
        return self, case

    @abstractmethod
    def sample(self, case: Case) -> Sample:
        """Read and degrade a case. The same case always gives the same sample."""

    def restore(self, method: Method, sample: Sample) -> Image:
        """Run a method and turn its result into the image that is scored and saved."""
        return self.finish(windowed(method(sample.inputs), sample.window))

    def finish(self, result: Image) -> Image:
        """Clamp, and round where the published evaluation does; by default clamp to [0,1]."""
        return result.clip(0, 1)

    @abstractmethod
    def score(self, result: Image, target: Image) -> dict[str, float]:
        """psnr in dB and ssim of a finished result, and further scores by name."""

    @contextmanager
    def saving(self, folder: Path, cases: Sequence[Case]) -> Iterator[Callable[[Image, Case], None]]:
        """A function that saves each finished result into the folder; here, :meth:`save`."""
        yield partial(self.save, folder=folder)

    def save(self, result: Image, case: Case, folder: Path) -> None:
        """Write a finished result into the folder; here, as an 8-bit PNG, or as TIFF for other than one or three
        channels.
        """
        from PIL import Image as Picture

        pixels = result if result.dtype == np.uint8 else to_uint8(result)
        (folder / case.name).parent.mkdir(parents=True, exist_ok=True)  # names may contain folders, such as scenes
        if pixels.shape[2] not in (1, 3):
            import tifffile

            tifffile.imwrite(folder / f"{case.name}.tif", pixels, photometric="minisblack", planarconfig="contig")
            return
        Picture.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(folder / f"{case.name}.png")


def sample_of(protocol: Protocol, case: Case) -> Sample:
    """The protocol's sample; UnfoldError, with the line of its method, where it is invalid or lacks the target."""
    sample = protocol.sample(case)
    kind, wrong = type(protocol).__name__, ""
    if not isinstance(sample, Sample):
        wrong = f"returns a {type(sample).__name__}, and Sample(inputs by name, target) is wanted"
    elif sample.target is None and protocol.scored:
        wrong = "returns no target, and there is nothing to score: give one, or derive the class from Unscored"
    elif not isinstance(sample.inputs, Mapping) or any(isinstance(one, Tensor) for one in sample.inputs.values()):
        wrong = "returns inputs that are no dict of arrays (H,W,C) and numbers by name: tensors are made of them later"
    elif sample.target is not None and not (isinstance(sample.target, np.ndarray) and sample.target.ndim == 3):
        wrong = "returns a target that is no array (H,W,C)"
    else:
        y, target = sample.inputs.get("y"), sample.target
        if isinstance(y, np.ndarray) and y.ndim == 3 and (found := _beyond(y, LEAST, MOST)):
            wrong = f"returns y with {found}, and floats in [0,1] are wanted, which noise may bring to [-2,3]"
        elif target is not None and target.dtype != np.uint8 and (found := _beyond(target, -SLACK, 1 + SLACK)):
            wrong = f"returns a target with {found}, and uint8 or floats in [0,1] are wanted"
    if wrong:
        raise UnfoldError(f"{line_of(protocol.sample)}: sample of {kind} {wrong}")
    return sample


def _beyond(image: Image, least: float, most: float) -> str:
    """The values of an image that are not floats in this range, in words; "" where there are none."""
    if image.dtype.kind != "f":
        return f"numbers of the kind {image.dtype}"
    low, high = float(image.min(initial=0)), float(image.max(initial=0))
    return "" if low >= least and high <= most else found_range(low, high)


class Unscored(Protocol):
    """A protocol without ground truth: pictures are saved, not scored."""

    scored = False

    def score(self, result: Image, target: Image) -> dict[str, float]:
        raise AssertionError("there is no target")


def windowed(result: Image, window: tuple[slice, slice]) -> Image:
    """The window of a method's result. ValueError where the result is smaller, that is, from an unsuitable method."""
    if any((part.stop or 0) > size for part, size in zip(window, result.shape, strict=False)):
        wanted = width_x_height([part.stop for part in window])
        raise ValueError(f"the method gives {width_x_height(result.shape)} pixels, and {wanted} are asked for")
    return result[window]


def to_uint8(result: Image) -> NDArray[np.uint8]:
    """Clamp to [0,1] and round to 8 bits, half to even."""
    return np.rint(result.clip(0, 1) * result.dtype.type(255)).astype(np.uint8)
