"""A project of somebody who begins: a mosaic of one channel becomes colour, and mistakes are one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

import unfold
from unfold import option_values, registry
from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork

Command = Callable[..., tuple[int, str, str]]

NETWORK = """
import torch
from torch import nn
from unfold.facts import image, level
from unfold.models.unfolding import UnfoldingNetwork


class Demosaic(UnfoldingNetwork):
    inputs = {"y": image(1), "mask": image(3), "gain": level()}

    def __init__(self, stages: int = 2):
        super().__init__(stages)
        self.step = nn.Parameter(torch.tensor(0.5))

    def begin(self, y, *, mask, gain):
        gain = torch.as_tensor(gain, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1)
        return y.expand(-1, 3, -1, -1) * 0.5, (y, mask, gain)

    def stage(self, k, x, memory, context):
        y, mask, gain = context
        return x - self.step / (1 + gain) * mask * ((mask * x).sum(1, keepdim=True) - y), None
"""
SAMPLES = """
import numpy as np
from unfold.degradations.degradation import Degradation
from unfold.losses.loss import ImageLoss
from unfold.metrics import psnr, ssim
from unfold.protocols.protocol import Protocol, Sample
from unfold.data.images import read_image, to_float


def measured(target, rng):
    mask = np.zeros(target.shape)
    mask[::2, :, 0] = mask[1::2, :, 1] = 1
    gain = rng.uniform(0, 0.1)
    y = (target * mask).sum(2)
    return y + gain * rng.standard_normal(y.shape), mask, gain


class Mosaic(Degradation):
    inputs = ("y", "mask", "gain")

    def degrade(self, target, rng):
        y, mask, gain = measured(target, rng)
        return {"y": y, "mask": mask, "gain": gain}


class Mean(ImageLoss):
    def distance(self, x, target):
        return (x - target).abs().mean()


class Rows(Protocol):
    name = "rows"
    inputs = ("y", "mask", "gain")

    def sample(self, case):
        target = to_float(read_image(case.files[0]))
        y, mask, noise = measured(target, np.random.default_rng(0))
        return Sample({"y": y.astype(np.float32)[..., None], "mask": mask.astype(np.float32), "gain": noise}, target)

    def score(self, result, target):
        return {"psnr": psnr(result.clip(0, 1), target), "ssim": ssim(result.clip(0, 1), target)}
