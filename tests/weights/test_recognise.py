"""Files are recognised by network in every layout, and are written and read again bit for bit."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.narrow import ARGUMENTS, NAMES, OURS, narrow
from unfold import create_model, list_models, load_model
from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.sampling import random_orthonormal
from unfold.weights.load_model import fitted, load_state
from unfold.weights.read_checkpoint import digest, read_checkpoint
from unfold.weights.recognise import recognise

Command = Callable[..., tuple[int, str, str]]
AMBIGUOUS = ("nrl_gdn", "nrl_gdn_y0", "rgdn_uniform", "ista_net_plus_mri")
TWINS = ("dgunet_deblur", "dgunet_denoise", "ista_net_plus", "ista_net_plus_mri")  # two of one layout

PUBLISHED = [name for name in list_models() if name not in OURS]  # of the papers


def same_weights(a: UnfoldingNetwork, b: UnfoldingNetwork) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def name_to_give(name: str) -> str | None:
    return name if name in AMBIGUOUS else None


def beside(name: str, folder: Path) -> dict[str, Any]:
    """What a file of the authors does not hold and its network needs."""
    if name not in ("ista_net", "ista_net_plus"):
        return {}
    np.save(folder / "phi.npy", random_orthonormal(64, 256))
    return {"matrix": folder / "phi.npy", "block": 16}


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
    assert same_weights(load_model(tmp_path / "w.pth", name_to_give(name), **stages, **beside(name, tmp_path)), net)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_widths_are_recognised_by_name_and_arguments(name: str) -> None:
    with torch.device("meta"):
        net = create_model(name)
    found = recognise(net.state_dict())
    assert found is not None
    names, arguments = found
    assert name in names
    assert len(names) == (3 if name in AMBIGUOUS[:3] else 2 if name in TWINS else 1)
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
    with pytest.raises(UnfoldError, match="nrl_gdn, nrl_gdn_y0, rgdn_uniform, which share one layout: give its name"):
        load_model(tmp_path / "w.pth")
    assert load_model(tmp_path / "w.pth", "rgdn_uniform").noise_model == "gradient"


def test_files_of_no_known_network_say_so(tmp_path: Path) -> None:
    for state in ({"conv.weight": torch.zeros(3, 3)}, {"Phi": torch.zeros(2, 4)}, {"h.mlp.0.weight": torch.zeros(2)}):
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(UnfoldError, match="no network that is known here"):
            load_model(tmp_path / "w.pth")


def test_unused_parameters_of_published_files_are_tolerated_and_noted(caplog: pytest.LogCaptureFixture) -> None:
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
    name_to_give = "24 parameters that no computation uses are left out (stage1_encoder.body.0.csff_enc.weight, ...)"
    assert name_to_give in caplog.text


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
    assert "unused parameters are missing, and become 0" in caplog.text
    assert "fewer names" in caplog.text


def test_a_shared_parameter_of_another_shape_under_one_of_its_names_is_refused() -> None:
    net = narrow("dgunet_deblur")
    for key in ("phi_0.body.1.weight", "phit_6.body.1.weight"):
        with pytest.raises(UnfoldError, match=r"1 of another shape \(" + key):
            load_state(net, {**net.state_dict(), key: torch.zeros(2)}, "w.pth")


@pytest.mark.slow
def test_360_damaged_or_hostile_files_are_refused_in_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """And every network comes back bit for bit from every layout: the script fails where that is not so."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    import try_checkpoints

    assert try_checkpoints.main(["--seed", "1"]) == 0
    assert "code that ran: none" in capsys.readouterr().out


