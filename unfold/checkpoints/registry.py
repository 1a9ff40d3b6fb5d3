"""Weights by name: those that the authors of the papers published, and where they are, and our own."""

from __future__ import annotations

from dataclasses import dataclass

KAIR = "https://github.com/cszn/KAIR/releases/download/v1.0/"
DGUNET = (
    "a cloud drive, linked in the README of "
    "https://github.com/MC-E/Deep-Generalized-Unfolding-Networks-for-Image-Restoration"
)
NRL_GDN = "a cloud drive, linked from https://github.com/kongsjsj/NRL-GDN"
LICENCE = "The authors state no licence for these weights: ask them before you pass any on."


@dataclass(frozen=True)
class Weights:
    """Weights that can be had by name.

    model: which network they are for, a name of `unfold models`; file: the name they are kept under; source: the file's
    address, or where only a cloud drive has it, a sentence; sha256 and size in bytes where known. result: of our own,
    what they reach, in a few words.
    """

    name: str
    model: str
    file: str
    source: str
    sha256: str | None = None
    size: int | None = None
    result: str = ""

    @property
    def ours(self) -> bool:
        """Whether they come with the package."""
        return bool(self.result)

    @property
    def url(self) -> str | None:
        """The address to download from, None where a person has to fetch the file."""
        return self.source if self.source.startswith("http") else None


_TINY = "d82929fc053d6bbe181adba9e2be3d23548eeca8b7b4232eb122f020352295cf"
_GAN_TINY = "32a903c278ad807e58af09270e310ad03a5634f7ef995dc8eb5232d7c2558ef6"
_WITH_US = "the project's repository, folder pretrained"
_ALL = [
    # Ours: cards in pretrained/README.md.
    Weights(
        "usrnet_tiny_small",
        "usrnet_tiny",
        "usrnet_tiny_small.safetensors",
        _WITH_US,
        "454cacffa74af1e1c1abc00c9e1ca7dfe4f87ae32f8ed0f62f242caa03537f5e",
        2_365_448,
        "Set14, bicubic x2 32.81, x3 29.93, x4 28.26 dB",
    ),
    Weights(
        "nrl_gdn_small",
        "nrl_gdn",
        "nrl_gdn_small.safetensors",
        _WITH_US,
        "6c4af2448e3755d4bd94cd9e030e2348c6e42fdda43ad5f78421dfa87ff6229b",
        2_670_168,
        "Set12, 8 kernels, varying noise: 24.9, 25.1, 24.6 dB; input 19.7",
    ),
    Weights(
        "dgunet_denoise_small",
        "dgunet_denoise",
        "dgunet_denoise_small.safetensors",
        _WITH_US,
        "be3ee1777230e110d79cbf5cbe31d26c811f56d131441c80aeb169c1fc163361",
        2_460_400,
        "Kodak24, sigma 15 33.78, 25 31.39, 50 28.33 dB",
    ),
    Weights(
        "dgunet_derain_small",
        "dgunet_derain",
        "dgunet_derain_small.safetensors",
        _WITH_US,
        "daba00dddebb945529826e86fc2cacac3047fe5fd7f04bb880d0e3705db2681b",
        2_460_392,
        "Rain100H 21.42 dB of Y, input 13.55",
    ),
    Weights("usrnet", "usrnet", "usrnet.pth", KAIR + "usrnet.pth"),
    Weights("usrgan", "usrnet", "usrgan.pth", KAIR + "usrgan.pth"),
    Weights("usrnet_tiny", "usrnet_tiny", "usrnet_tiny.pth", KAIR + "usrnet_tiny.pth", _TINY, 2_371_002),
    Weights("usrgan_tiny", "usrnet_tiny", "usrgan_tiny.pth", KAIR + "usrgan_tiny.pth", _GAN_TINY),
    # The file names of DGUNet's are ours: as published, files for different tasks share a name.
    *(
        Weights(name, name, f"{name}.pth", DGUNET)
        for task in ("deblur", "derain", "denoise")
        for name in (f"dgunet_{task}", f"dgunet_plus_{task}")
    ),
    # 25 %, and the other ratios of the published table; the network reads its ratio from the file.
    *(
        Weights(f"{model}{ratio}", model, f"{model}{ratio}.pth", DGUNET)
        for model in ("dgunet_cs", "dgunet_plus_cs")
        for ratio in ("", "_1", "_4", "_10", "_50")
    ),
    Weights("nrl_gdn", "nrl_gdn", "NRL_GDN.pth", NRL_GDN),
    Weights("nrl_gdn_y0", "nrl_gdn_y0", "NRL_GDN_Y0.pth", NRL_GDN),
    Weights("rgdn_uniform", "rgdn_uniform", "rgdn_uniform.pth", NRL_GDN),
]
WEIGHTS = {weights.name: weights for weights in _ALL}
