"""The command line, from a recipe to a table; and one line with exit code 2 for a user's ordinary mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.synthetic import scene
from unfold import create_model
from unfold.cli import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    net = create_model("dgunet_denoise", stages=3, width=8, growth=4, tail=4, operator_width=4)
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": net.state_dict()}, path)
    return path


def assert_one_line(result: tuple[int, str, str], *expected: str) -> None:
    code, _, err = result
    assert code == 2
    assert err.count("\n") == 1, err
    for part in expected:
        assert part in err


def test_train_then_test_gives_table_numbers_and_pictures(recipe: Path, tmp_path: Path, command: Command) -> None:
    code, out, _ = command("train", "--config", recipe)
    assert code == 0
    assert "best validation PSNR" in out
    last = tmp_path / "run" / "checkpoints" / "last.pth"
    code, out, _ = command("test", "--config", recipe, "--weights", last, "TEST.BASELINES", "[tv]")
    assert code == 0
    for word in ("noisy input", "tv", "dgunet_denoise", "picture0", "picture2", "mean"):
        assert word in out
    results = json.loads((tmp_path / "run" / "test" / "results.json").read_text())
    assert set(results["images"]) == {"picture0", "picture1", "picture2"}
    scores = [row["dgunet_denoise"] for row in results["images"].values()]
    assert all(len(score["stages"]) == 3 and score["stages"][-1] == score["psnr"] for score in scores)
    assert results["mean"]["dgunet_denoise"]["psnr"] == pytest.approx(np.mean([score["psnr"] for score in scores]))
    for name in results["images"]:
        with Image.open(tmp_path / "run" / "test" / "strips" / f"{name}.png") as picture:
            assert picture.width > 5 * 100


def test_weights_of_another_noise_level_are_tested_with_a_note(
    recipe: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    command("train", "--config", recipe, "TRAIN.EPOCHS", 1)
    last = tmp_path / "run" / "checkpoints" / "last.pth"
    assert command("test", "--config", recipe, "--weights", last, "DATA.SIGMA", 50)[0] == 0
    assert "trained as protocol {'sigma': 25.0} and are tested as {'sigma': 50.0}" in caplog.text
    caplog.clear()
    assert command("test", "--config", recipe, "--weights", last, "MODEL.STAGES", 5)[0] == 0
    assert "'stages': 3" in caplog.text
    assert "'stages': 5" in caplog.text


def test_a_second_test_leaves_nothing_of_the_first(
    recipe: Path, weights: Path, tmp_path: Path, command: Command
) -> None:
    words = ("test", "--config", recipe, "--weights", weights)
    assert command(*words)[0] == 0
    (tmp_path / "pictures" / "picture1.png").rename(tmp_path / "pictures" / "other.png")
    assert command(*words)[0] == 0
    strips = {path.stem for path in (tmp_path / "run" / "test" / "strips").iterdir()}
    assert strips == {"picture0", "picture2", "other"}


def test_weights_that_are_not_finite_are_no_result(
    recipe: Path, weights: Path, tmp_path: Path, command: Command
) -> None:
    content = torch.load(weights, weights_only=True)
    content["state_dict"]["tail.weight"].fill_(float("nan"))
    torch.save(content, weights)
    assert_one_line(command("test", "--config", recipe, "--weights", weights), "not finite", "weights.pth")
    assert not (tmp_path / "run" / "test" / "results.json").exists()


def test_a_reader_that_goes_away_is_no_error() -> None:
    words = [sys.executable, "-m", "unfold", "models"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 0


def test_models_lists_names_parameters_cost_and_multiple(command: Command) -> None:
    code, out, _ = command("models")
    assert code == 0
    assert "GMAC @ 256x256" in out
    assert "size multiple" in out
    assert "dgunet_plus_derain" in out


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["test", "--help"], ["models", "--help"], ["--version"]]
)
def test_help_is_there(words: list[str], command: Command) -> None:
    code, out, _ = command(*words)
    assert code == 0
    assert "unfold" in out


def test_help_leads_a_newcomer_on(command: Command) -> None:
    assert "tasks/denoise/configs/quickstart.yaml" in command("--help")[1]
    helped = " ".join(command("train", "--help")[1].split())
    for word in ("--config FILE", "--resume", "--overwrite", "KEY VALUE", "UNFOLD_DATA", "unfold/config.py"):
        assert word in helped


def test_an_unknown_command_or_a_missing_config_exits_with_2(command: Command) -> None:
    for words in (["paint"], ["train"], ["test", "--config", "x.yaml"]):
        assert command(*words)[0] == 2


def test_a_missing_config(command: Command) -> None:
    assert_one_line(command("train", "--config", "none.yaml"), "none.yaml", "no such file")


def test_an_unknown_key(recipe: Path, command: Command) -> None:
    assert_one_line(command("train", "--config", recipe, "TRAIN.EPOCH", 3), "TRAIN.EPOCH;", "TRAIN.EPOCHS?")


def test_missing_weights(recipe: Path, command: Command) -> None:
    assert_one_line(command("test", "--config", recipe, "--weights", "none.pth"), "none.pth")


def test_weights_of_another_architecture(recipe: Path, weights: Path, command: Command) -> None:
    other = command(
        "test", "--config", recipe, "--weights", weights, "MODEL.NAME", "dgunet_plus_denoise", "MODEL.TAIL", 0
    )
    assert_one_line(other, "missing (", "unknown (", "do not fit this DGUNetPlus")
    wider = command("test", "--config", recipe, "--weights", weights, "MODEL.WIDTH", 12)
    assert_one_line(wider, "of another shape", "for (")


@pytest.mark.parametrize(
    ("split", "name", "expected"),
    [
        (split, name, expected)
        for split in ("TRAIN", "VAL")
        for name, expected in (("broken.png", "is not an image"), (None, "holds no images"))
    ]
    + [("VAL", "small.png", "5x5")],
)
def test_training_images_that_cannot_be_used(
    recipe: Path, tmp_path: Path, command: Command, split: str, name: str | None, expected: str
) -> None:
    folder = bad_folder(tmp_path, name)
    result = command("train", "--config", recipe, f"DATA.{split}", folder)
    assert_one_line(result, expected, name or str(folder))
    assert not (tmp_path / "run").exists(), "found before anything is written"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("broken.png", "is not an image"), ("small.png", "5x5"), (None, "holds no images")],
)
def test_test_images_that_cannot_be_used(
    recipe: Path, weights: Path, tmp_path: Path, command: Command, name: str | None, expected: str
) -> None:
    folder = bad_folder(tmp_path, name)
    result = command("test", "--config", recipe, "--weights", weights, "DATA.TEST", folder)
    assert_one_line(result, expected, name or str(folder))


def bad_folder(tmp_path: Path, name: str | None) -> Path:
    folder = tmp_path / "bad"
    folder.mkdir()
    if name is not None:
        Image.fromarray(scene()).save(folder / "good.png")
    if name == "broken.png":
        (folder / name).write_bytes(b"\x89PNG but then no more")
    elif name == "small.png":
        Image.fromarray(scene(5, 5)).save(folder / name)
    return folder


def test_other_ordinary_mistakes(recipe: Path, weights: Path, tmp_path: Path, command: Command) -> None:
    for overrides, expected in [
        (["DATA.TRAIN", "nowhere"], "there is no folder nowhere"),
        (["MODEL.NAME", "dgunet_denose"], "did you mean dgunet_denoise?"),
        (["MODEL.STAGES", 2], "stages of DGUNet must be at least 3"),
        (["MODEL.NAME", "usrnet"], "MODEL.ARGS.width: usrnet has no such option; did you mean widths?"),
        (["OUTPUT", "~nobody/run", "TRAIN.PATCH", 4], "TRAIN.PATCH 4 is below"),
        (["MODEL.WIDTH", 7], "width must be even"),
        (["DEVICE", "warp"], "the device warp cannot be used here"),
        (["DEVICE", "meta"], "the device meta cannot be used here"),
        (["DEVICE", "cuda:99"], "the device cuda:99 cannot be used here"),
        (["TRAIN.PATCH", 4], "TRAIN.PATCH 4 is below"),
        (["OUTPUT", weights / "run"], "cannot be written"),
    ]:
        assert_one_line(command("train", "--config", recipe, *overrides), expected)
    first = command("train", "--config", recipe, "SEED", 1, "--overwrite", "TRAIN.EPOCHS", 0)
    assert_one_line(first, "command line: TRAIN.EPOCHS must be greater than 0")
    assert command("train", "--config", recipe, "SEED", 1, "--overwritten", "TRAIN.EPOCHS", 1)[0] == 2
    both = command("train", "--config", recipe, "--resume", "--overwrite")
    assert_one_line(both, "give only one of them")
    assert_one_line(command("test", "--config", recipe, "--weights", weights, "-o", weights / "x"), "cannot be written")


def test_two_images_of_one_name_are_refused(recipe: Path, weights: Path, pictures: Path, command: Command) -> None:
    Image.fromarray(scene()).save(pictures / "picture0.bmp")
    assert_one_line(command("test", "--config", recipe, "--weights", weights), "two images called picture0")


def test_check_compares_with_the_goldens_at_hand_and_names_the_others(tmp_path: Path, command: Command) -> None:
    from unfold.models.golden.golden_rules import fill
    from unfold.models.golden.usrnet_golden import usrnet_rule

    net = fill(create_model("usrnet_tiny"), usrnet_rule)
    x = torch.rand(1, 4, 12, 9)
    with torch.inference_mode():
        out = net.p(x).numpy()
    path = tmp_path / "usrnet_prior_usrnet_tiny.npz"
    np.savez(path, x=x.numpy(), out=out)
    code, printed, _ = command("check", "--golden", tmp_path)
    assert code == 0
    assert "590,332" in printed
    assert "not checked: dgunet_deblur_dgunet_v2, " in printed
    for wrong, shown in ((out + 2e-5, "2.0e-05"), (out[..., :-1], "inf"), (out * np.nan, "nan")):
        np.savez(path, x=x.numpy(), out=wrong)
        code, printed, _ = command("check", "--golden", tmp_path)
        assert code == 1
        assert shown in printed
        assert "MORE THAN 1e-05" in printed
    whole = path.read_bytes()
    np.savez(path, x=x.numpy())
    assert_one_line(command("check", "--golden", tmp_path), "is another file than its name says")
    path.write_bytes(whole[: len(whole) // 2])
    assert_one_line(command("check", "--golden", tmp_path), "cannot be read")
    path.write_bytes(b"no numbers")
    assert_one_line(command("check", "--golden", tmp_path), "usrnet_prior_usrnet_tiny.npz cannot be read")
    assert_one_line(command("check", "--golden", tmp_path / "nowhere"), "none of the golden files")


def test_ctrl_c_while_the_command_line_is_read_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(argv: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unfold.cli.command_line.parse", interrupted)
    assert main(["models"]) == 130


def test_unfold_alone_says_what_to_do_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    for command in ("restore", "train", "test", "models", "new"):
        assert f"unfold {command} " in said or f"unfold {command}\n" in said
