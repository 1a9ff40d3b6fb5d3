"""Weights come in whole, from files that can do no harm, or not at all."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unfold import create_model, load_model
from unfold.errors import UnfoldError
from unfold.models.golden.dgunet_golden import dgunet_rule
from unfold.models.golden.golden_rules import fill
from unfold.weights.load_model import load_state
from unfold.weights.read_checkpoint import read_checkpoint

NARROW = {"stages": 3, "width": 8, "growth": 4, "tail": 4, "operator_width": 4}


class Bomb:
    """Pickles to a call of os.mkdir."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_code_in_it_is_refused_and_nothing_runs(tmp_path: Path, zipped: bool) -> None:
    trap = tmp_path / "hacked"
    torch.save({"state_dict": {"a": Bomb(trap)}}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    (tmp_path / "p.pth").write_bytes(pickle.dumps(Bomb(trap)))
    for name in ("w.pth", "p.pth"):
        with pytest.raises(UnfoldError, match="holds more than weights") as caught:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_files_that_are_no_checkpoint_are_one_line(tmp_path: Path) -> None:
    torch.save(create_model("dgunet_denoise", **NARROW).state_dict(), tmp_path / "good.pth")
    whole = (tmp_path / "good.pth").read_bytes()
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"a": 1}, tmp_path / "plain.pth")
    torch.save({"state_dict": {}}, tmp_path / "nothing.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("hello")
    for cut in (1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / f"cut{cut}.pth").write_bytes(whole[:cut])
    with pytest.raises(UnfoldError, match=r"empty.pth is damaged or no checkpoint \(it is empty\)"):
        read_checkpoint(tmp_path / "empty.pth")
    with pytest.raises(UnfoldError, match="its end is missing"):
        read_checkpoint(tmp_path / "cut100.pth")
    bad = sorted(set(tmp_path.glob("*.pth")) - {tmp_path / "good.pth"})
    for path in [*bad, tmp_path / "missing.pth", tmp_path]:
        with pytest.raises(UnfoldError) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bytes_never_end_in_another_error(tmp_path: Path, zipped: bool) -> None:
    torch.save(
        {"state_dict": {"a": torch.arange(6.0)}, "epoch": 3}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped
    )
    whole = (tmp_path / "w.pth").read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            broken[place] ^= int(rng.integers(1, 256))
        (tmp_path / "b.pth").write_bytes(broken)
        try:
            found = read_checkpoint(tmp_path / "b.pth").state
        except UnfoldError:
            refused += 1
        else:
            intact = found.keys() == {"a"} and torch.equal(found["a"], torch.arange(6.0))
            assert intact or not zipped, "a file with checksums never gives other numbers"
    assert refused > 100


def test_a_file_that_names_its_network_badly_is_refused(tmp_path: Path) -> None:
    for expected in (
        None,
        {},
        {"name": "dgunet_denoise"},
        {"name": "dgunet_denoise", "arguments": None},
        {"name": 3, "arguments": {}},
    ):
        torch.save({"state_dict": {"a": torch.zeros(1)}, "model": expected}, tmp_path / "w.pth")
        with pytest.raises(UnfoldError):
            load_model(tmp_path / "w.pth")


def test_weights_of_another_network_are_refused_with_the_keys_and_nothing_is_copied() -> None:
    net = fill(create_model("dgunet_denoise", **NARROW), dgunet_rule)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    state["extra.weight"] = torch.zeros(1)
    del state["r0"]
    state["tail.weight"] = torch.zeros(3, 5, 3, 3)
    with pytest.raises(UnfoldError) as caught:
        load_state(net, state, "w.pth")
    expected = str(caught.value)
    for part in (
        "w.pth",
        "DGUNet",
        "1 missing (r0)",
        "1 unknown (extra.weight)",
        "1 of another shape (tail.weight (3, 5, 3, 3) for (3, 12, 3, 3))",
    ):
        assert part in expected
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    plus = create_model("dgunet_plus_denoise", stages=3, width=8, growth=4)
    with pytest.raises(UnfoldError, match=r"missing \(.*, \.\.\.\); .* unknown"):
        load_state(plus, before, "w.pth")
