"""Classical denoisers of scikit-image, with strengths tuned on training images: the baselines for denoising."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from unfold.data.crop_to_show import busiest_crop
from unfold.metrics import psnr
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.protocol import Case, sample_of
from unfold.util.progress import progress

Image = NDArray[np.float32]
CROP = 256  # side of the window, the one with most detail, that strengths are tuned on
MOST_IMAGES = 8


def total_variation(y: Image, sigma: float, strength: float) -> Image:
    """Chambolle's total variation; strength is its weight relative to sigma. y (H,W,3), sigma in [0,1] units."""
    from skimage.restoration import denoise_tv_chambolle

    # With the default tolerance it stops long before the minimum, and the result depends on the iteration count.
    return denoise_tv_chambolle(y, weight=strength * sigma, eps=2e-6, max_num_iter=500, channel_axis=-1)


def non_local_means(y: Image, sigma: float, strength: float) -> Image:
    """Non-local means on 5x5 patches within 13x13 pixels, knowing sigma; strength is its h relative to sigma."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        y, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )


# name -> (method, strengths to choose from)
CLASSICAL: dict[str, tuple[Callable[[Image, float, float], Image], tuple[float, ...]]] = {
    "tv": (total_variation, (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)),
    "nlm": (non_local_means, (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)),
}


def tuning_cases(cases: Sequence[Case]) -> list[Case]:
    """At most 8 of the cases, evenly chosen."""
    return [cases[i] for i in np.unique(np.linspace(0, len(cases) - 1, MOST_IMAGES).astype(int))]


def tune(name: str, protocol: GaussianDenoising, cases: Sequence[Case]) -> float:
    """The strength with the highest mean PSNR over a crop of each of ``cases``."""
    method, strengths = CLASSICAL[name]
    samples = []
    for case in cases:
        sample = sample_of(protocol, case)
        assert sample.target is not None
        window = busiest_crop(sample.target, CROP)
        samples.append((sample.inputs["y"][window], sample.target[window]))
    sigma = protocol.sigma / 255

    def quality(strength: float) -> float:
        return float(np.mean([psnr(method(y, sigma, strength).clip(0, 1), target) for y, target in samples]))

    return max(progress(strengths, f"tuning {name}", "strength"), key=quality)
