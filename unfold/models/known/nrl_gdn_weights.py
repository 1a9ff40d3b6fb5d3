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
        "6c4af2448e3755d4bd94cd9e030e2348c6e42fdda43ad5f78421dfa87ff6229b",
        2_670_168,
        "Set12, 8 kernels, varying noise: 24.9, 25.1, 24.6 dB; input 19.7",
    ),
    Weights("nrl_gdn", "nrl_gdn", "NRL_GDN.pth", NRL_GDN),
    Weights("nrl_gdn_y0", "nrl_gdn_y0", "NRL_GDN_Y0.pth", NRL_GDN),
    Weights("rgdn_uniform", "rgdn_uniform", "rgdn_uniform.pth", NRL_GDN),
]
