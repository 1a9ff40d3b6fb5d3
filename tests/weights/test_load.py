"""Weights come in whole, from files that can do no harm, or not at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
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


@pytest.mark.parametrize(
    ("begins", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "page of the web"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "page of the web"),
        (b'{"message": "Not Found"}', "text"),
        (gzip.compress(b"weights", mtime=0), r"packed \(gzip\).*unpack it first"),
        (bz2.compress(b"weights"), "unpack it first"),
        (lzma.compress(b"weights"), "unpack it first"),
        (bytes(257) + b"ustar" + bytes(250), r"packed \(tar\)"),
        (b"\x93NUMPY\x01", r"numpy\.load\(.*torch\.save"),
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_what_comes_in_place_of_weights_is_named_with_the_remedy(
    tmp_path: Path, begins: bytes, expected: str, ending: str
) -> None:
    path = tmp_path / f"w{ending}"
    path.write_bytes(begins)
    with pytest.raises(UnfoldError, match=expected) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_the_lines_that_are_printed_for_arrays_and_sparse_tensors_make_weights_that_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = create_model("dgunet_denoise", **NARROW).state_dict()
    arrays = {key: value.numpy() for key, value in state.items()}
    torch.save({"a": {"b": arrays}}, "deep.pth")
    np.save("dict.npy", arrays, allow_pickle=True)  # type: ignore[arg-type]
    torch.save({key: value.to_sparse() if value.ndim > 1 else value for key, value in state.items()}, "sparse.pth")
    for name in ("deep.pth", "dict.npy", "sparse.pth"):
        with pytest.raises(UnfoldError) as caught:
            load_model(name)
        exec("import numpy, torch; " + str(caught.value).split("in Python: ")[1])
        assert torch.equal(load_model("weights.pth", stages=3).state_dict()["tail.weight"], state["tail.weight"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name_wherever_they_load(
    tmp_path: Path, value: float, command: Any, recipe: Path
) -> None:
    state = create_model("dgunet_denoise", **NARROW).state_dict()
    for first in (True, False):
        name = next(iter(state)) if first else "tail.weight"
        bad = {**state, name: state[name].clone()}
        bad[name].view(-1)[0] = value
        torch.save(bad, tmp_path / "bad.pth")
        with pytest.raises(
            UnfoldError, match=rf"not finite numbers .*: {name} \(1 of {state[name].numel()}\)"
        ) as caught:
            load_model(tmp_path / "bad.pth", stages=3)
        assert "\n" not in str(caught.value)
    for words in (
        ("train", "--config", recipe, "--init", tmp_path / "bad.pth"),
        ("train", "--config", recipe, "--init", tmp_path / "bad.pth", "--partial"),
        ("test", "--config", recipe, "--weights", tmp_path / "bad.pth"),
        ("convert", tmp_path / "bad.pth", tmp_path / "out.safetensors"),
    ):
        code, _, err = command(*words)
        assert code == 2
        assert "not finite numbers" in err.splitlines()[-1]
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_that_become_infinite_in_the_networks_type_are_refused(tmp_path: Path) -> None:
    state = {key: value.double() for key, value in create_model("dgunet_denoise", **NARROW).state_dict().items()}
    state["tail.weight"][0, 0, 0, 0] = 1e300
    torch.save(state, tmp_path / "big.pth")
    with pytest.raises(UnfoldError, match=r"tail\.weight"):
        load_model(tmp_path / "big.pth", stages=3)


def test_weights_that_no_computation_uses_may_be_anything(tmp_path: Path) -> None:
    state = create_model("dgunet_denoise", **NARROW).state_dict()
    state["basic.concat12.weight"] = torch.full_like(state["basic.concat12.weight"], float("nan"))
    torch.save(state, tmp_path / "w.pth")
    assert load_model(tmp_path / "w.pth", stages=3).stages == 3


@pytest.mark.parametrize(
    ("name", "options", "assumed"),
    [
        ("dgunet_denoise", NARROW, "stages 7"),
        ("dgunet_cs", {"width": 8, "growth": 4, "tail": 4, "stages": 4}, "stages 7"),
        ("nrl_gdn_y0", {"widths": (4, 4, 4, 4), "depth": 1, "width": 4, "stages": 3}, "stages 40, stop sample"),
    ],
)
def test_what_no_shape_shows_and_changes_the_result_is_said_unless_it_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, options: dict[str, Any], assumed: str
) -> None:
    torch.save(create_model(name, **options).state_dict(), tmp_path / "bare.pth")
    given = name if name.startswith("nrl") else None
    load_model(tmp_path / "bare.pth", given)
    (expected,) = [record for record in caplog.records if "no shape" in record.message]
    assert expected.levelname == "WARNING", "Python shows nothing less"
    assert f"{assumed} of" in expected.message
    assert "load_model(..., stages=...)" in expected.message
    caplog.clear()
    said = {"stop": "never"} if name.startswith("nrl") else {}
    assert load_model(tmp_path / "bare.pth", given, stages=3, **said).stages == 3
    assert not caplog.records


def test_a_network_whose_shapes_show_all_of_it_and_known_weights_are_loaded_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(create_model("dgunet_plus_denoise", width=8, growth=4, stages=2).state_dict(), tmp_path / "plus.pth")
    assert load_model(tmp_path / "plus.pth").stages == 2
    load_model("nrl_gdn_small")
    assert not [record for record in caplog.records if "no shape" in record.message]


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
