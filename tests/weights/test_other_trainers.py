"""Files of other trainers: the network is found wherever it is, and nothing but weights comes out of a file."""

from __future__ import annotations

import argparse
import builtins
import collections
import datetime
import decimal
import functools
import importlib.util
import os
import pathlib
import pickle
import struct
import time
import types
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.narrow import ARGUMENTS, narrow
from unfold import load_model
from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork
from unfold.weights.inert_types import STAND_INS, LeftOut
from unfold.weights.read_checkpoint import read_checkpoint

Command = Callable[..., tuple[int, str, str]]
State = dict[str, Tensor]


def usrnet(add: float = 0.0) -> State:
    return {name: value + add for name, value in narrow("usrnet").state_dict().items()}


def under(prefix: str, state: State) -> State:
    return {f"{prefix}.{name}": value for name, value in state.items()}


def discriminator() -> State:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3)).state_dict()


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def is_usrnet(net: UnfoldingNetwork, add: float = 0.0) -> bool:
    found, wanted = net.state_dict(), usrnet(add)
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


KEYS = ["model", "net", "params", "params_ema", "state_dict", "model_state_dict", "net_g", "netG", "g", "ema", "G.best"]


@pytest.mark.parametrize("key", KEYS)
def test_a_network_is_found_under_any_key(tmp_path: Path, key: str) -> None:
    for i, content in enumerate(({key: usrnet()}, {"epoch": 3, "lr": 1e-4, "a": {"b": [1, {key: usrnet()}]}})):
        assert is_usrnet(load_model(saved(tmp_path / f"{i}.pth", content)))


@pytest.mark.parametrize(
    "prefix",
    ["module", "model", "net", "_orig_mod", "generator", "model.net", "module._orig_mod.model.generator", "a.b.c.d.e"],
)
@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".pt", ".pkl", ".tar", ".bin", ".safetensors"])
def test_a_network_is_found_under_any_prefix_in_files_of_any_name(tmp_path: Path, prefix: str, suffix: str) -> None:
    state, path = under(prefix, usrnet()), tmp_path / f"w{suffix}"
    assert is_usrnet(load_model(saved(path, state))), "a torch file"
    save_file(state, path)
    assert is_usrnet(load_model(path)), "a safetensors file"


def test_wrappers_of_compiled_and_sharded_parts_inside_names_are_taken_away(tmp_path: Path) -> None:
    for wrapper in ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"):
        state = {name.replace("p.", f"p.{wrapper}.", 1): value for name, value in usrnet().items()}
        assert is_usrnet(load_model(saved(tmp_path / "w.pth", {"model": under("module", state)})))