"""
RECIPE = """
MODEL: {NAME: "net.py:Demosaic"}
DATA: {KIND: "samples.py:Mosaic", VAL_PROTOCOL: "samples.py:Rows"}
LOSS: {TERMS: [{NAME: "samples.py:Mean"}]}
TRAIN: {EPOCHS: 1, PATCHES: 4, BATCH: 2, PATCH: 16}
"""


@pytest.fixture
def project(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "samples.py").write_text(SAMPLES)
    data = "".join(f"DATA.{key} {pictures}\n" for key in ("TRAIN", "VAL", "TEST"))
    (tmp_path / "words").write_text(f"{data}OUTPUT {tmp_path / 'run'}")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(project: Path) -> list[str]:
    return (project / "words").read_text().split()


def test_a_measurement_of_one_channel_becomes_a_picture_of_three_with_every_command(
    project: Path, command: Command
) -> None:
    recipe, weights = project / "recipe.yaml", project / "run" / "checkpoints" / "best.pth"
    assert command("train", "--config", recipe, *words(project))[::2] == (0, "")
    code, out, err = command("train", "--config", recipe, *words(project), "--check")
    assert (code, err) == (0, ""), "a check writes nothing, so that a run may lie there"
    assert command("test", "--config", recipe, "--weights", weights, *words(project))[0] == 0
    code, out, err = command("models", recipe)
    assert (code, err, "gain" in out) == (0, "", True)
    grey = np.random.default_rng(0).integers(0, 256, (20, 22), np.uint8)
    mask = np.zeros((20, 22, 3), np.uint8)
    mask[::2, :, 0] = mask[1::2, :, 1] = 255
    Image.fromarray(grey).save(project / "y.png")
    Image.fromarray(mask).save(project / "mask.png")
    given = ["--weights", weights, "--model", "net.py:Demosaic", "--input", f"mask={project / 'mask.png'}"]
    code, _, err = command("restore", project / "y.png", "-o", project / "x.png", *given)
    assert (code, "needs gain" in err, "--input gain=" in err) == (2, True, True), "no level but sigma is assumed"
    for options in ([], ["--ensemble"], ["--tile", "16"]):
        assert command(
            "restore", project / "y.png", "-o", project / "x.png", *given, "--input", "gain=2", *options, "--overwrite"
        )[::2] == (0, "")
    found = np.asarray(Image.open(project / "x.png"))
    net = unfold.load_model(weights, "net.py:Demosaic")
    expected = unfold.restore(grey, net, mask=mask, gain=2 / 255)
    assert found.shape == expected.shape == (20, 22, 3)
    assert (unfold.restore(np.dstack([grey] * 3), net, mask=mask, gain=2 / 255) == expected).all()
    with pytest.raises(UnfoldError, match="takes a grey picture"):
        unfold.restore(mask, net, mask=mask, gain=0.0)
    assert command("trace", project / "y.png", "-o", project / "t", *given, "--input", "gain=2")[::2] == (0, "")
    code, _, err = command("restore", project / "y.png", "-o", project / "z.png", *given, "--input", "gain=estimate")
    assert (code, "sigma alone can be estimated" in err) == (2, True)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"gain": gain}', '"gain": np.float32(gain)}', ""),
        ('"gain": gain}', '"gain": np.array([gain])}', ""),
        ('"gain": gain}', '"gain": np.full((1, 1, 1), gain)}', ""),
        ('"gain": gain}', '"gain": 1}', ""),
        ('"mask": mask, "gain"', '"mask": mask > 0, "gain"', ""),
        ('"gain": gain}', '"gain": "much"}', "degrade of Mosaic returns gain as str"),
        ('"gain": gain}', '"gain": np.zeros(3)}', "returns gain of shape (3,), and one number is wanted"),
        (', "gain": gain}', "}", "degrade of Mosaic returns y, mask, and gain is in its inputs, too"),
        ('"mask": mask, "gain"', '"mask": mask[..., :2], "gain"', "returns mask of shape (16, 16, 2), and (H,W,3)"),
        ('"mask": mask, "gain"', '"mask": mask.transpose(2, 0, 1), "gain"', "and (H,W,3) is wanted"),
        ("return {", "return 5 or {", "degrade of Mosaic returns a int, and a dict"),
        (
            "return (x - target).abs().mean()",
            "return (x - target).abs()",
            "a tensor of shape (2, 3, 16, 16)",
        ),
        ("return (x - target).abs().mean()", "return 0.5", "Mean returns float, and a scalar tensor is wanted"),
        ('return {"psnr": psnr(result.clip(0, 1), target), "ssim"', 'return 5 or {"ssim"', "score of Rows returns int"),
        ('"gain": noise}', '"gain": np.array([noise])}', ""),
        ('"gain": noise}', '"gain": np.zeros(3)}', "gain is an array of shape (3,)"),
        ("return x - self", "return self.step or x - self", "stage 0 of Demosaic makes an estimate of shape ()"),
        ("return y.expand(-1, 3, -1, -1) * 0.5, (", "return y or (", "Boolean value"),
        ("return y.expand(-1, 3, -1, -1) * 0.5, (y, mask, gain)", "return y", "begin of Demosaic returns a Tensor"),
        ('"gain": gain}', '"gain": gain, "target": target}', "degrade of Mosaic returns target"),
        ("y, mask, gain = measured(target, rng)", "target *= 0.5; y, mask, gain = measured(target, rng)", "read-only"),
        ('return {"psnr": psnr(result.clip(0, 1), target), "ssim"', 'return {"psnr": np.float32(1), "ssim"', ""),
        ("def stage(self, k, x, memory, context)", "def stage(self, x, context)", "Demosaic.stage() takes 3"),
        ("def degrade(self, target, rng)", "def degrade(self, target)", "Mosaic.degrade() takes 2"),
        ("def distance(self, x, target)", "def distance(self, x)", "Mean.distance() takes 2"),
        ("def score(self, result, target)", "def score(self, result)", "Rows.score() takes 2"),
        ("def sample(self, case)", "def sample(self)", "Rows.sample() takes 1"),
        ("super().__init__(stages)", "torch.nn.Module.__init__(self)", "has to call super().__init__(stages)"),
        ("super().__init__(stages)", "pass", "net.py:"),
        ("def begin(self, y, *, mask, gain)", "def begin(self, image, *, mask, gain)", "it has no argument y"),
        ("inputs = {", 'inputs = ["y"]\n    was = {', "inputs of Demosaic is a dict such as"),
        ('"mask": image(3)', '"mask": "image"', "inputs of Demosaic is a dict such as"),
        ('"y": image(1)', '"y": level()', "the picture to be restored, an image"),
        ("inputs = {", 'min_size = "8"\n    inputs = {', "min_size of Demosaic is a whole number, and '8' is not"),
        ("inputs = {", "tiling = 64\n    inputs = {", "tiling of Demosaic is a Tiling"),
        ("    def stage(", "    def forward(self, y):\n        return y\n\n    def stage(", "has a forward of its own"),
        (
            "    def stage(",
            "    def forward(self, y, **kw):\n        return y\n\n    def stage(",
            "an Output is wanted",
        ),
        (
            "class Mean(ImageLoss):",
            "class Mean(ImageLoss):\n    def __init__(self):\n        self.a = 1\n",
            "super().__i",
        ),
        (
            "class Mosaic(Degradation):",
            "class Mosaic(Degradation):\n    scales = 2",
            "scales of Mosaic is a list, and '2' is",
        ),
        ("target = to_float(read_image(case.files[0]))", "return None", "sample of Rows returns a NoneType"),
        ('"gain": noise}, target)', '"gain": noise})', "sample of Rows returns no target"),
        ('"gain": noise}, target)', '"gain": noise}, target * 255)', "returns a target with values from 0 to 2"),
        ("y.astype(np.float32)[..., None]", "(y * 99).astype(np.uint8)[..., None]", "y with numbers of the kind uint8"),
        ('return {"y": y, "mask"', 'return {"y": y * 255, "mask"', "degrade of Mosaic returns y with values from"),
        ('return {"y": y, "mask"', 'return {"y": y.astype(np.float16), "mask"', ""),
        ('return {"y": y, "mask"', 'import torch; return {"y": torch.tensor(y).bfloat16(), "mask"', ""),
        ("import torch\n", "import sys\nimport torch\nsys.exit(0)\n", "it ends the program (sys.exit)"),
        (
            "def begin(self, y, *, mask, gain):",
            "def begin(self, y, *, mask, gain):\n        raise SystemExit",
            "ends the pr",
        ),
    ],
)
def test_what_their_own_code_returns_is_taken_where_it_is_clear_and_else_refused_in_one_line(
    project: Path, command: Command, old: str, new: str, said: str
) -> None:
    file = project / ("net.py" if old in NETWORK else "samples.py")
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new, 1))
    code, _, err = command("train", "--config", project / "recipe.yaml", *words(project))
    if not said:
        assert (code, err) == (0, "")
        return
    assert code == 2, err
    assert err.count("\n") == 1, err
    assert said in err
    assert f"{file.name}:" in err or "images" in err or "pictures" in err or "gain is" in err, "where"


@pytest.mark.parametrize("optimizer", ["Adagrad", "Adafactor", "RAdam", "SGD"])
def test_every_optimizer_takes_steps_and_a_term_that_counts_nothing_needs_nothing(
    project: Path, command: Command, optimizer: str
) -> None:
    terms = '[{NAME: "samples.py:Mean"}, {NAME: perceptual, WEIGHT: 0}]'
    more = ["OPTIM.NAME", optimizer, "LOSS.TERMS", terms]
    assert command("train", "--config", project / "recipe.yaml", *words(project), *more)[::2] == (0, "")


RATES = """
from unfold.training.schedule import Rate
from torch.optim import SGD


