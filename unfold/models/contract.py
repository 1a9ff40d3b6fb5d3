"""What a caller may rely on, network by network: inputs, sizes, half precision, and what tiles can and cannot do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tiling:
    """What restoring a large image in overlapping tiles changes.

    exact: whether tiles with the halo give the pixels of the whole image; reach: how many pixels of the restored image
    around a pixel the convolutions of one stage look at; blurred: the kernel's radius comes on top; beyond: what looks
    further than any halo, and so makes tiles approximate.
    """

    exact: bool
    reach: int
    blurred: bool
    beyond: str

    def halo(self, kernel: int = 1) -> int:
        """Pixels of overlap on each side of a tile that hold all of one stage's convolutions, for a kernel so wide."""
        return self.reach + (kernel // 2 if self.blurred else 0)


@dataclass(frozen=True)
class Contract:
    """inputs: name -> shape, range and meaning; output: likewise; bf16: what autocast to bfloat16 leaves in float32."""

    inputs: dict[str, str]
    output: str
    bf16: str
    tiling: Tiling


_KERNEL = "(B|1,1,kh,kw), for true convolution, sum 1"

DGUNET = Contract(
    {"y": "(B,3,H,W) in [0,1]"},
    "(B,3,H,W), not clamped",
    "estimates, the subspace projection and the last layer stay in float32",
    Tiling(
        exact=False,
        reach=67,
        blurred=False,
        beyond="instance normalisation, channel attention and the subspace projection take statistics of the whole "
        "image, and features pass from stage to stage",
    ),
)
DGUNET_CS = Contract(
    {
        "m": "(B,M,h,w), measurements of h x w blocks of 32x32 pixels, M = ceil(10.24 ratio); or instead",
        "image": "(B,1,H,W) in [0,1], measured and restored",
    },
    "(B,1,H,W) or (B,1,32h,32w), not clamped",
    "sampling, steps and the last layer stay in float32",
    Tiling(
        exact=False,
        reach=94,
        blurred=False,
        beyond="instance normalisation and channel attention take statistics of the whole image, and features pass "
        "from stage to stage; tiles begin and end between blocks",
    ),
)
USRNET = Contract(
    {
        "y": "(B,3,h,w) in [0,1]",
        "kernel": f"{_KERNEL}, no larger than the restored image",
        "scale": "whole number s >= 1",
        "sigma": "float or (B,), noise standard deviation in [0,1] units",
    },
    "(B,3,s h,s w), not clamped",
    "Fourier transforms, hyper-parameters and the last layer stay in float32",
    Tiling(
        exact=False,
        reach=97,
        blurred=True,
        beyond="the data step is circular and inverts a blur, which reaches further than the kernel, and the reaches "
        "of all stages add up",
    ),
)
NRL_GDN = Contract(
    {"y": "(B,3,H,W) in [0,1]", "kernel": f"{_KERNEL}, square with an odd side, no larger than y"},
    "(B,3,H,W), not clamped",
    "blur, its adjoint, the inverse filter and the last layers stay in float32",
    Tiling(
        exact=False,
        reach=199,
        blurred=True,
        beyond="the stop rule weighs the whole image, Eq. 22 (nrl_gdn) inverts a blur, zeros are assumed beyond the "
        "border, and the reaches of all stages add up",
    ),
)