def test_an_averaged_model_and_a_lightning_checkpoint_load_without_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    averaged = torch.optim.swa_utils.AveragedModel(narrow("usrnet"))
    assert is_usrnet(load_model(saved(tmp_path / "a.pth", averaged.state_dict())))
    optimizer = torch.optim.Adam(narrow("usrnet").parameters())
    lightning = {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": under("model", usrnet()),
        "callbacks": {"ModelCheckpoint{'monitor': 'psnr'}": {"best_model_score": torch.tensor(30.0)}},
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": {"lr": 1e-4, "folder": pathlib.PurePosixPath("/data")},
    }
    assert is_usrnet(load_model(saved(tmp_path / "l.ckpt", lightning)))
    assert "left out" not in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        {**under("generator", usrnet()), **under("discriminator", discriminator()), "loss.mean": torch.zeros(3)},
        {"state_dict": {**under("model", usrnet()), **under("discriminator", discriminator())}},
        {**usrnet(), **under("discriminator", discriminator()), **under("netD", discriminator())},
        {"net_g": usrnet(), "discriminator": discriminator()},
        {"m": {**under("module.net", usrnet()), **under("module.discriminator", discriminator())}},
    ],
)
def test_a_network_beside_a_discriminator_is_taken_and_the_rest_is_named(
    tmp_path: Path, content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    assert is_usrnet(load_model(saved(tmp_path / "w.pth", content)))
    assert "left out: " in caplog.text
    assert "discriminator (9 tensors)" in caplog.text
    assert caplog.text.count("left out") == 1


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        ({"params": usrnet(), "params_ema": usrnet(1)}, "params_ema"),
        ({"g": usrnet(), "g_ema": usrnet(1)}, "g_ema"),
        ({"state_dict": usrnet(), "state_dict_ema": under("module", usrnet(1))}, "state_dict_ema.module"),
        ({"model": usrnet(), "modelEMA": usrnet(1)}, "modelEMA"),
        ({"model": usrnet(), "ema": {"decay": 0.9, "shadow": usrnet(1)}}, "ema.shadow"),
        ({**under("net", usrnet()), **under("model_ema", usrnet(1))}, "model_ema"),
        ({"a": usrnet(), "b": {"n_averaged": torch.tensor(3), **under("module", usrnet(1))}}, "b.module"),
        ({"swa": {"model": usrnet(1)}, "model": usrnet()}, "swa.model"),
    ],
)
def test_of_copies_the_moving_average_is_taken_and_named_and_key_takes_another(
    tmp_path: Path, content: Any, taken: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    path = saved(tmp_path / "w.pth", content)
    assert is_usrnet(load_model(path), 1)
    assert f"using {taken}, the moving average; left out: " in caplog.text
    whole = ["net", "model_ema"] if "net.p.m_head.weight" in content else list(content)
    other = next(key for key in whole if key != taken.partition(".")[0])
    assert is_usrnet(load_model(path, key=other), 0)
    assert is_usrnet(load_model(path, key=taken), 1)


def test_copies_without_a_sign_of_which_is_meant_are_listed_and_key_chooses(tmp_path: Path, command: Command) -> None:
    path = saved(tmp_path / "w.pth", {"best": usrnet(), "last": usrnet(1), "optimizer": {"lr": 1}})
    with pytest.raises(UnfoldError, match=r"several copies of one network: best \(usrnet.*\), last \(usrnet.*--key"):
        load_model(path)
    assert is_usrnet(load_model(path, key="last"), 1)
    same = saved(tmp_path / "same.pth", {"best": usrnet(), "last": usrnet()})
    assert is_usrnet(load_model(same)), "equal numbers need no choice"


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A file of two networks."""
    content = {"denoiser": narrow("dgunet_plus_deblur").state_dict(), "sharpener": under("module", usrnet())}
    return saved(tmp_path / "several.pth", content)


def test_different_networks_are_listed_and_key_or_name_chooses(several: Path) -> None:
    with pytest.raises(UnfoldError) as caught:
        load_model(several)
    for part in ("several networks", "denoiser (dgunet_plus_d", "sharpener.module (usrnet", "--key KEY", "key="):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert is_usrnet(load_model(several, key="sharpener"))
    assert is_usrnet(load_model(several, key="sharpener.module"))
    assert is_usrnet(load_model(several, "usrnet"))
    assert load_model(several, "dgunet_plus_deblur").stages == 3
    with pytest.raises(UnfoldError, match=r"no tensors under the key 'sharpner': it holds denoiser, sharpener"):
        load_model(several, key="sharpner")


def test_every_command_that_takes_weights_takes_the_key(
    several: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    picture = pictures / "picture0.png"
    for key, *words in (
        ("sharpener", "restore", picture, "-o", tmp_path / "r.png", "--weights", several, "--kernel", "gauss:1"),
        ("sharpener", "trace", picture, "-o", tmp_path / "t", "--weights", several, "--kernel", "gauss:1"),
        ("sharpener", "convert", several, tmp_path / "c.safetensors"),
        ("denoiser", "test", "--protocol", "gaussian_denoise:sigma=25", "--data", pictures, "--weights", several),
    ):
        code, _, err = command(*words)
        assert (code, err.count("\n")) == (2, 1)
        assert "several networks" in err
        code, _, err = command(*words, "--key", key)
        assert (code, err) == (0, "")
    assert is_usrnet(load_model(tmp_path / "c.safetensors"))


def test_test_and_init_by_a_recipe_take_the_network_that_fits_it_or_the_key(
    recipe: Path, several: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    from unfold import create_model

    def made(width: int) -> State:
        net = create_model("dgunet_denoise", stages=3, width=width, growth=4, tail=4, operator_width=4)
        return under("model", net.state_dict())

    path = saved(tmp_path / "w.pth", {"wide": made(16), "narrow": made(8), "model": "dgunet", "protocol": "ours"})
    assert command("test", "--config", recipe, "--weights", path)[::2] == (0, "")
    assert "trained as" not in caplog.text, "words of other trainers mean other things"
    code, _, err = command("test", "--config", recipe, "--weights", path, "--key", "wide")
    assert code == 2
    assert "do not fit" in err
    assert command("train", "--config", recipe, "--init", path, "TRAIN.EPOCHS", 1)[::2] == (0, "")
    code, _, err = command("train", "--config", recipe, "--overwrite", "--init", path, "--key", "wide")
    assert code == 2
    assert "do not fit" in err
    code, _, err = command("train", "--config", recipe, "--overwrite", "--key", "wide")
    assert code == 2
    assert "--init" in err


@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": {"exp_avg": usrnet(1)}},
        {"optimizer_g": usrnet(1)},
        {"optimG": {"state": usrnet(1)}},
        {"opt": usrnet(1)},
        {"adam": {"m": usrnet(1)}},
        {"exp_avg_sq": usrnet(1)},
        {"momentum_buffer": usrnet(1)},
        {"training": {"state": usrnet(1), "param_groups": []}},
        under("optimizer.exp_avg", usrnet(1)),
    ],
)
def test_the_state_of_an_optimizer_is_never_taken_for_a_network(
    tmp_path: Path, optimizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    assert is_usrnet(load_model(saved(tmp_path / "w.pth", {**optimizer, "net": usrnet()})))
    path = saved(tmp_path / "o.pth", optimizer)
    for key in (None, next(iter(optimizer)).partition(".")[0]):
        with pytest.raises(UnfoldError, match=r"no state dict|no network that is known|no tensors under"):
            load_model(path, key=key)


def test_a_state_dict_may_have_plain_values_among_its_names(tmp_path: Path) -> None:
    assert is_usrnet(load_model(saved(tmp_path / "w.pth", {**usrnet(), "epoch": 3, "note": "best", 7: None})))


VALUES: dict[str, Any] = {
    "best_psnr": np.float64(30.5),
    "epoch": np.int64(3),
    "args": argparse.Namespace(lr=1e-4, out=pathlib.PosixPath("runs"), flags=[True]),
    "losses": collections.defaultdict(list, {"l1": [0.1, 0.2]}),
    "counts": collections.defaultdict(int, a=1),
    "counter": collections.Counter("aab"),
    "recent": collections.deque([1, 2], maxlen=3),
    "path": pathlib.PosixPath("/data"),
    "windows": pathlib.PureWindowsPath("C:/data"),
    "array": np.arange(6.0).reshape(2, 3),
    "words": np.array(["a", "b"]),
    "objects": np.array([1, "a", None], dtype=object),
    "records": np.zeros(2, dtype=[("a", "f4")]),
    "dtype": np.dtype("float32"),
    "random": np.random.RandomState(0).get_state(),
    "generator": np.random.default_rng(0),
    "date": datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
    "took": datetime.timedelta(hours=2),
    "set": {1, 2},
    "frozen": frozenset({1}),
    "complex": 1j,
    "size": torch.Size([1, 2]),
    "torch_dtype": torch.bfloat16,
    "torch_version": torch.__version__,
    "nothing": b"",
    "decimal": decimal.Decimal("1.5"),
    "uuid": uuid.UUID(int=1),
    "range": range(3),
    "simple": types.SimpleNamespace(a=1),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("zipped", [True, False])
def test_plain_values_of_other_types_do_not_keep_weights_from_loading(tmp_path: Path, name: str, zipped: bool) -> None:
    content = {"first": VALUES[name], "state_dict": usrnet(), "nested": {name: [VALUES[name]]}}
    assert is_usrnet(load_model(saved(tmp_path / "w.pth", content, _use_new_zipfile_serialization=zipped)))


def test_files_written_with_numpy_1_load(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"state_dict": usrnet(), "best": np.float64(1), "array": np.arange(3)})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "old.pth", "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member).replace(b"cnumpy._core.", b"cnumpy.core."))
    assert b"cnumpy.core." in (tmp_path / "old.pth").read_bytes()
    assert is_usrnet(load_model(tmp_path / "old.pth"))


def test_a_state_dict_in_a_defaultdict_is_found(tmp_path: Path) -> None:
    assert is_usrnet(load_model(saved(tmp_path / "w.pth", collections.defaultdict(dict, model=usrnet()))))


@pytest.mark.parametrize("package", ["omegaconf", "easydict", "addict", "munch", "yacs"])
def test_settings_of_packages_load_where_they_are_installed(tmp_path: Path, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    module = importlib.import_module("yacs.config" if package == "yacs" else package)
    make = {"omegaconf": "OmegaConf", "easydict": "EasyDict", "addict": "Dict", "munch": "munchify", "yacs": "CfgNode"}
    made = getattr(module, make[package])
    settings = (made.create if package == "omegaconf" else made)({"a": {"b": 1.5}, "c": "x"})
    assert is_usrnet(load_model(saved(tmp_path / "w.pth", {"cfg": settings, "state_dict": usrnet()})))


def test_loading_leaves_the_safe_list_of_torch_as_it_was_and_does_not_use_it(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = saved(tmp_path / "w.pth", {"a": Reduced(Path.mkdir, trap), "state_dict": usrnet()})
    values = saved(tmp_path / "v.pth", {"a": np.float64(1), "state_dict": usrnet()})
    mine = [np.dtype, np.ndarray, (getattr, "builtins.getattr"), (Path.mkdir, "pathlib.mkdir")]
    with torch.serialization.safe_globals(mine):
        before = set(torch.serialization.get_safe_globals())
        assert is_usrnet(load_model(values)), "with real and inert types of one name"
        with pytest.raises(UnfoldError, match="holds more than weights"):
            read_checkpoint(path)
        assert set(torch.serialization.get_safe_globals()) == before
    assert not trap.exists()
    assert not {type(one) for one in STAND_INS.values()} & set(torch.serialization.get_safe_globals())


class Reduced:
    """Pickles to a call."""

    def __init__(self, call: Any, *given: Any, state: Any = None) -> None:
        self.call = (call, given, state)

    def __reduce__(self) -> Any:
        return self.call


class PathOfMine(pathlib.PurePosixPath):
    """A type of a person's own that derives from an inert one."""


def _hostile(trap: Path) -> dict[str, Any]:
    """Hostile versions of every kind of type that is let in; each would leave a trace."""
    make = Reduced(os.mkdir, str(trap))
    line = f"__import__('os').mkdir({str(trap)!r})"
    objects = np.empty(1, dtype=object)
    objects[0] = make
    evil_factory = collections.defaultdict(os.getcwd)
    return {
        "a namespace that holds a call": argparse.Namespace(a=make),
        "a namespace that holds a function": argparse.Namespace(a=os.system),
        "a namespace whose state is a call": Reduced(argparse.Namespace, state=Reduced(eval, line)),
        "a defaultdict of os.getcwd": evil_factory,
        "a defaultdict of eval": collections.defaultdict(eval),
        "a defaultdict of a partial": collections.defaultdict(functools.partial(os.mkdir, str(trap))),
        "a defaultdict with a call inside": collections.defaultdict(list, a=make),
        "a path that is a call": Reduced(pathlib.PurePosixPath, make),
        "a path of a type of one's own": PathOfMine("/a"),
        "an array of objects that call": objects,
        "an array whose dtype is a call": Reduced(np.dtype, make),
        "a scalar whose bytes are a call": Reduced(np.float64, make),
        "a time whose zone is a call": Reduced(datetime.datetime, make),
        "a set of a call": Reduced(set, [make]),
        "a deque of a call": collections.deque([make]),
        "a simple namespace of a call": types.SimpleNamespace(a=make),
        "getattr on a module": Reduced(getattr, Reduced(importlib.import_module, "os"), "mkdir"),
        "getattr on a path": Reduced(Reduced(getattr, pathlib.PosixPath(trap), "mkdir")),
        "exec": Reduced(exec, line),
        "import": Reduced(builtins.__import__, "os"),
        "numpy.load": Reduced(np.load, str(trap)),
        "numpy.fromfile": Reduced(np.fromfile, str(trap)),
        "a class of one's own": Reduced(Reduced, os.mkdir, str(trap)),
        "an optimizer with its code": torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1),
        "a partial": functools.partial(print, "hello"),
    }


