"""Validation and tests of a degradation (DATA.KIND) on clean images, and of mixtures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from unfold.data.batches import collate
from unfold.data.patches import plain_sample
from unfold.degradations.degradation import Degradation
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import Image
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Case, Protocol, Sample, generator_of
from unfold.user_files import their_errors


class Synthetic(Protocol):
    """Whole clean images, degraded by a degradation's own ``make`` and ``render``: no published table.

    - Random numbers come from a generator per image seeded with the file's name, so every method and every run sees the
      same measurement of the same picture. Images are cropped at the bottom and the right to multiples of the scale;
      the scale is the first of the degradation's.
    - The result is clamped to [0,1] and not rounded. PSNR over all channels together, SSIM per channel and averaged,
      both without a border.
    """

    name: ClassVar = "synthetic"

    def __init__(self, degradation: Degradation, options: dict[str, Any]) -> None:
        """options: identify the degradation, for results."""
        self.degradation, self.said = degradation, options
        self.inputs = degradation.inputs  # type: ignore[misc]

    def options(self) -> dict[str, Any]:
        return self.said

    def cases(self, source: str, split: str = "test") -> list[Case]:
        cases = super().cases(source, split)
        if not self.degradation.clean:
            raise UnfoldError(f"{type(self.degradation).__name__} is not made of clean images: set DATA.VAL_PROTOCOL")
        return cases

    def sample(self, case: Case) -> Sample:
        (path,) = case.files
        scale = self.degradation.scales[0]
        with their_errors(f"degrading {path}"):
            images = self.degradation.read(path)
            height, width = (n // scale * scale for n in images["target"].shape[:2])
            drawn = self.degradation.make({"target": images["target"][:height, :width]}, generator_of(path), scale)
            rendered = self.degradation.render(collate([plain_sample(drawn)]))
        arrays = {name: _array(value) for name, value in rendered.items()}
        return Sample({name: arrays[name] for name in self.inputs if name in arrays}, arrays["target"])

    def finish(self, result: Image) -> Image:
        return result.clip(0, 1)

    def score(self, result: Image, target: Image) -> dict[str, float]:
        bands = target.shape[2]
        return {"psnr": psnr(result, target, channels=bands), "ssim": ssim(result, target, channels=bands)}


def _array(value: Any) -> Any:
    """The single item of a batch: images (H,W,C), kernels (kh,kw), numbers."""
    if not isinstance(value, Tensor):
        return value
    one = value[0].float() if value.dtype != torch.float64 else value[0]
    if one.ndim == 0:
        return one.item()
    if one.ndim != 3:
        return one.numpy()
    return one.permute(1, 2, 0).numpy()


class Mixed(Protocol):
    """The validation and the tests of a mixture (DATA.MIX): each part's images by the part's own protocol.

    Cases are called part/case. :meth:`of` returns the protocol of a case, which does all the work.

    parts: protocols by the names of their parts; sets: of each, the set by split ("val", "test").
    """

    name: ClassVar = "mixed"

    def __init__(self, parts: Mapping[str, Protocol], sets: Mapping[str, Mapping[str, str]]) -> None:
        self.parts, self.sets = parts, sets

    def options(self) -> dict[str, Any]:
        return {name: {"protocol": part.name, **part.options()} for name, part in self.parts.items()}

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The cases of all parts, each from its own set; source: for parts whose split has no set of its own."""
        found = []
        for name, part in self.parts.items():
            try:
                cases = part.cases(place := self.sets[name].get(split, source), split)
            except UnfoldError as error:
                key = {"val": "VAL", "test": "TEST"}.get(split, split)
                raise UnfoldError(
                    f"DATA.MIX {name}: {key} {place} (for the protocol {part.name}): {error}"
                ) from error.__cause__
            found += [case._replace(name=f"{name}/{case.name}") for case in cases]
        return found

    def fit(self, net: UnfoldingNetwork) -> None:
        for part in self.parts.values():
            part.fit(net)

    def of(self, case: Case) -> tuple[Protocol, Case]:
        part, _, name = case.name.partition("/")
        return self.parts[part], case._replace(name=name)

    def sample(self, case: Case) -> Sample:
        part, own = self.of(case)
        return part.sample(own)

    def finish(self, result: Image) -> NoReturn:
        raise AssertionError("a part of the mixture does this")

    def score(self, result: Image, target: Image) -> NoReturn:
        raise AssertionError("a part of the mixture does this")
