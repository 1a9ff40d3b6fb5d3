"""Denoising of smartphone photographs: the validation blocks of SIDD (Abdelhamed, Lin, Brown, CVPR 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from unfold.data.formats.mat_files import read_array
from unfold.data.images import find_folder, to_float
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import Image, Method
from unfold.models.self_ensemble import check_number, ensembled
from unfold.protocols.protocol import Case, Protocol, Sample
from unfold.util.arrays import Array
from unfold.util.atomic_files import whole_file

NOISY, CLEAN = "ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb"
HEADER = b"MATLAB 7.3 MAT-file, HDF5".ljust(116) + bytes(8) + b"\x00\x02IM"


@dataclass(frozen=True)
class SIDD(Protocol):
    """SIDD in DGUNet's denoising table (Mou, Wang, Zhang, CVPR 2022): the 1280 validation blocks, 256x256, sRGB.

    ensemble: 8, the mean over rotated and mirrored blocks, or 1. The published test script averages over 8; the table's
    numbers probably do, but this is not stated.

    - The folder holds ValidationNoisyBlocksSrgb.mat and ValidationGtBlocksSrgb.mat, [40,32,256,256,3] uint8 arrays of
      these names. Both are read whole when the cases are made, 0.5 GB. Block 32 of scene 1 is the case 0001_32.
    - Blocks are divided by 255; results are averaged, clamped to [0,1], and never rounded.
    - PSNR and SSIM per block over RGB, the table's numbers being means over blocks. SSIM is MATLAB's of an array MxNx3,
      kind "matlab3d", as evaluate_SIDD.m of the code that DGUNet is built on (MPRNet's) computes it.
    - Results are saved as in the published code: Idenoised.mat with Idenoised, [40,32,256,256,3] single (1 GB). It is a
      file of version 7.3 (HDF5), written block by block.
    """

    ensemble: int = 8
    name: ClassVar = "sidd"

    def __post_init__(self) -> None:
        check_number(self.ensemble)

    def cases(self, source: str, split: str = "test") -> list[Case]:
        folder = find_folder(source)
        files = folder / f"{NOISY}.mat", folder / f"{CLEAN}.mat"
        noisy, clean = _read_blocks(files[0], NOISY), _read_blocks(files[1], CLEAN)
        if noisy.shape != clean.shape:
            raise UnfoldError(f"{folder}: the noisy blocks are {list(noisy.shape)} and the clean {list(clean.shape)}")
        return [
            Case(f"{scene + 1:04d}_{block + 1:02d}", files, content=(noisy[scene, block], clean[scene, block]))
            for scene, block in np.ndindex(noisy.shape[:2])
        ]

    def sample(self, case: Case) -> Sample:
        noisy, clean = case.content
        return Sample({"y": to_float(noisy)}, clean)

    def restore(self, method: Method, sample: Sample) -> Image:
        return super().restore(ensembled(method, self.ensemble), sample)

    def finish(self, result: Image) -> Image:
        return result.clip(0, 1)

    def score(self, result: Image, target: Image) -> dict[str, float]:
        return {"psnr": psnr(result, target), "ssim": ssim(result, target, kind="matlab3d")}

    @contextmanager
    def saving(self, folder: Path, cases: Sequence[Case]) -> Iterator[Callable[[Image, Case], None]]:
        import h5py

        scenes, blocks = (max(places) + 1 for places in zip(*map(_place, cases), strict=True))
        height, width, channels = cases[0].content[0].shape
        with whole_file(folder / "Idenoised.mat") as file:
            # MATLAB's axes reversed, and one block per chunk, so that each is written once and freed.
            with h5py.File(file.name, "w", userblock_size=512) as hdf5:
                stored = hdf5.create_dataset(
                    "Idenoised",
                    (channels, width, height, blocks, scenes),
                    np.float32,
                    chunks=(channels, width, height, 1, 1),
                )
                stored.attrs["MATLAB_class"] = np.bytes_(b"single")

                def save(result: Image, case: Case) -> None:
                    scene, block = _place(case)
                    stored[..., block, scene] = result.T

                yield save
            file.write(HEADER)


def _place(case: Case) -> tuple[int, int]:
    """Scene and block of a case, from 0, by its name."""
    scene, block = case.name.split("_")
    return int(scene) - 1, int(block) - 1


def _read_blocks(path: Path, name: str) -> Array:
    blocks = read_array(path, name)
    if blocks.dtype != np.uint8 or blocks.ndim != 5 or blocks.shape[-1] != 3 or blocks.size == 0:
        raise UnfoldError(f"{path}: {name} is {blocks.dtype} {list(blocks.shape)}, not uint8 [40, 32, 256, 256, 3]")
    return blocks
