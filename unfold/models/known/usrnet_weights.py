"""Weights of USRNet and USRGAN: our own, then those that the authors published."""

from __future__ import annotations

from unfold.models.known.weight_facts import WITH_US, Weights

KAIR = "https://github.com/cszn/KAIR/releases/download/v1.0/"
_TINY = "d82929fc053d6bbe181adba9e2be3d23548eeca8b7b4232eb122f020352295cf"
_GAN_TINY = "32a903c278ad807e58af09270e310ad03a5634f7ef995dc8eb5232d7c2558ef6"
WEIGHTS = [
    Weights(
        "usrnet_tiny_small",
        "usrnet_tiny",
        "usrnet_tiny_small.safetensors",
        WITH_US,
        "a20d9291a54c28a13917b782261bb6e260c2e2539d6f003e5f33b92ddbb8f760",
        2_365_448,
        "Set14, bicubic x2 32.81, x3 29.92, x4 28.24 dB",
    ),
    Weights("usrnet", "usrnet", "usrnet.pth", KAIR + "usrnet.pth"),
    Weights("usrgan", "usrnet", "usrgan.pth", KAIR + "usrgan.pth"),
    Weights("usrnet_tiny", "usrnet_tiny", "usrnet_tiny.pth", KAIR + "usrnet_tiny.pth", _TINY, 2_371_002),
    Weights("usrgan_tiny", "usrnet_tiny", "usrgan_tiny.pth", KAIR + "usrgan_tiny.pth", _GAN_TINY),
]
