"""`unfold test --config` tests every recipe as its protocol says, on any images, one or several weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.standins import stand_ins
from tests.synthetic import scene
from tests.tasks.test_recipes import RECIPES, TASKS, TWINS, config, narrow
from unfold import api
from unfold.config import load_config, options_of, part_of
from unfold.evaluation.recipe_evaluation import _differing
from unfold.from_config import build_degradation, build_network
from unfold.models.registry import create_model
from unfold.protocols.any_pairs import Pairs
from unfold.registry import NETWORK, find
from unfold.weights.load_model import model_record

Command = Callable[..., tuple[int, str, str]]
SMALL = {"stages": 3, "width": 8, "growth": 4, "tail": 4, "operator_width": 4}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    stand_ins(root, 72, 72, block=32, count=16)
    return root


def save_network(path: Path, seed: int = 0, name: str = "dgunet_denoise") -> Path:
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = create_model(name, **SMALL).state_dict()
    torch.save({"state_dict": state, "model": {"name": name, "arguments": SMALL}}, path)
    return path


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def assert_one_line(result: tuple[int, str, str], *expected: str) -> None:
    code, _, err = result
    assert code == 2, result
    assert err.count("\n") == 1, err
    for part in expected:
        assert part in err


def first_two(item: Any, cfg: Any) -> str:
    return f"{(item.get('TEST') or cfg.DATA.TEST).partition('[')[0]}[:2]"


@pytest.mark.parametrize(
    "recipe", [pytest.param(recipe, marks=pytest.mark.slow) if recipe in TWINS else recipe for recipe in RECIPES]
)
def test_every_recipe_is_tested_by_its_protocol_with_the_numbers_that_the_protocol_gives(
    recipe: str, sets: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(sets))
    words = narrow(config(recipe).MODEL.NAME)
    cfg = config(recipe, *words)
    net = build_network(cfg)
    model = model_record(part_of(cfg, "MODEL"), options_of(cfg, "MODEL"))
    torch.save({"state_dict": net.state_dict(), "model": model}, tmp_path / "net.pth")
    degradation = build_degradation(cfg, net)
    own = cfg.TEST.PROTOCOL or (degradation.own_test and degradation.protocol(net))
    protocol = own or cfg.DATA.VAL_PROTOCOL or degradation.protocol(net)
    data = "Set5[:2]" if recipe == "denoise/quickstart" else cfg.DATA.VAL
    task, name = recipe.split("/")
    path = TASKS / task / "configs" / f"{name}.yaml"
    given = ("--weights", tmp_path / "net.pth", "--data", data)
    settings = (*words, "OUTPUT", tmp_path / "run", "TEST.BASELINES", "[]")
    if cfg.DATA.MIX:  # each part by its own protocol, on its own set
        few = [word for i, item in enumerate(cfg.DATA.MIX) for word in (f"DATA.MIX.{i}.TEST", first_two(item, cfg))]
        code, _, err = command("test", "--config", path, *given[:2], *settings, *few)
        assert (code, err) == (0, "")
        tested = results(tmp_path / "run" / "test")
        assert list(tested["parts"]) == [item["NAME"] for item in cfg.DATA.MIX]
        assert len(tested["images"]) == 2 * len(cfg.DATA.MIX)
        return
    code, _, err = command("test", "--config", path, *given, *settings)
    assert (code, err) == (0, "")
    tested = results(tmp_path / "run" / "test")
    assert tested["source"] == data
    assert {file.stem for file in (tmp_path / "run" / "test" / "strips").glob("*.png")} == set(tested["images"])
    if not protocol:  # images degraded as the training's are, which has no name
        return
    words = ["--device", "cpu", "--json", str(tmp_path / "by.json")]
    for option in part_of(cfg, "MODEL").files():
        file = options_of(cfg, "MODEL").get(option)
        words += ["--input", f"{option}={file}"] if file else []
    code, _, err = command("test", "--protocol", protocol, *given, *words)
    assert (code, err) == (0, "")
    expected = json.loads((tmp_path / "by.json").read_text())["images"]
    (model_name,) = {key for row in tested["images"].values() for key in row} - {"input", "noisy input"}
    scores = {name: (row[model_name]["psnr"], row[model_name]["ssim"]) for name, row in tested["images"].items()}
    assert scores == {row["image"]: (row["psnr"], row["ssim"]) for row in expected}


def test_several_weights_stand_side_by_side_each_with_the_numbers_it_has_alone(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    files = [save_network(tmp_path / name / "checkpoints" / "best.pth", seed) for seed, name in enumerate("ab")]
    files.append(save_network(tmp_path / "b" / "tv.pth", 2))
    alone = []
    for file in files:
        assert command("test", "--config", recipe, "--weights", file)[0] == 0
        alone.append(results(tmp_path / "run" / "test")["mean"]["dgunet_denoise"]["psnr"])
    words = ("test", "--config", recipe, "TEST.BASELINES", "[tv]", "--weights")
    code, out, err = command(*words, *files[:2], "SEED", 3, "DATA.ARGS.sigma", 25)
    assert (code, err) == (0, "")
    assert "a/best" in out
    assert "b/best" in out
    together = results(tmp_path / "run" / "test")
    assert together["weights"] == {"a/best": str(files[0]), "b/best": str(files[1])}
    assert [together["mean"][name]["psnr"] for name in ("a/best", "b/best")] == alone[:2]
    with Image.open(tmp_path / "run" / "test" / "strips" / "picture0.png") as strip:
        assert strip.width == 4 * 166 - 6, "input, two results, target"
    assert command(*words, files[0], files[2])[0] == 0
    means = results(tmp_path / "run" / "test")["mean"]
    assert list(means) == ["noisy input", "tv", "best", "tv (weights)"]
    assert means["tv (weights)"]["psnr"] == alone[2]
    table = api.test(recipe, files[:2], output=tmp_path / "api")
    assert "a/best" in table


def test_networks_of_other_kinds_stand_beside_the_recipes_each_with_the_numbers_it_has_alone(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    own = save_network(tmp_path / "own.pth")
    torch.manual_seed(1)
    other = create_model("hqs_denoiser", widths=(4, 4, 4, 4), depth=1, stages=1, level_width=4)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    wide = create_model("dgunet_denoise", **{**SMALL, "width": 12})
    record = {"name": "dgunet_denoise", "arguments": {**SMALL, "width": 12}}
    torch.save({"state_dict": wide.state_dict(), "model": record}, tmp_path / "wide.pth")
    files = [own, tmp_path / "other.pth", tmp_path / "wide.pth", "dgunet_denoise_small"]
    code, _, err = command("test", "--config", recipe, "--weights", *files)
    assert (code, [line for line in err.splitlines() if "trained as protocol" not in line]) == (0, [])
    together = results(tmp_path / "run" / "test")
    columns = ["own", "other", "wide", "dgunet_denoise_small"]
    assert [name for name in together["mean"] if name in columns] == columns
    networks = [together["tested_as"][name]["model"]["name"] for name in columns]
    assert networks == ["dgunet_denoise", "hqs_denoiser", "dgunet_denoise", "dgunet_denoise"]
    data = ("--data", tmp_path / "pictures", "--device", "cpu", "--json", tmp_path / "by.json")
    for name, file in zip(columns, files, strict=True):
        options = together["tested_as"][name]["protocol"]
        text = f"gaussian_denoise:{','.join(f'{key}={value}' for key, value in options.items())}"
        assert command("test", "--protocol", text, "--weights", file, *data)[0] == 0
        assert json.loads((tmp_path / "by.json").read_text())["mean"]["psnr"] == together["mean"][name]["psnr"]


def test_networks_that_need_other_measurements_are_refused_beside_the_recipes(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    own = save_network(tmp_path / "own.pth")
    words = ("test", "--config", recipe, "--weights", own)
    assert_one_line(command(*words, "usrnet_tiny_small"), "usrnet_tiny_small: USRNet takes", "kernel", "does not give")
    six = create_model("hqs_denoiser", widths=(4, 4, 4, 4), depth=1, stages=1, level_width=4, channels=6)
    torch.save(six.state_dict(), tmp_path / "six.pth")
    assert_one_line(command(*words, tmp_path / "six.pth"), "six: HQSDenoiser takes images of 6 channels")


def test_weights_that_cannot_stand_side_by_side_are_one_line(recipe: Path, tmp_path: Path, command: Command) -> None:
    file = save_network(tmp_path / "net.pth")
    words = ("test", "--config", recipe, "--weights", file)
    assert_one_line(command(*words, f"{tmp_path}/./net.pth"), "net.pth twice")
    (tmp_path / "link.pth").symlink_to(file)
    assert_one_line(command(*words, tmp_path / "link.pth"), "twice")
    assert_one_line(command(*words, tmp_path / "none.pth"), "none.pth")
    assert_one_line(command(*words, "DATA.TESST", "x"), "there is no key DATA.TESST; did you mean DATA.TEST?")
    assert_one_line(command(*words, "DATA.TEST=x"), "write KEY VALUE, with a space")
    other = save_network(tmp_path / "other.pth", name="dgunet_deblur")
    content = torch.load(other, weights_only=True)
    content["state_dict"].popitem()
    torch.save(content, other)
    assert_one_line(command(*words, other), "other.pth")
    both = ("test", "--protocol", "gaussian_denoise", "--data", tmp_path / "pictures", "--weights", file, file)
    assert_one_line(command(*both), "--protocol tests one network at a time, and --weights names 2")


def test_data_stands_in_place_of_the_recipes_images(recipe: Path, tmp_path: Path, command: Command) -> None:
    file = save_network(tmp_path / "net.pth")
    (tmp_path / "mine").mkdir()
    Image.fromarray(scene(40, 40, seed=5)).save(tmp_path / "mine" / "one.jpg")
    assert command("test", "--config", recipe, "--weights", file, "--data", tmp_path / "mine")[0] == 0
    found = results(tmp_path / "run" / "test")
    assert (found["source"], list(found["images"])) == (str(tmp_path / "mine"), ["one"])
    (tmp_path / "empty").mkdir()
    words = ("test", "--config", recipe, "--weights", file)
    assert_one_line(command(*words, "--data", tmp_path / "empty"), "--data", "empty holds no images")
    assert_one_line(command(*words, "DATA.TEST", tmp_path / "empty"), "DATA.TEST", "empty holds no images")
    assert_one_line(command(*words, "--data", "x", "DATA.TEST", "y"), "--data replaces DATA.TEST")


def test_a_paired_recipe_without_test_images_says_how_to_name_some(tmp_path: Path, command: Command) -> None:
    file = save_network(tmp_path / "net.pth")
    path = tmp_path / "pairs.yaml"
    path.write_text(f"MODEL: {{NAME: dgunet_denoise, ARGS: {SMALL}}}\nDATA: {{KIND: paired}}\nDEVICE: cpu\n")
    words = ("test", "--config", path, "--weights", file, "OUTPUT", tmp_path / "run")
    assert_one_line(command(*words), "DATA.TEST photographs (for the protocol deblur_rgb)", "--data names the test")


def test_bare_weights_are_tested_as_the_recipe_says(recipe: Path, tmp_path: Path, command: Command) -> None:
    torch.save(create_model("dgunet_denoise", **SMALL).state_dict(), tmp_path / "bare.pth")
    assert command("test", "--config", recipe, "--weights", tmp_path / "bare.pth")[0] == 0
    found = results(tmp_path / "run" / "test")
    assert found["trained_as"] == found["tested_as"]


def test_a_protocol_that_does_not_fit_the_network_is_one_line(recipe: Path, tmp_path: Path, command: Command) -> None:
    words = ("test", "--config", recipe, "--weights", save_network(tmp_path / "net.pth"))
    assert_one_line(command(*words, "TEST.PROTOCOL", "compressive_sensing"), "does not give y")
    assert_one_line(command(*words, "TEST.PROTOCOL", "usrnet_real"), "has no references")


def test_weights_that_are_not_finite_are_no_result_by_a_protocol_that_rounds(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    file = save_network(tmp_path / "net.pth")
    content = torch.load(file, weights_only=True)
    content["state_dict"]["tail.weight"].fill_(3e38)  # finite, and what comes of it is not
    torch.save(content, file)
    words = ("TEST.PROTOCOL", "derain_synthetic")
    assert_one_line(command("test", "--config", recipe, "--weights", file, *words), "not finite", "net.pth")


NAN_SCORE = """
from unfold.metrics import psnr
from unfold.protocols.gaussian_denoising import GaussianDenoising
class Mine(GaussianDenoising):
    def score(self, result, target):
        return {"psnr": psnr(result, target), "ssim": float("nan")}
