"""A project of one's own, as `unfold new` writes it, works with every command, and nothing in unfold/ is edited."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import unfold
from tests.ranks import ended, start
from tests.synthetic import scene
from unfold.cli import main
from unfold.config import load_config
from unfold.data.batches import Key
from unfold.training.setup.build_run import build_trainer
from unfold.weights.read_checkpoint import read_checkpoint

Command = Callable[..., tuple[int, str, str]]
SMALL = ["MODEL.ARGS.stages", "2", "MODEL.ARGS.features", "4", "TRAIN.EPOCHS", "2", "TRAIN.PATCHES", "4"]
SMALL += ["TRAIN.BATCH", "2", "TRAIN.PATCH", "16"]
SMALL += ["TRAIN.VALIDATE_EVERY", "1"]


@pytest.fixture
def project(tmp_path: Path, command: Command, pictures: Path) -> Path:
    folder = tmp_path / "project"
    assert command("new", folder)[0] == 0
    return folder


@pytest.fixture
def settings(tmp_path: Path, pictures: Path) -> list[str]:
    data = [word for key in ("TRAIN", "VAL", "TEST") for word in (f"DATA.{key}", str(pictures))]
    return [*SMALL, *data, "OUTPUT", str(tmp_path / "run")]


@pytest.fixture
def trained(project: Path, settings: list[str], command: Command, tmp_path: Path) -> Path:
    code, _, err = command("train", "--config", project / "recipe.yaml", *settings)
    assert (code, err) == (0, "")
    return tmp_path / "run" / "checkpoints" / "last.pth"


def test_the_recipe_is_checked_trained_and_resumed_to_the_same_weights(
    project: Path, settings: list[str], command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recipe = project / "recipe.yaml"
    code, out, err = command("train", "--config", recipe, "--check", *settings)
    assert (code, err) == (0, "")
    assert "ista.py:ISTANet" in out
    for workers, precision in (("0", "float32"), ("2", "bfloat16")):
        more = ["TRAIN.WORKERS", workers, "TRAIN.PRECISION", precision]
        whole, parts = tmp_path / f"whole{workers}", tmp_path / f"parts{workers}"
        assert command("train", "--config", recipe, *settings, *more, "OUTPUT", whole)[0] == 0
        trainer = build_trainer(load_config(recipe, [*settings, *more, "OUTPUT", str(parts)]))
        trainer.fit(until=1)
        assert command("train", "--config", recipe, *settings, *more, "OUTPUT", parts, "--resume")[0] == 0
        assert "resuming after step 2 of 4" in caplog.text
        states = [read_checkpoint(run / "checkpoints" / "last.pth").state for run in (whole, parts)]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_resuming_with_changed_code_warns_and_the_run_keeps_a_copy(
    project: Path,
    settings: list[str],
    trained: Path,
    command: Command,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    copies = {path.name for path in (tmp_path / "run" / "code").iterdir()}
    assert copies == {"ista.py", "holes.py", "spectrum.py"}
    (project / "spectrum.py").write_text((project / "spectrum.py").read_text() + "\n# changed\n")
    command("train", "--config", project / "recipe.yaml", *settings, "--resume")
    assert "code of this run has changed since its last start: spectrum.py" in caplog.text


def test_where_code_is_gone_the_message_names_the_copy_that_the_run_has_kept_which_works(
    project: Path, trained: Path, command: Command, tmp_path: Path, pictures: Path
) -> None:
    for name in ("ista.py", "spectrum.py"):
        (project / name).unlink()
    run = tmp_path / "run"
    for words in (
        ["train", "--config", run / "config.yaml", "--resume"],
        ["test", "--config", run / "config.yaml", "--weights", trained],
        ["restore", pictures, "-o", tmp_path / "out", "--weights", trained, "--model", run / "config.yaml"],
    ):
        code, _, err = command(*words)
        assert (code, err.count("\n")) == (2, 1)
        assert f"config.yaml: MODEL.NAME ista.py:ISTANet: there is no file {project / 'ista.py'}" in err
        assert f"the run has kept a copy: {run / 'code' / 'ista.py'}:ISTANet" in err
    copies = ["MODEL.NAME", run / "code" / "ista.py:ISTANet", "LOSS.TERMS.1.NAME", run / "code" / "spectrum.py:FFTLoss"]
    code, _, err = command("test", "--config", run / "config.yaml", "--weights", trained, *copies)
    assert (code, err) == (0, "")


def test_two_processes_train_it(project: Path, settings: list[str], tmp_path: Path) -> None:
    arguments = ["train", "--config", str(project / "recipe.yaml"), *settings]
    results = ended(start(2, tmp_path / "ranks", main, arguments), tmp_path / "ranks")
    assert [code for code, *_ in results] == [0, 0], results
    assert "done" in results[0][1]


def test_test_by_config_and_by_protocol_with_its_option(
    project: Path, settings: list[str], trained: Path, command: Command, pictures: Path
) -> None:
    code, out, err = command("test", "--config", project / "recipe.yaml", "--weights", trained, *settings)
    assert (code, err) == (0, "")
    assert "ista.py:ISTANet" in out
    arguments = ("--data", pictures, "--weights", trained, "--model", f"{project / 'ista.py'}:ISTANet")
    scores = {}
    for hole in (2, 6):
        code, out, err = command("test", "--protocol", f"{project / 'holes.py'}:Holes:hole={hole}", *arguments)
        assert (code, err) == (0, "")
        scores[hole] = out.splitlines()[-2]
    assert scores[2] != scores[6]
    code, _, err = command("test", "--protocol", f"{project / 'holes.py'}:Holes:hloe=2", *arguments)
    assert code == 2
    assert "holes.py:Holes has no option 'hloe=2'; did you mean hole?" in err


def test_restore_cuts_the_mask_with_the_tiles_and_turns_it_with_the_ensemble(
    project: Path, trained: Path, command: Command, tmp_path: Path
) -> None:
    picture, mask = scene(90, 130, seed=5), (np.random.default_rng(0).random((90, 130)) > 0.3)
    Image.fromarray((picture * mask[..., None]).astype(np.uint8)).save(tmp_path / "broken.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    message = [
        "--weights",
        trained,
        "--model",
        f"{project / 'ista.py'}:ISTANet",
        "--input",
        f"mask={tmp_path / 'mask.png'}",
    ]
    results = {}
    for name, more in {"whole": ["--tile", "none"], "tiles": ["--tile", "32"], "turned": ["--ensemble"]}.items():
        code, _, err = command("restore", tmp_path / "broken.png", "-o", tmp_path / f"{name}.png", *message, *more)
        assert (code, err) == (0, "")
        results[name] = np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int)
    assert np.abs(results["whole"] - results["tiles"]).max() <= 1  # the network says that its tiles are exact
    net = unfold.load_model(trained, f"{project / 'ista.py'}:ISTANet")
    views = []
    for k in range(8):  # the mean of the eight views, by numpy alone

        def turn(x: Any, k: int = k) -> Any:
            return np.rot90(x[:, ::-1] if k > 3 else x, k % 4)

        y = turn((picture * mask[..., None]).astype(np.float32) / 255)
        given = {"y": y, "mask": turn(mask[..., None].astype(np.float32))}
        tensors = {n: torch.from_numpy(np.ascontiguousarray(v.transpose(2, 0, 1)))[None] for n, v in given.items()}
        with torch.no_grad():
            x = np.rot90(net(**tensors)[0].permute(1, 2, 0).numpy(), -(k % 4))
        views.append(x[:, ::-1] if k > 3 else x)
    expected = np.rint(np.mean(views, axis=0).clip(0, 1) * 255)
    assert np.abs(results["turned"] - expected).max() <= 1
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "broken.png")
    message[-1] = f"mask={folder}"
    assert command("restore", tmp_path / "broken.png", "-o", tmp_path / "again.png", *message)[0] == 0


def test_trace_models_bench_and_convert(project: Path, trained: Path, command: Command, tmp_path: Path) -> None:
    name = f"{project / 'ista.py'}:ISTANet"
    Image.fromarray(scene(40, 50, seed=5)).save(tmp_path / "a.png")
    Image.fromarray(np.full((40, 50), 255, np.uint8)).save(tmp_path / "mask.png")
    expected = ("--weights", trained, "--model", name, "--input", f"mask={tmp_path / 'mask.png'}")
    code, out, err = command("trace", tmp_path / "a.png", "-o", tmp_path / "traced", *expected)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["k", "residual", "change", "r", "t", "update", "seconds"]
    code, out, _ = command("models", name)
    assert code == 0
    assert "mask: (B,1,H,W), 1 where y was measured, 0 in holes" in out
    code, out, _ = command("bench", name, "--size", 32, 32, "--seconds", 0.1, "--ways", "channels_last", "tiled")
    assert code == 0
    assert "tiled" in out
    code, out, _ = command("convert", trained, tmp_path / "net.safetensors", "--name", name)
    assert code == 0
    one, other = (unfold.load_model(path, name) for path in (trained, tmp_path / "net.safetensors"))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_a_checkpoint_does_not_run_code_that_it_names(trained: Path, command: Command, tmp_path: Path) -> None:
    code, _, err = command("restore", tmp_path, "-o", tmp_path / "out", "--weights", trained)
    assert code == 2
    assert "ista.py:ISTANet, which is not registered here, and code is never run" in err


@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "../evil.py:Net", "/tmp/evil.py:Net", "evil.py:Net"])
@pytest.mark.parametrize("inside", [False, True])
def test_hostile_names_in_a_checkpoint_never_run(
    name: str, inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "evil.py", tmp_path.parent / "evil.py"):
        place.write_text("import pathlib\npathlib.Path('ran').touch()\nclass Net: pass\n")
    model = {"name": name, "arguments": {}}
    if inside:
        model = {"name": "composed", "arguments": {"prior": {"name": name}, "data": {"name": "learned_gradient"}}}
    torch.save({"state_dict": {"a": torch.zeros(1)}, "model": model}, "weights.pth")
    for asked in (None, "composed") if inside else (None,):
        with pytest.raises(unfold.errors.UnfoldError, match="never run"):
            unfold.load_model("weights.pth", asked)
    assert not (tmp_path / "ran").exists()


def test_its_parts_can_be_sent_to_workers_of_either_kind(project: Path, settings: list[str]) -> None:
    trainer = build_trainer(load_config(project / "recipe.yaml", settings), dry=True)
    here = trainer.loader.dataset[Key(0, 1)]
    loader = DataLoader(
        trainer.loader.dataset, batch_sampler=[[Key(0, 0), Key(0, 1)]], num_workers=1, multiprocessing_context="spawn"
    )
    (there,) = loader
    assert all(torch.equal(value, there[name][1]) for name, value in here.items())
    code = "import pickle, sys; print(type(pickle.load(sys.stdin.buffer)).__name__)"
    sent = pickle.dumps(trainer.loader.dataset.make.__self__)
    found = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True, env=os.environ)
    assert found.stdout.split() == [b"Inpainting"]


BROKEN = {
    "syntax error": ("ista.py", "self.channels = channels", "self.channels = = channels", "ista.py:21: SyntaxError"),
    "missing class": ("ista.py", "class ISTANet", "class ISTANett", "has no ISTANet; did you mean ISTANett?"),
    "no network": ("ista.py", "class ISTANet(UnfoldingNetwork)", "class ISTANet(nn.Module)", "is no network"),
    "wrong return": ("ista.py", 'return z + change, None, {"update": change}', "return z + change", "returns a Tensor"),
    "shape change": ("ista.py", "return z + change, None", "return z[..., 1:], None", "it has to stay"),
    "own exception": ("ista.py", "y, mask = context\n        z", "y = context.nothing\n        z", "AttributeError"),
    "in a degradation": ("holes.py", 'target * mask, "mask"', 'targets * mask, "mask"', "holes.py:28: NameError"),
    "in a loss": ("spectrum.py", "difference = ", "difference = self.nothing or ", "spectrum.py:16: AttributeError"),
    "missing import": ("holes.py", "import numpy as np", "import numpyy as np", "holes.py:3: ModuleNotFoundError"),
}


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("what", BROKEN)
def test_an_error_in_their_own_file_is_one_line_that_names_the_place(
    what: str, workers: str, project: Path, settings: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workers == "1" and what != "in a degradation":
        pytest.skip("does not happen in a worker")
    file, old, new, expected = BROKEN[what]
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new, 1))
    code, _, err = command("train", "--config", project / "recipe.yaml", *settings, "TRAIN.WORKERS", workers)
    assert code == 2, err
    assert len(err.splitlines()) == 1
    assert file in err
    assert expected in err
    monkeypatch.setenv("UNFOLD_DEBUG", "1")
    assert "Traceback" in command("train", "--config", project / "recipe.yaml", *settings)[2]


def test_errors_in_options_name_file_and_key_before_any_data_is_read(
    project: Path, settings: list[str], command: Command
) -> None:
    missing = ["DATA.TRAIN", "nowhere"]
    for key, value, expected in (
        ("MODEL.ARGS.stagse", "3", "MODEL.ARGS.stagse: ista.py:ISTANet has no such option; did you mean stages?"),
        ("MODEL.ARGS.stages", "many", "MODEL.ARGS.stages is a whole number, and 'many' is not"),
        ("DATA.ARGS.hole", "0", "DATA.ARGS: hole is at least 1 pixel"),
        ("LOSS.TERMS.1.ARGS.high", "x", "LOSS.TERMS.1.ARGS.high is a number, and 'x' is not"),
        ("OPTIM.ARGS.momentum", "1", "OPTIM.ARGS.momentum: AdamW has no such option"),
        ("MODEL.NAME", "isto.py:ISTANet", "there is no file"),
        ("OPTIM.NAME", "Adan", "no optimizer is called 'Adan'; did you mean Adam"),
    ):
        code, _, err = command("train", "--config", project / "recipe.yaml", *settings, *missing, key, value)
        assert code == 2
        assert expected in err
        assert err.startswith("unfold train: command line: ")
