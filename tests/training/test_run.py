"""A run: the same weights from the same seed, stopped or not, and files that are whole."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from unfold import load_model
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.models.unfolding import Output
from unfold.training import checkpoint, trainer
from unfold.training.log import RunLog, read_log
from unfold.training.processes.run_lock import only_training
from unfold.training.setup.build_run import _prepare_folder, build_trainer
from unfold.weights.read_checkpoint import read_checkpoint

Command = Callable[..., tuple[int, str, str]]


def train(recipe: Path, *overrides: object, until: int | None = None, **options: bool) -> dict[str, Any]:
    cfg = load_config(recipe, [str(value) for value in overrides])
    build_trainer(cfg, **options).fit(until)
    return content_of(Path(cfg.OUTPUT) / "checkpoints" / "last.pth")


def content_of(path: Path) -> dict[str, Any]:
    checkpoint = read_checkpoint(path)
    return {"state_dict": checkpoint.state, **checkpoint.content}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_times(folder: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "images_per_s", "data_wait")}
        for row in read_log(folder / "log.jsonl")
    ]


def test_training_twice_with_one_seed_gives_identical_weights(recipe: Path, tmp_path: Path) -> None:
    first = train(recipe)["state_dict"]
    assert same(first, train(recipe, "OUTPUT", tmp_path / "again")["state_dict"])
    assert not same(first, train(recipe, "OUTPUT", tmp_path / "other", "SEED", 1)["state_dict"])
    assert without_times(tmp_path / "run") == without_times(tmp_path / "again")


def test_stopping_after_epoch_2_and_resuming_gives_the_weights_of_not_stopping(recipe: Path, tmp_path: Path) -> None:
    whole = train(recipe)
    part = train(recipe, "OUTPUT", tmp_path / "part", until=2)
    assert part["epoch"] == 2
    assert not same(part["state_dict"], whole["state_dict"])
    resumed = train(recipe, "OUTPUT", tmp_path / "part", resume=True)
    assert same(resumed["state_dict"], whole["state_dict"])
    assert resumed["best"] == whole["best"]
    for a, b in zip(resumed["optimizer"]["state"].values(), whole["optimizer"]["state"].values(), strict=True):
        assert same(a, b)
    assert without_times(tmp_path / "part") == without_times(tmp_path / "run")


def test_workers_and_stage_checkpointing_do_not_change_the_weights(recipe: Path, tmp_path: Path) -> None:
    plain = train(recipe, "TRAIN.EPOCHS", 1)["state_dict"]
    workers = train(recipe, "TRAIN.EPOCHS", 1, "TRAIN.WORKERS", 1, "OUTPUT", tmp_path / "workers")["state_dict"]
    assert same(plain, workers)
    saved = train(recipe, "TRAIN.EPOCHS", 1, "TRAIN.CHECKPOINT_STAGES", "true", "OUTPUT", tmp_path / "saved")
    assert all(torch.allclose(plain[k], saved["state_dict"][k], atol=1e-6) for k in plain)


def test_the_run_folder_holds_config_log_curve_and_both_checkpoints(recipe: Path, tmp_path: Path) -> None:
    train(recipe, "TRAIN.VALIDATE_EVERY", 2)
    folder = tmp_path / "run"
    assert load_config(folder / "config.yaml") == load_config(recipe, ["TRAIN.VALIDATE_EVERY", "2"])
    rows = read_log(folder / "log.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["val_psnr"] is not None for row in rows] == [False, True, True], "every second epoch, and the last"
    assert rows[2]["lr"] == pytest.approx(1e-6 + (2e-3 - 1e-6) / 2)
    best = max((row for row in rows if row["val_psnr"] is not None), key=lambda row: row["val_psnr"])
    assert content_of(folder / "checkpoints" / "best.pth")["epoch"] == best["epoch"]
    with Image.open(folder / "curve.png") as picture:
        assert picture.size == (1440, 300)
    net = load_model(folder / "checkpoints" / "last.pth")
    assert net.stages == 3
    assert not net.training
    assert net(torch.rand(1, 3, 20, 20)).shape == (1, 3, 20, 20)


def test_bfloat16_trains_and_keeps_float32_weights(recipe: Path, tmp_path: Path) -> None:
    state = train(recipe, "TRAIN.PRECISION", "bfloat16")["state_dict"]
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in state.values())


@pytest.mark.slow
def test_a_few_epochs_on_small_pictures_learn_to_denoise(recipe: Path, tmp_path: Path) -> None:
    train(recipe, "TRAIN.EPOCHS", 12, "TRAIN.PATCHES", 120, "TRAIN.BATCH", 4)
    rows = read_log(tmp_path / "run" / "log.jsonl")
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["val_psnr"] > 26, "the noisy input has 20.2 dB"


def test_the_trainer_is_built_as_the_config_says(recipe: Path) -> None:
    words = "TRAIN.PRECISION bfloat16 TRAIN.CHECKPOINT_STAGES true TRAIN.WORKERS 2 TRAIN.BATCH 3 OPTIM.BETAS [0.5,0.6]"
    words += " OPTIM.WEIGHT_DECAY 0.01 LOSS.EPS 0.5 TRAIN.PATCH 24 TRAIN.PATCHES 9 SEED 7 DATA.SIGMA 50"
    run = build_trainer(load_config(recipe, words.split()))
    assert run.update.autocast
    assert run.update.net.checkpoint_stages
    sampler = run.loader.batch_sampler
    assert (run.loader.num_workers, sampler.batch, sampler.length, sampler.seed) == (2, 3, 9, 7)
    group = run.update.optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.5, 0.6), 0.01, 2e-3)
    patches = run.loader.dataset
    assert (patches.patch, patches.seed) == (24, 7)
    zero = torch.zeros(1, 3, 2, 2)
    assert run.update.loss(Output([zero, zero], {}), {"target": zero}).item() == pytest.approx(1.0), (
        "two stages at eps 0.5"
    )
    assert run.about["protocol"] == {"sigma": 50.0}
    assert run.about["model"]["arguments"]["width"] == 8


def test_best_is_kept_when_later_epochs_are_worse(recipe: Path, tmp_path: Path) -> None:
    run = build_trainer(load_config(recipe, ["TRAIN.EPOCHS", "4"]))
    scripted = iter([30.0, 30.0, 29.0, 29.0, 31.0, 31.0, 28.0, 28.0])
    run.validate = lambda: {"a": next(scripted) - 1, "b": next(scripted) + 1}
    run.fit()
    best = content_of(tmp_path / "run" / "checkpoints" / "best.pth")
    assert (best["epoch"], best["best"]) == (3, 31.0)
    assert content_of(tmp_path / "run" / "checkpoints" / "last.pth")["epoch"] == 4


def test_a_run_is_not_overwritten_unless_asked(recipe: Path, tmp_path: Path) -> None:
    first = train(recipe)
    with pytest.raises(UnfoldError, match="already holds a run"):
        train(recipe)
    (tmp_path / "run" / "checkpoints" / "last.pth").unlink()
    with pytest.raises(UnfoldError, match="already holds a run"):
        train(recipe)
    mine = tmp_path / "run" / "checkpoints" / "mine.pth"
    mine.touch()
    (tmp_path / "run" / "code").mkdir()
    (tmp_path / "run" / "code" / "of_before.py").touch()
    again = train(recipe, "TRAIN.EPOCHS", 2, overwrite=True)
    assert (first["epoch"], again["epoch"]) == (3, 2)
    assert len(read_log(tmp_path / "run" / "log.jsonl")) == 2
    assert mine.exists()
    assert not (tmp_path / "run" / "code").exists(), "it was of the run that is gone"


def test_one_training_at_a_time_writes_into_a_folder(recipe: Path, tmp_path: Path) -> None:
    train(recipe, until=1)
    folder = tmp_path / "run"
    begun = build_trainer(load_config(recipe, []), resume=True)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with only_training(folder):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(UnfoldError, match=r"another training is writing into .*run: wait until it ends, or"):
                train(recipe, **options)
        with pytest.raises(UnfoldError, match="another training is writing"):
            begun.fit()
        build_trainer(load_config(recipe, []), overwrite=True, dry=True)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    begun.fit()


def test_resuming_needs_the_same_run(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UnfoldError, match="nothing to resume"):
        train(recipe, resume=True)
    train(recipe, until=1)
    with pytest.raises(UnfoldError, match=r"config differs: (?=.*TRAIN.BATCH 2 -> 3)(?=.*OPTIM.LR 0.002 -> 0.1)"):
        train(recipe, "TRAIN.BATCH", 3, "OPTIM.LR", 0.1, resume=True)
    assert train(recipe, "DEVICE", "auto", "TEST.BASELINES", "[tv]", resume=True)["epoch"] == 3
    assert train(recipe, resume=True)["epoch"] == 3, "a run that is done stays done"


def test_a_step_that_is_not_finite_is_skipped_and_counted(recipe: Path, tmp_path: Path) -> None:
    run = build_trainer(load_config(recipe, ["TRAIN.EPOCHS", "2"]))
    finite, calls = run.update.loss, iter(range(6))
    run.update.loss = lambda stages, target: finite(stages, target) * (math.nan if next(calls) == 4 else 1)
    run.fit()
    rows = read_log(tmp_path / "run" / "log.jsonl")
    assert [row["skipped"] for row in rows] == [0, 1]
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert {int(state["step"]) for state in run.update.optimizer.state.values()} == {5}


def test_many_such_steps_in_a_row_stop_the_run_and_name_the_samples(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "BAD_IN_A_ROW", 2)
    good = train(recipe, until=1)["state_dict"]
    cfg = load_config(recipe)
    run = build_trainer(cfg, resume=True)
    finite = run.update.loss
    run.update.loss = lambda stages, target: finite(stages, target) * math.nan
    with pytest.raises(UnfoldError, match=r"in 2 steps one after the other, up to step 5;.*: 1:0, 1:1, 1:2, 1:3\. "):
        run.fit()
    assert same(content_of(tmp_path / "run" / "checkpoints" / "last.pth")["state_dict"], good)


def test_weights_that_are_not_finite_are_never_written(recipe: Path, tmp_path: Path) -> None:
    good = train(recipe, until=1)["state_dict"]
    run = build_trainer(load_config(recipe), resume=True)
    run.update.optimizer.param_groups[0]["lr"] = math.inf  # the gradient is finite, what it leaves behind is not
    with pytest.raises(UnfoldError, match="weights became infinite or NaN before step 6"):
        run.fit()
    assert same(content_of(tmp_path / "run" / "checkpoints" / "last.pth")["state_dict"], good)


def test_a_checkpoint_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pth"
    checkpoint.save_checkpoint(path, {"epoch": 1})

    def break_off(content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", break_off)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save_checkpoint(path, {"epoch": 2})
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]


def test_a_full_disk_ends_in_one_line(recipe: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: object, keep: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(trainer, "save_checkpoint", full)
    code, _, err = command("train", "--config", recipe)
    assert code == 2
    assert "the disk is full; make room and use --resume" in err
    assert "Traceback" not in err


def test_a_file_system_that_takes_no_more_leaves_the_old_checkpoint_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    checkpoint.save_checkpoint(path, {"w": torch.zeros(3), "step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as error:  # torch says: unexpected pos 64 vs 0
            checkpoint.save_checkpoint(path, {"w": torch.zeros(100_000), "step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.filename == str(path)
    assert torch.load(path, weights_only=True)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]


def test_curve_and_left_out_are_whole_or_absent(
    recipe: Path, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pictures, tmp_path / "some_bad")
    (tmp_path / "some_bad" / "bad.png").write_bytes(b"none")
    words = ("DATA.SKIP_BAD", "true", "DATA.TRAIN", str(tmp_path / "some_bad"))
    train(recipe, *words, until=1)
    run, names = tmp_path / "run", ("curve.png", "left_out.txt")
    before = {name: (run / name).read_bytes() for name in names}
    assert b"bad.png is not an image" in before["left_out.txt"]
    trainer = build_trainer(load_config(recipe, words), resume=True)

    def break_off(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", break_off)
    with pytest.raises(OSError, match="No space"):
        trainer.log.draw()
    with pytest.raises(UnfoldError, match="No space"):
        _prepare_folder(run, load_config(recipe, words), ["another"], fresh=False)
    assert {name: (run / name).read_bytes() for name in names} == before
    assert list(run.rglob(".*.part")) == []


def test_a_log_cut_short_by_a_crash_is_read_up_to_the_cut(tmp_path: Path) -> None:
    rows = [{"epoch": e, "step": 3 * e, "loss": 1.0 / e, "val_psnr": None} for e in (1, 2, 3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "log.jsonl").write_text(text[:-8])
    assert RunLog(tmp_path, step=5).rows == rows[:1]
    assert read_log(tmp_path / "log.jsonl") == rows[:1]
    assert RunLog(tmp_path).rows == []


@pytest.mark.slow
def test_a_killed_run_resumes_from_the_command_line(recipe: Path, tmp_path: Path) -> None:
    whole = train(recipe, "TRAIN.EPOCHS", 40)["state_dict"]
    again = ["--config", str(recipe), "TRAIN.EPOCHS", "40", "OUTPUT", str(tmp_path / "killed")]
    log = tmp_path / "killed" / "log.jsonl"
    unfold = [sys.executable, "-m", "unfold", "train"]
    with subprocess.Popen([*unfold, *again], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        while len(read_log(log)) < 3 and run.poll() is None:
            time.sleep(0.01)
        run.kill()
    assert 3 <= len(read_log(log)) < 40
    subprocess.run([*unfold, "--resume", *again], check=True, capture_output=True)
    killed = content_of(tmp_path / "killed" / "checkpoints" / "last.pth")
    assert killed["epoch"] == 40
    assert same(killed["state_dict"], whole)
