"""NRL-GDN's evaluations: every choice of the published protocols, and the published code's numbers on Set12."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.io import savemat
from skimage.metrics import structural_similarity

from tests import narrow
from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.evaluation.methods import baseline
from unfold.evaluation.run_protocol import Result, evaluate
from unfold.models.run_on_arrays import Method, network
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.nrl_gdn_evaluations import NRLGDNNonUniform, NRLGDNReal, NRLGDNSimulated, NRLGDNUniform
from unfold.protocols.protocol import Case, Protocol

Command = Callable[..., tuple[int, str, str]]
GOLDEN = Path(__file__).parent.parent / "golden"
ROOT = Path(os.environ.get("UNFOLD_DATA", "nowhere"))
REFERENCE = json.loads((GOLDEN / "nrl_gdn_set12.json").read_text())
KERNELS = [np.random.default_rng(i).random((side, side)) for i, side in enumerate((9, 5, 7, 3, 9, 5, 11, 9))]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """UNFOLD_DATA with eight kernels that are not normalised, and two pictures, the second of them grey."""
    root = tmp_path / "data"
    (root / "kernels").mkdir(parents=True)
    cells = np.empty((1, 8), dtype=object)
    cells[0, :] = KERNELS
    savemat(root / "kernels" / "kernels_8.mat", {"kernels": cells})
    (root / "Pair").mkdir()
    Image.fromarray(scene(40, 56, seed=1)).save(root / "Pair" / "a.png")
    Image.fromarray(scene(33, 37, seed=2)[..., 0]).save(root / "Pair" / "b.png")
    monkeypatch.setenv("UNFOLD_DATA", str(root))
    return root


@pytest.fixture
def real(data: Path) -> Path:
    """Three photographs and their kernels, in folders as nrl_gdn_real wants them."""
    folder = data / "Real"
    (folder / "kernels").mkdir(parents=True)
    for number, side in ((1, 5), (2, 7), (10, 3)):
        Image.fromarray(scene(30, 24 + number, seed=number)).save(folder / f"blurry{number}.png")
        kernel = np.full((side, side), 100, np.uint8)
        kernel[0, 1] = 200
        Image.fromarray(kernel).save(folder / "kernels" / f"kernel{number}.png")
    return folder


def blurred(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """True circular convolution in [0,1], pixel of the kernel by pixel."""
    rows, columns = np.indices(kernel.shape) - len(kernel) // 2
    shifts = zip(rows.ravel(), columns.ravel(), kernel.ravel() / kernel.sum(), strict=True)
    return sum(weight * np.roll(image / 255, (row, column), (0, 1)) for row, column, weight in shifts)


def raw_map(kind: str) -> np.ndarray:
    """The published maps, written anew; the mixture draws from NumPy's global generator."""
    if kind == "gauss":
        return np.sin(np.linspace(1, 10, 256))[None] + np.cos(np.linspace(1, 20, 256))[:, None]
    if kind == "peaks":
        x, y = np.meshgrid(np.linspace(-3, 3, 256), np.linspace(-3, 3, 256))
        far = np.exp(-((x + 1) ** 2) - y**2) / 3
        near = 10 * (x / 5 - x**3 - y**5) * np.exp(-(x**2) - y**2)
        return 3 * (1 - x) ** 2 * np.exp(-(x**2) - (y + 1) ** 2) - near - far
    across, down = (np.random.uniform(0, 32, (8, 8)) for _ in range(2))  # noqa: NPY002
    widths = np.random.uniform(16, 32, (1, 1, 64)).ravel()  # noqa: NPY002
    y, x = np.mgrid[:256, :256]
    mixture = np.zeros((256, 256))
    for i in range(8):
        for j in range(8):
            square = (x - 32 * j - across[i, j]) ** 2 + (y - 32 * i - down[i, j]) ** 2
            width = widths[8 * i + j]
            mixture += np.exp(-square / (2 * width**2)) / (2 * np.pi * width**2)
    return mixture / 64


