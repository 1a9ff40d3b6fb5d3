"""Weights of the denoiser that estimates its noise level: our own."""

from __future__ import annotations

from unfold.models.known.weight_facts import WITH_US, Weights

WEIGHTS = [
    Weights(
        "hqs_denoiser_small",
        "hqs_denoiser",
        "hqs_denoiser_small.safetensors",
        WITH_US,
        "540ab93cf6ec9952926e1e7abef836fcc5abfa0cb9d0653a94ad4ceb3fab0389",
        2_754_636,
        "PolyU, real noise of cameras, --task denoise: 36.9 dB, input 36.0",
    ),
]
