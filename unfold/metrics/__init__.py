"""Image quality: PSNR and SSIM."""

from unfold.metrics.psnr import psnr
from unfold.metrics.ssim import ssim

__all__ = ["psnr", "ssim"]