class Own(Rate):
    def factor(self, t, units, lr):
        return VALUE


class Opt(SGD):
    def __init__(self, params, lr):
        pass


def nothing():
    return None
"""


@pytest.mark.parametrize(
    ("value", "words", "said"),
    [
        ("0.5", "SCHEDULE.NAME rates.py:Own", ""),
        ("None", "SCHEDULE.NAME rates.py:Own", "rates.py:7: factor of Own returns None"),
        ("-1.0", "SCHEDULE.NAME rates.py:Own", "a number from 0 on is wanted"),
        ("float('nan')", "SCHEDULE.NAME rates.py:Own", "factor of Own returns nan"),
        ("1", "SCHEDULE.NAME rates.py:nothing", "makes a NoneType, and a schedule (Rate) is wanted"),
        ("1", "OPTIM.NAME rates.py:Opt", "Opt has to call super().__init__(params, defaults)"),
    ],
)
def test_schedules_and_optimizers_that_are_none_are_one_line(
    project: Path, command: Command, value: str, words: str, said: str
) -> None:
    (project / "rates.py").write_text(RATES.replace("VALUE", value))
    given = ["train", "--config", project / "recipe.yaml", *(project / "words").read_text().split(), *words.split()]
    code, _, err = command(*given)
    assert (code, err.count("\n"), said in err) == ((2, 1, True) if said else (0, 0, True)), err


def test_late_imports_are_kept_with_the_run_and_a_file_that_changes_is_reported(
    project: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    net = project / "net.py"
    net.write_text(
        NETWORK.replace("        y, mask, gain = context", "        import late\n        y, mask, gain = context")
    )
    (project / "late.py").write_text("from deeper import one\n")
    (project / "deeper").mkdir()
    (project / "deeper" / "__init__.py").write_text("one = 1\n")
    assert command("train", "--config", project / "recipe.yaml", *words(project))[::2] == (0, "")
    kept = list((project / "run" / "code").iterdir())
    assert {"net.py", "samples.py", "late.py", "__init__.py"} <= {path.name for path in kept}
    before = registry.find(registry.NETWORK, "net.py:Demosaic").sha256
    net.write_text(NETWORK)
    assert registry.find(registry.NETWORK, "net.py:Demosaic").sha256 == before, "of what runs"
    assert "net.py has changed since it was loaded" in caplog.text


def test_weights_of_ones_own_network_are_no_other_network(project: Path, command: Command) -> None:
    assert command("train", "--config", project / "recipe.yaml", *words(project))[::2] == (0, "")
    weights = project / "run" / "checkpoints" / "best.pth"
    with pytest.raises(UnfoldError, match=r"holds net.py:Demosaic, which is another network than usrnet_tiny"):
        unfold.load_model(weights, "usrnet_tiny")
    with pytest.raises(UnfoldError, match=r"name is text .* not the class UnfoldingNetwork"):
        unfold.load_model(weights, UnfoldingNetwork)  # type: ignore[arg-type]


def test_a_recipe_names_the_network_and_the_checkpoint_says_its_options(project: Path, command: Command) -> None:
    more = ["MODEL.ARGS.stages", "4"]
    assert command("train", "--config", project / "recipe.yaml", *words(project), *more)[::2] == (0, "")
    weights = project / "run" / "checkpoints" / "best.pth"
    assert unfold.load_model(weights, "recipe.yaml").stages == 4


def test_whole_numbers_are_choices_and_true_is_no_one() -> None:
    assert option_values.coerced_to(1, Literal[1, 2]) == 1
    with pytest.raises(option_values.UnfitError, match="one of 1, 2"):
        option_values.coerced_to(True, Literal[1, 2])