HOSTILE = [*_hostile(Path("trap"))]


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("container", ["zip", "legacy", "pickle"])
def test_hostile_versions_of_inert_types_are_refused_and_nothing_runs(
    tmp_path: Path, kind: str, container: str
) -> None:
    trap = tmp_path / "trap"
    path = tmp_path / "w.pth"
    try:
        content = {"extra": _hostile(trap)[kind], "state_dict": usrnet()}
        if container == "pickle":
            path.write_bytes(pickle.dumps(content))
        else:
            saved(path, content, _use_new_zipfile_serialization=container == "zip")
    except (TypeError, pickle.PicklingError):
        pytest.skip("Python does not pickle it")
    with pytest.raises(UnfoldError, match="holds more than weights, and code in a file is never run") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_calls_on_what_stands_for_inert_types_are_refused_and_run_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    text = str(trap).encode()

    def word(value: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value

    path = b"cpathlib\nPosixPath\n(" + word(text) + b"tR"
    for body in (
        b"cposix\nsystem\n(" + word(b"touch " + text) + b"tR",
        b"cpathlib\nPosixPath.mkdir\n(" + path + b"tR",  # a name with a dot
        b"cpathlib\nos.mkdir\n(" + word(text) + b"tR",  # through what a module imports
        b"cbuiltins\nlist.append\n(]" + word(text) + b"tR",
        path + b"(tR",  # the object itself is called
        b"cnumpy\nndarray\n(tR" + b"(tR",
        path + word(b"a") + word(b"b") + b"s",  # an entry of what is no dict
        path + word(b"a") + b"a",
        b"ccollections\ndefaultdict\n(" + path + b"tR" + word(b"a") + b"b",
    ):
        content = b"\x80\x02}" + word(b"state_dict") + body + b"s."
        with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", b"3\n")
        with pytest.raises(UnfoldError) as caught:
            load_model(tmp_path / "w.pth")
        assert "\n" not in str(caught.value)
        assert not trap.exists()


def test_an_inert_type_keeps_nothing_and_is_not_the_real_one(tmp_path: Path) -> None:
    content = {"state_dict": usrnet(), "args": argparse.Namespace(a=1), "huge": np.zeros(3)}
    found = read_checkpoint(saved(tmp_path / "w.pth", content)).content
    for name in ("args", "huge"):
        assert isinstance(found[name], LeftOut)
        assert not isinstance(found[name], argparse.Namespace | np.ndarray)
        assert not hasattr(found[name], "__dict__")


def test_attributes_that_hide_the_methods_of_dicts_and_tensors_are_dropped(tmp_path: Path) -> None:
    hidden = dict.fromkeys(["items", "keys", "values", "get"], 3)
    state: dict[str, Any] = {**usrnet(), "p.m_tail.weight": nn.Parameter(usrnet()["p.m_tail.weight"])}
    state["p.m_tail.weight"].numel = 3
    inner = Reduced(collections.OrderedDict, list(state.items()), state=hidden)
    outer = Reduced(collections.OrderedDict, [("state_dict", inner)], state=hidden)
    assert is_usrnet(load_model(saved(tmp_path / "w.pth", outer)))


class Settings:
    """A type of a person's own."""


class Whole(nn.Module):
    """A network of a person's own, pickled with its code."""

    def __init__(self) -> None:
        super().__init__()
        self.net = narrow("usrnet")


def in_words(error: str) -> str:
    """The Python in a message."""
    return error.partition("in Python: ")[2]


def run(lines: str, folder: Path) -> None:
    assert lines.count("; ") == 1, "two lines"
    here = Path.cwd()
    os.chdir(folder)
    try:
        exec(lines, {"torch": torch, "pickle": pickle, "numpy": np})
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: {"my_state": usrnet(), "cfg": Settings()}, "Settings"),
        (lambda: {"model": Whole(), "epoch": 3}, "Whole"),
        (Whole, "Whole"),
        (lambda: {**usrnet(), "cfg": Settings()}, "Settings"),
    ],
)
@pytest.mark.parametrize("container", ["zip", "legacy", "pickle"])
def test_a_refused_file_names_its_types_and_the_lines_that_save_its_weights_alone(
    tmp_path: Path, make: Callable[[], Any], named: str, container: str
) -> None:
    path = tmp_path / "it's.pth"
    if container == "pickle":
        path.write_bytes(pickle.dumps(make()))
    else:
        saved(path, make(), _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(UnfoldError, match="holds more than weights") as caught:
        load_model(path)
    assert f"test_other_trainers.{named}" in str(caught.value)
    assert "Where you trust its author" in str(caught.value)
    run(in_words(str(caught.value)), tmp_path)
    assert is_usrnet(load_model(tmp_path / "weights.pth"))


def test_a_file_that_calls_a_command_gets_no_lines_that_would_run_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"a": Reduced(os.mkdir, str(tmp_path / "trap")), "state_dict": usrnet()})
    with pytest.raises(UnfoldError, match=r"it calls \w+\.mkdir, which no checkpoint needs") as caught:
        load_model(path)
    assert "torch.load" not in str(caught.value)


