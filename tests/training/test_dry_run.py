"""`unfold train --check`, and mistakes in a recipe that are reported before anything is read or written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ranks import commands, ended, start
from unfold.config import dumped, load_config
from unfold.errors import UnfoldError
from unfold.losses import vgg_features
from unfold.settings import settings_of
from unfold.training import dry_run
from unfold.training.checkpoint import save_checkpoint, size_on_disk
from unfold.training.dry_run import Step, check_run, sent, sizes_to_try, step_seconds
from unfold.training.memory_count import smallest_patch
from unfold.training.processes.distributed import Processes
from unfold.training.setup.build_parts import build_rate
from unfold.training.setup.build_run import build_trainer
from unfold.training.setup.settings_check import without_effect

Command = Callable[..., tuple[int, str, str]]
# 0 is as published: the recipe's keys are for another network.
USRNET = "MODEL.NAME usrnet_tiny DATA.KIND usrnet MODEL.WIDTH 0 MODEL.GROWTH 0 MODEL.TAIL 0 MODEL.OPERATOR_WIDTH 0"
CS = "MODEL.NAME dgunet_cs DATA.KIND compressive_sensing MODEL.OPERATOR_WIDTH 0"


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_check_reports_what_the_run_will_take_and_writes_nothing(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    before = files(tmp_path)
    code, out, err = command("train", "--check", "--config", recipe, "TRAIN.EMA", "0.9")
    assert code == 0, err
    for expected in (
        r"network +dgunet_denoise, 150,652 parameters, float32 on cpu",
        r"first steps +1 of 8x8: loss 0\.\d+, then 0\.\d+",
        r"memory +\d+ MB for a step of 2 of 16x16 \(estimated\); [\d.]+ [MG]B are free",
        r"step +\S+ s for 2 of 16x16 \(estimated\), by \S+ s for 1 of 16x16 and \S+ s for 2 of 16x16",
        r"validation +\S+ s and \d+ MB for picture0 \(estimated\); 3 times 3",
        r"run +9 steps, \S+ minutes \(estimated\)",
        r"disk +\d+ MB for a checkpoint",
    ):
        assert re.search(expected, out), expected
    assert files(tmp_path) == before
    assert not (tmp_path / "run").exists()


def test_a_check_leaves_a_run_that_is_there_as_it_is(recipe: Path, tmp_path: Path) -> None:
    cfg = load_config(recipe)
    build_trainer(cfg).fit(1)
    before = files(tmp_path)
    assert "9 steps" in check_run(cfg), "it writes nothing, so that a run may lie there"
    assert "9 steps" in check_run(cfg, overwrite=True)
    assert "6 steps" in check_run(cfg, resume=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "least", "sizes"),
    [
        ("TRAIN.PATCH 48", 8, [(8, 1), (16, 1), (32, 1), (48, 1), (48, 2), (48, 4), (48, 5)]),
        ("TRAIN.PATCH 72 DATA.KIND usrnet MODEL.NAME usrnet TRAIN.BATCH 1", 36, [(36, 1), (72, 1)]),
        ("TRAIN.PATCH 40 DATA.KIND nrl_gdn MODEL.NAME nrl_gdn TRAIN.BATCH 1", 25, [(25, 1), (40, 1)]),
        (
            "TRAIN.PATCH 64 DATA.KIND compressive_sensing MODEL.NAME dgunet_cs TRAIN.BATCH 1",
            32,
            [(32, 1), (64, 1)],
        ),
        ("TRAIN.PATCH 16 TRAIN.ACCUMULATE 3", 8, [(8, 1), (16, 1), (16, 2)]),
        ("TRAIN.PATCH 96 LOSS.ADVERSARIAL 1 TRAIN.BATCH 2", 96, [(96, 1), (96, 2)]),
    ],
)
def test_steps_begin_with_one_of_the_smallest_legal_patches_and_end_with_the_recipes(
    tmp_path: Path, words: str, least: int, sizes: list[tuple[int, int]]
) -> None:
    (tmp_path / "r.yaml").write_text("TRAIN: {BATCH: 5}")
    cfg = load_config(tmp_path / "r.yaml", words.split())
    assert smallest_patch(cfg) == least
    assert list(sizes_to_try(cfg)) == sizes


def test_a_step_is_a_constant_for_each_part_and_a_time_for_each_pixel(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("TRAIN: {BATCH: 6, PATCH: 64, ACCUMULATE: 3, PATCHES: 12}")
    train = settings_of(load_config(tmp_path / "r.yaml")).train

    def step(patch: int, batch: int) -> Step:
        return Step(patch, batch, 0.2 + 1e-5 * batch * patch**2, 0.0)

    assert step_seconds(train, [step(8, 1), step(16, 1), step(32, 1)]) == pytest.approx(3 * 0.2 + 1e-5 * 6 * 64**2)
    superlinear = [Step(8, 1, 0.1, 0.0), Step(64, 2, 9.0, 0.0)]
    assert step_seconds(train, superlinear) == pytest.approx(27.0)
    slower = [Step(8, 1, 1.0, 0.0), Step(16, 1, 0.5, 0.0)]  # a busy machine
    assert step_seconds(train, slower) == pytest.approx(0.5 * 6 * 64**2 / 16**2)


def test_of_an_image_that_would_take_too_long_a_part_is_restored(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "PATIENCE", 1e-9)
    monkeypatch.setattr(dry_run, "LEAST", 16)
    out = check_run(load_config(recipe, ["TRAIN.PATCH", "8", "TRAIN.BATCH", "1"]))
    assert f"for picture0 (estimated, from {16 * 16 / (48 * 40):.0%} of its pixels)" in out


def test_first_steps_that_are_not_finite_are_an_error(recipe: Path, tmp_path: Path, command: Command) -> None:
    build_trainer(load_config(recipe)).fit(1)
    content = torch.load(tmp_path / "run" / "checkpoints" / "last.pth")
    bad = {name: value * float("nan") for name, value in content["state_dict"].items()}
    torch.save({"state_dict": bad}, tmp_path / "bad.pth")
    code, _, err = command("train", "--check", "--overwrite", "--init", tmp_path / "bad.pth", "--config", recipe)
    assert code == 2
    assert "not finite" in err or "infinite or NaN" in err
    assert err.count("\n") == 1


def test_the_size_of_a_checkpoint_is_that_of_its_file(tmp_path: Path) -> None:
    content: dict[str, Any] = {"state_dict": {str(i): torch.rand(100 * i) for i in range(1, 9)}, "step": 3}
    save_checkpoint(tmp_path / "last.pth", content)
    assert size_on_disk(content) == pytest.approx((tmp_path / "last.pth").stat().st_size, rel=0.02)


def test_a_check_of_several_processes_reports_the_memory_of_each_and_what_they_exchange(
    recipe: Path, tmp_path: Path
) -> None:
    words = ["train", "--check", "--config", str(recipe), "TRAIN.BATCH", "6", "TRAIN.PATCHES", "24"]
    (code, out, err), (other, silent, _) = ended(start(2, tmp_path / "ranks", commands, words), tmp_path / "ranks")
    assert (code, other, silent) == (0, 0, ""), err
    for expected in (
        r"processes +2 on 1 machine, of each step 3 of 16x16 at most in each",
        r"memory +\d+ MB in each process for its part \(estimated\); free are 0: [\d.]+ [MG]B, 1: [\d.]+ [MG]B",
        # 150,652 parameters of 4 bytes: of two processes, each sends as much as there is.
        r"all-reduce +1 MB of gradients a step, of which each process sends 1 MB: 0\.19 ms at 25 Gb/s, 0\.012 ms",
        r"here \(measured",
        r"run +12 steps",
    ):
        assert re.search(expected, out), (expected, out)
    assert not (tmp_path / "run").exists()


def test_a_ring_sends_twice_what_the_others_hold() -> None:
    assert [sent(800, world) for world in (1, 2, 8)] == [0, 800, 1400]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("TRAIN.PATCH 7", "TRAIN.PATCH 7 is below the 8 pixels that dgunet_denoise needs"),
        ("DATA.TRAIN nowhere", "command line: DATA.TRAIN nowhere: there is no folder nowhere"),
        ("DATA.TRAIN nowhere.h5", "nowhere.h5: `unfold data prepare cache` makes one"),
        (
            "DATA.VAL nowhere",
            "DATA.VAL nowhere (for the protocol gaussian_denoise): there is no folder nowhere",
        ),
        ("DATA.VAL_PROTOCOL dnd", "DATA.VAL_PROTOCOL dnd has no references"),
        ("DEVICE cuda:99", "the device cuda:99 cannot be used here"),
        ("MODEL.RATIO 10", "MODEL.ARGS.ratio: dgunet_denoise has no such option"),
        ("DATA.KIND compressive_sensing TRAIN.PATCH 32", "dgunet_denoise takes y, and samples of DATA.KIND"),
        (
            f"{CS} TRAIN.PATCH 33",
            "TRAIN.PATCH must be a multiple of 32",
        ),
        (f"{USRNET} TRAIN.PATCH 32", "TRAIN.PATCH must be a multiple of all DATA.ARGS.scales"),
        (f"{USRNET} TRAIN.PATCH 36 TRAIN.MIXUP 1", "TRAIN.MIXUP blends images, and samples of DATA.KIND usrnet"),
        (
            "DATA.KIND nrl_gdn TRAIN.PATCH 32 TRAIN.MIXUP 1",
            "TRAIN.MIXUP blends images, and samples of DATA.KIND nrl_gdn",
        ),
        (
            f"{CS} TRAIN.MIXUP 1 TRAIN.PATCH 32",
            "DATA.KIND compressive_sensing are more",
        ),
        ("TRAIN.ACCUMULATE 3", "TRAIN.ACCUMULATE must not exceed TRAIN.BATCH, 2, and is 3"),
        ("OUTPUT {recipe}/run", "tiny.yaml/run cannot be written:"),
    ],
)
def test_invalid_settings_are_one_line_before_the_training_set_is_read(
    recipe: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, words: str, expected: str
) -> None:
    monkeypatch.setattr("unfold.from_config.read_store", lambda *arguments: pytest.fail("it is being read"))
    words = words.format(recipe=recipe)
    code, _, err = command("train", "--check", "--config", recipe, *words.split())
    assert (code, err) == command("train", "--config", recipe, *words.split())[::2]
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_missing_training_set_is_reported_before_the_validation_set_is_read(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "unfold.training.setup.build_run.check_cases", lambda *arguments: pytest.fail("it is being read")
    )
    with pytest.raises(UnfoldError, match="there is no folder nowhere"):
        build_trainer(load_config(recipe, ["DATA.TRAIN", "nowhere"]))


def test_more_processes_than_patches_in_a_step_are_refused(recipe: Path) -> None:
    with pytest.raises(UnfoldError, match=r"3 processes share batches of 2 patches \(TRAIN.PATCHES 6, TRAIN.BATCH 2\)"):
        build_trainer(load_config(recipe, ["TRAIN.BATCH", "2"]), processes=Processes(1, 3))


def test_weights_of_another_network_are_not_resumed_and_reported_before_the_training_set_is_read(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_trainer(load_config(recipe)).fit(1)
    monkeypatch.setattr("unfold.from_config.read_store", lambda *arguments: pytest.fail("it is being read"))
    wider = load_config(recipe, ["MODEL.ARGS.width", "12"])
    with pytest.raises(UnfoldError, match=r"config differs: MODEL\.ARGS\.width 8 -> 12 \(--overwrite starts again"):
        build_trainer(wider, resume=True)
    (tmp_path / "run" / "config.yaml").write_text(dumped(wider))
    with pytest.raises(UnfoldError, match=r"last\.pth"):
        build_trainer(wider, resume=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("SCHEDULE.WARMUP 3", "SCHEDULE.WARMUP 3 lasts no shorter than the run, 3 epochs"),
        (
            "SCHEDULE.NAME multistep SCHEDULE.ARGS.milestones [1,2,9] SCHEDULE.WARMUP 0",
            "SCHEDULE.ARGS: milestones [9] lie beyond the run, 3 epochs",
        ),
        ("TRAIN.BATCH 8", "TRAIN.BATCH 8 is more than TRAIN.PATCHES 6: each step has 6"),
        ("TRAIN.MIXUP 1", "TRAIN.MIXUP begins after 5 epochs, and the run has 3"),
        ("TRAIN.MIXUP 1 TRAIN.MIXUP_AFTER 0 TRAIN.BATCH 1", "TRAIN.MIXUP blends samples of one batch"),
        ("", ""),
        ("TRAIN.VALIDATE_EVERY 99 TRAIN.SAVE_EVERY 99 LOSS.EDGE 0.1 TRAIN.ITERATIONS 9 SCHEDULE.WARMUP 8", ""),
    ],
)
def test_settings_without_effect_are_reported_and_not_refused(
    recipe: Path, words: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = load_config(recipe, words.split())
    settings = settings_of(cfg)
    found = without_effect(settings.train, settings.schedule.warmup, build_rate(cfg))
    assert len(found) == bool(expected)
    build_trainer(cfg, dry=True)
    assert all(expected in text and text in caplog.text for text in found)


def test_fetching_says_what_is_here_and_trains_nothing(
    recipe: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    code, out, err = command("train", "--fetch", "--config", recipe, "--init", "usrnet_tiny_small", "DATA.TEST", "none")
    assert code == 0, err
    for expected in (
        rf"cache +{tmp_path / 'cache'}",
        r"weights +usrnet_tiny_small of --init: .*usrnet_tiny_small\.safetensors",
        r"DATA.TRAIN .*pictures: here",
        r"DATA.TEST +none: not here \(there is no folder none",
        "nothing else is needed from a network",
    ):
        assert re.search(expected, out), (expected, out)
    assert not (tmp_path / "run").exists()


def test_fetching_brings_vgg19_into_the_shared_cache_and_a_run_finds_it_there(
    recipe: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = ["LOSS.TERMS", "[{NAME: l1}, {NAME: perceptual}]"]
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    asked: list[Path] = []

    def stand_in(url: str, target: Path, sha256: str | None) -> str:
        asked.append(target)
        raise UnfoldError("no network")

    monkeypatch.setattr(vgg_features, "download", stand_in)
    code, _, err = command("train", "--fetch", "--config", recipe, "TRAIN.PATCH", "16", *loss)
    assert code == 2
    assert "no network" in err
    (target,) = asked
    assert target.parent == tmp_path / "cache" / "weights"
    monkeypatch.delenv("UNFOLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with pytest.raises(UnfoldError, match="no network"):
        vgg_features._torchvisions()
    assert asked[1].parent == tmp_path / "torch" / "checkpoints"
