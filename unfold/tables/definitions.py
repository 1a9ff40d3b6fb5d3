"""The published tables that can be measured: how each number is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unfold.errors import UnfoldError, nearest_or_all

# Cases of each set as published: images, pairs or blocks.
IMAGES = {
    "Set5": 5,
    "Set12": 12,
    "Set14": 14,
    "Set11": 11,
    "BrainImages_test": 50,
    "BSD68": 68,
    "srbsd68": 68,
    "BSD100": 100,
    "Urban100": 100,
    "Test100": 98,
    "Rain100H": 100,
    "Rain100L": 100,
    "Test2800": 2800,
    "Test1200": 1200,
    "GoPro": 1111,
    "GoPro_pairs": 2,
    "HIDE": 2025,
    "SIDD": 1280,
    "DND": 50,
    "CSun80": 80,
    "Flickr30": 30,
    "CBSD68": 68,
    "SOTS": 500,
    "LOL": 15,
    "SOTS_pairs": 2,
    "Rain100L_pairs": 2,
}


@dataclass(frozen=True)
class Setting:
    """One column of a row group: an evaluation on a set.

    row: labels outside of the method's; column: labels; key: its name in the CSV files; protocol: with options; data:
    the set; times: cases per image; files: further files that the protocol reads; apart: whether the table's average
    leaves it out.
    """

    row: tuple[str, ...]
    column: tuple[str, ...]
    key: tuple[str, ...]
    protocol: str
    data: str
    times: int = 1
    files: tuple[str, ...] = ()
    apart: bool = False

    @property
    def total(self) -> int:
        return self.times * IMAGES[self.data]


@dataclass(frozen=True)
class Definition:
    """A table.

    published: names of its CSV files; networks: method -> network; baselines: method -> method without weights; the
    first is the reference for the best and worst images; heads: titles of the row labels, the method's last; files:
    further files that the protocol reads; average: title of a column with the unweighted mean of all others.
    """

    name: str
    title: str
    published: tuple[str, ...]
    settings: tuple[Setting, ...]
    networks: Mapping[str, str]
    baselines: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("psnr", "ssim")
    heads: tuple[str, ...] = ("method",)
    files: tuple[str, ...] = ()
    average: str = ""


_TABLE1 = tuple(
    Setting(
        (f"x{scale}", f"noise {noise}"),
        (f"k{kernel}",),
        (scale, noise, f"k{kernel}"),
        f"usrnet_table1:scale={scale},kernel={kernel},noise={noise}",
        "srbsd68",
    )
    for scale, noise in (("2", "0"), ("3", "0"), ("3", "2.55"), ("3", "7.65"), ("4", "0"))
    for kernel in range(1, 13)
)
_BICUBIC = tuple(
    Setting((f"x{scale}",), (data,), (scale, data), f"usrnet_bicubic:scale={scale}", data)
    for scale in ("2", "3", "4")
    for data in ("Set5", "Set14", "BSD100", "Urban100")
)
# Set12 is grey and compared on luma; the colour sets, which may contain grey photographs, on RGB.
_TABLE4 = tuple(
    Setting((), (data, kind), (data, kind), f"nrl_gdn_nonuniform:map={option},channel={channel}", data, times=8)
    for data, channel in (("Set12", "luma"), ("CSun80", "rgb"), ("Flickr30", "rgb"))
    for kind, option in (("gauss", "gauss"), ("peaks", "peaks"), ("gauss-mix", "gauss_mix"))
)
_SENSING = tuple(
    Setting((), (data, f"{ratio} %"), (data, ratio), f"compressive_sensing:ratio={ratio}", data)
    for data in ("Set11", "BSD68")
    for ratio in ("1", "4", "10", "25", "50")
)

_ISTA_NET = tuple(
    Setting((), (f"{ratio} %",), ("Set11", ratio), f"ista_net_cs:ratio={ratio}", "Set11")
    for ratio in ("1", "4", "10", "25", "30", "40", "50")
)
_ISTA_NET_MRI = tuple(
    Setting(
        (),
        (f"{ratio} %",),
        ("BrainImages_test", ratio),
        f"ista_net_mri:ratio={ratio}",
        "BrainImages_test",
        files=(f"ista_net/mask_{ratio}.mat",),
    )
    for ratio in ("20", "30", "40", "50")
)


def _sets(protocols: Mapping[str, str]) -> tuple[Setting, ...]:
    """A column for each set: set -> protocol."""
    return tuple(Setting((), (data,), (data,), protocol, data) for data, protocol in protocols.items())


def _degraded(task: str, data: str, sigma: str = "", apart: bool = False) -> Setting:
    """A column of an all-in-one table: a task and its set."""
    protocol = f"aio:sigma={sigma},noise=published" if sigma else "aio"
    title = f"{task}, sigma {sigma}" if sigma else task
    return Setting((), (title, data), (data, sigma), protocol, data, apart=apart)


_HAZE_AND_RAIN = (_degraded("haze", "SOTS"), _degraded("rain", "Rain100L"))
_PAIRS = (_degraded("haze", "SOTS_pairs", apart=True), _degraded("rain", "Rain100L_pairs", apart=True))


def _dgunet(task: str) -> dict[str, str]:
    return {"DGUNet": f"dgunet_{task}", "DGUNet+": f"dgunet_plus_{task}"}


_USRNET = {"USRNet": "usrnet", "USRNet-tiny": "usrnet_tiny"}
_RAIN = ("Test100", "Rain100H", "Rain100L", "Test2800", "Test1200")
_ALL = (
    Definition(
        "usrnet_table1",
        "Super-resolution under 12 blurs: USRNet, Table 1 (PSNR of RGB)",
        ("usrnet_table1", "usrnet_table1_tiny"),
        _TABLE1,
        _USRNET,
        {"bicubic": "bicubic"},
        ("psnr",),
        ("scale", "noise", "method"),
        ("kernels/kernels_12.mat",),
    ),
    Definition(
        "usrnet_bicubic",
        "Super-resolution under bicubic degradation: USRNet, Table 2 (PSNR of Y)",
        ("usrnet_bicubic", "usrnet_bicubic_tiny"),
        _BICUBIC,
        _USRNET,
        {"bicubic": "bicubic"},
        ("psnr",),
        ("scale", "method"),
        ("kernels/kernels_bicubicx234.mat",),
    ),
    Definition(
        "nrl_gdn_table4",
        "Deblurring under noise that varies over the image: NRL-GDN, Table 4",
        ("nrl_gdn_table4", "nrl_gdn_table4_inputs"),
        _TABLE4,
        {"NRL-GDN": "nrl_gdn", "RGDN+DRUNet": "rgdn_uniform"},
        {"noisy input": "identity", "Eq. 22": "eq22", "Wiener, noise known": "wiener"},
        files=("kernels/kernels_8.mat",),
    ),
    Definition(
        "derain",
        "Removing rain: DGUNet, Table 1 (of Y)",
        ("derain",),
        _sets(dict.fromkeys(_RAIN, "derain_y")),
        _dgunet("derain"),
        {"rainy input": "identity"},
        average="Average",
    ),
    Definition(
        "deblur",
        "Removing motion blur: DGUNet, Table 2; GoPro_pairs are two pairs of GoPro",
        ("deblur",),
        _sets(dict.fromkeys(("GoPro", "HIDE", "GoPro_pairs"), "deblur_rgb")),
        _dgunet("deblur"),
        {"blurred input": "identity"},
    ),
    Definition(
        "denoise",
        "Denoising of photographs: DGUNet, Table 3; DND is scored by its makers' server alone",
        ("denoise",),
        _sets({"SIDD": "sidd", "DND": "dnd"}),
        _dgunet("denoise"),
        {"noisy input": "identity"},
    ),
    Definition(
        "compressive_sensing",
        "Compressive sensing of grey images: DGUNet, Table 4",
        ("compressive_sensing",),
        _SENSING,
        _dgunet("cs"),
    ),
    Definition(
        "all_in_one_three",
        "One network for haze, rain and noise; the sets of pairs are two pairs each of SOTS and Rain100L",
        ("all_in_one_three",),
        (*_HAZE_AND_RAIN, *(_degraded("noise", "CBSD68", sigma) for sigma in ("15", "25", "50")), *_PAIRS),
        {},
        {"degraded input": "identity"},
        average="Average",
    ),
    Definition(
        "all_in_one_five",
        "One network for haze, rain, noise, blur and low light; the sets of pairs are two pairs each",
        ("all_in_one_five",),
        (
            *(*_HAZE_AND_RAIN, _degraded("noise", "CBSD68", "25"), _degraded("blur", "GoPro")),
            *(_degraded("low light", "LOL"), *_PAIRS, _degraded("blur", "GoPro_pairs", apart=True)),
        ),
        {},
        {"degraded input": "identity"},
        average="Average",
    ),
    Definition(
        "denoise_gaussian",
        "Removing Gaussian noise from colour images of 8 bits, by networks trained for that alone",
        ("denoise_gaussian",),
        tuple(_degraded("noise", data, sigma) for data in ("CBSD68", "Urban100") for sigma in ("15", "25", "50")),
        {},
        {"noisy input": "identity"},
    ),
    Definition(
        "ista_net_cs",
        "Compressive sensing of Set11 by blocks: ISTA-Net and ISTA-Net+",
        ("ista_net_cs", "ista_net_cs_paper"),
        _ISTA_NET,
        {"ISTA-Net": "ista_net", "ISTA-Net+": "ista_net_plus"},
    ),
    Definition(
        "ista_net_mri",
        "Magnetic resonance imaging by masks: ISTA-Net+",
        ("ista_net_mri",),
        _ISTA_NET_MRI,
        {"ISTA-Net+": "ista_net_plus_mri"},
        {"zero-filled": "identity"},
    ),
)
TABLES = {table.name: table for table in _ALL}


def find_table(name: str) -> Definition:
    """The table of that name; UnfoldError with the nearest one where there is none."""
    if name not in TABLES:
        raise UnfoldError(f"no table is called {name!r}; {nearest_or_all(name, TABLES)}")
    return TABLES[name]
