"""A degradation that makes holes, and a protocol that tests with holes on a grid."""

import numpy as np

from unfold.data.images import read_image, to_float
from unfold.degradations.degradation import Degradation
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.protocols.protocol import Protocol, Sample


class Inpainting(Degradation):
    """Square holes of ``hole`` pixels that cover about ``share`` of the picture."""

    inputs = ("y", "mask")

    def __init__(self, hole: int = 6, share: float = 0.3) -> None:
        if hole < 1 or not 0 < share < 1:
            raise UnfoldError(f"hole is at least 1 pixel and share between 0 and 1, not {hole} and {share:g}")
        self.hole, self.share = hole, share

    def degrade(self, target, rng):
        height, width, _ = target.shape
        mask = np.ones((height, width, 1), np.float32)
        for _ in range(max(1, round(self.share * height * width / self.hole**2))):
            row, column = rng.integers(height), rng.integers(width)
            mask[row : row + self.hole, column : column + self.hole] = 0
        return {"y": target * mask, "mask": mask}


class Holes(Protocol):
    """Holes of ``hole`` pixels on a grid, a third of the picture in all. PSNR and SSIM of the whole clamped picture."""

    name = "holes"
    inputs = ("y", "mask")

    def __init__(self, hole: int = 6) -> None:
        self.hole = hole

    def sample(self, case):
        target = to_float(read_image(case.files[0], grey=True))
        rows, columns = (np.arange(n) % round(1.7 * self.hole) < self.hole for n in target.shape[:2])
        mask = 1 - (rows[:, None] & columns[None, :])[..., None].astype(np.float32)
        return Sample({"y": target * mask, "mask": mask}, target)

    def finish(self, result):
        return result.clip(0, 1)

    def score(self, result, target):
        return {"psnr": psnr(result, target), "ssim": ssim(result, target)}
