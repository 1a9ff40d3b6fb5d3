"""Denoising of camera photographs without public references: DND (Ploetz, Roth, CVPR 2017), sRGB track."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from unfold.data.formats.dnd_files import count_images, read_crops
from unfold.data.images import find_folder
from unfold.errors import UnfoldError
from unfold.models.run_on_arrays import Image, Method
from unfold.models.self_ensemble import check_number, ensembled
from unfold.protocols.protocol import Case, Sample, Unscored
from unfold.util.atomic_files import whole_file


@dataclass(frozen=True)
class DND(Unscored):
    """DND in DGUNet's denoising table (Mou, Wang, Zhang, CVPR 2022): writes the files that its server scores.

    ensemble: 8, the mean over rotated and mirrored crops, or 1. The published test script averages over 8; the table's
    numbers probably do, but this is not stated.

    - The folder holds info.mat and images_srgb/0001.mat to 0050.mat as distributed (HDF5). Of every image, 20 crops of
      512x512 are restored one by one; a case is an image.
    - Results are averaged, clamped to [0,1], and never rounded. The references are not public: nothing is scored.
    - Each image is saved in the server's format: 0001.mat and so on with Idenoised (a cell array of the 20 crops,
      single), israw (false) and eval_version ("1.0").
    """

    ensemble: int = 8
    name: ClassVar = "dnd"

    def __post_init__(self) -> None:
        check_number(self.ensemble)

    def cases(self, source: str, split: str = "test") -> list[Case]:
        folder = find_folder(source)
        info = folder / "info.mat"
        images = [folder / "images_srgb" / f"{i + 1:04d}.mat" for i in range(count_images(info))]
        for path in images:
            if not path.is_file():
                raise UnfoldError(f"there is no {path}, one of the {len(images)} images of {info}")
        return [Case(path.stem, (path, info)) for path in images]

    def sample(self, case: Case) -> Sample:
        """y is the list of the image's crops."""
        path, info = case.files
        return Sample({"y": read_crops(path, info, int(case.name) - 1)})

    def restore(self, method: Method, sample: Sample) -> Image:
        """An object array of the restored crops."""
        run = ensembled(method, self.ensemble)
        results = np.empty(len(sample.inputs["y"]), dtype=object)
        for i, crop in enumerate(sample.inputs["y"]):
            results[i] = self.finish(run({"y": crop}))
        return results

    def finish(self, result: Image) -> Image:
        return result.clip(0, 1)

    def save(self, result: Image, case: Case, folder: Path) -> None:
        from scipy.io import savemat

        with whole_file(folder / f"{case.name}.mat") as file:
            savemat(file, {"Idenoised": result, "israw": False, "eval_version": "1.0"})
