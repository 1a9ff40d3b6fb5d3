"""The data step of measurements in the Fourier domain, k = mask . FFT2(x): magnetic resonance imaging with one coil."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from unfold.errors import UnfoldError
from unfold.physics.fourier import masked_fourier, masked_fourier_adjoint
from unfold.util.precision import at_least_float32, full_precision


class SampledSpectrum(NamedTuple):
    """zero_filled: A^T k (B,C,H,W), real; mask (B|1,C|1,H,W) in [0,1], the zero frequency at [0,0]."""

    zero_filled: Tensor
    mask: Tensor

    def descended(self, x: Tensor, step: Tensor) -> Tensor:
        """x - step A^T(A x - k) for estimates x (B,C,H,W), in float32 or better, in the published order of sums."""
        with full_precision(x.device):
            x = at_least_float32(x)
            normal = masked_fourier_adjoint(masked_fourier(x, self.mask), self.mask)
            return x - step * normal + step * self.zero_filled

    def image(self, x: Tensor) -> Tensor:
        """The estimate is the image."""
        return x


def begin(k: Tensor | None, image: Tensor | None, mask: Tensor) -> tuple[Tensor, SampledSpectrum]:
    """Frequencies k (B,C,H,W), complex, or an image to measure (B,C,H,W) -> x_0 = A^T k, and the state of the data
    step.

    UnfoldError if neither is given, or both, or the shape differs from the mask's.
    """
    mask = at_least_float32(mask)
    if k is not None and image is not None:
        raise UnfoldError("give either k, the measured frequencies, or image=, the image to measure")
    given = image if k is None else k
    if not isinstance(given, Tensor) or given.is_complex() == (k is None) or given.shape[-2:] != mask.shape[-2:]:
        raise UnfoldError(f"give image=, or k (B,1,H,W), complex; both are as large as the mask, {tuple(mask.shape)}")
    with full_precision(given.device):
        k = masked_fourier(at_least_float32(given), mask) if k is None else given
        x = masked_fourier_adjoint(k, mask)
    return x, SampledSpectrum(x, mask)
