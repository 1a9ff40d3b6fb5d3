"""A run that is stopped or killed at any step ends as the one that was not: weights, optimiser, best score and log."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.from_config import bare_network, build_degradation, build_test
from unfold.training.checkpoint import newest_good, read_run, save_checkpoint
from unfold.training.log import read_log
from unfold.training.processes.signals import Stopped
from unfold.training.setup.build_run import build_trainer
from unfold.training.trainer import Trainer

TIMING = ("seconds", "images_per_s", "data_wait")
ALL_AT_ONCE = "TRAIN.EMA 0.9 TRAIN.ACCUMULATE 2 TRAIN.BATCH 4 TRAIN.PATCHES 14 OPTIM.CLIP 0.1 TRAIN.EPOCHS 2"
IN_STEPS = "TRAIN.ITERATIONS 7 SCHEDULE.NAME multistep SCHEDULE.MILESTONES [2,5] SCHEDULE.WARMUP 0"
MIXUP = "TRAIN.MIXUP 0.6 TRAIN.MIXUP_AFTER 1"


class Killed(Exception):
    """Stands for a kill: nothing that was in memory is kept."""


def build(recipe: Path, folder: Path, words: str, **options: Any) -> Trainer:
    return build_trainer(load_config(recipe, [*words.split(), "OUTPUT", str(folder)]), **options)


def result(folder: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Every tensor of the last checkpoint, its counters, and the log without times."""
    checkpoint = read_run(folder / "checkpoints" / "last.pth")
    tensors = dict(checkpoint.state)
    for number, state in checkpoint.content["optimizer"]["state"].items():
        tensors |= {f"{number}/{name}": value for name, value in state.items()}
    tensors |= checkpoint.content.get("trained", {})
    tensors["best"] = torch.tensor(checkpoint.content["best"], dtype=torch.float64)
    tensors["step"] = torch.tensor(checkpoint.content["step"])
    rows = [{k: v for k, v in row.items() if k not in TIMING} for row in read_log(folder / "log.jsonl")]
    return tensors, rows


def assert_same(a: Path, b: Path) -> None:
    (tensors, rows), (others, other_rows) = result(a), result(b)
    assert tensors.keys() == others.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], others[name])] == []
    assert rows == other_rows


def kill_at(trainer: Trainer, step: int) -> None:
    update = trainer.update

    def dying(batch: dict[str, Any], share: float) -> Tensor:
        if trainer.step == step:
            raise Killed
        return update(batch, share)

    trainer.update = dying  # type: ignore[assignment]
    for name in ("net", "optimizer", "average", "weights", "state", "bad_in_a_row"):
        setattr(dying, name, getattr(update, name))
    dying.bad_in_a_row = torch.zeros(())  # type: ignore[attr-defined]
    with pytest.raises(Killed):
        trainer.fit()


@pytest.mark.parametrize("words", ["", ALL_AT_ONCE, IN_STEPS, MIXUP], ids=["plain", "all", "steps", "mixup"])
def test_killed_at_every_step_in_turn(recipe: Path, tmp_path: Path, words: str) -> None:
    words = f"{words} TRAIN.SAVE_EVERY 2"
    whole = build(recipe, tmp_path / "whole", words)
    whole.fit()
    for step in range(whole.steps):
        kill_at(build(recipe, tmp_path / "killed", words, resume="auto"), step)
    build(recipe, tmp_path / "killed", words, resume=True).fit()
    assert_same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("workers", [0, 2])
