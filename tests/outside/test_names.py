"""Names of parts: built in, of installed packages, of files; options by signatures; composed networks; grey."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

import unfold
from tests.synthetic import scene
from unfold import registry, user_files
from unfold.config import differences, dumped, load_config, options_of, terms_of
from unfold.errors import UnfoldError
from unfold.evaluation.run_protocol import evaluate
from unfold.models.run_on_arrays import network
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.derain import Derain
from unfold.tables.export import read_table

Command = Callable[..., tuple[int, str, str]]


class Plain(UnfoldingNetwork):
    """A network of one number."""

    def __init__(
        self,
        stages: int = 1,
        gain: float = 1.0,
        mode: Literal["a", "b"] = "a",
        sizes: tuple[int, int] = (1, 2),
        names: list[str] | None = None,
        deep: bool = False,
    ) -> None:
        super().__init__(stages)
        self.gain, self.said = torch.nn.Parameter(torch.tensor(float(gain))), (mode, sizes, names, deep)

    def begin(self, y: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return y, None

    def stage(self, k: int, x: torch.Tensor, memory: Any, context: Any) -> tuple[torch.Tensor, Any]:
        return self.gain * x, None


PART = registry.Part(registry.NETWORK, "plain", Plain)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gain": 0}, {"gain": 0.0}),
        ({"gain": "1e-4"}, {"gain": 1e-4}),
        ({"deep": False, "names": None}, {"deep": False, "names": None}),
        ({"names": []}, {"names": []}),
        ({"sizes": [3, 4]}, {"sizes": (3, 4)}),
        ({"names": ["a", 5]}, {"names": ["a", "5"]}),
    ],
)
def test_options_come_in_the_types_of_the_signature_and_zero_false_and_null_are_values(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert PART.checked(options) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stages": 1.5}, "stages is a whole number, and 1.5 is not"),
        ({"stages": True}, "stages is a whole number"),
        ({"gain": "much"}, "gain is a number"),
        ({"gain": float("nan")}, "gain is a number"),
        ({"mode": "c"}, "mode is one of a, b"),
        ({"sizes": [1]}, "sizes is a list of 2"),
        ({"sizes": 3}, "sizes is a list"),
        ({"deep": 1}, "deep is true or false"),
        ({"names": 3}, "names is"),
        ({"gian": 1}, "did you mean gain?"),
    ],
)
def test_unfit_options_are_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UnfoldError) as caught:
        PART.checked(options)
    assert words in str(caught.value)


def test_a_class_of_a_notebook_is_found_by_name_once_it_is_registered() -> None:
    before = dict(registry.NETWORK.registered)
    try:
        assert unfold.register(network=Plain) == ["Plain"]
        assert unfold.create_model("Plain", gain=2.0).gain == 2.0
        assert "Plain" in unfold.list_models()
        with pytest.raises(UnfoldError, match="is built in"):
            unfold.register("usrnet", network=Plain)
        with pytest.raises(UnfoldError, match="is no loss"):
            unfold.register(loss=Plain)
        with pytest.raises(UnfoldError, match="network is registered by its class, and this is a int"):
            unfold.register(network=3)  # type: ignore[arg-type]
    finally:
        registry.NETWORK.registered.clear()
        registry.NETWORK.registered.update(before)


def test_files_of_one_name_in_two_folders_do_not_collide_and_late_imports_work(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "parts").mkdir(parents=True)
        (folder / "parts" / "__init__.py").write_text("")
        (folder / "parts" / "deep.py").write_text(f"WHO = 'deep {name}'\n")
        (folder / "utils.py").write_text(f"WHO = {name!r}\n")
        (folder / "net.py").write_text(
            "import utils\nfrom parts import deep\nimport parts.deep as again\n"
            "def late():\n    from utils import WHO\n    from .utils import WHO as same\n"
            "    return WHO, same, deep.WHO, again.WHO\n"
        )
    for name in ("one", "two", "one"):
        module = user_files.load_file(tmp_path / name / "net.py")
        assert module.late() == (name, name, f"deep {name}", f"deep {name}")
        assert name == module.utils.WHO
    assert "utils" not in sys.modules


def test_a_recipe_finds_files_beside_itself_and_bases_beside_themselves(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "net.py").write_text("")
    (tmp_path / "base" / "base.yaml").write_text("MODEL: {NAME: 'net.py:Net', ARGS: {a: 1}}\n")
    (tmp_path / "recipe.yaml").write_text("_BASE_: base/base.yaml\nMODEL: {ARGS: {b: 2}}\n")
    cfg = load_config(tmp_path / "recipe.yaml")
    assert f"{(tmp_path / 'base' / 'net.py').resolve()}:Net" == cfg.MODEL.NAME
    assert options_of(cfg, "MODEL") == {"a": 1, "b": 2}
    cfg = load_config(tmp_path / "recipe.yaml", ["MODEL.ARGS.c", "3", "MODEL.NAME", "usrnet"])
    assert options_of(cfg, "MODEL") == {"c": 3}  # of another part, what was inherited is dropped
    with pytest.raises(AttributeError):
        cfg.MODEL.ARGS.c = 4


def test_what_is_written_into_a_run_folder_reads_back_the_same(tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text(
        "LOSS: {TERMS: [{NAME: l1, WEIGHT: 0.5}, {NAME: edge, STAGES: all, ARGS: {eps: 0.01}}]}\n"
        "MODEL: {NAME: composed, ARGS: {stages: 2, prior: {name: resunet, widths: [4, 4, 4, 4]}}}\n"
    )
    cfg = load_config(recipe, ["LOSS.TERMS.1.WEIGHT", "0.25", "MODEL.ARGS.prior", "{depth: 1}"])
    assert terms_of(cfg)[1]["WEIGHT"] == 0.25
    assert options_of(cfg, "MODEL")["prior"] == {"name": "resunet", "widths": [4, 4, 4, 4], "depth": 1}
    (tmp_path / "b.yaml").write_text(dumped(cfg))
    assert differences(cfg, load_config(tmp_path / "b.yaml")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["MODEL.STAGES", "3", "MODEL.WIDTH", "0"], ["MODEL.ARGS.stages", "3"]),
        (["DATA.SIGMA", "15"], ["DATA.ARGS.sigma", "15"]),
        (
            ["LOSS.EDGE", "0.05", "LOSS.EPS", "0.01", "LOSS.CLAMP", "true"],
            [
                "LOSS.TERMS",
                "[{NAME: charbonnier, STAGES: all, CLAMP: true, ARGS: {eps: 0.01}}, "
                "{NAME: edge, WEIGHT: 0.05, STAGES: all, CLAMP: true, ARGS: {eps: 0.01}}]",
            ],
        ),
        (
            ["LOSS.PIXEL", "l1", "LOSS.STAGES", "last", "LOSS.WEIGHT", "0.0625"],
            ["LOSS.TERMS", "[{NAME: l1, WEIGHT: 0.0625}]"],
        ),
        (
            ["OPTIM.BETAS", "[0.5, 0.9]", "OPTIM.WEIGHT_DECAY", "0.1"],
            ["OPTIM.ARGS.betas", "[0.5, 0.9]", "OPTIM.ARGS.weight_decay", "0.1"],
        ),
        (
            ["SCHEDULE.NAME", "multistep", "SCHEDULE.MILESTONES", "[3, 4]", "SCHEDULE.LR_MIN", "1e-5"],
            ["SCHEDULE.NAME", "multistep", "SCHEDULE.ARGS.milestones", "[3, 4]"],
        ),
    ],
)
def test_keys_of_before_mean_what_they_meant_and_name_the_new_ones(
    old: list[str], new: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "a.yaml").write_text("")
    from unfold import old_keys

    old_keys._announced.clear()
    assert differences(load_config(tmp_path / "a.yaml", old), load_config(tmp_path / "a.yaml", new)) == []
    assert f"{old[0]} is " in caplog.text or "SCHEDULE.MILESTONES is SCHEDULE.ARGS.milestones" in caplog.text


def test_an_old_key_of_a_part_that_is_not_chosen_is_said_to_have_no_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "none.yaml").write_text("SCHEDULE: {NAME: cosine, MILESTONES: [3]}\n")
    assert "milestones" not in load_config(tmp_path / "none.yaml").SCHEDULE.ARGS
    said = "SCHEDULE.MILESTONES belongs to SCHEDULE.NAME multistep, and it is cosine: it has no effect"
    assert f"{tmp_path / 'none.yaml'}: {said}" in caplog.text


PLAIN = """
from torch import nn
from unfold.models.unfolding import UnfoldingNetwork


