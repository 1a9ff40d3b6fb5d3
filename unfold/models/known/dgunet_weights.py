"""Weights of DGUNet and DGUNet+, also for compressive sensing: our own, then those that the authors published."""

from __future__ import annotations

from unfold.models.known.weight_facts import WITH_US, Weights

DGUNET = (
    "a cloud drive, linked in the README of "
    "https://github.com/MC-E/Deep-Generalized-Unfolding-Networks-for-Image-Restoration"
)
WEIGHTS = [
    Weights(
        "dgunet_denoise_small",
        "dgunet_denoise",
        "dgunet_denoise_small.safetensors",
        WITH_US,
        "be74d82ab5bcad742b5671c776260f96c5abedda8bf98de4f3974f904182d9f7",
        2_460_400,
        "Kodak24, sigma 15 34.30, 25 31.85, 50 28.71 dB",
    ),
    Weights(
        "dgunet_derain_small",
        "dgunet_derain",
        "dgunet_derain_small.safetensors",
        WITH_US,
        "a32c68ed5926f75055e0637fda566aa0732220e0f29e670354156a74b6568a3f",
        2_460_408,
        "Rain100H 24.18 dB of Y, input 13.55",
    ),
    Weights(
        "dgunet_cs_small",
        "dgunet_cs",
        "dgunet_cs_small.safetensors",
        WITH_US,
        "b5217fe056272ca32364e6e9f8f3e6400e7d1d014766525520787f3735b2802f",
        2_893_880,
        "Set11 at 25 % 34.93, BSD68 31.70 dB",
    ),
    # The file names are ours: the published files of different tasks share a name.
    *(
        Weights(name, name, f"{name}.pth", DGUNET)
        for task in ("deblur", "derain", "denoise")
        for name in (f"dgunet_{task}", f"dgunet_plus_{task}")
    ),
    # 25 %, and the other ratios of the published table; the ratio is read from the file.
    *(
        Weights(f"{model}{ratio}", model, f"{model}{ratio}.pth", DGUNET)
        for model in ("dgunet_cs", "dgunet_plus_cs")
        for ratio in ("", "_1", "_4", "_10", "_50")
    ),
]