@pytest.mark.parametrize("kind", ["gauss", "peaks", "gauss_mix"])
def test_non_uniform_noise_follows_its_map_and_the_published_stream(kind: str, data: Path) -> None:
    protocol = NRLGDNNonUniform(kernel=5, map=kind)
    for case in protocol.cases("Pair"):
        sample = protocol.sample(case)
        assert sample.target is not None
        height, width, _ = sample.target.shape
        np.random.seed(0)  # noqa: NPY002
        raw = raw_map(kind)
        levels = 5 / 255 + (raw - raw.min()) / (raw.max() - raw.min()) * 20 / 255
        resized = F.interpolate(torch.from_numpy(levels)[None, None], (height, width), mode="bilinear")[0, 0].numpy()
        noise = np.random.randn(height, width, 3) * resized[..., None]  # noqa: NPY002
        assert np.allclose(sample.inputs["y"], blurred(sample.target, KERNELS[4]) + noise, atol=1e-6)
        assert sample.inputs["y"].dtype == np.float32
        assert sample.inputs["sigma"] == pytest.approx(np.sqrt((resized**2).mean()), rel=1e-6)
        assert sample.inputs["scale"] == 1
        assert np.allclose(sample.inputs["kernel"], KERNELS[4] / KERNELS[4].sum(), atol=1e-7)


def test_uniform_noise_follows_the_published_stream_channel_by_channel(data: Path) -> None:
    protocol = NRLGDNUniform(kernel=3, noise=7.65)
    for case, picture in zip(protocol.cases("Pair"), ("colour", "grey"), strict=True):
        sample = protocol.sample(case)
        assert sample.target is not None
        np.random.seed(0)  # noqa: NPY002
        noise = np.random.normal(0, 7.65 / 255, sample.target.shape)  # noqa: NPY002
        assert np.allclose(sample.inputs["y"], blurred(sample.target, KERNELS[2]) + noise, atol=1e-6)
        assert sample.inputs["sigma"] == 7.65 / 255
        if picture == "grey":
            assert np.array_equal(sample.target[..., 0], sample.target[..., 2])


def test_there_is_a_case_for_every_kernel_and_image(data: Path) -> None:
    cases = NRLGDNUniform().cases("Pair")
    assert [case.name for case in cases] == [f"{name}_k{i}" for i in range(1, 9) for name in "ab"]
    assert [case.options for case in cases[::2]] == [{"kernel": i} for i in range(1, 9)]
    assert [case.name for case in NRLGDNUniform(kernel=3).cases("Pair")] == ["a_k3", "b_k3"]
    for case in cases[::2]:
        assert NRLGDNUniform().sample(case).inputs["kernel"].shape == KERNELS[case.options["kernel"] - 1].shape


