"""USRNet's evaluations: every choice of the published protocols, and the published code's numbers on real images."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.io import loadmat, savemat

from tests import narrow
from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.evaluation.run_protocol import evaluate
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import as_tensors, network
from unfold.physics.boundary import periodic
from unfold.physics.kernels import gaussian_kernel, normalised, shift_kernel
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Case
from unfold.protocols.usrnet_evaluations import USRNetBicubic, USRNetReal, USRNetTable1

Command = Callable[..., tuple[int, str, str]]
GOLDEN = Path(__file__).parent.parent / "golden"
ROOT = Path(os.environ.get("UNFOLD_DATA", "nowhere"))
WEIGHTS = ROOT / "weights" / "usrnet_tiny.pth"
REFERENCE = json.loads((GOLDEN / "usrnet_tiny_set5.json").read_text())


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """UNFOLD_DATA with kernel files of the published form and two pictures, one of them grey."""
    root = tmp_path / "data"
    (root / "kernels").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("kernels_12", 12), ("kernels_bicubicx234", 3)):
        cells = np.empty((1, count), dtype=object)
        for i in range(count):  # not of sum 1, as one of the published ones
            cells[0, i] = (rng.random((9, 9)) / 41).astype(np.float32)
        savemat(root / "kernels" / f"{name}.mat", {"kernels": cells})
    (root / "Pair").mkdir()
    Image.fromarray(scene(53, 70, seed=1)).save(root / "Pair" / "a.png")
    Image.fromarray(scene(49, 49, seed=2)[..., 0]).save(root / "Pair" / "b.bmp")
    monkeypatch.setenv("UNFOLD_DATA", str(root))
    return root


def test_table_1_degrades_as_its_page_says(data: Path) -> None:
    protocol = USRNetTable1(scale=3, kernel=5, noise=7.65)
    case, grey = protocol.cases("Pair")
    sample = protocol.sample(case)
    assert sample.target is not None
    assert np.array_equal(sample.target, scene(53, 70, seed=1)[:48, :48]), "lcm(3, 8) is 24"
    kernel = loadmat(data / "kernels" / "kernels_12.mat")["kernels"][0, 4].astype(np.float64)
    assert np.array_equal(sample.inputs["kernel"], kernel)
    blurred = ndimage.convolve(sample.target, kernel[..., None], mode="wrap")
    assert blurred.dtype == np.uint8
    noise = np.random.RandomState(0).normal(0, 7.65 / 255, (16, 16, 3))
    assert np.allclose(sample.inputs["y"], blurred[::3, ::3] / 255 + noise, atol=1e-7)
    assert sample.inputs["sigma"] == 7.65 / 255
    assert sample.inputs["scale"] == 3
    again = protocol.sample(grey).inputs["y"] - protocol.sample(grey).inputs["y"]
    assert not again.any()
    target = protocol.sample(grey).target
    assert target is not None
    assert np.array_equal(target[..., 0], target[..., 2]), "grey images have three equal channels"


def test_table_1_is_scored_on_8_bits_without_a_border_of_the_square_of_the_scale() -> None:
    protocol = USRNetTable1(scale=4)
    target = scene(48, 48, seed=0)
    result = target / np.float32(255) + np.float32(0.1)
    result[:16], result[:, -16:] = 5, -5
    finished = protocol.finish(result)
    assert finished.dtype == np.uint8
    inside = slice(16, -16)
    expected = np.rint((target[inside, inside] / np.float32(255) + np.float32(0.1)).clip(0, 1) * np.float32(255))
    difference = expected - target[inside, inside]
    scores = protocol.score(finished, target)
    assert scores["psnr"] == pytest.approx(20 * math.log10(255 / math.sqrt(np.square(difference).mean())), abs=1e-9)
    assert scores["ssim"] == ssim(finished[inside, inside], target[inside, inside])


def test_the_bicubic_evaluation_continues_the_small_image_and_keeps_it_as_it_is(data: Path) -> None:
    protocol = USRNetBicubic(scale=3)
    sample = protocol.sample(protocol.cases("Pair")[0])
    assert sample.target is not None
    assert sample.target.shape == (51, 69, 3)
    y = sample.inputs["y"]
    assert y.shape == (24, 30, 3), "51 + 16..23 pixels to a multiple of 8, then every third one"
    ends = periodic(np.arange(17.0)[:, None, None] * np.ones((17, 23, 3)), 3)
    assert np.array_equal(ends[:17, :23, 0], np.arange(17.0)[:, None] * np.ones((17, 23)))
    assert abs(ends[-1, 0, 0] - ends[0, 0, 0]) < 4, "the ramp of 16 comes back to its beginning"
    assert sample.inputs["sigma"] == 0
    kernel = loadmat(data / "kernels" / "kernels_bicubicx234.mat")["kernels"][0, 1]
    assert np.array_equal(sample.inputs["kernel"], kernel), "that of scale 3, not normalised"
    assert not np.allclose(np.rint(y * 255), y * 255, atol=1e-3), "not rounded to 8 bits"


def test_the_bicubic_evaluation_scores_y_and_rgb_without_a_border_of_the_scale() -> None:
    protocol = USRNetBicubic(scale=2)
    a, b = scene(30, 34, seed=1), scene(30, 34, seed=2)
    scores = protocol.score(a, b)
    assert scores["psnr"] == psnr(a[2:-2, 2:-2], b[2:-2, 2:-2], channel="y")
    assert scores["psnr_rgb"] == psnr(a[2:-2, 2:-2], b[2:-2, 2:-2])
    assert scores["ssim"] == ssim(a[2:-2, 2:-2], b[2:-2, 2:-2], channel="y")
    assert scores["ssim_rgb"] == ssim(a[2:-2, 2:-2], b[2:-2, 2:-2])


@pytest.mark.parametrize(("scale", "width"), [(1, 0.6), (2, 0.9), (3, 1.7), (4, 2.2)])
def test_on_real_images_the_published_blur_is_assumed(data: Path, scale: int, width: float) -> None:
    kernels = np.load(GOLDEN / "physics_kernels.npz")
    inputs = USRNetReal(scale, "chip").sample(USRNetReal().cases("Pair")[0]).inputs
    assert np.allclose(inputs["kernel"], kernels[f"shift_ul_x{scale}"], atol=1e-7), width
    assert inputs["sigma"] == 15 / 255
    for chosen, general in ((1, 0.4), (2, 0.7), (3, 1.5), (4, 2.0)):
        inputs = USRNetReal(chosen).sample(USRNetReal().cases("Pair")[0]).inputs
        expected = normalised(shift_kernel(gaussian_kernel(25, general), chosen))
        assert np.allclose(inputs["kernel"], expected, atol=1e-7)
        assert inputs["sigma"] == 2 / 255


def test_a_network_runs_through_each_and_its_result_has_the_size_of_the_target(data: Path) -> None:
    method = network(narrow.narrow("usrnet"), torch.device("cpu"))
    for protocol in (USRNetTable1(scale=2, noise=2.55), USRNetBicubic(scale=4)):
        results = list(evaluate(protocol, method, protocol.cases("Pair")))
        assert [r.case.name for r in results] == ["a", "b"]
        assert all(np.isfinite(list(r.scores.values())).all() for r in results)
    real = USRNetReal(scale=2, assumed="chip")
    (result, _) = evaluate(real, method, real.cases("Pair"))
    assert result.image.shape == (106, 140, 3)
    assert result.scores == {}
    assert real.sample(real.cases("Pair")[0]).inputs["kernel"].sum() == pytest.approx(1)


def test_weights_that_do_not_fit_the_protocol_are_reported(data: Path) -> None:
    def small(inputs: dict[str, object]) -> np.ndarray:
        return np.zeros((3, 3, 3))

    def broken(inputs: dict[str, object]) -> np.ndarray:
        return np.full((48, 48, 3), np.nan)

    protocol = USRNetTable1(scale=3)
    for method, message in ((small, "the result on a is 3x3x3 and the target 48x48x3"), (broken, "is not finite")):
        with pytest.raises(UnfoldError, match=message):
            list(evaluate(protocol, method, protocol.cases("Pair")))
    net = network(narrow.narrow("usrnet"), torch.device("cpu"))

    def too_large(inputs: dict[str, Any]) -> np.ndarray:
        return net({**inputs, "kernel": np.ones((60, 60), np.float32)})

    with pytest.raises(UnfoldError, match=r"a.png: the kernel, 60x60, is larger than the image"):
        list(evaluate(protocol, too_large, protocol.cases("Pair")))
    with pytest.raises(UnfoldError, match="two images called a"):
        list(evaluate(protocol, small, [Case("a", (data,)), Case("a", (data,))]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--protocol usrnet_tabel1 --data Pair --model bicubic", "did you mean usrnet_table1?"),
        ("--protocol usrnet_table1:scal=4 --data Pair --model bicubic", "no option 'scal=4'; did you mean scale?"),
        (
            "--protocol usrnet_table1:scale=four --data Pair --model bicubic",
            "scale is a whole number, and 'four' is not",
        ),
        ("--protocol usrnet_table1:scale=9 --data Pair --model bicubic", "scale is a whole number from 1 to 4"),
        ("--protocol usrnet_table1:kernel=0 --data Pair --model bicubic", "kernel is a number from 1 to 12"),
        ("--protocol usrnet_table1:noise=-1 --data Pair --model bicubic", "not negative"),
        ("--protocol usrnet_table1:noise=nan --data Pair --model bicubic", "noise is a number, and 'nan' is not"),
        ("--protocol usrnet_table1:scale=2,scale=3 --data Pair --model bicubic", "scale is given twice"),
        ("--protocol usrnet_table1:scale --data Pair --model bicubic", "scale needs a value, as in scale=4"),
        ("--protocol usrnet_table1 --data Pair --model bicubik", "bicubik is no baseline, did you mean bicubic?"),
        ("--protocol usrnet_real:scale=2 --data Pair --model identity -o out", "and 140x106 are asked for"),
        ("--protocol usrnet_real:scale=2 --data Pair --model bicubic -o data/Pair", "which would be lost"),
        (
            "--protocol usrnet_table1 --data Pair --model bicubic --json data",
            "--json data cannot be the name of a file",
        ),
        (
            "--protocol usrnet_table1 --data Pair --model bicubic --json /dev/null",
            "--json /dev/null cannot be the name",
        ),
        ("--protocol usrnet_table1 --data Pair --model bicubic -o kept/kept.json/x", "cannot be made: Not a directory"),
        ("--protocol usrnet_table1 --data Pair --model bicubic --device tpu", "the device tpu cannot be used here"),
        ("--protocol usrnet_table1 --data Small --model bicubic", "small.png: a border of 16 pixels leaves nothing"),
        ("--protocol usrnet_table1 --data Bad --model bicubic", "b.png is not an image that can be read"),
        ("--protocol usrnet_table1 --data Pair", "give --weights, or --model with one of the baselines"),
        ("--protocol usrnet_table1 --model bicubic", "give --data"),
        ("--protocol usrnet_table1 --data Nowhere --model bicubic", "there is no folder Nowhere"),
        ("--protocol usrnet_table1 --data Pair --model bicubic --weights x.pth", "which has no weights"),
        ("--protocol usrnet_real --data Pair --model bicubic", "has no reference: give --output"),
        ("--protocol gaussian_denoise --data Pair --model wiener", "wiener needs kernel, which gaussian_denoise"),
        ("--protocol usrnet_table1 --data Pair --model bicubic DEVICE cpu", "DEVICE is a setting for --config"),
        ("--config a.yaml --weights x.pth --stages 3", "--stages is an option of --protocol"),
        ("--config a.yaml", "give --weights"),
    ],
)
def test_mistakes_are_one_line(
    data: Path, command: Command, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(data.parent)
    (data.parent / "kept").mkdir()
    (data.parent / "kept" / "kept.json").write_text("{}")
    for folder, size in (("Small", 32), ("Bad", 64)):
        (data / folder).mkdir()
        Image.fromarray(scene(size, size)).save(data / folder / "small.png")
    (data / "Bad" / "b.png").write_text("no image")
    code, out, err = command("test", *arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_missing_and_foreign_kernel_files_are_reported(data: Path, command: Command) -> None:
    path = data / "kernels" / "kernels_12.mat"
    savemat(path, {"kernels": np.ones((5, 5, 2))})
    given = ("test", "--protocol", "usrnet_table1", "--data", "Pair", "--model", "bicubic")
    assert "holds 2 kernels, and the published file 12" in command(*given)[2]
    path.unlink()
    assert "github.com/cszn/USRNet" in command(*given)[2]


def test_numbers_and_pictures_are_written(data: Path, command: Command, tmp_path: Path) -> None:
    code, out, err = command(
        *("test", "--protocol", "usrnet_bicubic:scale=2", "--data", "Pair", "--model", "bicubic", "--device", "cpu"),
        *("--json", tmp_path / "new" / "numbers.json", "--output", tmp_path / "pictures"),
    )
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "new" / "numbers.json").read_text())
    assert found["protocol"] == {"name": "usrnet_bicubic", "version": 1, "options": {"scale": 2}}
    assert found["model"] == "bicubic"
    assert [row["image"] for row in found["images"]] == ["a", "b"]
    assert found["mean"]["psnr"] == pytest.approx(np.mean([row["psnr"] for row in found["images"]]))
    assert f"{found['mean']['psnr']:.3f}" in out.splitlines()[-2]
    saved = np.asarray(Image.open(tmp_path / "pictures" / "a.png"))
    target = scene(53, 70, seed=1)[:52]
    assert psnr(saved, target, 2, "y") == found["images"][0]["psnr"]


def test_what_was_done_before_a_run_broke_off_is_kept(data: Path, command: Command, tmp_path: Path) -> None:
    Image.fromarray(scene(16, 16)).save(data / "Pair" / "c.png")
    numbers = tmp_path / "numbers.json"
    given = ("--protocol", "usrnet_table1", "--data", "Pair", "--model", "bicubic", "--json", numbers)
    code, _, err = command("test", *given)
    assert code == 2
    assert "c.png" in err
    found = json.loads(numbers.read_text())
    assert [row["image"] for row in found["images"]] == ["a", "b"]
    assert "2 of 3 images are done" in found["stopped"]


def test_the_json_says_which_weights_and_network_were_run(data: Path, command: Command, tmp_path: Path) -> None:
    weights = tmp_path / "net.pth"
    torch.save(narrow.narrow("nrl_gdn").state_dict(), weights)
    cells = np.empty((1, 8), dtype=object)
    cells[0] = [np.full((3, 3), 1 / 9)] * 8
    savemat(data / "kernels" / "kernels_8.mat", {"kernels": cells})
    results = {}
    for name in ("nrl_gdn", "rgdn_uniform"):
        given = ("--protocol", "nrl_gdn_uniform:kernel=1", "--data", "Pair", "--weights", weights, "--model", name)
        code, _, err = command("test", *given, "--device", "cpu", "--json", tmp_path / "n.json")
        assert (code, err) == (0, "")
        found = json.loads((tmp_path / "n.json").read_text())
        assert found["model"] == name
        assert found["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        results[name] = found["mean"]["psnr"]
    assert results["nrl_gdn"] != results["rgdn_uniform"], "--model decides where weights fit both"


@pytest.mark.parametrize("name", ["nrl_gdn", "usrnet"])
def test_a_network_can_be_run_for_another_number_of_stages(
    name: str, data: Path, command: Command, tmp_path: Path
) -> None:
    """NRL-GDN without its stopping rule, USRNet for the first of its own."""
    cells = np.empty((1, 8), dtype=object)
    cells[0] = [np.full((3, 3), 1 / 9)] * 8
    savemat(data / "kernels" / "kernels_8.mat", {"kernels": cells})
    weights, net = narrow.saved(name, tmp_path / "net.pth"), narrow.narrow(name)
    protocol = parse_protocol("nrl_gdn_uniform:kernel=1")
    case = protocol.cases("Pair")[0]
    sample = protocol.sample(case)
    given = as_tensors({**sample.inputs, "scale": 1}, net, torch.device("cpu"))
    with torch.inference_mode():
        own = len(list(net.iterate(**given)))
        wanted = own + 2 if name == "nrl_gdn" else own - 1
        if name == "nrl_gdn":
            net = narrow.narrow(name, stages=wanted, stop="never")
        *_, before, last = islice(net.iterate(**given), wanted)
    assert sample.target is not None
    expected, other = (
        protocol.score(protocol.finish(x[0].permute(1, 2, 0).numpy()), sample.target)["psnr"] for x in (last, before)
    )
    assert abs(expected - other) > 1e-3
    json_file = tmp_path / "n.json"
    test = ("test", "--protocol", "nrl_gdn_uniform:kernel=1", "--data", "Pair", "--json", json_file, "--device", "cpu")
    code, out, err = command(*test, "--weights", weights, "--stages", wanted)
    assert (code, err) == (0, "")
    assert f"{name}, net.pth, {wanted} stages\n" in out
    found = json.loads(json_file.read_text())
    assert found["stages"] == wanted
    assert found["images"][0]["psnr"] == pytest.approx(expected, abs=1e-4)
    for more, message in (
        (("--weights", weights, "--stages", 0), "stages is a whole number from 1, not 0"),
        (("--model", "identity", "--stages", 2), "--stages is for networks: give --weights, too"),
    ):
        code, _, err = command(*test, *more)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err


def test_a_perfect_result_is_null_in_json(command: Command, tmp_path: Path) -> None:
    for side in ("input", "target"):
        (tmp_path / "same" / side).mkdir(parents=True)
        Image.fromarray(scene(16, 16)).save(tmp_path / "same" / side / "a.png")
    given = ("--protocol", "derain_y", "--data", tmp_path / "same", "--model", "identity")
    assert command("test", *given, "--json", tmp_path / "n.json")[0] == 0
    assert json.loads((tmp_path / "n.json").read_text())["mean"]["psnr"] is None


SETTINGS = [("usrnet_table1", key) for key in REFERENCE["table1"]] + [
    ("usrnet_bicubic", k) for k in REFERENCE["bicubic"]
]


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="no weights/usrnet_tiny.pth below UNFOLD_DATA: not ours to ship")
@pytest.mark.parametrize(("name", "key"), SETTINGS)
def test_the_official_weights_give_the_published_codes_numbers(
    name: str, key: str, command: Command, tmp_path: Path
) -> None:
    """Every image of Set5 within 0.01 dB, every mean within 0.005."""
    words = dict(zip(("scale", "kernel", "noise"), [part[1:] for part in key.split("_")], strict=False))
    options = ",".join(f"{option}={value}" for option, value in words.items())
    code, _, err = command(
        *("test", "--protocol", f"{name}:{options}", "--data", "Set5", "--weights", WEIGHTS),
        *("--json", tmp_path / "numbers.json"),
    )
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "numbers.json").read_text())["images"]
    expected = REFERENCE["table1"][key] if name == "usrnet_table1" else REFERENCE["bicubic"][key]["psnr"]
    assert [row["image"].removesuffix("_GT") + ".bmp" for row in found] == REFERENCE["images"]
    assert [row["psnr"] for row in found] == pytest.approx(expected, abs=0.01)
    assert np.mean([row["psnr"] for row in found]) == pytest.approx(np.mean(expected), abs=0.005)
    if name == "usrnet_bicubic":
        assert [row["psnr_rgb"] for row in found] == pytest.approx(REFERENCE["bicubic"][key]["psnr_rgb"], abs=0.01)
        assert [row["ssim"] for row in found] == pytest.approx(REFERENCE["bicubic"][key]["ssim"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="no weights/usrnet_tiny.pth below UNFOLD_DATA: not ours to ship")
@pytest.mark.parametrize("key", ["x3_k3_n7.65", "x4_k8_n0", "x2_k10_n0"])
def test_in_bfloat16_the_official_weights_lose_little(key: str) -> None:
    from unfold import load_model

    scale, kernel, noise = (float(part[1:]) for part in key.split("_"))
    protocol = USRNetTable1(int(scale), int(kernel), noise)
    run = network(load_model(WEIGHTS), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        results = list(evaluate(protocol, run, protocol.cases("Set5")))
    assert np.mean([r.scores["psnr"] for r in results]) == pytest.approx(np.mean(REFERENCE["table1"][key]), abs=0.05)
