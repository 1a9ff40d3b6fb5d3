"""Options of parts in every type, from recipes, command lines and calls, and back from checkpoints."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unfold
from unfold import registry
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.models.registry import skeleton
from unfold.option_values import in_plain
from unfold.protocols.by_name import parse_protocol
from unfold.weights.read_checkpoint import read_checkpoint

Command = Callable[..., tuple[int, str, str]]
FILE = """
import dataclasses, enum
from pathlib import Path
from typing import Callable
import torch
from unfold.metrics import psnr, ssim
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.protocol import Protocol


class Mode(enum.Enum):
    fast = "f"
    slow = "s"


class Net(UnfoldingNetwork):
    def __init__(self, stages: int = 1, mode: Mode = Mode.fast, name: str = "n", key=1, device="d", table: dict = {},
                 sizes=(1, 2), since=None):
        super().__init__(stages)
        self.said = (mode, name, key, device, table, sizes, since)
        self.gain = torch.nn.Parameter(torch.ones(len(table) + 1))

    def begin(self, y):
        return y, None

    def stage(self, k, x, memory, context):
        return self.gain[0] * x, None


class Test(GaussianDenoising):
    name = "own"
    options = Protocol.options

    def __init__(self, mode: Mode = Mode.fast, where: Path = Path("x"), sizes: list[int] = [1], free=None,
                 text: str = ""):
        super().__init__()
        self.mode, self.where, self.sizes, self.free, self.text = mode, where, sizes, free, text
