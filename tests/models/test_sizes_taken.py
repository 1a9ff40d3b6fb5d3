"""A network of a user's that takes only some sizes is found before it is trained, and an error says why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unfold
from tests.narrow import NAMES, narrow
from unfold.errors import UnfoldError
from unfold.models.registry import skeleton
from unfold.models.sizes_taken import size_fault, takes
from unfold.models.unfolding import UnfoldingNetwork
from unfold.training import dry_run

Command = Callable[..., tuple[int, str, str]]

NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F
from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.padding import crop_to, pad_to_multiple


class Shuffled(UnfoldingNetwork):
    size_multiple = 2

    def __init__(self, stages: int = 1):
        super().__init__(stages)
        self.prior = nn.Conv2d(12, 12, 3, padding=1)

    def begin(self, y):
        BEGIN

    def stage(self, k, x, memory, shared):
        return x - F.pixel_shuffle(self.prior(F.pixel_unshuffle(x, 2)), 2), memory
"""
BARE = "return y, y"
PADS = "return pad_to_multiple(y, 2), y"
CROPS = "\n    def finish(self, x, y):\n        return crop_to(x, y.shape[-2:])\n"
RECIPE = """
OUTPUT: {folder}/run
MODEL: {{NAME: "shuffled.py:Shuffled"}}
DATA: {{KIND: gaussian, ARGS: {{sigma: 25}}, TRAIN: {folder}/pictures, VAL: {folder}/pictures}}
SCHEDULE: {{WARMUP: 1}}
TRAIN: {{EPOCHS: 1, PATCHES: 2, BATCH: 2, PATCH: 16}}
"""


def network(folder: Path, begin: str, end: str = "", head: str = "size_multiple = 2") -> str:
    text = NETWORK.replace("BEGIN", begin).replace("size_multiple = 2", head)
    (folder / "shuffled.py").write_text(text + end)
    return f"{folder / 'shuffled.py'}:Shuffled"


def recipe(folder: Path, size: tuple[int, int] = (32, 34)) -> Path:
    (folder / "pictures").mkdir()
    for name in "ab":
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{name}.png")
    (folder / "r.yaml").write_text(RECIPE.format(folder=folder))
    return folder / "r.yaml"


@pytest.mark.parametrize("name", NAMES)
def test_every_network_of_the_package_takes_every_size_without_numbers_too(name: str) -> None:
    net = narrow(name)
    assert takes(net, 65, 67), name
    assert size_fault(net) == ""


@pytest.mark.parametrize(
    ("begin", "end", "head", "fault"),
    [
        (BARE, "", "size_multiple = 2", True),
        (BARE, "", "pass", True),  # it does not even say so
        (PADS, "", "size_multiple = 2", True),
        (PADS, CROPS, "size_multiple = 2", False),
        (PADS, CROPS, "pass", False),
        (PADS.replace("y, 2", "y, 2, mode=str(float(y.mean()))"), "", "size_multiple = 2", False),  # needs numbers
    ],
)
def test_a_network_that_does_not_pad_or_does_not_crop_is_found_and_no_other(
    tmp_path: Path, begin: str, end: str, head: str, fault: bool
) -> None:
    text = size_fault(skeleton(network(tmp_path, begin, end, head), {}))
    assert ("begin pads and finish crops" in text) == fault
    assert not fault or "takes pictures of 64x64 pixels and not of 67x65" in text
    assert not fault or ("size_multiple = 2 only announces it" in text) == (head != "pass")


