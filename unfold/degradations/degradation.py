"""Degradations: how training samples are made, one class per kind (DATA.KIND).

A degradation works in two places. ``make`` runs in a worker, for one patch, and draws all random numbers from the
sample's own generator, so a sample is a pure function of (seed, epoch, number). ``render`` runs on the training device,
for a batch; it draws nothing, and does what is cheap there and expensive in a worker. The published random streams are
not reproduced, as they depend on the number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfold.data.images import find_images, read_channels, to_float
from unfold.data.patches import Images
from unfold.errors import UnfoldError
from unfold.facts import Input
from unfold.user_files import line_of
from unfold.util.arrays import Named
from unfold.util.value_checks import found_range, in_range

Rng = np.random.Generator


class Degradation:
    """A kind of training samples. A subclass defines at least :meth:`degrade`.

    Its options are the arguments of its constructor (DATA.ARGS). channels: of the images, set to the network's; asked:
    the inputs that the network takes, also set, so that unused ones need not be made.
    """

    inputs: tuple[str, ...] = ("y",)  # inputs that a network may take
    scales: Sequence[int] = (1,)  # one of them per step: target size over size of y
    blends: bool = True  # whether blends of samples (TRAIN.MIXUP) are valid samples
    clean: bool = True  # whether samples are made of clean images; then DATA.REDUCED may add smaller copies
    cache: Literal["images", "pairs", ""] = "images"  # required content of a patch cache; "": caches are not supported
    own_test: bool = False  # whether `unfold test --config` tests by protocol(), ignoring DATA.VAL_PROTOCOL
    channels: int = 3
    asked: Mapping[str, Input] = MappingProxyType({})

    def check_patch(self, patch: int) -> None:
        """UnfoldError, "must be ...", for an unsuitable TRAIN.PATCH (side in pixels)."""

    def protocol(self, net: nn.Module) -> str:
        """The default protocol of validation and test; "": images of DATA.VAL, degraded by this class."""
        return ""

    def validation(self, net: nn.Module) -> str:
        """The default protocol of validation, where it differs from that of a test."""
        return self.protocol(net)

    def sources(self, source: str) -> Sequence[Any]:
        """The items of a training set; here, image files. UnfoldError if there are none."""
        return find_images(source, "train")

    def read(self, source: Any) -> Images:
        """The images of one item, (H,W,C): integers, or float32 in [0,1]. UnfoldError for an unusable item."""
        return {"target": read_channels(source, self.channels)}

    def files(self, source: Any) -> dict[str, Path]:
        """The image files that :meth:`read` decodes, by the names of its images.

        Only where file headers give the sizes of what it returns; otherwise empty. A class with its own :meth:`read`
        may define it, too: then images are decoded on first use, and once for all processes of a machine.
        """
        ours = type(self).read.__module__.startswith("unfold.")
        return {"target": source} if ours and isinstance(source, Path) else {}

    def reading(self) -> str:
        """Options of :meth:`read` that change how a file is decoded."""
        return f"{self.channels} channels"

    def degrade(self, target: NDArray[np.float32], rng: Rng) -> Named:
        """A clean patch (H,W,C) in [0,1] -> the network's inputs by name: images (H,W,C), kernels (kh,kw), and numbers.

        Floats may differ from sample to sample, whole numbers (a scale) may not. All randomness comes from ``rng``.
        Neither this nor :meth:`make` may change its argument.
        """
        raise UnfoldError(f"{type(self).__name__} has neither a method degrade nor one of its own to make samples")

    def make(self, images: Images, rng: Rng, scale: int) -> Named:
        """The sample of a patch: arrays (H,W,C) and numbers, "target" among them. scale: one of ``scales``."""
        target = to_float(images["target"])
        given = target.view()
        given.flags.writeable = False  # a degradation in place would change the target, too
        return {"target": target, **self._conformed(self.degrade(given, rng))}

    def _conformed(self, made: Any) -> Named:
        """The result of :meth:`degrade`, in the form for batches; UnfoldError with its line."""

        def fail(what: str) -> NoReturn:
            raise UnfoldError(f"{line_of(self.degrade)}: degrade of {type(self).__name__} {what}")

        if not isinstance(made, Mapping):
            fail(f"returns a {type(made).__name__}, and a dict of the network's inputs by name is wanted")
        if missing := sorted(set(self.inputs) & set(self.asked) - set(made)):
            fail(f"returns {', '.join(map(str, made))}, and {', '.join(missing)} is in its inputs, too")
        if "target" in made:
            fail("returns target, which is the clean patch as it is given")
        sample: Named = {}
        for name, value in made.items():
            kind = self.asked[name].kind if name in self.asked else ""
            if isinstance(value, bool | int | np.integer):
                sample[name] = value if kind not in ("level", "number") else np.array(value, np.float32)
                continue
            if isinstance(value, Tensor):
                value = value.detach().cpu()
                value = value.float() if value.is_floating_point() else value
            try:
                array = np.asarray(value)
            except Exception:
                array = np.asarray(None)
            if array.dtype.kind == "f":
                array = array.astype(np.float32, copy=False)
            if not array.flags.writeable:  # the clean patch itself, for which torch would warn
                array = array.copy()
            if array.dtype.kind not in "fub" or array.dtype == np.uint16:
                fail(f"returns {name} as {type(value).__name__} of {array.dtype}, and floats in [0,1] are wanted")
            if kind in ("level", "number"):
                if array.size != 1:
                    fail(f"returns {name} of shape {array.shape}, and one number is wanted")
                array = array.reshape(())
            elif kind == "image" or (not kind and array.ndim == 2):
                array = array[..., None] if array.ndim == 2 else array
                count = self.asked[name].channels if kind else array.shape[-1]
                if array.ndim != 3 or array.shape[2] != count:
                    fail(f"returns {name} of shape {array.shape}, and (H,W,{count}) is wanted")
                if array.dtype.kind == "f" and not in_range(array.min(initial=0), array.max(initial=0)):
                    found = found_range(float(array.min()), float(array.max()))
                    fail(
                        f"returns {name} with {found}, and images in [0,1] are wanted, which noise may bring to [-2,3]"
                    )
            elif kind == "kernel" and array.ndim == 2:
                array = array[None]
            sample[name] = array
        return sample

    def render(self, batch: Named) -> Named:
        """Render a batch on the device -> target and inputs in [0,1]; here, integers become float32."""
        return {name: unit(value) if isinstance(value, Tensor) else value for name, value in batch.items()}


def unit(x: Tensor) -> Tensor:
    """uint8 -> float32 in [0,1]; floats as they are."""
    return x.float() / 255 if x.dtype == torch.uint8 else x