"""


class Mode(enum.Enum):
    fast = "f"
    slow = "s"


@dataclasses.dataclass
class Conf:
    a: int = 1
    b: float = 2.0


def taken(
    mode: Mode = Mode.fast,
    conf: Conf | None = None,
    act: Callable[..., Any] = torch.relu,
    kind: torch.dtype = torch.float32,
    where: Path = Path("x"),
    sizes=(1, 2),  # type: ignore[no-untyped-def]
    level: np.float32 = np.float32(0),  # noqa: B008
) -> None:
    """A part."""


PART = registry.Part(registry.NETWORK, "taken", taken)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"mode": "slow"}, Mode.slow),
        ({"mode": "s"}, Mode.slow),
        ({"mode": Mode.slow}, Mode.slow),
        ({"conf": {"a": 3}}, Conf(3)),
        ({"conf": Conf(4)}, Conf(4)),
        ({"conf": None}, None),
        ({"act": torch.tanh}, torch.tanh),
        ({"kind": "torch.float64"}, torch.float64),
        ({"kind": torch.float16}, torch.float16),
        ({"where": "a/b"}, Path("a/b")),
        ({"where": Path("a/b")}, Path("a/b")),
        ({"sizes": [3, 4]}, (3, 4)),
        ({"level": 0.5}, np.float32(0.5)),
    ],
)
def test_options_become_what_the_signature_says(given: dict[str, Any], made: Any) -> None:
    (found,) = PART.checked(given).values()
    assert (type(found), found) == (type(made), made)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "medium"}, "mode is one of fast, slow, and 'medium' is not"),
        ({"mode": 1}, "one of fast, slow"),
        ({"conf": {"c": 1}}, "a section of a, b, not of c"),
        ({"conf": {"a": "x"}}, "a section, in which something is a whole number"),
        ({"conf": 5}, "conf is a Conf, or a section of its fields or null"),
        ({"act": "relu"}, "act is a function, which code alone can give"),
        ({"kind": "floaty"}, "kind is a type of torch"),
        ({"where": [1]}, "where is text"),
        ({"sizes": ["a"]}, "a list in which each item is a whole number"),
    ],
)
def test_options_of_another_type_are_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UnfoldError) as caught:
        PART.checked(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def project(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own.py").write_text(FILE)
    (tmp_path / "recipe.yaml").write_text(
        "MODEL: {NAME: 'own.py:Net'}\nTRAIN: {EPOCHS: 1, PATCHES: 2, BATCH: 2, PATCH: 16}\n"
        f"DATA: {{TRAIN: {pictures}, VAL: {pictures}, TEST: {pictures}, VAL_PROTOCOL: 'own.py:Test'}}\nOUTPUT: run\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_options_of_every_kind_go_into_a_run_and_come_back_from_its_checkpoint(project: Path, command: Command) -> None:
    said = {"mode": "slow", "name": "me", "key": 3, "device": "gpu", "table": "{a: 0.5, b: 1}", "sizes": "[3,4]"}
    words = [word for key, value in said.items() for word in (f"MODEL.ARGS.{key}", value)]
    words += ["MODEL.ARGS.since", "'2020-01-01'"]
    words += ["DATA.VAL_PROTOCOL", "own.py:Test:mode=slow,sizes=[1,2],where=a/b,free=[2020-01-01,b]"]
    assert command("train", "--config", "recipe.yaml", *words)[::2] == (0, "")
    net = unfold.load_model("run/checkpoints/best.pth", "own.py:Net")
    mode, *rest = net.said
    assert (mode.name, rest) == ("slow", ["me", 3, "gpu", {"a": 0.5, "b": 1}, (3, 4), "2020-01-01"])
    kept = read_checkpoint("run/checkpoints/best.pth").content["protocol"]
    assert kept == {"mode": "slow", "sizes": [1, 2], "where": "a/b", "free": ["2020-01-01", "b"], "text": ""}
    assert command("test", "--config", "recipe.yaml", "--weights", "run/checkpoints/best.pth", *words)[0] == 0
    more = ["SCHEDULE.NAME", "constant", "SCHEDULE.WARMUP", "0"]
    code, _, err = command("train", "--config", "run/config.yaml", "--resume")
    assert (code, err) == (0, ""), "what it wrote reads back the same"
    again = ["train", "--config", "recipe.yaml", "OUTPUT", "other", *more]
    assert command(*again)[::2] == (0, "")
    assert command(*again, "--resume", "MODEL.ARGS.mode", "fast")[::2] == (0, ""), "its default, said"


def test_what_no_checkpoint_can_hold_is_no_value_of_an_option(project: Path, command: Command) -> None:
    for value in ("!!binary aGVsbG8=", "{a: !!set {b}}"):
        code, _, err = command("train", "--config", "recipe.yaml", "MODEL.ARGS.since", value)
        assert (code, err.count("\n"), "to YAML" in err) == (2, 1, True)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sizes=[1,2],mode=slow", {"sizes": [1, 2], "mode": "slow"}),
        ("sizes=[]", {"sizes": []}),
        ("free={a: [1, 2], b: 'x,y'},sizes=[3]", {"free": {"a": [1, 2], "b": "x,y"}, "sizes": [3]}),
        ("text='a,b'", {"text": "a,b"}),
        ("text={id}_*", {"text": "{id}_*"}),
        ("text=[x]", {"text": "[x]"}),
    ],
)
def test_options_of_a_protocol_may_be_lists_and_sections(project: Path, text: str, options: dict[str, Any]) -> None:
    found = parse_protocol(f"own.py:Test:{text}").options()
    assert {key: found[key] for key in options} == options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sizes=[1,2", "sizes is no list or section"),
        ("sizes={a: 1}", "sizes is a list, and {'a': 1} is not"),
        ("sizes=[1],sizes=[2]", "sizes is given twice"),
        ("mode=[1]", "mode is one of fast, slow"),
    ],
)
def test_lists_that_do_not_fit_are_one_line(project: Path, text: str, words: str) -> None:
    with pytest.raises(UnfoldError) as caught:
        parse_protocol(f"own.py:Test:{text}")
    assert words in str(caught.value)


def test_a_protocol_may_be_in_a_module_whose_name_has_no_dot(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "modulewithoutdot.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(project))
    for text in ("modulewithoutdot:Test", "modulewithoutdot:Test:mode=slow"):
        assert parse_protocol(text).name == "own"
    with pytest.raises(UnfoldError, match="did you mean usrnet_table1"):
        parse_protocol("usrnet_tabel1:scale=2")


def test_a_class_that_is_registered_anew_is_asked_anew() -> None:
    class Net(unfold.models.unfolding.UnfoldingNetwork):
        def begin(self, y: torch.Tensor) -> tuple[torch.Tensor, None]:
            return y, None

        def stage(self, k: int, x: torch.Tensor, memory: Any, context: Any) -> tuple[torch.Tensor, None]:
            return x, None

    before = dict(registry.NETWORK.registered)
    try:
        for size in (4, 8):

            class Changed(Net):
                min_size = size

                def __init__(self, stages: int = 1, name: str = "a") -> None:
                    super().__init__(stages)

            unfold.register("anew", network=Changed)
            assert skeleton("anew", {"name": "b"}).min_size == size
    finally:
        registry.NETWORK.registered.clear()
        registry.NETWORK.registered.update(before)


@pytest.mark.parametrize("name", ["x" * 5000 + ".py:A", "./" + "y/" * 3000 + "a.py:A", "a\0b.py:A"])
def test_names_that_can_be_no_file_are_one_line(name: str) -> None:
    with pytest.raises(UnfoldError, match="there is no file"):
        unfold.create_model(name)
    with pytest.raises(UnfoldError):
        unfold.load_model(name)
    with pytest.raises(UnfoldError):
        load_config(f"{name}.yaml")


def test_plain_values_are_those_of_checkpoints() -> None:
    assert in_plain({"a": Mode.slow, "b": Path("c"), "d": (Conf(), torch.float16), "e": np.float64(1)}) == {
        "a": "slow",
        "b": "c",
        "d": ({"a": 1, "b": 2.0}, "torch.float16"),
        "e": 1.0,
    }