def published_scores(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """PSNR of what is given; SSIM of it in 255 units, clipped, over the windows inside. a, b (H,W,C) in [0,1]."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    x, y = (np.clip(255 * image, 0, 255) for image in (a, b))
    similar = [structural_similarity(x[..., c], y[..., c], **settings) for c in range(x.shape[2])]
    return {"psnr": -10 * math.log10(np.mean((a - b) ** 2)), "ssim": float(np.mean(similar))}


def luma(image: np.ndarray) -> np.ndarray:
    return (0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2])[..., None]


@pytest.mark.parametrize(("channel", "converted"), [("auto", (False, True)), ("rgb", (False, False)), ("luma", (1, 1))])
def test_grey_images_are_scored_on_luma_and_nothing_is_rounded(
    channel: str, converted: tuple[bool, bool], data: Path
) -> None:
    protocol = NRLGDNNonUniform(kernel=2, channel=channel)
    cases = protocol.cases("Pair")

    def copied(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return inputs["y"].copy()

    made, noisy = (list(evaluate(protocol, method, cases)) for method in (copied, baseline("identity", protocol)))
    for case, result, itself, grey in zip(cases, made, noisy, converted, strict=True):
        sample = protocol.sample(case)
        assert sample.target is not None
        target, y = sample.target / 255, sample.inputs["y"].astype(np.float64)
        assert y.min() < 0 or y.max() > 1
        for row, image in ((result, y.clip(0, 1)), (itself, y)):
            expected = published_scores(*((luma(image), luma(target)) if grey else (image, target)))
            assert row.scores == pytest.approx(expected, abs=1e-9), "results are clamped, the noisy image is not"


def test_pictures_are_clamped_and_cut_off_to_8_bits(tmp_path: Path) -> None:
    values = np.array([[-0.5, 0.0, 99.9 / 255, 1.0, 1.5]] * 2, np.float32)
    for protocol, finished in (
        (NRLGDNUniform(), np.repeat(values[..., None], 3, 2)),
        (NRLGDNReal(), NRLGDNReal().finish(np.repeat(values[..., None], 3, 2))),
    ):
        protocol.save(finished, Case("x", ()), tmp_path)
        assert np.asarray(Image.open(tmp_path / "x.png"))[0, :, 1].tolist() == [0, 0, 99, 255, 255]


def test_networks_run_through_each(data: Path, real: Path) -> None:
    device = torch.device("cpu")
    nrl_gdn = network(narrow.narrow("nrl_gdn"), device)
    usrnet = network(narrow.narrow("usrnet"), device)

    def run(protocol: Protocol, method: Method, source: str) -> list[Result]:
        return list(evaluate(protocol, method, protocol.cases(source)))

    simulated: list[NRLGDNSimulated] = [NRLGDNNonUniform(kernel=1), NRLGDNUniform(kernel=1)]
    for protocol in simulated:
        for method in (nrl_gdn, usrnet):
            assert all(np.isfinite(list(row.scores.values())).all() for row in run(protocol, method, "Pair"))
    sizes = [row.image.shape for row in run(NRLGDNReal(), nrl_gdn, str(real))]
    assert sizes == [(30, 25, 3), (30, 26, 3), (30, 34, 3)]


def test_real_images_are_paired_with_kernels_in_natural_order_and_continued_by_the_kernels_side(real: Path) -> None:
    protocol = NRLGDNReal()
    cases = protocol.cases("Real")
    assert [(case.name, case.options["kernel"]) for case in cases] == [
        (f"blurry{i}", f"kernel{i}.png") for i in (1, 2, 10)
    ]
    for case, number, side in zip(cases, (1, 2, 10), (5, 7, 3), strict=True):
        sample = protocol.sample(case)
        picture = scene(30, 24 + number, seed=number)
        y = sample.inputs["y"]
        assert y.shape == (30 + 2 * side, 24 + number + 2 * side, 3)
        rows, columns = (np.clip(np.arange(-side, n + side), 0, n - 1) for n in picture.shape[:2])
        assert np.allclose(y, picture[rows][:, columns] / 255, atol=1e-7)
        expected = np.full((side, side), 100.0)
        expected[0, 1] = 200
        assert np.allclose(sample.inputs["kernel"], expected / expected.sum(), atol=1e-7)
        assert sample.target is None
        (row,) = evaluate(protocol, lambda inputs: inputs["y"] + np.float32(0.5 / 255), [case])
        assert np.array_equal(row.image, picture), "cropped, and half a grey level is cut off"
        assert row.scores == {}


def test_numbers_of_every_kernel_are_written(data: Path, command: Command, tmp_path: Path) -> None:
    code, out, err = command(
        *("test", "--protocol", "nrl_gdn_nonuniform:map=peaks", "--data", "Pair", "--model", "eq22"),
        *("--device", "cpu", "--json", tmp_path / "numbers.json", "--output", tmp_path / "pictures"),
    )
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "numbers.json").read_text())
    options = {"kernel": 0, "channel": "auto", "map": "peaks"}
    assert found["protocol"] == {"name": "nrl_gdn_nonuniform", "version": 1, "options": options}
    assert [row["options"]["kernel"] for row in found["images"]] == [i for i in range(1, 9) for _ in "ab"]
    assert f"{np.mean([row['psnr'] for row in found['images']]):.3f}" in out.splitlines()[-2]
    assert len(list((tmp_path / "pictures").iterdir())) == 16


def test_real_pictures_are_written(real: Path, command: Command, tmp_path: Path) -> None:
    given = ("test", "--protocol", "nrl_gdn_real", "--data", "Real", "--model", "eq22", "--output", tmp_path / "out")
    code, _, err = command(*given)
    assert (code, err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["blurry1.png", "blurry10.png", "blurry2.png"]
    kernels = real / "kernels"
    Image.fromarray(np.ones((5, 6), np.uint8)).save(kernels / "kernel2.png")
    assert "kernel2.png is 5x6, and a kernel is odd and square" in command(*given)[2]
    (kernels / "kernel2.png").unlink()
    assert "holds 2 kernels for 3 images" in command(*given)[2]
    kernels.rename(real / "psf")
    assert f"there is no folder {kernels}: it has a kernel for each image" in command(*given)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nrl_gdn_nonuniform:map=gauss-mix --model identity", "did you mean gauss_mix?"),
        ("nrl_gdn_nonuniform:noise=5 --model identity", "nrl_gdn_nonuniform has no option 'noise=5'"),
        ("nrl_gdn_uniform:kernel=9 --model identity", "kernel is a number from 1 to 8, or 0 for all of them, not 9"),
        ("nrl_gdn_uniform:channel=grey --model identity", "channel is one of auto, rgb, luma, not 'grey'"),
        ("nrl_gdn_uniform:noise=nan --model identity", "noise is a number, and 'nan' is not"),
        ("nrl_gdn_real --model wiener --output x", "wiener needs sigma, which nrl_gdn_real does not give"),
        ("nrl_gdn_real --model eq22", "has no reference: give --output"),
    ],
)
def test_mistakes_are_one_line(real: Path, command: Command, arguments: str, message: str) -> None:
    code, _, err = command("test", "--data", "Real", "--protocol", *arguments.split())
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_images_smaller_than_a_kernel_and_missing_kernels_are_reported(data: Path, command: Command) -> None:
    given = ("test", "--data", "Pair", "--model", "identity", "--protocol", "nrl_gdn_uniform:kernel=7")
    Image.fromarray(scene(10, 40)).save(data / "Pair" / "c.png")
    assert "c.png is 40x10, smaller than kernel 7, 11x11" in command(*given)[2]
    (data / "kernels" / "kernels_8.mat").unlink()
    assert "github.com/kongsjsj/NRL-GDN" in command(*given)[2]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "Set12_gray").is_dir(), reason="no Set12_gray below UNFOLD_DATA: not ours to ship")
@pytest.mark.parametrize("key", sorted(REFERENCE.keys() - {"columns"}))
def test_noisy_images_and_first_estimates_of_set12_have_the_published_codes_scores(
    key: str, command: Command, tmp_path: Path
) -> None:
    """For each kernel and over all of them, within 0.0001 dB."""
    name = "nrl_gdn_uniform:noise=2.55" if key == "uniform2.55" else f"nrl_gdn_nonuniform:map={key}"
    for model, column in (("identity", 0), ("eq22", 2)):
        code, _, err = command(
            *("test", "--protocol", name, "--data", "Set12_gray", "--model", model),
            *("--device", "cpu", "--json", tmp_path / "numbers.json"),
        )
        assert (code, err) == (0, "")
        found = json.loads((tmp_path / "numbers.json").read_text())
        for i, expected in enumerate(REFERENCE[key]["per_kernel"], 1):
            rows = [row for row in found["images"] if row["options"]["kernel"] == i]
            assert len(rows) == 12
            assert np.mean([row["psnr"] for row in rows]) == pytest.approx(expected[column], abs=1e-4)
            assert np.mean([row["ssim"] for row in rows]) == pytest.approx(expected[column + 1], abs=1e-5)
        mean = [found["mean"]["psnr"], found["mean"]["ssim"]]
        assert mean == pytest.approx(REFERENCE[key]["mean"][column : column + 2], abs=1e-4)


def test_photon_noise_and_impulses_are_those_of_the_published_code(data: Path) -> None:
    picture = np.asarray(Image.open(data / "Pair" / "a.png"))
    clean = blurred(picture, KERNELS[2])

    def measured(name: str) -> tuple[np.ndarray, float]:
        protocol = parse_protocol(name)
        (case,) = [one for one in protocol.cases("Pair") if one.name == "a_k3"]
        inputs = protocol.sample(case).inputs
        return inputs["y"], inputs["sigma"]

    y, sigma = measured("nrl_gdn_poisson:noise=5")
    assert y.min() >= 0
    assert y.max() <= 1
    rng = np.random.RandomState(0)
    expected = (rng.poisson(128 * clean) / 128 + 5 / 255 * rng.standard_normal(clean.shape)).clip(0, 1)
    assert np.abs(y - expected).max() < 1e-6
    assert sigma == pytest.approx(np.sqrt(np.mean((expected - clean) ** 2)), rel=1e-5)
    y, _ = measured("nrl_gdn_impulse:share=0.3,kind=sp")
    chance = np.random.RandomState(0).uniform(size=clean.shape[:2])
    assert (y[chance <= 0.15] == 0).all()
    assert (y[chance >= 0.85] == 1).all()
    kept = (chance > 0.15) & (chance < 0.85)
    assert np.abs(y[kept] - clean[kept]).max() < 1e-6
    y, _ = measured("nrl_gdn_impulse:share=0.3")
    assert np.abs(y[kept] - clean[kept]).max() < 1e-6
    assert len(np.unique(y[~kept])) > 300, "random values"
    with pytest.raises(UnfoldError, match="share is a share, from 0 to 1, not 2"):
        parse_protocol("nrl_gdn_impulse:share=2")
