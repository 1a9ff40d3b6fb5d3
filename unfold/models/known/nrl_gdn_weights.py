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
        "3e59be839c7de8599f6234f75fcf65cf48a7a79a3be51d0a484c330703f15c5d",
        2_634_784,
        "Set12, 8 kernels, varying noise: 26.9, 27.1, 26.7 dB; input 19.7",
    ),
    Weights("nrl_gdn", "nrl_gdn", "NRL_GDN.pth", NRL_GDN),
    Weights("nrl_gdn_y0", "nrl_gdn_y0", "NRL_GDN_Y0.pth", NRL_GDN),
    Weights("rgdn_uniform", "rgdn_uniform", "rgdn_uniform.pth", NRL_GDN),
]