def test_a_check_and_a_training_warn_of_it_and_the_models_page_says_it(
    tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    network(tmp_path, BARE)
    config = recipe(tmp_path)
    code, out, _ = command("train", "--config", config, "--check")
    assert code == 0
    assert "warning      network: " in out
    assert "begin pads and finish crops" in out
    assert command("train", "--config", config)[0] == 0
    assert "begin pads and finish crops" in caplog.text
    assert "begin pads and finish crops" in command("models", config)[1]


def test_a_check_fails_where_the_training_would_at_a_validation_image(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "PATIENCE", 1e-9)  # a part of 64x64 of it would do
    network(tmp_path, BARE)
    config = recipe(tmp_path, (66, 71))
    checked = command("train", "--config", config, "--check")
    assert checked[0] == 2
    assert "this one is 71x66" in checked[2]
    trained = command("train", "--config", config)
    assert trained[0] == 2
    assert "this one is 71x66" in trained[2]


def test_a_check_of_a_network_of_one_size_goes_through_as_its_training_does(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "PATIENCE", 1e-9)  # a part of 64x64 would be restored
    for side in (64, 80):
        folder = tmp_path / str(side)
        folder.mkdir()
        network(folder, f"return y + torch.zeros({side}, {side}), y")
        config = recipe(folder, (side, side))
        code, out, err = command("train", "--config", config, "--check", "TRAIN.PATCH", side)
        assert (code, "warning      network: " in out) == (0, side == 64), err  # 64 is tried, and 67x65
        assert command("train", "--config", config, "TRAIN.PATCH", side)[0] == 0


def test_the_error_of_an_odd_picture_says_it_and_an_even_picture_is_restored(tmp_path: Path) -> None:
    net = unfold.create_model(network(tmp_path, BARE)).eval()
    assert unfold.restore(np.zeros((32, 34, 3), np.uint8), net).shape == (32, 34, 3)
    with pytest.raises(UnfoldError, match=r"begin pads and finish crops.*this one is 33x31"):
        unfold.restore(np.zeros((31, 33, 3), np.uint8), net)


def test_an_error_that_is_not_of_the_size_does_not_speak_of_sizes(tmp_path: Path) -> None:
    net = unfold.create_model(network(tmp_path, "return (y, y) if y.is_meta else {}['scale']")).eval()
    with pytest.raises(UnfoldError, match="KeyError") as caught:
        unfold.restore(np.zeros((31, 33, 3), np.uint8), net)
    assert "crops" not in str(caught.value)


def test_first_steps_have_a_size_that_the_network_takes(tmp_path: Path, command: Command) -> None:
    """By reflection, as people write it, 1x1 cannot be padded."""
    reflecting = "return F.pad(y, (0, y.shape[-1] % 2, 0, y.shape[-2] % 2), mode='reflect'), y"
    network(tmp_path, reflecting, CROPS)
    code, out, err = command("train", "--config", recipe(tmp_path), "--check")
    assert code == 0, err
    assert "1 of 2x2: loss" in out


def test_the_tiles_of_a_padding_network_are_those_of_the_whole_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = unfold.create_model(network(tmp_path, PADS, CROPS)).eval()
    picture = np.random.default_rng(0).integers(0, 256, (141, 139, 3), np.uint8)
    whole = unfold.restore(picture, net, tile=None)
    assert (unfold.restore(picture, net, tile=64) == whole).mean() > 0.99


def counted(folder: Path, begin: str) -> tuple[UnfoldingNetwork, list[tuple[int, int]]]:
    """The network, and the sizes that it is run with."""
    name = network(folder, f"LOG.append(tuple(y.shape[-2:])); {begin}", "\nLOG = []\n")
    net = unfold.create_model(name).eval()
    return net, sys.modules[type(net).__module__].LOG


def test_a_failing_network_is_run_three_times_more_in_all_and_not_for_errors_of_other_kinds(
    tmp_path: Path,
) -> None:
    for folder, begin, more in [
        ("sizes", BARE, 3),
        ("a check of its own", "assert y.shape[-1] == 3, 'three'; return y, y", 2),
        ("name", "return y, unknown", 0),
        ("key", "return y, {}['scale']", 0),
        ("attribute", "return y, y.colour", 0),
        ("todo", "raise NotImplementedError('later')", 0),
    ]:
        (tmp_path / folder).mkdir()
        net, runs = counted(tmp_path / folder, begin)
        for height in (31, 33, 35):
            with pytest.raises(UnfoldError) as caught:
                unfold.restore(np.zeros((height, 33, 3), np.uint8), net, tile=None)
            assert (f"this one is 33x{height}" in str(caught.value)) == (more == 3), folder
        assert len(runs) == 3 + more, folder


def test_the_smallest_patch_is_found_with_few_runs(tmp_path: Path, command: Command) -> None:
    begin = "assert y.shape[-1] % 32 == 0; return y, y"
    network(tmp_path, f"open({str(tmp_path / 'runs')!r}, 'a').write(f'{{y.shape[-1]}} '); {begin}")
    code, out, err = command("train", "--config", recipe(tmp_path, (96, 96)), "--check", "TRAIN.PATCH", 96)
    assert code == 0, err
    assert "1 of 32x32: loss" in out
    assert not {"3", "5", "31"} & set((tmp_path / "runs").read_text().split())


PRIOR = """
import torch
from torch import nn
from torch.nn import functional as F


class Halving(nn.Module):
    def forward(self, z):
        return F.pixel_shuffle(F.pixel_unshuffle(z, 2), 2)


class Cropping(nn.Module):
    def forward(self, z):
        return z[..., : z.shape[-2] // 2 * 2, : z.shape[-1] // 2 * 2]
"""


@pytest.mark.parametrize(("prior", "line"), [("Halving", 9), ("Cropping", 13)])
def test_the_fault_of_a_prior_of_theirs_names_its_file(tmp_path: Path, prior: str, line: int) -> None:
    (tmp_path / "half.py").write_text(PRIOR)
    options = {"stages": 1, "data": {"name": "learned_gradient"}, "prior": {"name": f"{tmp_path / 'half.py'}:{prior}"}}
    fault = size_fault(skeleton("composed", options))
    assert fault.startswith(f"{tmp_path / 'half.py'}:{line}: Composed with {prior} takes pictures of 64x64 pixels and")
    assert "forward pads and crops" in fault


HEIR = """
from torch import nn
from unfold.models.composed import Composed
from unfold.steps.data_step import LearnedGradient


class Heir(Composed):
    def __init__(self):
        super().__init__(LearnedGradient(1), lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), 1)
"""


def test_the_fault_of_a_network_that_inherits_its_begin_names_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "heir.py").write_text(HEIR)
    fault = size_fault(skeleton(f"{tmp_path / 'heir.py'}:Heir", {}))
    assert fault.startswith(f"{tmp_path / 'heir.py'}:7: Heir takes pictures of 64x64 pixels and not of 67x65")
