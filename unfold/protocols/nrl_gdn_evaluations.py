"""The evaluations of NRL-GDN (Kong, Wang, Han, Feng, JVCI 107, 2025, 104391): Table 4, uniform noise, real images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.data.formats.kernel_files import Kernel, published_kernels, read_kernels
from unfold.data.images import find_folder, find_images, read_channels, to_float
from unfold.errors import UnfoldError, check_choice, check_share
from unfold.metrics import psnr, ssim
from unfold.metrics.colour import Channel, convert
from unfold.models.run_on_arrays import Image, Method
from unfold.physics.degrade import blur_array
from unfold.physics.kernels import normalised
from unfold.physics.noise import gaussian_noise, impulse_noise, poisson_gaussian
from unfold.physics.sigma_maps import MapKind, sigma_map
from unfold.protocols.protocol import Case, Protocol, Sample, Unscored
from unfold.util.arrays import is_grey

KERNELS = "kernels/kernels_8.mat"
COUNT = 8
PEAK = 128  # photons of a white pixel
PUBLISHED_CODE = "the published code of NRL-GDN, github.com/kongsjsj/NRL-GDN"


@dataclass(frozen=True)
class NRLGDNSimulated(Protocol):
    """Blur by Levin's eight kernels, then noise: the base of the simulated evaluations.

    kernel: 1 to 8, in the order of kernels_8.mat, or 0 for all: a case for every kernel and image. channel: what is
    compared, "rgb", "luma" (0.299 R + 0.587 G + 0.114 B) or "auto": luma for a grey image, rgb for any other. A set of
    colour photographs, some of them grey, is published in rgb throughout: give channel=rgb.

    - Grey images get three equal channels. The noise of the three is independent, and luma averages it: scores of
      grey sets cannot be compared with those of evaluations on one channel.
    - Blur is circular, in float64, of the image in [0,1]; it is not rounded to 8 bits. Kernels are normalised.
    - numpy.random.seed(0) for every image, then one normal number per value; y is neither clamped nor rounded.
    - No padding. A method that takes one sigma gets the root mean square of the standard deviations.
    - The result is clamped to [0,1] and not rounded; the noisy image itself (identity) is scored as it is. PSNR over
      all channels; SSIM of the compared values, clamped, channel by channel; no border. The published code computes
      PSNR in float32, this one in float64.
    - The published cells are means over the kernels and the images. Pictures are truncated to 8 bits when saved.
    """

    kernel: int = 0
    channel: str = "auto"
    inputs: ClassVar = ("y", "kernel", "scale", "sigma")

    def __post_init__(self) -> None:
        if not 0 <= self.kernel <= COUNT:
            raise UnfoldError(f"kernel is a number from 1 to {COUNT}, or 0 for all of them, not {self.kernel}")
        check_choice("channel", self.channel, ("auto", "rgb", "luma"))

    def sigmas(self, size: tuple[int, int], rng: np.random.RandomState) -> float | NDArray[np.floating]:
        """Standard deviations of the noise in [0,1] units: one, or a map (H,W,1)."""
        raise NotImplementedError

    def noisy(
        self, blurred: NDArray[np.float64], shape: tuple[int, ...], rng: np.random.RandomState
    ) -> tuple[NDArray[np.float64], float]:
        """The measurement (H,W,3) of a blurred image (H,W,1 or 3), and its noise as one standard deviation."""
        sigmas = self.sigmas((shape[0], shape[1]), rng)
        return blurred + gaussian_noise(shape, sigmas, rng), float(np.sqrt(np.mean(np.square(sigmas))))

    def cases(self, source: str, split: str = "test") -> list[Case]:
        numbers = [self.kernel] if self.kernel else range(1, COUNT + 1)
        files = find_images(source, split)
        return [Case(f"{path.stem}_k{i}", (path,), {"kernel": i}) for i in numbers for path in files]

    def sample(self, case: Case) -> Sample:
        kernel = normalised(published_kernels(KERNELS, COUNT, PUBLISHED_CODE)[case.options["kernel"] - 1])
        (path,) = case.files
        target = read_channels(path, self.bands)
        height, width = target.shape[:2]
        if min(height, width) < max(kernel.shape):
            size = "x".join(map(str, kernel.shape))
            raise UnfoldError(f"{path} is {width}x{height}, smaller than kernel {case.options['kernel']}, {size}")
        channels = 1 if is_grey(target) else target.shape[2]  # three equal channels need one blur
        full = np.iinfo(target.dtype).max if target.dtype.kind == "u" else 1
        blurred = blur_array(target[..., :channels] / full, kernel)
        rng = np.random.RandomState(0)
        y, sigma = self.noisy(blurred, target.shape, rng)
        inputs = {"y": y.astype(np.float32), "kernel": kernel.astype(np.float32), "scale": 1}
        target = target if target.dtype == np.uint8 else to_float(target)  # score in full depth
        return Sample({**inputs, "sigma": sigma}, target)

    def restore(self, method: Method, sample: Sample) -> Image:
        result = method(sample.inputs)
        return result if result is sample.inputs["y"] else self.finish(result)  # the published "noisy" is not clamped

    def finish(self, result: Image) -> Image:
        return result.clip(0, 1)

    def score(self, result: Image, target: Image) -> dict[str, float]:
        chosen = ("luma" if is_grey(target) else "rgb") if self.channel == "auto" else self.channel
        tensors = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] for image in (result, target))
        a, b = (convert(tensor, cast(Channel, chosen)) for tensor in tensors)
        return {"psnr": psnr(a, b).item(), "ssim": float(ssim(a.clamp(0, 1), b))}

    def save(self, result: Image, case: Case, folder: Path) -> None:
        super().save(_cut_off(result), case, folder)


@dataclass(frozen=True)
class NRLGDNNonUniform(NRLGDNSimulated):
    """Table 4: blur by Levin's eight kernels, and noise whose level varies over the image. Grey Set12, colour sets.

    map: "gauss", "peaks" or "gauss_mix" (the table's gauss-mix): how the standard deviation varies from 5 to 25 in 255
    units, see :func:`unfold.physics.sigma_maps.sigma_map`; gauss_mix is drawn before the noise, the same for every
    image. All other choices: see NRLGDNSimulated.
    """

    map: str = "gauss"
    name: ClassVar = "nrl_gdn_nonuniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("map", self.map, get_args(MapKind))

    def sigmas(self, size: tuple[int, int], rng: np.random.RandomState) -> NDArray[np.floating]:
        return sigma_map(cast(MapKind, self.map), size, rng)[..., None]


@dataclass(frozen=True)
class NRLGDNUniform(NRLGDNSimulated):
    """The published code's evaluation with uniform noise; no table of it was found.

    noise: its standard deviation in 255 units. All other choices: see NRLGDNSimulated.
    """

    noise: float = 2.55
    name: ClassVar = "nrl_gdn_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise <= 255:
            raise UnfoldError(f"noise is in 255 units and not negative, not {self.noise}")

    def sigmas(self, size: tuple[int, int], rng: np.random.RandomState) -> float:
        return self.noise / 255


@dataclass(frozen=True)
class NRLGDNPoisson(NRLGDNUniform):
    """The published code's evaluation with photon noise and uniform noise; no table of it was found.

    y = clip(Poisson(128 b) / 128 + N(0, noise^2)), b the blurred image. The published code sets no seed; here the seed
    is that of the other evaluations. All other choices: see NRLGDNUniform.
    """

    name: ClassVar = "nrl_gdn_poisson"

    def noisy(
        self, blurred: NDArray[np.float64], shape: tuple[int, ...], rng: np.random.RandomState
    ) -> tuple[NDArray[np.float64], float]:
        whole = np.broadcast_to(blurred, shape).clip(0, None)  # the Fourier transform leaves values such as -1e-17
        return _with_sigma(poisson_gaussian(whole, PEAK, self.noise / 255, rng), whole)


@dataclass(frozen=True)
class NRLGDNImpulse(NRLGDNSimulated):
    """The published code's evaluation with impulse noise; no table of it was found.

    share: share of replaced pixels; kind: "rd", by random values, or "sp", by 0 and 1. All other choices: see
    NRLGDNSimulated.
    """

    share: float = 0.1
    kind: str = "rd"
    name: ClassVar = "nrl_gdn_impulse"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("kind", self.kind, ("rd", "sp"))
        check_share("share", self.share)

    def noisy(
        self, blurred: NDArray[np.float64], shape: tuple[int, ...], rng: np.random.RandomState
    ) -> tuple[NDArray[np.float64], float]:
        whole = np.broadcast_to(blurred, shape)
        return _with_sigma(impulse_noise(whole, self.share, cast(Literal["rd", "sp"], self.kind), rng), whole)


def _with_sigma(y: NDArray[np.float64], clean: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    return y, float(np.sqrt(np.mean(np.square(y - clean))))


@dataclass(frozen=True)
class NRLGDNReal(Unscored):
    """Blurred photographs with estimated kernels, without ground truth: pictures are saved, not scored.

    - The set is a folder of images with a subfolder "kernels" that holds one kernel per image: in natural order of
      names, the first kernel belongs to the first image, and so on. A kernel is a grey image, square with an odd side;
      it is normalised.
    - Images are extended on every side by replicating border pixels over the kernel's width, and the result is cropped
      again, clamped and truncated (not rounded) to 8 bits.
    - The noise level is unknown; methods that need it do not run.
    """

    name: ClassVar = "nrl_gdn_real"
    inputs: ClassVar = ("y", "kernel")

    def cases(self, source: str, split: str = "test") -> list[Case]:
        images = find_images(source, split)
        folder = find_folder(source) / "kernels"
        if not folder.is_dir():
            raise UnfoldError(f"there is no folder {folder}: it has a kernel for each image, in the same order")
        kernels = find_images(str(folder), split)
        if len(kernels) != len(images):
            raise UnfoldError(f"{folder} holds {len(kernels)} kernels for {len(images)} images: it takes one for each")
        return [
            Case(image.stem, (image, kernel), {"kernel": kernel.name})
            for image, kernel in zip(images, kernels, strict=True)
        ]

    def sample(self, case: Case) -> Sample:
        kernel = _odd_square(case.files[1])
        image = to_float(read_channels(case.files[0], self.bands))
        height, width = image.shape[:2]
        side = len(kernel)
        y = np.pad(image, ((side, side), (side, side), (0, 0)), mode="edge")
        window = (slice(side, side + height), slice(side, side + width))
        return Sample({"y": y, "kernel": kernel.astype(np.float32)}, None, window)

    def finish(self, result: Image) -> Image:
        return _cut_off(result)


def _odd_square(path: Path) -> Kernel:
    (kernel,) = read_kernels(path)
    rows, columns = kernel.shape
    if rows != columns or rows % 2 == 0:
        raise UnfoldError(f"{path} is {rows}x{columns}, and a kernel is odd and square: pad it around its centre pixel")
    return normalised(kernel)


def _cut_off(result: Image) -> NDArray[np.uint8]:
    return (result.clip(0, 1) * 255).astype(np.uint8)
