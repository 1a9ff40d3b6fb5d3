"""ISTA-Net and ISTA-Net+: the iterative shrinkage-thresholding algorithm, unfolded, for sensing by blocks and for MRI.

Zhang, Ghanem: ISTA-Net: Interpretable Optimization-Inspired Deep Network for Image Compressive Sensing, CVPR 2018.

    Stage k:  r = x - lambda_k A^T(A x - y)     gradient step
              x' = soft thresholding of learned features of r: unfold/priors/shrinkage.py

Stages return "symmetry", which the training loss keeps small. Each block of 33x33 pixels is an image of its own.
Parameters have the names of the published checkpoints; Phi and Q are not in those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.facts import Input, Measurement, Preset, Tiling, image
from unfold.models.check_call import weights_kind
from unfold.models.unfolding import UnfoldingNetwork, check_image, of_data_parallel
from unfold.priors.shrinkage import Shrinkage
from unfold.steps import block_sampling, fourier_sampling, frequency_checks

Context = block_sampling.SampledBlocks | fourier_sampling.SampledSpectrum


class Phase(Shrinkage):
    """The parameters of one stage."""

    def __init__(self, plus: bool, width: int) -> None:
        super().__init__(plus, width)
        self.lambda_step = nn.Parameter(torch.tensor([0.5]))


class Phases(UnfoldingNetwork):
    """Common base of both networks. plus: ISTA-Net+ instead of ISTA-Net; stages: K; width: channels of the features."""

    channels, takes_half, measures = 1, False, True
    bf16 = "the measurement, the gradient step and the last layer stay in float32"
    official_layout = staticmethod(of_data_parallel)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        if "fcs.0.lambda_step" not in state:
            return None
        stages = sum(key.endswith(".lambda_step") for key in state)
        return {"stages": stages, "width": state["fcs.0.conv1_forward"].shape[0], "plus": "fcs.0.conv_D" in state}

    def __init__(self, plus: bool, stages: int, width: int) -> None:
        super().__init__(stages)
        self.fcs = nn.ModuleList(Phase(plus, width) for _ in range(stages))

    def stage(self, k: int, x: Tensor, memory: Any, context: Context) -> tuple[Tensor, Any, dict[str, Tensor]]:
        phase: Any = self.fcs[k]
        x, symmetry = phase(context.descended(x, phase.lambda_step), self.hands_out)
        return x, None, {} if symmetry is None else {"symmetry": symmetry}

    def finish(self, x: Tensor, context: Context) -> Tensor:
        return context.image(x)

    def numbers(self, k: int, context: Context) -> dict[str, Tensor]:
        phase: Any = self.fcs[k]
        return {"lambda": phase.lambda_step, "theta": phase.soft_thr}


class ISTANet(Phases):
    """Compressive sensing of grey images by blocks of block x block pixels: y = Phi b for every block b, x_0 = Q y.

    matrix: file of Phi (M, block^2), .mat or .npy, as it is or below UNFOLD_DATA, else random orthonormal rows, always
    the same; initial: file of Q (block^2, M), likewise, else the pseudo-inverse of Phi; ratio: measurements per pixel
    in per cent, above 0 and at most 100, else that of the matrix, or 25; block: side of the blocks in pixels. See
    :class:`unfold.steps.block_sampling.BlockSampling`.
    ``net(m)``: measurements (B,M,h,w) of h x w blocks, or (N,M) of N single blocks -> (B,1,block h,block w), not
    clamped. ``net(image=x)``: x (B,1,H,W) in [0,1], any size (padded with zeros to whole blocks), is measured and
    restored.
    """

    presets: ClassVar = {
        "ista_net": Preset("ISTA-Net, compressive sensing by blocks of 33x33", {"plus": False}),
        "ista_net_plus": Preset("ISTA-Net+, compressive sensing by blocks of 33x33", {"plus": True}),
    }
    trained_on, size_multiple, tiling = "blocks", block_sampling.SIDE, Tiling(exact=True, reach=0)
    measurement: Measurement = Measurement("m", "(B,M,h,w), measurements of h x w blocks, M of each")
    files: ClassVar = {"matrix": "Phi, the sampling matrix", "initial": "Q of x_0 = Q y"}

    @classmethod
    def file_wanted(cls, given: Mapping[str, Any]) -> str:
        what = f"{block_sampling.wanted(given)}: give matrix=FILE (.mat or .npy), and initial=FILE for Q"
        return "" if "matrix" in given else what

    def __init__(
        self,
        matrix: Path | None = None,
        initial: Path | None = None,
        ratio: float | None = None,
        plus: bool = True,
        stages: int = 9,
        width: int = 32,
        block: int = block_sampling.SIDE,
    ) -> None:
        super().__init__(plus, stages, width)
        self.operator = block_sampling.BlockSampling(matrix, initial, ratio, block)
        self.size_multiple, self.ratio, self.measurements = block, self.operator.ratio, len(self.operator.phi)
        self.measurement = replace(type(self).measurement, first=self.measurements)

    @property
    def inputs(self) -> dict[str, Input]:
        return {"image": image(1, "(B,1,H,W) in [0,1], measured and restored")}

    def begin(self, m: Tensor | None = None, *, image: Tensor | None = None) -> tuple[Tensor, Context]:
        if image is not None:
            check_image(image, 1, "an image to measure")
        return self.operator.begin(m, image)


class ISTANetMRI(Phases):
    """ISTA-Net+ for magnetic resonance imaging with one coil: k = mask . FFT2(x), x_0 the zero-filled image.

    ratio: share of the frequencies that the mask measures, in per cent; only protocols use it.
    ``net(k, mask=mask)``: k (B,1,H,W) complex, as in numpy.fft.fft2, zero frequency at [0,0]; mask (B|1,1,H,W) of 0 and
    1, likewise -> (B,1,H,W), not clamped. ``net(image=x, mask=mask)``: x (B,1,H,W) in [0,1] is measured and restored.
    """

    presets: ClassVar = {"ista_net_plus_mri": Preset("ISTA-Net+, MRI of any size by a mask", {"plus": True})}
    trained_on, tiling = "masked_fourier", Tiling(whole="every frequency is of the whole picture")
    measurement = Measurement(
        "k", frequency_checks.MEASURED, axes=2, complex=True, check=frequency_checks.check_measured
    )

    def __init__(self, ratio: float | None = None, plus: bool = True, stages: int = 9, width: int = 32) -> None:
        super().__init__(plus, stages, width)
        self.ratio = ratio

    @property
    def inputs(self) -> dict[str, Input]:
        mask = image(1, frequency_checks.MASK, frequency_checks.check_mask)
        return {"image": image(1, "(B,1,H,W) in [0,1], measured and restored"), "mask": mask}

    def begin(self, k: Tensor | None = None, *, image: Tensor | None = None, mask: Tensor) -> tuple[Tensor, Context]:
        if image is not None:
            check_image(image, 1, "an image to measure")
        if isinstance(k, Tensor) and (k.ndim != 4 or k.shape[1] != 1):
            raise UnfoldError(f"k has the shape (B,1,H,W), not {tuple(k.shape)}")
        if isinstance(k, Tensor) and k.dtype == torch.complex128 and weights_kind(self) == torch.float32:
            raise UnfoldError("k is complex128 and the network float32: give k.to(torch.complex64)")
        return fourier_sampling.begin(k, image, mask)
