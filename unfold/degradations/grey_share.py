"""Grey among the samples of networks in colour.

A network that has only seen noise which is independent in the three channels may leave noise that they share, as it
looks like the picture: a grey picture that is restored as three equal channels has such noise, and no other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unfold.data.images import grey_in_colour
from unfold.degradations.degradation import Rng
from unfold.util.arrays import Array

EQUAL_NOISE = 1 / 3  # share of the grey samples whose channels have the same noise


def with_grey(share: float, target: Array, noise: NDArray[np.float32], rng: Rng) -> tuple[Array, NDArray[np.float32]]:
    """Make a sample grey with probability ``share``: target and noise (H,W,C) -> both, as they are or in grey.

    A grey target has three equal channels. Its noise stays independent in two of three such samples, as in the
    evaluations on grey sets, and is equal in the others, as in a grey picture that is restored. Only colour can become
    grey: nothing is done for other numbers of channels. It is drawn after all else of a sample, so that nothing else
    depends on the share.
    """
    if share > 0 and target.shape[2] == 3 and rng.uniform() < share:
        target = grey_in_colour(target)
        if rng.uniform() < EQUAL_NOISE:
            noise = noise[..., :1].repeat(3, axis=2)
    return target, noise