def test_asked_to_stop_inside_an_epoch(recipe: Path, tmp_path: Path, workers: int) -> None:
    words = f"{ALL_AT_ONCE} TRAIN.WORKERS {workers}"
    build(recipe, tmp_path / "whole", words.replace(f"WORKERS {workers}", "WORKERS 0")).fit()
    trainer = build(recipe, tmp_path / "stopped", words)
    render = trainer.render

    def asking(batch: dict[str, Any], epoch: int, step: int) -> dict[str, Any]:
        if (epoch, step) == (1, 1):
            signal.raise_signal(signal.SIGTERM)
        return render(batch, epoch, step)

    trainer.render = asking
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped by SIGTERM after step 6 of 8; --resume auto continues"):
        trainer.fit()
    assert signal.getsignal(signal.SIGTERM) == before
    again = build(recipe, tmp_path / "stopped", words, resume=True)
    assert again.step == 6
    again.fit()
    assert_same(tmp_path / "whole", tmp_path / "stopped")


def test_the_log_is_cut_back_to_the_checkpoint(recipe: Path, tmp_path: Path) -> None:
    build(recipe, tmp_path / "run", "").fit(until=1)
    log = tmp_path / "run" / "log.jsonl"
    first = log.read_text()
    log.write_text(first + first.replace('"step": 3', '"step": 6') + '{"epoch": 3, "st')
    assert len(build(recipe, tmp_path / "run", "", resume=True).log.rows) == 1
    assert log.read_text() == first


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(recipe, tmp_path / "whole", "").fit()
    build(recipe, tmp_path / "run", "").fit(until=2)
    last = tmp_path / "run" / "checkpoints" / "last.pth"
    last.write_bytes(last.read_bytes()[:-1000])
    trainer = build(recipe, tmp_path / "run", "", resume=True)
    assert "last.pth is damaged" in caplog.text
    assert "going back to the one before" in caplog.text
    assert trainer.step == 3
    trainer.save()
    steps = [read_run(path).content["step"] for path in last.parent.glob("last*.pth")]
    assert steps == [3, 3], "the damaged one is pushed out, not the good one"
    trainer.fit()
    assert_same(tmp_path / "whole", tmp_path / "run")
    for path in last.parent.glob("last*.pth"):
        path.write_bytes(b"PK")
    with pytest.raises(UnfoldError, match=r"no checkpoint in .* is whole"):
        build(recipe, tmp_path / "run", "", resume="auto")


def test_the_newest_few_stay_and_each_carries_a_digest_that_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    content = {"state_dict": {"w": torch.zeros(3)}, "optimizer": {"state": {0: {"m": torch.ones(2)}}}, "best": 1.0}
    for step in range(5):
        save_checkpoint(path, {**content, "step": step}, keep=3)
    found = [read_run(tmp_path / name).content["step"] for name in ("last.pth", "last-1.pth", "last-2.pth")]
    assert found == [4, 3, 2]
    assert len(list(tmp_path.iterdir())) == 3
    path.unlink()
    good = newest_good(tmp_path)
    assert good is not None
    assert good[1].content["step"] == 3
    whole = torch.load(tmp_path / "last-1.pth", weights_only=True)
    whole["optimizer"]["state"][0]["m"][1] = 2
    torch.save(whole, path)
    with pytest.raises(UnfoldError, match=r"last\.pth is damaged: its numbers are not those that were written"):
        read_run(path)


def test_weights_that_are_averaged_are_those_that_are_kept_and_validated(recipe: Path, tmp_path: Path) -> None:
    words = "TRAIN.EMA 0.5 TRAIN.EPOCHS 1"
    trainer = build(recipe, tmp_path / "run", words)
    begin = {name: value.clone() for name, value in trainer.update.net.state_dict().items()}
    seen, validate = [], trainer.validate
    trainer.validate = lambda: seen.append(trainer.update.net.r0.item()) or validate()
    history = []
    update = trainer.update
    apply = update._apply

    def recording() -> Tensor:
        norm = apply()
        history.append(update.net.r0.item())
        return norm

    update._apply = recording  # type: ignore[method-assign]
    trainer.fit()
    mean = begin["r0"].item()
    assert len(history) == 3
    for decay, value in zip((1 / 10, 2 / 11, 3 / 12), history, strict=True):  # which begins below 0.5
        mean = decay * mean + (1 - decay) * value
    assert seen == [pytest.approx(mean, abs=1e-7)]
    checkpoint = read_run(tmp_path / "run" / "checkpoints" / "last.pth")
    assert checkpoint.state["r0"].item() == pytest.approx(mean, abs=1e-7)
    assert checkpoint.content["trained"]["r0"].item() == history[-1] == update.net.r0.item()


