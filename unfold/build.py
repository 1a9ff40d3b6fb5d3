"""From a configuration to the parts that training and testing share."""

from __future__ import annotations

from pathlib import Path

from yacs.config import CfgNode

from unfold.config import model_arguments
from unfold.errors import UnfoldError
from unfold.metrics.ssim import WINDOW
from unfold.models.registry import create_model, model_info
from unfold.models.unfolding import UnfoldingNetwork
from unfold.paths import as_path
from unfold.protocols.gaussian_denoising import GaussianDenoising


def build_network(cfg: CfgNode) -> UnfoldingNetwork:
    """The network of MODEL, with fresh weights. UnfoldError where it needs inputs that the protocol does not give."""
    wanted = set(model_info(cfg.MODEL.NAME).example(8))
    if wanted != {"y"}:
        raise UnfoldError(
            f"{cfg.MODEL.NAME} takes {', '.join(sorted(wanted))}, and denoising gives y: recipes for it are not here "
            "yet"
        )
    return create_model(cfg.MODEL.NAME, **model_arguments(cfg))


def build_protocol(cfg: CfgNode) -> GaussianDenoising:
    """How images are degraded and results are scored."""
    return GaussianDenoising(cfg.DATA.SIGMA)


def smallest_image(cfg: CfgNode) -> int:
    """Side length that an image must have to be restored and scored."""
    return max(model_info(cfg.MODEL.NAME).build.min_size, WINDOW)


def run_folder(cfg: CfgNode) -> Path:
    """OUTPUT as a path."""
    return as_path(cfg.OUTPUT)
