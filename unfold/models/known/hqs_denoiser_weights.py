"""Weights of the denoiser that estimates its noise level: our own."""

from __future__ import annotations

from unfold.models.known.weight_facts import WITH_US, Weights

WEIGHTS = [
    Weights(
        "hqs_denoiser_small",
        "hqs_denoiser",
        "hqs_denoiser_small.safetensors",
        WITH_US,
        "2f844ff281ca3d6c6d4b7042b758db2883dfbbd87649f35e187cc3d9136cfe96",
        2_754_612,
        "photographs with noise of cameras, made up: +2.2 dB",
    ),
]
