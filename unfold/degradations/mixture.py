"""Several kinds of samples in one training (DATA.MIX)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from unfold.data.batches import collate
from unfold.data.patches import Images, plain_sample
from unfold.degradations.degradation import Degradation, Rng
from unfold.errors import UnfoldError


class Mixture(Degradation):
    """Parts by name. Samples have the inputs common to all parts, as floats, and "part", the part's number.

    The rendering of a part (``render``), normally on the training device for a whole batch, is done in the worker here,
    sample by sample, as batches have samples of several kinds.
    """

    blends = False  # a blend would mix two parts
    clean = False
    cache = ""

    def __init__(self, parts: Mapping[str, Degradation]) -> None:
        self.parts = parts
        kinds = list(parts.values())
        self.inputs = tuple(name for name in kinds[0].inputs if all(name in kind.inputs for kind in kinds))
        for name, kind in parts.items():
            if set(kind.scales) != {1}:
                raise UnfoldError(
                    f"DATA.MIX {name} makes smaller images (scales {list(kind.scales)}), and those of a mixture keep "
                    "their size: set its ARGS.scales [1]"
                )

    def check_patch(self, patch: int) -> None:
        for kind in self.parts.values():
            kind.check_patch(patch)

    def make_part(self, number: int, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        """The sample from a patch of that part's images."""
        kind = [*self.parts.values()][number]
        made = kind.render(collate([plain_sample(kind.make(images, rng, scale))]))
        names = {"target", *self.inputs} & made.keys()
        sample = {name: made[name][0] if isinstance(made[name], Tensor) else made[name] for name in sorted(names)}
        return {**sample, "part": np.array(number)}

    def render(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch
