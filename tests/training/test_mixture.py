"""Training on a mixture: every part in log, curve, board, validation and test, and errors for other parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import TINY
from tests.synthetic import scene
from unfold.config import differences, load_config
from unfold.data.batches import Key, collate
from unfold.from_config import bare_network, build_degradation, build_store, parts_of
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import L1, Charbonnier
from unfold.models.unfolding import Output
from unfold.settings import settings_of
from unfold.training.log import read_log
from unfold.training.setup.build_parts import build_patches
from unfold.training.setup.build_run import build_trainer
from unfold.training.setup.settings_check import unused_in_mixture
from unfold.training.train_step import _sample

Command = Callable[..., tuple[int, str, str]]
MIX = """
DATA:
  VAL: clean[-2:]
  TEST: clean[-2:]
  VAL_PROTOCOL: ""
  MIX:
    - {NAME: weak, KIND: gaussian, ARGS: {sigma: 15}, TRAIN: "clean[:3]", REPEAT: 2}
    - {NAME: strong, KIND: gaussian_8bit, ARGS: {sigma: 50}, TRAIN: "clean[:3]"}
    - {KIND: haze, TRAIN: "clean[3:5]", REPEAT: 2}
    - {KIND: paired, TRAIN: pairs, VAL: pairs, TEST: pairs, VAL_PROTOCOL: aio}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def save(name: str, seed: int) -> None:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(32, 35, seed=seed)).save(path)

    for i in range(6):
        save(f"clean/{i}.png", i)
    for i in range(2):
        save(f"pairs/target/{i}.png", i)
        save(f"pairs/input/{i}.png", i + 10)
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "data"))
    path = tmp_path / "mix.yaml"
    path.write_text(f"{TINY}{MIX}OUTPUT: {tmp_path / 'run'}\n".replace("PATCHES: 6, BATCH: 2", "PATCHES: 15, BATCH: 5"))
    return path


PARTS = ("weak", "strong", "haze", "paired")