def test_a_used_parameter_that_is_missing_or_unknown_is_refused_and_the_likely_network_named() -> None:
    net = narrow("dgunet_deblur")
    state = net.state_dict()
    other = create_model("dgunet_deblur", **{**ARGUMENTS["dgunet_deblur"], "width": 24})
    with pytest.raises(UnfoldError) as caught:
        load_state(other, state, "w.pth")
    message = str(caught.value)
    assert "of another shape (" in message
    assert message.count(" for (") == 3, "three keys, and not more"
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
    assert about["model"]["name"] == name
    assert {"date", "unfold"} <= about.keys()
    assert command("convert", tmp_path / "out.safetensors", tmp_path / "back.pth", "--official")[0] == 0
    content = torch.load(tmp_path / "back.pth", weights_only=True)
    state: dict[str, Tensor] = content.get("state_dict", content)
    wrapped = name.startswith("dgunet") and not name.endswith("_cs")
    assert ("state_dict" in content) == wrapped
    prefix = "" if name == "usrnet" else "module."
    assert not zipfile.is_zipfile(tmp_path / "back.pth"), "the authors' torch reads the legacy format alone"
    assert list(state) == [prefix + key for key in net.state_dict()]
    stages = {"stages": net.stages} if net.tied and name.startswith("dgunet") else {}
    assert same_weights(load_model(tmp_path / "back.pth", name_to_give(name), **stages, **beside(name, tmp_path)), net)


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
    state = {"a": torch.arange(6.0), "b": torch.arange(3.0)}
    for words in ("{", "usrnet_x4", "[" * 100_000, json.dumps({"name": 3, "arguments": {}})):
        save_file(state, tmp_path / "w.safetensors", metadata={"model": words})
        assert read_checkpoint(tmp_path / "w.safetensors").model is None, "not ours, and no harm"
    save_file(state, tmp_path / "w.safetensors", metadata={"digest": digest(state)})
    whole = (tmp_path / "w.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(200):
        broken = bytearray(whole[: rng.integers(0, len(whole))] if i % 2 else whole)
        for place in rng.integers(0, max(len(broken), 1), 2) if broken else []:
            broken[place] ^= int(rng.integers(1, 256))
        (tmp_path / "b.safetensors").write_bytes(broken)
        try:
            found = read_checkpoint(tmp_path / "b.safetensors").state
        except UnfoldError:
            continue
        assert i % 2 == 0, "a truncated file never loads"
        assert found.keys() == state.keys() or "digest" not in read_checkpoint(tmp_path / "b.safetensors").content
        changed = not all(torch.equal(value, state[key]) for key, value in found.items() if key in state)
        assert not changed or "digest" not in read_checkpoint(tmp_path / "b.safetensors").content


def test_tensors_that_are_not_plain_numbers_are_refused_before_anything_is_copied(tmp_path: Path) -> None:
    net = narrow("usrnet")
    key, value = list(net.state_dict().items())[-1]
    for odd in (
        value.to("meta"),
        value.to_sparse(),
        value.long(),
        value > 0,
        value.to(torch.complex64),
        torch.zeros(1).expand(value.shape),
    ):
        torch.save({**net.state_dict(), key: odd}, tmp_path / "w.pth")
        with pytest.raises(UnfoldError, match=r"is no plain tensor|is damaged or no checkpoint|holds more than"):
            load_model(tmp_path / "w.pth")
    torch.save({**net.state_dict(), "a\nb\x1b[31m": value}, tmp_path / "w.pth")
    with pytest.raises(UnfoldError, match="impossible name"):
        load_model(tmp_path / "w.pth")


def test_compressed_files_are_refused_before_they_are_inflated(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "w.pth")
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as whole,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in whole.namelist():
            bomb.writestr(member, whole.read(member))
    assert (tmp_path / "b.pth").stat().st_size < 100_000
    with pytest.raises(UnfoldError, match="it is compressed"):
        read_checkpoint(tmp_path / "b.pth")


@pytest.mark.parametrize(
    "arguments",
    [
        {"stages": 10**9},
        {"stages": 3.0},
        {"stages": float("nan")},
        {"stages": True},
        {"stages": torch.tensor(3)},
        {"width": 200_000},
        {"width": "16"},
        {"operator_width": 10**7},
        {"nonsense": 1},
        {3: 4},
    ],
)
def test_arguments_that_a_file_should_not_say_are_refused(tmp_path: Path, arguments: dict[Any, Any]) -> None:
    content = {"state_dict": narrow("dgunet_plus_deblur").state_dict()}
    content["model"] = {"name": "dgunet_plus_deblur", "arguments": {**ARGUMENTS["dgunet_plus_deblur"], **arguments}}
    torch.save(content, tmp_path / "w.pth")
    if 3 in arguments:  # not ours: recognised by its shapes instead
        assert load_model(tmp_path / "w.pth").stages == 3
        return
    with pytest.raises(UnfoldError):
        load_model(tmp_path / "w.pth")


def test_a_name_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    name_to_give = {"name": "nrl_gdn", "arguments": ARGUMENTS["nrl_gdn"]}
    torch.save({"state_dict": narrow("nrl_gdn").state_dict(), "model": name_to_give}, tmp_path / "w.pth")
    with pytest.raises(UnfoldError, match="says that it holds nrl_gdn, which is another network than rgdn_uniform"):
        load_model(tmp_path / "w.pth", "rgdn_uniform")
    name_to_give = {"name": "dgunet_deblur", "arguments": {**ARGUMENTS["dgunet_deblur"], "stages": 4}}
    torch.save({"state_dict": narrow("dgunet_deblur").state_dict(), "model": name_to_give}, tmp_path / "w.pth")
    assert load_model(tmp_path / "w.pth", "dgunet_denoise").stages == 4, "the same network"


def test_shared_parameters_that_differ_and_other_types_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "unfold")
    net = narrow("dgunet_deblur")
    state = {key: value.double() for key, value in net.state_dict().items()}
    state["phi_0.body.1.weight"] = torch.tensor([9.0]).double()
    load_state(net, state, "w.pth")
    assert "shared parameters differ under their names; the last one counts" in caplog.text
    assert "converted to the network's floating-point type" in caplog.text
    assert net.phi_0.body[1].weight.item() == 0.25


