"""Weights of the denoiser that estimates its noise level: our own."""

from __future__ import annotations

from unfold.models.known.weight_facts import WITH_US, Weights

WEIGHTS = [
    Weights(
        "hqs_denoiser_small",
        "hqs_denoiser",
        "hqs_denoiser_small.safetensors",
        WITH_US,
        "030221c935addc4c1d034b1397f30ffc72d6884476f99626b0cbdc762d609037",
        2_754_620,
        "photographs with noise of cameras, made up: +2.2 dB",
    ),
]
