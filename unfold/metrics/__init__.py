"""Image quality: PSNR and SSIM, without and with alignment, and LPIPS."""

from unfold.metrics.aligned import aligned_scores
from unfold.metrics.perceptual import lpips
from unfold.metrics.psnr import psnr
from unfold.metrics.ssim import ssim

__all__ = ["psnr", "ssim", "aligned_scores", "lpips"]
