"""From a configuration to the parts that training and testing share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from unfold.config import model_arguments
from unfold.data.cache import PatchCache
from unfold.data.images import find_file
from unfold.data.pairs import NoPartnerError, marked_inputs
from unfold.data.patches import read_store
from unfold.data.samples import Denoising, GreyPatches, Paired, SampleKind, SyntheticRain
from unfold.data.stores import Store
from unfold.data.synthesis import NRLGDNSynthesis, USRNetSynthesis
from unfold.errors import UnfoldError
from unfold.metrics.ssim import WINDOW
from unfold.models.registry import create_model, model_info
from unfold.models.unfolding import UnfoldingNetwork
from unfold.paths import as_path
from unfold.protocols.gaussian_denoising import GaussianDenoising, blind_noise
from unfold.protocols.protocol import Protocol
from unfold.protocols.registry import parse_protocol

JOINT = " + "  # between several folders of one training set


def build_network(cfg: CfgNode) -> UnfoldingNetwork:
    """The network of MODEL, with fresh weights. UnfoldError where it needs inputs that the samples do not hold."""
    wanted, given = input_names(cfg), build_samples(cfg).inputs
    if not wanted <= set(given):
        raise UnfoldError(
            f"{cfg.MODEL.NAME} takes {', '.join(sorted(wanted))}, and samples of DATA.KIND {cfg.DATA.KIND} hold "
            f"{', '.join(given)}"
        )
    if "scale" in given and "scale" not in wanted and cfg.DATA.SCALES != [1]:
        raise UnfoldError(f"{cfg.MODEL.NAME} does not enlarge: set DATA.SCALES [1], not {cfg.DATA.SCALES}")
    return create_model(cfg.MODEL.NAME, **model_arguments(cfg))


def input_names(cfg: CfgNode) -> set[str]:
    """What the network of MODEL takes."""
    return set(model_info(cfg.MODEL.NAME).example(8))


def build_samples(cfg: CfgNode) -> SampleKind:
    """What training samples are made of, by DATA.KIND."""
    data = cfg.DATA
    kinds: dict[str, Callable[[], SampleKind]] = {
        "gaussian": lambda: Denoising(blind_noise(data.SIGMA) if data.BLIND else GaussianDenoising(data.SIGMA).degrade),
        "paired": lambda: Paired(data.SATURATION),
        "usrnet": lambda: USRNetSynthesis(int(data.SIGMA), data.SHARP),
        "nrl_gdn": lambda: NRLGDNSynthesis(data.SIGMA),
        "rain": SyntheticRain,
        "compressive_sensing": GreyPatches,
    }
    return kinds[data.KIND]()


def build_store(cfg: CfgNode) -> tuple[Store, list[str]]:
    """The images of DATA.TRAIN, a patch cache (.h5) or files read into memory; and the reason for each left out.

    Files are followed by their copies by the factors of DATA.REDUCED.

    UnfoldError where there are none, or they are not what DATA.KIND is made of.
    """
    if cfg.DATA.TRAIN.endswith(".h5"):
        return _open_cache(cfg), []
    samples = build_samples(cfg)
    return read_store(_sources(cfg, samples), samples.read, cfg.DATA.SKIP_BAD, cfg.DATA.REDUCED)


def _open_cache(cfg: CfgNode) -> PatchCache:
    cache = PatchCache(find_file(cfg.DATA.TRAIN, "`unfold data prepare cache` makes one"))
    paired = "input" in cache.manifest["kinds"]
    if paired != (cfg.DATA.KIND == "paired") or cfg.DATA.KIND == "compressive_sensing":
        holds = "pairs" if paired else "colour images"
        raise UnfoldError(f"{cache.path} holds {holds}, which are not what DATA.KIND {cfg.DATA.KIND} is made of")
    if cfg.DATA.SKIP_BAD:
        raise UnfoldError(f"DATA.SKIP_BAD leaves out files, and {cache.path} is a cache, of which nothing is left out")
    grey = [name for name, is_grey in zip(cache.names, cache.manifest["grey"], strict=True) if is_grey]
    if grey and cfg.DATA.KIND == "gaussian":
        raise UnfoldError(
            f"{len(grey)} of {len(cache)} images of {cache.path} are grey, {grey[0]} first, and DATA.KIND gaussian "
            "wants colour images (RGB): make a cache without them"
        )
    return cache


def check_training_set(cfg: CfgNode) -> None:
    """UnfoldError where DATA.TRAIN is not there, or not what DATA.KIND is made of by its names. Reads no image."""
    if cfg.DATA.TRAIN.endswith(".h5"):
        _open_cache(cfg)
    else:
        _sources(cfg, build_samples(cfg))


def _sources(cfg: CfgNode, samples: SampleKind) -> Sequence[Any]:
    try:
        sources = [source for part in cfg.DATA.TRAIN.split(JOINT) for source in samples.sources(part.strip())]
    except NoPartnerError as error:
        if not cfg.DATA.SKIP_BAD:
            raise
        raise UnfoldError(
            f"{error} (DATA.SKIP_BAD leaves out what cannot be read, and not what has no partner)"
        ) from None
    if cfg.DATA.KIND != "paired" and (inputs := marked_inputs(sources)):
        raise UnfoldError(
            f"DATA.TRAIN {cfg.DATA.TRAIN} holds pairs side by side, such as {inputs[0].name}, and DATA.KIND "
            f"{cfg.DATA.KIND} is made of clean images: set DATA.KIND paired, or name a folder of clean ones"
        )
    return sources


# What validation is by default, as near to the published training as protocols come.
VALIDATION = {
    "paired": "deblur_rgb",
    "usrnet": "usrnet_table1:scale=3,kernel=1",
    "nrl_gdn": "nrl_gdn_nonuniform:kernel=8,map=gauss_mix",
    "rain": "derain_y",
    "compressive_sensing": "compressive_sensing:ratio={ratio}",
}


def build_validation(cfg: CfgNode, net: UnfoldingNetwork) -> Protocol:
    """The protocol that validates a training run. UnfoldError for one without references, or not for this network."""
    if not cfg.DATA.VAL_PROTOCOL and cfg.DATA.KIND == "gaussian":
        return build_protocol(cfg)
    by_default = VALIDATION.get(cfg.DATA.KIND, "").format(ratio=cfg.MODEL.RATIO or 25)
    protocol = parse_protocol(cfg.DATA.VAL_PROTOCOL or by_default)
    missing = input_names(cfg) - set(protocol.inputs)
    if missing or not protocol.scored:
        why = f"does not give {', '.join(sorted(missing))}" if missing else "has no references"
        raise UnfoldError(f"DATA.VAL_PROTOCOL {protocol.name} {why}, so it cannot validate {cfg.MODEL.NAME}")
    protocol.check(net)
    return protocol


def build_protocol(cfg: CfgNode) -> GaussianDenoising:
    """How the images of `unfold test --config` are degraded and results are scored. UnfoldError for other tasks."""
    if cfg.DATA.KIND != "gaussian":
        raise UnfoldError(
            f"DATA.KIND is {cfg.DATA.KIND}, and --config tests gaussian denoisers: give --protocol NAME --data SET"
        )
    return GaussianDenoising(cfg.DATA.SIGMA)


def smallest_image(cfg: CfgNode) -> int:
    """Side length that an image must have to be restored and scored."""
    return max(model_info(cfg.MODEL.NAME).build.min_size, WINDOW)


def run_folder(cfg: CfgNode) -> Path:
    """OUTPUT as a path."""
    return as_path(cfg.OUTPUT)
