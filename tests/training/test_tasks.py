"""Every kind of samples trains through the command line: the network it is for, on real or made pictures."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from tests.synthetic import scene
from unfold import create_model, load_model
from unfold.config import load_config
from unfold.degradations.blur_downscale import BlurDownscale
from unfold.from_config import bare_network, build_degradation, build_store, build_validation
from unfold.physics.degrade import blur_uint8
from unfold.physics.kernels import gaussian_kernel
from unfold.settings import settings_of
from unfold.training.log import read_log

Command = Callable[..., tuple[int, str, str]]

DGUNET = "{NAME: dgunet_deblur, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, OPERATOR_WIDTH: 4}"
FRESH = [word for key in ("WIDTH", "GROWTH", "TAIL", "OPERATOR_WIDTH", "STAGES") for word in (f"MODEL.{key}", "0")]
TINY, CS_FRESH = (["MODEL.NAME", name, *FRESH] for name in ("usrnet_tiny", "dgunet_cs"))
USRNET = "{NAME: usrnet_tiny, STAGES: 2, WIDTHS: [8, 8, 8, 8], DEPTH: 1}"
NRL_GDN = "{NAME: nrl_gdn_y0, STAGES: 6, TRAIN_STAGES: 2, WIDTHS: [4, 4, 4, 4], DEPTH: 1, WIDTH: 4}"
CS = "{NAME: dgunet_cs, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, RATIO: 10}"
SHORT = "{EPOCHS: 1, PATCHES: 4, BATCH: 2, PATCH: 32}"


@pytest.fixture
def _kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel files of the layouts that the protocols read, with kernels of our own."""
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "sets"))
    folder = tmp_path / "sets" / "kernels"
    folder.mkdir(parents=True)
    for name, count in (("kernels_12", 12), ("kernels_8", 8)):
        cells = np.empty((1, count), dtype=object)
        for i in range(count):
            cells[0, i] = gaussian_kernel(25, 0.7 + 0.3 * i)
        savemat(folder / f"{name}.mat", {"kernels": cells})


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of pairs, blurred and sharp, of 48x50 pixels."""
    folder = tmp_path / "pairs"
    for split, seeds in (("train", range(6)), ("val", range(6, 8))):
        for side in ("input", "target"):
            (folder / split / side).mkdir(parents=True)
        for seed in seeds:
            sharp = scene(48, 50, seed=seed)
            Image.fromarray(sharp).save(folder / split / "target" / f"{seed}.png")
            blurred = blur_uint8(sharp, gaussian_kernel(9, 1.5))
            Image.fromarray(blurred).save(folder / split / "input" / f"{seed}.png")
    return folder


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"OUTPUT: {tmp_path / 'run'}\nDEVICE: cpu\n{text}")
    return path


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return read_log(tmp_path / "run" / "log.jsonl")


@pytest.mark.usefixtures("_kernels")
def test_a_narrow_usrnet_learns_on_the_photographs(tmp_path: Path, command: Command) -> None:
    recipe = written(
        tmp_path,
        f"MODEL: {USRNET}\nDATA: {{KIND: usrnet, VAL_PROTOCOL: 'usrnet_table1:scale=2,kernel=1'}}\n"
        "TRAIN: {EPOCHS: 4, PATCHES: 96, BATCH: 8, PATCH: 36, VALIDATE_EVERY: 4}\n"
        "OPTIM: {LR: 4.0e-3}\nSCHEDULE: {WARMUP: 0}\n",
    )
    code, _, err = command("train", "--config", recipe)
    assert code == 0, err
    log = rows(tmp_path)
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    assert log[-1]["val_psnr"] > 18, "the first epoch's training patches have 14"


def test_a_narrow_dgunet_learns_from_pairs(
    tmp_path: Path, pairs: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    recipe = written(
        tmp_path,
        f"MODEL: {DGUNET}\nDATA: {{KIND: paired, TRAIN: {pairs}, VAL: {pairs}, SATURATION: true}}\n"
        "TRAIN: {EPOCHS: 2, PATCHES: 40, BATCH: 4, PATCH: 32}\nOPTIM: {LR: 2.0e-3}\nSCHEDULE: {WARMUP: 0}\n",
    )
    code, _, err = command("train", "--config", recipe)
    assert code == 0, err
    assert "6 training images, 2 for validation" in caplog.text
    log = rows(tmp_path)
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert log[-1]["val_psnr"] > log[0]["val_psnr"]


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [
        ("nrl_gdn", NRL_GDN, ""),
        ("nrl_gdn", DGUNET, ""),
        ("usrnet", NRL_GDN, ", SCALES: [1], VAL_PROTOCOL: 'usrnet_table1:scale=1'"),
        ("usrnet", USRNET, ""),
        ("rain", DGUNET, ", VAL_PROTOCOL: gaussian_denoise"),
        ("compressive_sensing", CS, ", VAL_PROTOCOL: 'compressive_sensing:ratio=10'"),
    ],
)
def test_every_kind_of_samples_trains_and_validates_its_networks(
    tmp_path: Path,
    pairs: Path,
    command: Command,
    kind: str,
    model: str,
    expected: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    train, val = (pairs / split / "target" for split in ("train", "val"))
    data = f"DATA: {{KIND: {kind}, TRAIN: {train}, VAL: {val}{expected}}}\n"
    patch = SHORT.replace("32", "36") if kind == "usrnet" and "SCALES" not in expected else SHORT
    code, _, err = command("train", "--config", written(tmp_path, f"MODEL: {model}\n{data}TRAIN: {patch}\n"))
    assert code == 0, err
    (row,) = rows(tmp_path)
    assert np.isfinite([row["loss"], row["val_psnr"]]).all()
    assert ("2 stages (at most 6 at evaluation)" in caplog.text) == (model == NRL_GDN)
    assert ("at evaluation)" in caplog.text) == (model == NRL_GDN)


def test_bad_training_images_stop_the_run_or_are_left_out_and_listed(
    tmp_path: Path, pairs: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (pairs / "train" / "input" / "3.png").write_bytes(b"")
    recipe = written(
        tmp_path, f"MODEL: {DGUNET}\nDATA: {{KIND: paired, TRAIN: {pairs}, VAL: {pairs}}}\nTRAIN: {SHORT}\n"
    )
    code, _, err = command("train", "--config", recipe)
    assert code == 2
    assert "1 of 6 training images cannot be used" in err
    assert "3.png is empty (0 bytes)" in err
    assert not (tmp_path / "run").exists(), "found before anything is written"
    code, _, _ = command("train", "--config", recipe, "DATA.SKIP_BAD", "true")
    assert code == 0
    assert "5 training images, 2 for validation" in caplog.text
    assert "1 of 6 training images are left out" in caplog.text
    assert "3.png" in (tmp_path / "run" / "left_out.txt").read_text()


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["DATA.KIND", "blur"], "no degradation is called 'blur'"),
        ([*TINY], "samples of DATA.KIND gaussian hold y"),
        (["DATA.KIND", "usrnet", "DATA.SCALES", "[1]", "TRAIN.PATCH", "24"], "TRAIN.PATCH must be at least 25"),
        (
            ["DATA.KIND", "usrnet", "TRAIN.PATCH", "32", *TINY],
            "multiple of all DATA.ARGS.scales, [1, 2, 3, 4]",
        ),
        (["DATA.KIND", "usrnet", "TRAIN.PATCH", "36", "DATA.SIGMA", "2.5"], "sigma must be a whole number"),
        (["DATA.KIND", "usrnet", "TRAIN.PATCH", "36"], "dgunet_deblur does not enlarge: set DATA.ARGS.scales [1]"),
        (["DATA.KIND", "nrl_gdn", "TRAIN.PATCH", "16"], "TRAIN.PATCH must be at least 25"),
        (["DATA.KIND", "compressive_sensing"], "samples of DATA.KIND compressive_sensing hold image"),
        (
            ["DATA.KIND", "compressive_sensing", "TRAIN.PATCH", "48", *CS_FRESH],
            "multiple of 32",
        ),
        (["DATA.KIND", "usrnet", "DATA.SCALES", "[]"], "scales is a list of whole numbers from 1 to 4"),
        (["DATA.KIND", "usrnet", "DATA.SCALES", "[5]"], "scales is a list of whole numbers from 1 to 4"),
        (["MODEL.WIDTHS", "[8, 0]"], "MODEL.ARGS.widths: dgunet_deblur has no such option"),
        (["DATA.VAL_PROTOCOL", "usrnet_real"], "has no references, so it cannot validate dgunet_deblur"),
        (["DATA.VAL_PROTOCOL", "compressive_sensing"], "does not give y, so it cannot validate dgunet_deblur"),
        (["DATA.VAL_PROTOCOL", "usrnet"], "no protocol is called 'usrnet'"),
    ],
)
def test_settings_that_do_not_fit_are_one_line_before_the_work(
    tmp_path: Path, command: Command, overrides: list[str], expected: str
) -> None:
    code, _, err = command("train", "--config", written(tmp_path, f"MODEL: {DGUNET}\n"), *overrides)
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1


def test_a_recipe_of_another_task_is_tested_by_what_validates_it_and_not_as_a_denoiser(
    tmp_path: Path, pairs: Path, command: Command
) -> None:
    arguments = {"stages": 3, "width": 8, "growth": 4, "tail": 4, "operator_width": 4}
    state = create_model("dgunet_deblur", **arguments).state_dict()
    torch.save({"state_dict": state, "model": {"name": "dgunet_deblur", "arguments": arguments}}, tmp_path / "net.pth")
    recipe = written(tmp_path, f"MODEL: {DGUNET}\nDATA: {{KIND: paired, TEST: {pairs}/val}}\n")
    message = ("--weights", tmp_path / "net.pth")
    code, _, err = command("test", "--config", recipe, *message, "--output", tmp_path / "results")
    assert (code, err) == (0, "")
    tested = json.loads((tmp_path / "results" / "results.json").read_text())
    command("test", "--protocol", "deblur_rgb", "--data", pairs / "val", *message, "--json", tmp_path / "b.json")
    expected = json.loads((tmp_path / "b.json").read_text())["mean"]["psnr"]
    assert tested["mean"]["dgunet_deblur"]["psnr"] == pytest.approx(expected)
    assert tested["tested_as"]["protocol"] == {"crop": 0}
    code, _, err = command("test", "--config", recipe, *message, "TEST.BASELINES", "[tv]")
    assert code == 2
    assert "TEST.BASELINES tv remove white noise" in err


@pytest.mark.parametrize("kind", ["paired", "rain"])
def test_mistakes_in_the_validation_set_are_reported_by_name_before_the_training_set_is_read(
    tmp_path: Path, pairs: Path, command: Command, kind: str
) -> None:
    for path in (pairs / "train").rglob("*.png"):
        path.write_bytes(b"bad, and not reached")
    train = pairs if kind == "paired" else pairs / "train" / "target"
    text = f"MODEL: {DGUNET}\nDATA: {{KIND: {kind}, TRAIN: {train}}}\nTRAIN: {SHORT}\n"
    code, _, err = command("train", "--config", written(tmp_path, text))
    assert code == 2
    assert err.startswith("unfold train: DATA.VAL photographs (for the protocol de")
    assert err.count("\n") == 1
    (pairs / "val" / "input" / "7.png").write_bytes(b"bad")
    code, _, err = command("train", "--config", written(tmp_path, text), "DATA.VAL", pairs)
    assert code == 2
    assert f"DATA.VAL {pairs} (for the protocol de" in err
    assert "7.png is not an image" in err


@pytest.mark.parametrize("kind", ["gaussian", "rain"])
def test_the_measured_side_of_pairs_is_not_taken_for_clean_images(
    tmp_path: Path, pairs: Path, command: Command, kind: str
) -> None:
    folder = tmp_path / "PolyU"
    folder.mkdir()
    for seed, name in enumerate(("a_mean", "a_real")):
        Image.fromarray(scene(48, 50, seed=seed)).save(folder / f"{name}.png")
    val = pairs if kind == "rain" else "photographs"
    text = f"MODEL: {DGUNET}\nDATA: {{KIND: {kind}, TRAIN: {folder}, VAL: {val}}}\nTRAIN: {SHORT}\n"
    code, _, err = command("train", "--config", written(tmp_path, text))
    assert code == 2
    assert f"PolyU holds pairs side by side, such as a_real.png, and DATA.KIND {kind} is made of clean images" in err
    assert err.count("\n") == 1
    (folder / "a_mean.png").rename(folder / "b.png")
    assert command("train", "--config", written(tmp_path, text))[0] == 0, "a name alone makes no pair"


def test_images_without_a_partner_are_not_left_out_by_skip_bad(tmp_path: Path, pairs: Path, command: Command) -> None:
    (pairs / "train" / "input" / "3.png").unlink()
    text = f"MODEL: {DGUNET}\nDATA: {{KIND: paired, TRAIN: {pairs}, VAL: {pairs}}}\nTRAIN: {SHORT}\n"
    recipe = written(tmp_path, text)
    assert "SKIP_BAD" not in command("train", "--config", recipe)[2]
    code, _, err = command("train", "--config", recipe, "DATA.SKIP_BAD", "true")
    assert code == 2
    assert "1 without a partner of the same name: target/3.png (DATA.SKIP_BAD leaves out unreadable images, not" in err


def test_a_cache_is_taken_on_the_terms_of_its_files(
    recipe: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    def trained(*overrides: object) -> str:
        code, _, err = command("train", "--config", recipe, *overrides)
        assert code in (0, 2)
        assert code == 0 or err.count("\n") == 1
        return "" if code == 0 else err

    source, cache = tmp_path / "train", tmp_path / "set.h5"
    shutil.copytree(pictures, source)
    assert command("data", "prepare", "cache", source, "--output", cache)[0] == 0
    skip = trained("DATA.TRAIN", cache, "DATA.SKIP_BAD", "true")
    assert "DATA.SKIP_BAD leaves out files, and" in skip
    assert trained("DATA.TRAIN", cache, "TRAIN.EPOCHS", 1) == ""
    Image.fromarray(scene(40, 56)[..., 0]).save(source / "picture1.png")
    assert command("data", "prepare", "cache", source, "--output", cache)[0] == 0
    assert trained("DATA.TRAIN", source, "OUTPUT", tmp_path / "files", "TRAIN.EPOCHS", 1) == ""
    assert trained("DATA.TRAIN", cache, "OUTPUT", tmp_path / "cached", "TRAIN.EPOCHS", 1) == ""
    files, cached = (torch.load(tmp_path / name / "checkpoints" / "last.pth") for name in ("files", "cached"))
    assert all(torch.equal(files["state_dict"][key], cached["state_dict"][key]) for key in files["state_dict"])


def test_a_patch_cache_trains_to_the_weights_of_its_files(tmp_path: Path, pairs: Path, command: Command) -> None:
    cache = tmp_path / "set.h5"
    assert command("data", "prepare", "cache", pairs, "--output", cache)[0] == 0
    data = f"DATA: {{KIND: paired, TRAIN: {pairs}, VAL: {pairs}}}\nTRAIN: {SHORT}\nMODEL: {DGUNET}\n"
    recipe = written(tmp_path, data)
    states = []
    for number, source in enumerate((pairs, cache)):
        folder = tmp_path / str(number)
        code, _, err = command("train", "--config", recipe, "DATA.TRAIN", source, "OUTPUT", folder)
        assert code == 0, err
        states.append(load_model(folder / "checkpoints" / "last.pth").state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    for kind, model, expected in (
        ("rain", DGUNET, "set.h5 holds pairs, which are not what DATA.KIND rain is made of"),
        ("compressive_sensing", CS.replace("10", "25"), "holds pairs"),
    ):
        recipe = written(tmp_path, f"DATA: {{KIND: {kind}, TRAIN: {cache}}}\nTRAIN: {SHORT}\nMODEL: {model}\n")
        val = pairs if kind == "rain" else "photographs"
        code, _, err = command("train", "--config", recipe, "OUTPUT", tmp_path / "refused", "DATA.VAL", val)
        assert code == 2
        assert expected in err
    code, _, err = command("train", "--config", recipe, "DATA.TRAIN", "nowhere.h5")
    assert code == 2
    assert "nowhere.h5: `unfold data prepare cache` makes one" in err
    assert err.count("\n") == 1


def test_a_training_set_may_be_several_folders(tmp_path: Path, pairs: Path) -> None:
    folders = " + ".join(str(pairs / split / "target") for split in ("train", "val"))
    cfg = load_config(written(tmp_path, f"MODEL: {DGUNET}\nDATA: {{KIND: gaussian, TRAIN: {folders}}}\n"))
    store, _ = build_store(settings_of(cfg).data, build_degradation(cfg, bare_network(cfg)))
    assert len(store) == 8
    smaller = written(tmp_path, f"MODEL: {DGUNET}\nDATA: {{KIND: gaussian, TRAIN: {folders}, REDUCED: [0.5]}}\n")
    cfg = load_config(smaller)
    store, _ = build_store(settings_of(cfg).data, build_degradation(cfg, bare_network(cfg)))
    assert len(store) == 16
    assert 2 * store.size(8)[0] == store.size(0)[0]


def test_the_ratio_of_compressive_sensing_goes_for_validation_too(tmp_path: Path) -> None:
    cfg = load_config(written(tmp_path, f"MODEL: {CS}\nDATA: {{KIND: compressive_sensing}}\nTRAIN: {{PATCH: 32}}\n"))
    net = bare_network(cfg)
    assert vars(build_validation(cfg, net, build_degradation(cfg, net)))["ratio"] == 10


def test_the_noise_and_the_sharp_share_of_usrnets_samples_are_those_of_the_recipe(tmp_path: Path) -> None:
    cfg = load_config(
        written(tmp_path, f"MODEL: {USRNET}\nDATA: {{KIND: usrnet, SIGMA: 9, SHARP: 0.25}}\nTRAIN: {{PATCH: 48}}\n")
    )
    made = build_degradation(cfg, bare_network(cfg))
    assert isinstance(made, BlurDownscale)
    assert (made.sigma, made.sharp, list(made.scales)) == (9, 0.25, [1, 2, 3, 4])
