"""A loss in Fourier space."""

import torch

from unfold.losses.loss import ImageLoss


class FFTLoss(ImageLoss):
    """mean |F(x) - F(target)| of the half spectra; the highest frequencies have ``high`` times the mean weight."""

    def __init__(self, high: float = 1.0) -> None:
        super().__init__()
        self.high = high

    def distance(self, x, target):
        difference = torch.fft.rfft2(x.float() - target, norm="ortho").abs()
        rows = torch.fft.fftfreq(x.shape[-2], device=x.device).abs()[:, None]
        columns = torch.fft.rfftfreq(x.shape[-1], device=x.device)[None, :]
        return (difference * (1 + (self.high - 1) * 2 * torch.maximum(rows, columns))).mean()