def test_log_and_validation_have_every_part_and_the_mean_weighs_parts_alike(
    recipe: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    code, _, err = command("train", "--config", recipe, "DATA.MULTIPLE", "16")
    assert code == 0, err
    assert "a pass is weak 6 + strong 3 + haze 4 + paired 2 = 15 samples, an epoch 15" in caplog.text
    counts = dict(zip(PARTS, (6, 3, 4, 2), strict=True))
    for row in read_log(tmp_path / "run" / "log.jsonl"):
        for key, whole in (("loss", row["loss"]), ("train_psnr", row["train_psnr"])):
            parts = [row[f"{key}/{part}"] * count for part, count in counts.items()]
            assert sum(parts) / 15 == pytest.approx(whole, rel=1e-5)
        assert row["val_psnr"] == pytest.approx(np.mean([row[f"val_psnr/{part}"] for part in PARTS]))
    scores = json.loads((tmp_path / "run" / "validation.json").read_text())["psnr"]
    assert set(scores) == {*(f"{part}/{i}" for part in PARTS[:3] for i in (4, 5)), "paired/0", "paired/1"}
    assert np.mean([scores["haze/4"], scores["haze/5"]]) == pytest.approx(row["val_psnr/haze"])
    assert Image.open(tmp_path / "run" / "curve.png").height == 5 * 300, "a row of panels for each part"

    code, out, err = command("test", "--config", recipe, "--weights", tmp_path / "run" / "checkpoints" / "last.pth")
    assert code == 0, err
    assert all(f"mean of {part}" in out for part in PARTS)
    results = json.loads((tmp_path / "run" / "test" / "results.json").read_text())
    means = [results["parts"][part]["dgunet_denoise"]["psnr"] for part in PARTS]
    assert results["mean"]["dgunet_denoise"]["psnr"] == pytest.approx(np.mean(means))


def test_the_board_has_every_part(recipe: Path, tmp_path: Path, command: Command) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, _, err = command("train", "--config", recipe, "TRAIN.BOARD", "true", "TRAIN.EPOCHS", "1")
    assert code == 0, err
    events = EventAccumulator(str(tmp_path / "run" / "board"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"run/{key}/{part}" for key in ("loss", "val_psnr") for part in PARTS} <= tags


def test_a_mixture_goes_on_where_it_was(recipe: Path, tmp_path: Path, command: Command) -> None:
    assert command("train", "--config", recipe)[0] == 0
    whole = torch.load(tmp_path / "run" / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
    rows = read_log(tmp_path / "run" / "log.jsonl")
    trainer = build_trainer(load_config(recipe), overwrite=True)
    trainer.fit(until=1)
    code, _, err = command("train", "--config", recipe, "--resume")
    assert code == 0, err
    after = torch.load(tmp_path / "run" / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
    assert all(torch.equal(value, after[name]) for name, value in whole.items())
    again = read_log(tmp_path / "run" / "log.jsonl")
    assert [row["loss/haze"] for row in again] == [row["loss/haze"] for row in rows]
    code, _, err = command("train", "--config", recipe, "--resume", "DATA.MIX.0.REPEAT", "3")
    assert code == 2
    assert "DATA.MIX.0.REPEAT 2 -> 3" in err


def resumed(recipe: Path, *words: object) -> dict[str, torch.Tensor]:
    build_trainer(load_config(recipe, [*map(str, words)]), resume=True).fit()
    return weights_of(recipe.parent / "run")


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
    return state


def test_parts_that_have_moved_are_the_same_run_and_other_images_are_not(
    recipe: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """The same images at other paths continue bit for bit, also where parts no longer share a folder."""
    caplog.set_level("INFO")
    data, run = tmp_path / "data", tmp_path / "run"
    words = ("DATA.TRAIN", "clean[3:5]", "DATA.MIX.2.TRAIN", "''")
    build_trainer(load_config(recipe, words)).fit()
    whole = weights_of(run)
    build_trainer(load_config(recipe, words), overwrite=True).fit(until=1)
    shutil.copytree(data / "clean", data / "moved")
    (data / "pairs").rename(data / "all_pairs")
    others = shutil.copytree(data / "moved", data / "others")
    Image.fromarray(scene(32, 35, seed=99)).save(others / "1.png")
    shutil.copytree(data / "all_pairs" / "target", data / "other_pairs" / "target")
    shutil.copytree(data / "all_pairs" / "target", data / "other_pairs" / "input")

    moved = ["DATA.VAL", "moved[-2:]", "DATA.TRAIN", "moved[3:5]", "DATA.MIX.2.TRAIN", "''"]
    moved += ["DATA.MIX.1.TRAIN", "moved[:3]"]
    for key in ("TRAIN", "VAL", "TEST"):
        moved += [f"DATA.MIX.3.{key}", "all_pairs"]
    changed = {"DATA.MIX.1.TRAIN": "others[:3]", "DATA.MIX.3.TRAIN": "other_pairs", "DATA.VAL": "clean[-3:]"}
    for key, place in changed.items():
        code, _, err = command("train", "--config", recipe, "--resume", *moved, key, place)
        assert code == 2
        assert err.count("\n") == 1
        assert f"{key} {place} holds other images than" in err
    after = resumed(recipe, *moved)
    assert whole.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in whole.items())
    for line in (
        "DATA.MIX.1.TRAIN is moved[:3] and was clean[:3]: the images are the same",
        "DATA.TRAIN is moved[3:5] and was clean[3:5]: the images are the same",
        "DATA.VAL is moved[-2:] and was clean[-2:]: the images are the same",
        "DATA.MIX.3.VAL is all_pairs and was pairs: the images are the same",
    ):
        assert caplog.text.count(line) == 1
    assert "DATA.MIX.0.TRAIN is" not in caplog.text


def test_a_part_s_images_that_have_changed_in_their_place_are_reported_by_its_key(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_trainer(load_config(recipe)).fit(until=1)
    Image.fromarray(scene(32, 35, seed=99)).save(tmp_path / "data" / "clean" / "3.png")
    build_trainer(load_config(recipe), resume=True)
    found = [one.message for one in caplog.records if "other images" in one.message]
    assert found == ["DATA.MIX.2.TRAIN clean[3:5] holds other images than when this run was last started"]


def test_samples_are_those_of_the_part_s_own_kind(recipe: Path) -> None:
    cfg = load_config(recipe)
    degradation = build_degradation(cfg, bare_network(cfg))
    store, _ = build_store(settings_of(cfg).data, degradation)
    assert len(store) == 3 + 3 + 2 + 2, "clean images of one kind of reading are held once, these are of two"
    data = build_patches(settings_of(cfg), degradation, store)
    noise: dict[int, list[torch.Tensor]] = {i: [] for i in range(4)}
    for number in range(60):
        item = data[Key(0, number)]
        assert item["target"].dtype == item["y"].dtype == torch.float32
        noise[int(item["part"])].append(item["y"] - item["target"])
    assert torch.cat(noise[0]).std() * 255 == pytest.approx(15, rel=0.1)
    assert torch.cat(noise[1]).std() * 255 == pytest.approx(45, rel=0.15), "cut off, so less than 50"
    assert torch.cat(noise[2]).mean() > 0.05, "haze lightens"
    assert collate([data[Key(0, number)] for number in range(4)])["y"].shape == (4, 3, 16, 16)


@pytest.mark.parametrize("loss", [L1(), Charbonnier(1e-3)])
def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_samples(loss: Any) -> None:
    batch = {"target": torch.rand(3, 3, 8, 8), "part": torch.tensor([0, 1, 0])}
    output = Output([torch.rand(3, 3, 8, 8) for _ in range(2)], {"seen": [torch.rand(3, 2)]})
    total = TotalLoss([Term(loss, every_stage=True)])
    alone = [total(*_sample(output, batch, i, 3)) for i in range(3)]
    assert torch.stack(alone).mean() == pytest.approx(float(total(output, batch)), rel=1e-6)
    assert len(_sample(output, batch, 1, 3)[0].extras["seen"][0]) == 1


def test_what_a_part_does_not_say_is_that_of_data(recipe: Path) -> None:
    parts = parts_of(load_config(recipe, ["DATA.MIX.1.TRAIN", "other", "DATA.MIX.0.ARGS.sigma", "20"]))
    assert list(parts) == list(PARTS)
    assert (parts["strong"].DATA.TRAIN, parts["strong"].DATA.VAL) == ("other", "clean[-2:]")
    assert parts["weak"].DATA.ARGS.sigma == 20
    assert not parts["weak"].DATA.MIX


def test_two_recipes_differ_in_what_their_parts_differ_in(recipe: Path) -> None:
    a = load_config(recipe)
    assert differences(a, load_config(recipe, ["DATA.MIX.0.ARGS.blind", "false", "DATA.MIX.1.REPEAT", "1"])) == []
    assert differences(a, load_config(recipe, ["DATA.MIX.2.TRAIN", "x"])) == ["DATA.MIX.2.TRAIN clean[3:5] -> x"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["DATA.MIX", "[{TRAIN: clean}]"], "DATA.MIX.0 is a part of a mixture, such as"),
        (["DATA.MIX", "[3]"], "DATA.MIX.0 is a part of a mixture, such as"),
        (["DATA.MIX", "[{KIND: hase}]"], "DATA.MIX.0.KIND hase: no degradation is called 'hase'; did you mean haze?"),
        (["DATA.MIX", "[{KIND: haze, REPEATS: 2}]"], "there is no key DATA.MIX.0.REPEATS; did you mean REPEAT?"),
        (["DATA.MIX", "[{KIND: haze, REPEAT: 0}]"], "DATA.MIX.0.REPEAT is a whole number, 1 or more, not 0"),
        (["DATA.MIX", "[{KIND: haze, REPEAT: 1.5}]"], "DATA.MIX.0.REPEAT is a whole number"),
        (["DATA.MIX", "[{KIND: haze}, {KIND: haze}]"], "DATA.MIX.0 and DATA.MIX.1 are both called haze"),
        (["DATA.MIX", "[{KIND: haze, REPEAT: 1000000000000000000000}]"], "and at most 100,000,000 can be put in order"),
        (["DATA.MIX", "[{KIND: haze, NAME: a/b}]"], "DATA.MIX.0.NAME is a name of files, too: without /"),
        (["DATA.MIX", "[{KIND: haze, NAME: ..}]"], "DATA.MIX.0.NAME is a name of files, too: without /"),
        (["DATA.MIX", '[{KIND: haze, NAME: "a\\nb"}]'], "DATA.MIX.0.NAME is a name of files, too: without /"),
        (["DATA.MIX.0.ARGS", "[]"], "DATA.MIX.0.ARGS is a section of options and their values"),
        (["DATA.MIX.0.ARGS", "null"], "DATA.MIX.0.ARGS is a section of options and their values"),
        (["DATA.MIX.1.VAL_PROTOCOL", "none"], "DATA.MIX.1.VAL_PROTOCOL none: no protocol is called"),
        (["DATA.MIX.1.KIND", "usrnet"], "DATA.MIX strong makes smaller images"),
        (["DATA.MIX.7.REPEAT", "2"], "DATA.MIX has 4 items, counted from 0"),
        (["DATA.MIX.0.ARGS.sigmas", "2"], "DATA.MIX.0: DATA.ARGS.sigmas: gaussian has no such option"),
        (["DATA.MIX.0.KIND", "usrnet"], "DATA.MIX"),
        (["DATA.MIX.0.KIND", "compressive_sensing"], "samples of DATA.KIND compressive_sensing hold image"),
        (["DATA.MIX.2.TRAIN", "nowhere"], "nowhere"),
        (["DATA.MIX.3.VAL", "clean"], "DATA.MIX paired: VAL clean (for the protocol aio): "),
        (["DATA.MIX.0.VAL", "nowhere"], "DATA.MIX weak: VAL nowhere (for the protocol gaussian_denoise): "),
        (["DATA.REDUCED", "[0.5]"], "DATA.REDUCED makes copies of clean images, and DATA.MIX says how often"),
        (["TRAIN.MIXUP", "0.5"], "TRAIN.MIXUP blends images"),
        (["DATA.MULTIPLE", "0"], "DATA.MULTIPLE must be greater than 0"),
        (["DATA.MULTIPLE", "64"], "below 64 pixels, and DATA.MULTIPLE leaves nothing of those"),
    ],
)
def test_parts_that_do_not_mix_are_one_line(
    recipe: Path, command: Command, words: list[str], said: str, tmp_path: Path
) -> None:
    code, _, err = command("train", "--config", recipe, *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "noted"),
    [
        (["DATA.TRAIN", "clean"], "DATA.TRAIN clean has no effect, as every part of DATA.MIX has its own"),
        (["DATA.ARGS.sigma", "20"], "DATA.ARGS {'sigma': 20} has no effect"),
        (["DATA.KIND", "haze"], "DATA.KIND haze has no effect"),
        (["DATA.VAL", "clean[-1:]"], ""),
        (["DATA.TRAIN", "clean", "DATA.MIX.1.TRAIN", "''"], ""),
    ],
)
def test_a_key_beside_the_mixture_that_no_part_takes_is_reported(recipe: Path, words: list[str], noted: str) -> None:
    found = unused_in_mixture(load_config(recipe, words))
    assert len(found) == bool(noted)
    assert all(noted in line for line in found)


def test_what_a_run_needs_is_listed_part_by_part(recipe: Path, command: Command) -> None:
    code, out, _ = command("train", "--config", recipe, "--fetch", "DATA.MIX.3.TRAIN", "nowhere")
    assert code == 0
    assert "DATA.MIX haze TRAIN   clean[3:5]: here" in out
    assert "DATA.MIX paired TRAIN nowhere: not here (" in out


def test_a_folder_given_for_all_parts_is_refused_where_a_part_has_its_own(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    assert command("train", "--config", recipe, "TRAIN.EPOCHS", "1")[0] == 0
    weights = tmp_path / "run" / "checkpoints" / "last.pth"
    code, _, err = command("test", "--config", recipe, "--weights", weights, "--data", "clean")
    assert code == 2
    assert "parts of DATA.MIX have a TEST of their own" in err