def test_other_pickle_protocols_say_so(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"net": usrnet()}, pickle_protocol=4)
    with pytest.raises(UnfoldError, match="pickle protocol 4, and only 2") as caught:
        load_model(path)
    run(in_words(str(caught.value)), tmp_path)
    assert is_usrnet(load_model(tmp_path / "weights.pth"))


def test_torchscript_says_what_it_is_and_the_lines_work(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 3))
    torch.jit.save(torch.jit.script(net), tmp_path / "w.pt")
    with pytest.raises(UnfoldError, match="is TorchScript") as caught:
        load_model(tmp_path / "w.pt")
    assert "damaged" not in str(caught.value)
    assert "compressed" not in str(caught.value)
    run(in_words(str(caught.value)), tmp_path)
    assert torch.load(tmp_path / "weights.pth", weights_only=True).keys() == net.state_dict().keys()


@pytest.mark.parametrize("kind", ["savez", "compressed", "pickle", "torch", "nested"])
def test_weights_as_arrays_are_refused_with_lines_that_make_tensors_of_them(kind: str, tmp_path: Path) -> None:
    arrays = {name: value.numpy() for name, value in usrnet().items()}
    path = tmp_path / "w.npz"
    if kind == "savez":
        np.savez(path, **arrays)
    elif kind == "compressed":
        np.savez_compressed(path, **arrays)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(arrays))
    else:
        saved(path, arrays if kind == "torch" else {"epoch": 3, "params": arrays, "args": argparse.Namespace(lr=1)})
    with pytest.raises(UnfoldError) as caught:
        load_model(path)
    assert "damaged" not in str(caught.value)
    run(in_words(str(caught.value)), tmp_path)
    assert is_usrnet(load_model(tmp_path / "weights.pth"))