def test_the_average_reaches_its_decay_after_some_steps(recipe: Path, tmp_path: Path) -> None:
    update = build(recipe, tmp_path / "run", "TRAIN.EMA 0.9").update
    decays = []
    for update.averaged in range(100):
        decays.append(update.decay)
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[79] < 0.9
    assert decays[80:] == [0.9] * 20


def test_a_run_of_before_goes_on_drawing_with_replacement_and_a_new_one_sees_every_image(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    words = ["SCHEDULE.NAME", "multistep", "TRAIN.ITERATIONS", "6", "SCHEDULE.WARMUP", "0"]
    old = [*words, "SCHEDULE.ARGS.milestones", "[2,4]", "DATA.DRAW", "replacement", "OUTPUT", str(tmp_path / "old")]
    build_trainer(load_config(recipe, old)).fit(1)
    file = tmp_path / "old" / "config.yaml"
    written = yaml.safe_load(file.read_text())
    del written["DATA"]["DRAW"]  # as runs were before the key
    file.write_text(yaml.safe_dump(written))
    now = [*words, "SCHEDULE.ARGS.milestones", "[1,3]", "OUTPUT", str(tmp_path / "old")]  # as the recipe says by now
    trainer = build_trainer(load_config(recipe, now), resume=True)
    assert not trainer.loader.dataset.passes
    assert "continues to draw images with replacement, and with its milestones" in caplog.text
    trainer.fit(2)
    trainer = build_trainer(load_config(recipe, now), resume=True)
    assert not trainer.loader.dataset.passes, "also when it is resumed once more"
    trainer.fit()
    whole = [*old[:-1], str(tmp_path / "whole")]
    build_trainer(load_config(recipe, whole)).fit()
    one, other = (read_run(tmp_path / name / "checkpoints" / "last.pth").state for name in ("old", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert build_trainer(load_config(recipe, [*now[:-1], str(tmp_path / "new")])).loader.dataset.passes


def test_compressive_sensing_is_validated_on_published_tiles_tested_on_those_of_the_table_and_old_runs_as_they_were(
    recipe: Path, tmp_path: Path, pictures: Path
) -> None:
    recipe.write_text(
        f"OUTPUT: {tmp_path / 'run'}\nDEVICE: cpu\nMODEL: {{NAME: dgunet_cs, ARGS: {{ratio: 10, stages: 3, width: 8, "
        f"growth: 4, tail: 4}}}}\nDATA: {{KIND: compressive_sensing, TRAIN: {pictures}, VAL: {pictures}}}\n"
        "TRAIN: {EPOCHS: 2, PATCHES: 2, BATCH: 2, PATCH: 32}\nLOSS: {TERMS: [{NAME: mse}]}\nSCHEDULE: {WARMUP: 0}\n"
    )
    trainer = build_trainer(load_config(recipe))
    assert trainer.about["protocol"]["tile"] == 32
    trainer.fit(1)
    cfg = load_config(recipe)
    net = bare_network(cfg)
    degradation = build_degradation(cfg, net)
    assert vars(build_test(cfg, net, degradation))["tile"] == 128
    asked = load_config(recipe, ["DATA.VAL_PROTOCOL", "compressive_sensing:ratio=10,tile=64"])
    assert vars(build_test(asked, net, degradation))["tile"] == 64
    assert build_trainer(cfg, resume=True).about["protocol"]["tile"] == 32
    file = tmp_path / "run" / "config.yaml"
    written = yaml.safe_load(file.read_text())
    del written["DATA"]["DRAW"]
    file.write_text(yaml.safe_dump(written))
    for _ in range(2):
        assert build_trainer(load_config(recipe), resume=True).about["protocol"]["tile"] == 128