"""


def test_a_score_that_is_no_number_of_a_finite_image_passes_into_no_mean(
    recipe: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "mine.py").write_text(NAN_SCORE)
    weights = ("--weights", save_network(tmp_path / "net.pth"))
    expected = ("mine.py", "score of Mine returns NaN for ssim")
    own = f"{tmp_path / 'mine.py'}:Mine"
    assert_one_line(command("test", "--config", recipe, *weights, "TEST.PROTOCOL", own), *expected)
    data = ("--data", tmp_path / "pictures")
    assert_one_line(command("test", "--protocol", own, *weights, *data), *expected)
    assert_one_line(command("test", "--protocol", own, "--model", "identity", *data), *expected)


def test_a_project_of_ones_own_is_tested_on_other_images(
    tmp_path: Path, pictures: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("new", tmp_path / "project")[0] == 0
    recipe = tmp_path / "project" / "recipe.yaml"
    cfg = load_config(recipe)
    torch.save(build_network(cfg).state_dict(), tmp_path / "own.pth")
    monkeypatch.chdir(tmp_path)
    words = ("--weights", "own.pth", "--data", "pictures", "--output", "found", "DEVICE", "cpu")
    code, _, err = command("test", "--config", recipe, *words)
    assert (code, err) == (0, "")
    assert len(results(tmp_path / "found")["images"]) == 3
    assert len(list((tmp_path / "found" / "strips").glob("*.png"))) == 3


def test_where_files_lie_is_no_other_test_than_the_weights_were_trained_for() -> None:
    part = find(NETWORK, "dgunet_denoise")
    model = model_record(part, {"stages": 3})
    trained = {"model": model, "protocol": {"crop": 0, "name": "{id}_*"}}  # as deblur_rgb has it, or another layout
    for protocol, differing in [
        (Pairs(), []),
        (Pairs(input="a", target="b", name="{id}x"), []),
        (Pairs(input="a", crop=8), ["protocol"]),
        (Pairs(channel="y"), ["protocol"]),
    ]:
        tested = {"model": model, "protocol": protocol.options()}
        assert list(_differing(part, protocol, trained, tested)) == differing, protocol.options()