def test_a_choice_among_copies_is_a_warning_so_that_python_shows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_model(saved(tmp_path / "w.pth", {"g": usrnet(), "g_ema": usrnet(1)}))
    expected = [record for record in caplog.records if "using g_ema, the moving average; left out: g" in record.message]
    assert [record.levelname for record in expected] == ["WARNING"]


def test_a_folder_is_no_file_of_weights_and_those_in_it_are_named(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UnfoldError, match="run is a folder, and weights are a file: name the file in it"):
        load_model(tmp_path / "run")
    saved(tmp_path / "run" / "checkpoints" / "last.pth", usrnet())
    for folder in ("run", "run/checkpoints"):
        with pytest.raises(UnfoldError, match=r"is a folder.*: it holds \S+run/checkpoints/last\.pth$"):
            load_model(tmp_path / folder)


def test_a_file_without_a_known_network_names_its_keys_and_the_lines(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"epoch": 3, "our.net": {"nets": [discriminator()]}, "optimizer": {}})
    with pytest.raises(UnfoldError, match="no network that is known here") as caught:
        load_model(path)
    assert "it holds epoch, our.net, optimizer" in str(caught.value)
    run(str(caught.value).partition("in Python, by ")[2], tmp_path)
    assert torch.load(tmp_path / "weights.pth", weights_only=True).keys() == discriminator().keys()
    with pytest.raises(UnfoldError, match=r"holds no state dict .*: it holds epoch, optimizer"):
        load_model(saved(tmp_path / "n.pth", {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}))


