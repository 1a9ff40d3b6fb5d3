"""A mistyped command line, missing pictures and unsuitable weights: one line that says what was meant."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.narrow import saved
from unfold import create_model

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("restore a.png --strenght 2", "unfold restore: there is no option --strenght; did you mean --strength?"),
        ("restore a.png -o b --strenght=2", "did you mean --strength?"),
        ("restore a.png --ouput b", "did you mean --output?"),
        ("restore a.png -o b --task denoize", "there is no 'denoize': did you mean denoise?"),
        ("restore a.png", "unfold restore: the following arguments are required: -o/--output"),
        ("train --confg r.yaml", "unfold train: there is no option --confg; did you mean --config?"),
        ("train --config r.yaml --overwite TRAIN.EPOCHS 2", "did you mean --overwrite?"),
        ("tain --config r.yaml", "unfold: argument COMMAND: there is no 'tain': did you mean train?"),
        ("data doktor mine", "unfold data: argument ACTION: there is no 'doktor': did you mean doctor?"),
        ("data prepare sid x -o y", "did you mean sidd?"),
        ("bench usrnet --device cpu --mode trian", "did you mean train?"),
        ("bench usrnet --size a b", "invalid int value"),
        ("--versoin", "unfold: there is no option --versoin; did you mean --version?"),
    ],
)
def test_a_mistyped_word_is_one_line_with_what_was_meant(words: str, expected: str, command: Command) -> None:
    code, out, err = command(*words.split())
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "usage" not in err
    assert expected in err
    assert "--help lists what it takes" in err


def test_what_argparse_takes_is_still_taken(command: Command) -> None:
    assert "no such file" in command("train", "--conf", "none.yaml", "TRAIN.EPOCHS", 1)[2], "options may be shortened"
    assert command("models", "-h")[1].startswith("usage: unfold models")


def test_pictures_that_do_not_exist_are_one_line_and_nothing_else(
    tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    weights = saved("dgunet_deblur", tmp_path / "w.pth")
    for inputs in (["nofolder"], ["nofolder", "none.png"]):
        code, out, err = command("restore", *inputs, "-o", tmp_path / "o", "--weights", weights)
        assert (code, out) == (2, "")
        assert err == f"unfold restore: there is no file and no folder {', '.join(inputs)}\n"
    assert "not written here" not in caplog.text
    assert not (tmp_path / "o").exists()


def test_weights_of_another_network_are_named_first_and_no_part_of_them_is_offered(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    weights = saved("usrnet", tmp_path / "w.pth")
    for words in (("train", "--check", "--init", weights), ("test", "--weights", weights)):
        code, _, err = command(*words, "--config", recipe)
        assert code == 2
        assert f"{weights} do not fit this DGUNet: the file holds usrnet, another network; " in err
        assert err.endswith("MODEL.NAME usrnet is their network\n")
        assert "--partial" not in err
        assert all(part.count(",") <= 3 for part in err.split("(")[1:]), "three names of each kind"
        assert len(err) < 450


def test_a_bare_file_of_another_network_is_recognised_or_at_least_not_offered_in_part(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    torch.save({"state_dict": create_model("usrnet_tiny").state_dict()}, tmp_path / "known.pth")
    torch.save({"state_dict": {"a.weight": torch.zeros(3, 3)}}, tmp_path / "unknown.pth")
    for name, expected in (("known.pth", "the file looks like usrnet_tiny, another network"), ("unknown.pth", "")):
        code, _, err = command("train", "--check", "--init", tmp_path / name, "--config", recipe)
        assert code == 2
        assert err.count("\n") == 1
        assert expected in err
        assert "--partial" not in err


def test_weights_of_another_width_name_the_settings_with_which_they_fit(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    options = {"stages": 3, "width": 12, "growth": 4, "tail": 4, "operator_width": 4}
    content = {"state_dict": create_model("dgunet_denoise", **options).state_dict()}
    torch.save(content | {"model": {"name": "dgunet_denoise", "arguments": options}}, tmp_path / "said.pth")
    torch.save(content, tmp_path / "bare.pth")
    code, _, err = command("train", "--check", "--init", tmp_path / "said.pth", "--config", recipe)
    assert code == 2
    assert "; they fit with MODEL.ARGS.width 12 (--partial takes over what fits)" in err
    code, _, err = command("test", "--weights", tmp_path / "bare.pth", "--config", recipe)
    assert code == 2
    assert err.endswith("; they fit with MODEL.ARGS.width 12\n")
    fits = command("test", "--weights", tmp_path / "bare.pth", "--config", recipe, "MODEL.ARGS.width", 12)
    assert fits[0] == 0, "what is advised works"


def test_a_check_says_that_the_folder_holds_a_run_and_a_test_says_whose_folder_it_fills(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    assert command("train", "--config", recipe, "TRAIN.EPOCHS", 1)[0] == 0
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    out = command("train", "--config", recipe, "--check")[1]
    assert f"{tmp_path / 'run'} already holds a run: --resume continues it" in out
    assert "already holds a run" not in command("train", "--config", recipe, "--check", "--overwrite")[1]
    own, other = (tmp_path / run / "checkpoints" / "last.pth" for run in ("run", "other"))
    assert "note:" not in command("test", "--config", recipe, "--weights", own)[1]
    out = command("test", "--config", recipe, "--weights", other)[1]
    assert f"In {tmp_path / 'run' / 'test'}: results.json" in out
    assert f"note: {other} is not of the run {tmp_path / 'run'}, whose test folder this is" in out


def test_a_network_that_fails_on_the_recipes_patches_is_one_line_without_torchs_traceback(
    pictures: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "odd.py").write_text(
        "import torch\nfrom torch import nn\nfrom unfold.models.unfolding import UnfoldingNetwork\n\n\n"
        "class Odd(UnfoldingNetwork):\n    def __init__(self, stages: int = 1):\n        super().__init__(stages)\n"
        "        self.step = nn.Parameter(torch.ones(1))\n\n    def begin(self, y):\n        return y, y\n\n"
        "    def stage(self, k, x, memory, y):\n        if x.shape[-1] == 16:\n            x = x.view(7, -1)\n"
        "        return self.step * x, memory\n"
    )
    (tmp_path / "r.yaml").write_text(
        f"OUTPUT: {tmp_path / 'run'}\nMODEL: {{NAME: 'odd.py:Odd'}}\nTRAIN: {{PATCH: 16}}\n"
        f"DATA: {{KIND: gaussian, ARGS: {{sigma: 25}}, TRAIN: {pictures}, VAL: {pictures}}}\n"
    )
    code, out, err = command("train", "--check", "--config", tmp_path / "r.yaml")
    assert code == 2
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    assert "odd.py:16" in err