class Plain(UnfoldingNetwork):
    def __init__(self, stages: int = 2, channels: int = 3):
        super().__init__(stages)
        self.channels = channels
        self.change = nn.Conv2d(channels, channels, 3, padding=1)

    def begin(self, y):
        return y, None

    def stage(self, k, x, memory, context):
        return x - 0.1 * self.change(x), None
"""


def test_options_that_a_file_of_bare_weights_does_not_say_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text(PLAIN)
    torch.save(unfold.create_model("plain.py:Plain", stages=5).state_dict(), "plain.pth")
    assert unfold.load_model("plain.pth", "plain.py:Plain").stages == 2
    assert "plain.pth says no options of plain.py:Plain, so that they are stages 2, channels 3" in caplog.text


def test_published_tables_measure_a_network_of_a_file_in_several_processes(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed in ((f"{side}/{i}.png", i + 5 * (side == "input")) for side in ("input", "target") for i in (0, 1)):
        path = tmp_path / "data" / "Rain100L" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(40, 36, seed=seed)).save(path)
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text(PLAIN)
    net = unfold.create_model("plain.py:Plain")
    torch.save({"state_dict": net.state_dict()}, tmp_path / "plain.pth")
    assert "holds no network that is known here" in command("tables", "derain", "--weights", "plain.pth")[2]
    words = ["tables", "derain", "--weights", "plain.py:Plain=plain.pth", "--jobs", 2, "-o", tmp_path / "out"]
    code, out, err = command(*words)
    assert (code, "4 images measured now" in out) == (0, True), err
    protocol = Derain()
    cases = protocol.cases("Rain100L")
    results = [result.scores["psnr"] for result in evaluate(protocol, network(net, torch.device("cpu")), cases)]
    found = read_table(tmp_path / "out" / "table.json").cells
    cell = next(one for one in found if "plain.py" in one.method and (one.data, one.metric) == ("Rain100L", "psnr"))
    assert cell.measured == pytest.approx(np.mean(results), abs=1e-9)


SMALL = ["TRAIN.EPOCHS", "1", "TRAIN.PATCHES", "4", "TRAIN.BATCH", "2", "TRAIN.PATCH", "32"]


@pytest.mark.parametrize("data", ["closed_form", "blur_gradient", "learned_gradient"])
@pytest.mark.parametrize("prior", ["resunet", "conv_block", "pathway_unet"])
def test_any_data_step_and_any_prior_make_a_network_of_a_recipe(
    data: str, prior: str, tmp_path: Path, pictures: Path, command: Command
) -> None:
    options = {
        "resunet": "widths: [4, 4, 4, 4], depth: 1",
        "conv_block": "width: 4",
        "pathway_unet": "width: 8, growth: 4",
    }
    kind = {"closed_form": "usrnet", "blur_gradient": "nrl_gdn", "learned_gradient": "gaussian"}[data]
    recipe = tmp_path / "a.yaml"
    recipe.write_text(
        f"MODEL: {{NAME: composed, ARGS: {{stages: 2, data: {{name: {data}}}, "
        f"prior: {{name: {prior}, {options[prior]}}}, shared: false}}}}\n"
        f"DATA: {{KIND: {kind}, TRAIN: {pictures}, VAL: {pictures}, TEST: {pictures}, "
        "VAL_PROTOCOL: gaussian_denoise}\n"
        f"OUTPUT: {tmp_path / 'run'}\n"
    )
    more = [] if kind == "gaussian" else ["DATA.VAL_PROTOCOL", "synthetic"]
    if kind == "usrnet":
        more += ["DATA.ARGS.scales", "[2]"]
    weights = tmp_path / "run" / "checkpoints" / "last.pth"
    more = more if kind == "gaussian" else [*more[2:], "DATA.VAL_PROTOCOL", ""]
    if kind != "gaussian":  # the published protocols need kernels that are not here
        more[more.index("DATA.VAL_PROTOCOL") + 1] = f"{tmp_path / 'own.py'}:Own"
        (tmp_path / "own.py").write_text(
            "from unfold.from_config import *\nfrom unfold.degradations.blur_downscale import BlurDownscale\n"
            "from unfold.degradations.nonuniform_noise import BlurNoise\n"
            "from unfold.protocols.synthetic_validation import Synthetic\n"
            "class Own(Synthetic):\n    name = 'own'\n    def __init__(self):\n"
            f"        super().__init__({'BlurDownscale([2])' if kind == 'usrnet' else 'BlurNoise()'}, {{}})\n"
        )
    code, _, err = command("train", "--config", recipe, *SMALL, *more)
    assert (code, err) == (0, "")
    code, _, err = command("test", "--config", recipe, "--weights", weights, *more)
    assert (code, err) == (0, "")
    picture = tmp_path / "a.png"
    Image.fromarray(scene(24, 20, seed=1)).save(picture)
    kernel = [] if kind == "gaussian" else ["--kernel", "gauss:1"]
    kernel += ["--scale", "2"] if kind == "usrnet" else []
    code, _, err = command("restore", picture, "-o", tmp_path / "b.png", "--weights", weights, *kernel)
    assert (code, err) == (0, "")
    assert Image.open(tmp_path / "b.png").size == ((40, 48) if kind == "usrnet" else (20, 24))
    assert command("trace", picture, "-o", tmp_path / "traced", "--weights", weights, *kernel)[0] == 0


GREY = {
    "dgunet_denoise": ("gaussian", {"stages": 3, "width": 8, "growth": 4, "tail": 4, "operator_width": 4}),
    "dgunet_plus_denoise": ("gaussian", {"stages": 3, "width": 8, "growth": 4, "operator_width": 4}),
    "usrnet": ("usrnet", {"widths": [4, 4, 4, 4], "depth": 1, "stages": 2, "hyper_width": 8}),
    "nrl_gdn": ("nrl_gdn", {"widths": [4, 4, 4, 4], "depth": 1, "width": 4, "train_stages": 2, "stages": 2}),
    "dgunet_cs": ("compressive_sensing", {"stages": 3, "width": 8, "growth": 4, "tail": 4, "ratio": 10}),
}


@pytest.mark.parametrize("name", GREY)
def test_every_network_takes_one_channel_three_or_more(name: str) -> None:
    _, options = GREY[name]
    for channels in (1, 3, 5):
        net = unfold.create_model(name, **options, channels=channels).eval()
        given = net.example(32, 32)
        with torch.no_grad():
            assert net(**given).shape == (1, channels, 32, 32)
        assert (net.recognise(net.state_dict()) or {}).get("channels", 1 if name.endswith("_cs") else 3) == channels


def test_grey_works_through_training_tests_and_restoring(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "grey"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(scene(48, 40, seed=i)).convert("L").save(folder / f"{i}.png")
    recipe = tmp_path / "a.yaml"
    recipe.write_text(
        "MODEL: {NAME: dgunet_denoise, "
        "ARGS: {stages: 3, width: 8, growth: 4, tail: 4, operator_width: 4, channels: 1}}\n"
        f"DATA: {{TRAIN: {folder}, VAL: {folder}, TEST: {folder}}}\nOUTPUT: {tmp_path / 'run'}\n"
    )
    assert command("train", "--config", recipe, *SMALL)[::2] == (0, "")
    weights = tmp_path / "run" / "checkpoints" / "last.pth"
    assert command("test", "--config", recipe, "--weights", weights)[::2] == (0, "")
    Image.fromarray(scene(30, 30, seed=3)).save(tmp_path / "colour.png")
    net = unfold.load_model(weights)
    for source in (folder / "0.png", tmp_path / "colour.png"):
        code, _, err = command("restore", source, "-o", tmp_path / "b.png", "--weights", weights, "--overwrite")
        assert (code, err) == (0, "")
        picture, result = np.asarray(Image.open(source)), np.asarray(Image.open(tmp_path / "b.png"))
        assert picture.shape == result.shape
        channel = picture if picture.ndim == 2 else picture[..., 1]
        with torch.no_grad():
            x = net(torch.from_numpy(channel.astype(np.float32) / 255)[None, None])[0, 0].clamp(0, 1).numpy()
        assert np.abs(np.rint(255 * x) - (result if result.ndim == 2 else result[..., 1])).max() <= 1


PACKAGE = """
from unfold.models.unfolding import UnfoldingNetwork
from unfold.degradations.degradation import Degradation
from unfold.losses.loss import ImageLoss
import torch