OWN = '''
from torch import Tensor, nn
from unfold.models.unfolding import UnfoldingNetwork

class Mine(UnfoldingNetwork):
    """Two convolutions, with a count as batch normalisation has it."""

    def __init__(self, width: int = 4, stages: int = 2) -> None:
        super().__init__(stages)
        self.module = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def begin(self, y: Tensor):
        return y, y

    def stage(self, x, y, k):
        return x + self.last(self.module(x))
'''


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": under("net", state), "optimizer": {"m": state}},
        lambda state: {"state_dict": {**under("gen.module", state), **under("disc", discriminator())}},
        lambda state: {"g": {key: value + 1 for key, value in state.items()}, "g_ema": state},
        lambda state: {"one": discriminator(), "usrnet": usrnet(), "x": {"y": under("module", state)}},
    ],
)
def test_a_network_of_ones_own_is_found_by_its_names_and_shapes(
    tmp_path: Path, wrap: Callable[[State], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    from unfold import create_model

    net = create_model("mine.py:Mine", width=5)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    saved(tmp_path / "w.pth", wrap(state))
    found = load_model("w.pth", "mine.py:Mine", width=5).state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    with pytest.raises(UnfoldError, match="of another shape"):
        load_model("w.pth", "mine.py:Mine", width=6)


def test_large_files_are_searched_in_time_that_grows_with_their_size(tmp_path: Path) -> None:
    part = torch.zeros(1)

    def seconds(count: int) -> float:
        names = {f"{'.'.join(f'b{(i >> s) % 8}' for s in range(0, 24, 3))}.w{i}": part for i in range(count)}
        start = time.perf_counter()
        with pytest.raises(UnfoldError):
            load_model(saved(tmp_path / "w.pth", {"a": names, "b": [list(range(9))] * 9}))
        return time.perf_counter() - start

    seconds(10)
    small = seconds(2_000)
    assert seconds(16_000) < 8 * 3 * small + 1


def test_dicts_that_hold_themselves_or_are_very_deep_end_in_one_line(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"a": [{}]}
    loop["a"][0]["b"] = loop
    with pytest.raises(UnfoldError, match="no state dict"):
        load_model(saved(tmp_path / "w.pth", loop))
    deep = b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 5000 + b"}" + b"s" * 5000 + b"."
    with zipfile.ZipFile(tmp_path / "d.pth", "w") as archive:
        archive.writestr("archive/data.pkl", deep)
        archive.writestr("archive/version", b"3\n")
    with pytest.raises(UnfoldError, match="no state dict"):
        load_model(tmp_path / "d.pth")


def test_the_names_of_the_variants_still_decide(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"model": under("net", narrow("nrl_gdn").state_dict())})
    with pytest.raises(UnfoldError, match="share one layout"):
        load_model(path)
    assert load_model(path, "rgdn_uniform", stages=ARGUMENTS["nrl_gdn"].get("stages", 40)).noise_model == "gradient"


def test_archives_that_are_no_checkpoint_are_named_with_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{key: value.numpy() for key, value in usrnet().items()})
    with pytest.raises(UnfoldError, match=r"holds arrays of NumPy.*numpy\.load"):
        load_model(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("weights.pth", b"x")
    with pytest.raises(UnfoldError, match=r"a zip file with weights\.pth: unpack it first"):
        load_model(tmp_path / "b.zip")
