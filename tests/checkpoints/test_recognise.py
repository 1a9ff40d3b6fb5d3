"""Files tell which network they hold, in every layout, and go out and in again bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.narrow import ARGUMENTS, NAMES, narrow
from unfold import create_model, list_models, load_model
from unfold.checkpoints.load import load_state
from unfold.checkpoints.read import read_checkpoint
from unfold.checkpoints.recognise import recognise
from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork

Command = Callable[..., tuple[int, str, str]]
AMBIGUOUS = ("nrl_gdn", "nrl_gdn_y0", "rgdn_uniform")


def same_weights(a: UnfoldingNetwork, b: UnfoldingNetwork) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def told(name: str) -> str | None:
    return name if name in AMBIGUOUS else None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "params", "params_ema", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_every_network_of_any_width_loads_from_every_layout(
    tmp_path: Path, name: str, wrapper: str | None, prefix: str
) -> None:
    net = narrow(name)
    state: Any = {prefix + key: value for key, value in net.state_dict().items()}
    content = state if wrapper is None else {wrapper: state, "epoch": 3}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=wrapper != "net")
    stages = {"stages": net.stages} if net.tied and name.startswith("dgunet") else {}
    assert same_weights(load_model(tmp_path / "w.pth", told(name), **stages), net)


@pytest.mark.parametrize("name", list_models())
def test_published_widths_are_recognised_by_name_and_arguments(name: str) -> None:
    with torch.device("meta"):
        net = create_model(name)
    found = recognise(net.state_dict())
    assert found is not None
    names, arguments = found
    assert name in names
    assert len(names) == (3 if name in AMBIGUOUS else 2 if name in ("dgunet_deblur", "dgunet_denoise") else 1)
    with torch.device("meta"):
        again = create_model(name, **arguments)
    assert [(k, v.shape) for k, v in again.state_dict().items()] == [(k, v.shape) for k, v in net.state_dict().items()]


@pytest.mark.parametrize("ratio", [1, 4, 10, 25, 30, 40, 50, 7, 33.3])
def test_the_sampling_ratio_is_read_from_phi(ratio: float) -> None:
    net = narrow("dgunet_cs", ratio=ratio)
    found = recognise(net.state_dict())
    assert found is not None
    assert create_model("dgunet_cs", **found[1]).Phi.shape == net.Phi.shape
    assert found[1]["ratio"] == ratio or ratio in (7, 33.3)


def test_the_three_variants_of_nrl_gdn_need_a_name(tmp_path: Path) -> None:
    torch.save(narrow("nrl_gdn").state_dict(), tmp_path / "w.pth")
    with pytest.raises(UnfoldError, match="nrl_gdn, nrl_gdn_y0, rgdn_uniform, which share one layout: give name="):
        load_model(tmp_path / "w.pth")
    assert load_model(tmp_path / "w.pth", "rgdn_uniform").noise_model == "gradient"


def test_files_of_no_known_network_say_so(tmp_path: Path) -> None:
    for state in ({"conv.weight": torch.zeros(3, 3)}, {"Phi": torch.zeros(2, 4)}, {"h.mlp.0.weight": torch.zeros(2)}):
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(UnfoldError, match="no network that is known here"):
            load_model(tmp_path / "w.pth")


def test_unused_parameters_of_published_files_are_tolerated_and_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "unfold")
    net = narrow("dgunet_deblur")
    extra = {
        f"stage1_encoder.body.{i}.{part}.{kind}": torch.zeros(1)
        for i in range(3)
        for part in ("csff_enc", "csff_dec", "phi", "gamma")
        for kind in ("weight", "bias")
    }
    assert len(extra) == 24
    other = create_model("dgunet_deblur", **ARGUMENTS["dgunet_deblur"])
    load_state(other, {**net.state_dict(), **extra}, "w.pth")
    assert same_weights(other, net)
    told = "24 parameters that no computation uses are left out (stage1_encoder.body.0.csff_enc.weight, ...)"
    assert told in caplog.text


@pytest.mark.parametrize("name", ["dgunet_deblur", "dgunet_cs", "dgunet_plus_cs"])
def test_unused_parameters_may_be_missing_and_shared_ones_stand_under_one_name(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    net = narrow(name)
    seen: dict[int, str] = {}
    state = {}
    for key, value in net.state_dict(keep_vars=True).items():
        if value.requires_grad and id(value) not in seen:
            seen[id(value)] = key
            state[key] = value.detach()
    assert len(state) < len(net.state_dict())
    other = create_model(name, **ARGUMENTS[name])
    load_state(other, state, "w.pth")
    for key, value in other.named_parameters():
        if value.requires_grad:
            assert torch.equal(value, dict(net.named_parameters())[key]), key
    assert "unused parameters are missing" in caplog.text
    assert "fewer names" in caplog.text


def test_a_used_parameter_that_is_missing_or_unknown_is_refused_and_the_likely_network_named() -> None:
    net = narrow("dgunet_deblur")
    state = net.state_dict()
    other = create_model("dgunet_deblur", **{**ARGUMENTS["dgunet_deblur"], "width": 24})
    with pytest.raises(UnfoldError) as caught:
        load_state(other, state, "w.pth")
    message = str(caught.value)
    assert "of another shape (" in message
    assert message.count(" for (") == 10, "ten keys, and not more"
    assert "the file looks like dgunet_deblur or dgunet_denoise or dgunet_derain with width 16, growth 4" in message
    del state["tail.weight"]
    with pytest.raises(UnfoldError, match=r"1 missing \(tail.weight\)"):
        load_state(net, state, "w.pth")


@pytest.mark.parametrize("name", NAMES)
def test_out_to_safetensors_and_to_the_authors_layout_and_in_again_bit_for_bit(
    tmp_path: Path, name: str, command: Command
) -> None:
    net = narrow(name)
    model = {"name": name, "arguments": ARGUMENTS[name]}
    torch.save({"state_dict": net.state_dict(), "model": model}, tmp_path / "in.pth")
    code, out, _ = command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert code == 0
    assert name in out
    loaded = load_model(tmp_path / "out.safetensors")
    assert same_weights(loaded, net)
    assert loaded.stages == net.stages
    about = read_checkpoint(tmp_path / "out.safetensors").content
    assert len(about["source_sha256"]) == 64
    assert json.loads(about["model"])["name"] == name
    assert {"date", "unfold"} <= about.keys()
    assert command("convert", tmp_path / "out.safetensors", tmp_path / "back.pth", "--official")[0] == 0
    content = torch.load(tmp_path / "back.pth", weights_only=True)
    state: dict[str, Tensor] = content.get("state_dict", content)
    wrapped = name.startswith("dgunet") and not name.endswith("_cs")
    assert ("state_dict" in content) == wrapped
    prefix = "" if wrapped or name == "usrnet" else "module."
    assert list(state) == [prefix + key for key in net.state_dict()]
    stages = {"stages": net.stages} if net.tied and name.startswith("dgunet") else {}
    assert same_weights(load_model(tmp_path / "back.pth", told(name), **stages), net)


def test_convert_refuses_what_it_cannot_do(tmp_path: Path, command: Command) -> None:
    torch.save(narrow("usrnet").state_dict(), tmp_path / "in.pth")
    (tmp_path / "there.safetensors").touch()
    for words, shown in [
        (["in.pth", "out.pth"], "the target is a .safetensors file without --official"),
        (["in.pth", "out.safetensors", "--official"], "the target is a .pth file with --official"),
        (["in.pth", "there.safetensors"], "exists already"),
        (["none.pth", "out.safetensors"], "there is no weights file"),
        (["in.pth", "out.safetensors", "--name", "dgunet_denoise"], "do not fit this DGUNet"),
    ]:
        paths = [tmp_path / word if "." in word else word for word in words]
        code, _, err = command("convert", *paths)
        assert code == 2
        assert shown in err
        assert err.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.arange(6.0), "b": torch.arange(3)}, tmp_path / "w.safetensors", metadata={"model": "{"})
    with pytest.raises(UnfoldError, match="damaged or no safetensors"):
        read_checkpoint(tmp_path / "w.safetensors")
    save_file({"a": torch.arange(6.0), "b": torch.arange(3)}, tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(200):
        broken = bytearray(whole[: rng.integers(0, len(whole))] if i % 2 else whole)
        for place in rng.integers(0, max(len(broken), 1), 2) if broken else []:
            broken[place] ^= int(rng.integers(1, 256))
        (tmp_path / "b.safetensors").write_bytes(broken)
        try:
            state = read_checkpoint(tmp_path / "b.safetensors").state
        except UnfoldError:
            continue
        assert i % 2 == 0, "a truncated file never loads"
        assert all(isinstance(value, Tensor) for value in state.values())