class Net(UnfoldingNetwork):
    "A network of another package."
    def __init__(self, stages: int = 2, width: int = 3):
        super().__init__(stages)
        self.conv = torch.nn.Conv2d(3, 3, 1)
    def begin(self, y):
        return y, None
    def stage(self, k, x, memory, context):
        return self.conv(x), None

class Half(Degradation):
    def degrade(self, target, rng):
        return {"y": target / 2}

class Far(ImageLoss):
    def distance(self, x, target):
        return (x - target).abs().max()
"""


def test_an_installed_package_registers_by_entry_points(tmp_path: Path, pictures: Path) -> None:
    """Its names are listed, train, and load by themselves, in processes that know nothing else of it."""
    site = tmp_path / "site"
    info = site / "their_nets-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "their_nets.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[unfold.networks]\ntheir_net = their_nets:Net\nbad_net = their_nets:Nothing\n"
        "[unfold.degradations]\nhalf = their_nets:Half\n[unfold.losses]\nfar = their_nets:Far\n"
    )
    recipe = tmp_path / "a.yaml"
    recipe.write_text(
        f"MODEL: {{NAME: their_net}}\nDATA: {{KIND: half, TRAIN: {pictures}, VAL: {pictures}}}\n"
        f"OUTPUT: {tmp_path / 'run'}\n"
        "LOSS: {TERMS: [{NAME: far}]}\nTRAIN: {EPOCHS: 1, PATCHES: 2, BATCH: 2, PATCH: 16}\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{site}:{Path(unfold.__file__).parents[1]}"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "unfold", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    trained = run("train", "--config", recipe)
    assert trained.returncode == 0, trained.stderr
    listed = run("models")
    assert "A network of another package. (their-nets)" in listed.stdout
    assert "bad_net" in listed.stdout
    weights = tmp_path / "run" / "checkpoints" / "last.pth"
    restored = run("restore", pictures, "-o", tmp_path / "out", "--weights", weights)
    assert restored.returncode == 0, restored.stderr
    assert len(list((tmp_path / "out").iterdir())) == 3
