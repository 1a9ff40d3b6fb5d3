"""Weights of NRL-GDN and RGDN: our own, then those that the authors published."""

from __future__ import annotations

from unfold.models.known.weight_facts import WITH_US, Weights

NRL_GDN = "a cloud drive, linked from https://github.com/kongsjsj/NRL-GDN"
WEIGHTS = [
    Weights(
        "nrl_gdn_small",
        "nrl_gdn",
        "nrl_gdn_small.safetensors",
        WITH_US,
        "5d01adf588b32a6a6cf5381af8763d10441fa5c30e92f38c1de2cef7750eb2be",
        2_634_728,
        "Set12, 8 kernels, varying noise: 26.9, 27.1, 26.6 dB; input 19.7",
    ),
    Weights("nrl_gdn", "nrl_gdn", "NRL_GDN.pth", NRL_GDN),
    Weights("nrl_gdn_y0", "nrl_gdn_y0", "NRL_GDN_Y0.pth", NRL_GDN),
    Weights("rgdn_uniform", "rgdn_uniform", "rgdn_uniform.pth", NRL_GDN),
]
