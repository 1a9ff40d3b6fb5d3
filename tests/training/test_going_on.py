"""A run goes on to another length where its rates allow that, and with what has moved where that is the same."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.synthetic import scene
from tests.training.test_resume import assert_same, build
from unfold.cli import main
from unfold.config import load_config
from unfold.data.stores.patch_cache_writing import prepare_cache
from unfold.errors import UnfoldError
from unfold.training.checkpoint import read_run

Command = Callable[..., tuple[int, str, str]]
CONSTANT = "SCHEDULE.NAME constant"
MULTISTEP = "SCHEDULE.NAME multistep SCHEDULE.ARGS.milestones [1,3]"
STEP = "SCHEDULE.NAME step SCHEDULE.ARGS.step 1 SCHEDULE.ARGS.gamma 0.7"
COSINE = "SCHEDULE.NAME cosine SCHEDULE.ARGS.length 5"


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "unfold")


@pytest.mark.parametrize(
    ("plan", "in_steps"),
    [(CONSTANT, False), (MULTISTEP, False), (MULTISTEP, True), (STEP, True), (COSINE, False)],
    ids=["constant", "multistep", "multistep in steps", "step in steps", "cosine of a length"],
)
def test_a_run_that_goes_on_longer_is_the_one_that_was_so_long_from_its_start(
    recipe: Path, tmp_path: Path, plan: str, in_steps: bool, caplog: pytest.LogCaptureFixture
) -> None:
    key, short, long = ("TRAIN.ITERATIONS", 3, 9) if in_steps else ("TRAIN.EPOCHS", 2, 4)
    words = f"{plan} TRAIN.EMA 0.9 OPTIM.NAME AdamW"
    build(recipe, tmp_path / "whole", f"{words} {key} {long}").fit()
    build(recipe, tmp_path / "longer", f"{words} {key} {short}").fit()
    build(recipe, tmp_path / "longer", f"{words} {key} {long}", resume=True).fit()
    assert_same(tmp_path / "whole", tmp_path / "longer")
    assert f"{key} {long} in place of {short}" in caplog.text
    assert load_config(tmp_path / "longer" / "config.yaml").TRAIN[key.removeprefix("TRAIN.")] == long


def test_a_run_that_ended_inside_an_epoch_goes_on_with_the_rest_of_it(recipe: Path, tmp_path: Path) -> None:
    words = f"{STEP} SCHEDULE.WARMUP 0"
    whole = build(recipe, tmp_path / "whole", f"{words} TRAIN.ITERATIONS 8")
    whole.fit()
    build(recipe, tmp_path / "longer", f"{words} TRAIN.ITERATIONS 4").fit()
    longer = build(recipe, tmp_path / "longer", f"{words} TRAIN.ITERATIONS 8", resume=True)
    assert longer.step == 4
    longer.fit()
    a, b = (read_run(tmp_path / name / "checkpoints" / "last.pth") for name in ("whole", "longer"))
    assert all(a.state[name].equal(b.state[name]) for name in a.state)
    assert [row["step"] for row in longer.log.rows] == [3, 4, 6, 8]


def test_a_cosine_as_long_as_the_run_is_refused_with_two_ways_out_and_both_work(
    recipe: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    build(recipe, tmp_path / "run", "TRAIN.EPOCHS 4").fit()
    code, _, err = command("train", "--config", recipe, "--resume", "TRAIN.EPOCHS", 6)
    assert code == 2
    assert err.count("\n") == 1
    for part in ("TRAIN.EPOCHS 4 -> 6", "epoch 3, which is done", "SCHEDULE.ARGS.length 3 keeps", "--init"):
        assert part in err
    again = build(recipe, tmp_path / "run", "TRAIN.EPOCHS 6 SCHEDULE.ARGS.length 3", resume=True)
    assert "the learning rate rises again" in caplog.text
    again.fit()
    build(recipe, tmp_path / "whole", "TRAIN.EPOCHS 6 SCHEDULE.ARGS.length 3").fit()
    assert_same(tmp_path / "whole", tmp_path / "run")
    last = str(tmp_path / "run" / "checkpoints" / "last.pth")
    build(recipe, tmp_path / "other", "TRAIN.EPOCHS 1", init=last).fit()


def test_a_cosine_whose_rates_have_been_the_same_until_now_goes_on_as_the_longer_one(
    recipe: Path, tmp_path: Path
) -> None:
    build(recipe, tmp_path / "whole", "TRAIN.EPOCHS 4").fit()
    build(recipe, tmp_path / "run", "TRAIN.EPOCHS 3").fit(until=1)  # the warm-up
    build(recipe, tmp_path / "run", "TRAIN.EPOCHS 4", resume=True).fit()
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("TRAIN.EPOCHS 2", "TRAIN.EPOCHS 2 is less than what this run has done: 3 epochs"),
        ("TRAIN.ITERATIONS 30", "whose length and learning rate were set by TRAIN.EPOCHS"),
        ("TRAIN.EPOCHS 5 OPTIM.LR 0.1", r"config differs: OPTIM.LR 0.002 -> 0.1 \(.*--init"),
        ("TRAIN.EPOCHS 5 SCHEDULE.ARGS.milestones [1]", "which is done, had been 0.001 and not 0.002.*--init"),
        ("TRAIN.EPOCHS 5 SCHEDULE.WARMUP 2", "epoch 1, which is done, had been 0.001 and not 0.002"),
    ],
)
def test_what_is_no_longer_the_same_run_is_one_line(recipe: Path, tmp_path: Path, words: str, expected: str) -> None:
    before = "SCHEDULE.NAME multistep SCHEDULE.ARGS.milestones [2]"
    build(recipe, tmp_path / "run", before).fit()
    with pytest.raises(UnfoldError, match=expected):
        build(recipe, tmp_path / "run", f"{before} {words}", resume=True)


def test_a_later_milestone_may_be_added_and_a_run_may_end_earlier(recipe: Path, tmp_path: Path) -> None:
    words = "SCHEDULE.NAME multistep SCHEDULE.ARGS.milestones"
    build(recipe, tmp_path / "run", f"{words} [1] TRAIN.EPOCHS 9").fit(until=2)
    build(recipe, tmp_path / "run", f"{words} [1,2] TRAIN.EPOCHS 4", resume=True).fit()
    build(recipe, tmp_path / "whole", f"{words} [1,2] TRAIN.EPOCHS 4").fit()
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("key", ["DATA.TRAIN", "DATA.VAL"])
def test_images_that_have_moved_are_the_same_run_and_others_are_not(
    recipe: Path, pictures: Path, tmp_path: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    build(recipe, tmp_path / "whole", "").fit()
    build(recipe, tmp_path / "run", "").fit(until=1)
    shutil.copytree(pictures, tmp_path / "elsewhere")
    shutil.copytree(pictures, tmp_path / "others")
    Image.fromarray(scene(40, 56, seed=9)).save(tmp_path / "others" / "picture1.png")
    with pytest.raises(UnfoldError, match=rf"{key} .*others holds other images than .*pictures did.*--init"):
        build(recipe, tmp_path / "run", f"{key} {tmp_path / 'others'}", resume=True)
    build(recipe, tmp_path / "run", f"{key} {tmp_path / 'elsewhere'}", resume=True).fit()
    assert "the images are the same" in caplog.text
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_training_set_that_is_a_cache_by_now_is_the_same(recipe: Path, pictures: Path, tmp_path: Path) -> None:
    build(recipe, tmp_path / "run", "").fit(until=1)
    prepare_cache(str(pictures), tmp_path / "all.h5")
    build(recipe, tmp_path / "run", f"DATA.TRAIN {tmp_path / 'all.h5'}", resume=True).fit()


def test_validation_images_of_other_names_are_other_cases(recipe: Path, pictures: Path, tmp_path: Path) -> None:
    build(recipe, tmp_path / "run", "").fit(until=1)
    shutil.copytree(pictures, tmp_path / "others")
    (tmp_path / "others" / "picture1.png").rename(tmp_path / "others" / "renamed.png")
    with pytest.raises(UnfoldError, match=r"DATA\.VAL .*others holds other images"):
        build(recipe, tmp_path / "run", f"DATA.VAL {tmp_path / 'others'}", resume=True)


@pytest.mark.parametrize("kept", ["nothing", "of before"])
def test_an_old_run_says_that_its_images_could_not_be_compared(
    recipe: Path, pictures: Path, tmp_path: Path, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    build(recipe, tmp_path / "run", "").fit(until=1)
    notes = tmp_path / "run" / "environment.json"
    if kept == "nothing":
        notes.unlink()
    else:
        starts = json.loads(notes.read_text())
        notes.write_text(json.dumps([{key: value for key, value in starts[0].items() if key != "validation"}]))
    shutil.copytree(pictures, tmp_path / "elsewhere")
    build(recipe, tmp_path / "run", f"DATA.VAL {tmp_path / 'elsewhere'}", resume=True)
    assert "it is not known whether the images are the same" in caplog.text
    assert "validation" in json.loads(notes.read_text())[-1]


def test_images_that_have_changed_in_their_place_are_reported(
    recipe: Path, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(recipe, tmp_path / "run", "").fit(until=1)
    Image.fromarray(scene(40, 56, seed=9)).save(pictures / "picture1.png")
    build(recipe, tmp_path / "run", "", resume=True)
    assert f"DATA.TRAIN {pictures} holds other images than when this run was last started" in caplog.text


def test_a_run_folder_that_was_renamed_goes_on_by_its_own_recipe(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    build(recipe, tmp_path / "whole", "").fit()
    build(recipe, tmp_path / "run", "").fit(until=1)
    (tmp_path / "run").rename(tmp_path / "renamed")
    config = tmp_path / "renamed" / "config.yaml"
    code, _, err = command("train", "--config", config, "--resume")
    assert code == 2
    assert "OUTPUT names the run folder, which may have moved" in err
    assert main(["train", "--config", str(config), "--resume", "OUTPUT", str(tmp_path / "renamed")]) == 0
    assert_same(tmp_path / "whole", tmp_path / "renamed")


def test_a_run_goes_on_from_another_current_folder(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["DATA.TRAIN", "pictures", "DATA.VAL", "pictures", "OUTPUT"]
    assert main(["train", "--config", str(recipe), *words, "run", "TRAIN.EPOCHS", "2", *CONSTANT.split()]) == 0
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    words = ["DATA.TRAIN", "../pictures", "DATA.VAL", "../pictures", "OUTPUT"]
    code = main(["train", "--config", str(recipe), "--resume", *words, "../run", *CONSTANT.split()])
    assert code == 0
    assert read_run(tmp_path / "run" / "checkpoints" / "last.pth").content["epoch"] == 3


def test_code_that_has_moved_is_the_same_run(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, command: Command
) -> None:
    code = "from unfold.training.schedule import Step\n\n\nclass Fall(Step):\n    pass\n"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "fall.py").write_text(code)
    words = "SCHEDULE.NAME {}/fall.py:Fall SCHEDULE.ARGS.gamma 0.7"
    build(recipe, tmp_path / "whole", words.format(tmp_path / "code")).fit()
    build(recipe, tmp_path / "run", words.format(tmp_path / "code")).fit(until=1)
    (tmp_path / "code").rename(tmp_path / "moved")
    build(recipe, tmp_path / "run", words.format(tmp_path / "moved"), resume=True).fit()
    assert_same(tmp_path / "whole", tmp_path / "run")
    assert "has changed" not in caplog.text
    (tmp_path / "moved" / "fall.py").unlink()
    found = command("train", "--config", recipe, "--resume", *words.format(tmp_path / "moved").split())
    assert found[0] == 2
    assert found[2].count("\n") == 1
    assert "there is no file" in found[2]


def test_variables_and_the_home_folder_stand_in_a_recipe_and_stay_in_what_the_run_keeps(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setenv("SETS", str(tmp_path))
    monkeypatch.setenv("BOTH", f"{tmp_path / 'pictures'} + {tmp_path / 'pictures'}[:1]")
    monkeypatch.setenv("HOME", str(tmp_path))
    base = tmp_path / "base.yaml"
    recipe.rename(base)
    recipe.write_text(
        "_BASE_: ${SETS}/base.yaml\nOUTPUT: $SETS/by_name\n"
        "DATA: {TRAIN: $BOTH, VAL: ~/pictures, TEST: '${SETS}/pictures'}\n"
    )
    assert command("train", "--config", "~/tiny.yaml", "TRAIN.EPOCHS", 1)[0] == 0
    kept = yaml.safe_load((tmp_path / "by_name" / "config.yaml").read_text())
    assert (kept["OUTPUT"], kept["DATA"]["TRAIN"], kept["DATA"]["VAL"]) == ("$SETS/by_name", "$BOTH", "~/pictures")
    noted = json.loads((tmp_path / "by_name" / "environment.json").read_text())[0]
    assert noted["data"]["images"] == 4
    weights = tmp_path / "by_name" / "checkpoints" / "last.pth"
    assert command("test", "--config", recipe, "--weights", weights)[0] == 0
    assert (tmp_path / "by_name" / "test" / "results.json").is_file()
    monkeypatch.delenv("BOTH")
    code, _, err = command("train", "--config", recipe, "--overwrite")
    assert code == 2
    assert err.count("\n") == 1
    assert "the environment variable BOTH, which is not set" in err
    code, _, err = command("train", "--config", recipe, "OUTPUT", "$NOWHERE/run")
    assert code == 2
    assert "NOWHERE, which is not set" in err