def test_of_shared_parameters_that_differ_the_last_counts_under_every_name() -> None:
    net = narrow("dgunet_deblur")
    state = net.state_dict(keep_vars=True)
    shared = [key for key, value in state.items() if value is net.phi_0.body[1].weight]
    assert len(shared) > 2
    given = {key: value.detach().clone() for key, value in state.items()}
    given |= {key: torch.tensor([float(i)]) for i, key in enumerate(shared, 1)}
    for held in (shared, shared[:-1]):  # the last of those that the file holds
        at_hand = {key: value for key, value in given.items() if key not in shared or key in held}
        fitting = fitted(net, at_hand, "w.pth")
        assert [fitting[key].item() for key in shared] == [len(held)] * len(shared)
        load_state(net, at_hand, "w.pth")
        assert net.phi_0.body[1].weight.item() == len(held)


def test_a_released_dgunet_file_loads_with_its_24_unused_entries(tmp_path: Path) -> None:
    net = narrow("dgunet_plus_deblur")
    extra = {
        f"stage1_encoder.body.{i}.{part}.weight": torch.zeros(1) for i in range(3) for part in ("csff_enc", "gamma")
    }
    state = {f"module.{key}": value for key, value in {**net.state_dict(), **extra}.items()}
    torch.save({"state_dict": state}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same_weights(load_model(tmp_path / "w.pth"), net)


def test_converted_weights_are_tested_like_their_source(
    recipe: Path, tmp_path: Path, command: Command, caplog: Any
) -> None:
    assert command("train", "--config", recipe, "TRAIN.EPOCHS", 1)[0] == 0
    last, out = tmp_path / "run" / "checkpoints" / "last.pth", tmp_path / "out.safetensors"
    assert command("convert", last, out)[0] == 0
    tables = []
    for weights in (last, out):
        caplog.clear()
        assert command("test", "--config", recipe, "--weights", weights)[0] == 0
        assert "note" not in caplog.text
        results = json.loads((tmp_path / "run" / "test" / "results.json").read_text())
        tables.append([row["dgunet_denoise"]["psnr"] for row in results["images"].values()])
    assert tables[0] == tables[1]
    assert command("test", "--config", recipe, "--weights", out, "DATA.SIGMA", 50)[0] == 0
    assert "trained as protocol {'sigma': 25.0}" in caplog.text
