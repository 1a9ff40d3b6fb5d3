"""Every recipe says what the paper's training was, builds its network at true width, and trains a narrow one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from yacs.config import CfgNode

from tests.standins import random_vgg19, stand_ins
from unfold import old_keys
from unfold.config import load_config, options_of, part_of, plain, terms_of
from unfold.from_config import build_network
from unfold.training import dry_run
from unfold.training.log import read_log
from unfold.training.setup.build_parts import build_loss, factor

Command = Callable[..., tuple[int, str, str]]
TASKS = Path(__file__).parent.parent.parent / "tasks"
RECIPES = sorted(f"{path.parent.parent.name}/{path.stem}" for path in TASKS.glob("*/configs/*.yaml"))

DGUNET = {"LOSS.PIXEL": "charbonnier", "LOSS.STAGES": "all", "LOSS.EPS": 1e-3, "OPTIM.BETAS": [0.9, 0.999]}
ON_PAIRS = {**DGUNET, "TRAIN.BATCH": 16, "SCHEDULE.WARMUP": 3, "SCHEDULE.LR_MIN": 1e-6, "DATA.KIND": "paired"}
DEBLUR = {**ON_PAIRS, "LOSS.EDGE": 0.05, "OPTIM.LR": 1e-4, "TRAIN.EPOCHS": 3000, "TRAIN.PATCH": 256}
DEBLUR |= {"DATA.SATURATION": True, "TRAIN.VALIDATE_EVERY": 10, "OPTIM.WEIGHT_DECAY": 0.0, "LOSS.CLAMP": False}
DERAIN = {**ON_PAIRS, "LOSS.EDGE": 0.05, "OPTIM.LR": 2e-4, "TRAIN.EPOCHS": 250, "TRAIN.PATCH": 256}
DENOISE = {**ON_PAIRS, "LOSS.EDGE": 0.0, "LOSS.CLAMP": True, "OPTIM.WEIGHT_DECAY": 1e-8, "TRAIN.EPOCHS": 80}
DENOISE |= {"TRAIN.PATCH": 128, "TRAIN.MIXUP": 0.6, "TRAIN.MIXUP_AFTER": 5, "OPTIM.LR": 1e-4}
USRNET = {"LOSS.PIXEL": "l1", "LOSS.STAGES": "last", "OPTIM.LR": 1e-4, "OPTIM.START": "orthogonal"}
USRNET |= {"SCHEDULE.MILESTONES": [99999, 199999, 299999, 399999], "SCHEDULE.GAMMA": 0.5, "SCHEDULE.WARMUP": 0}
USRNET |= {"TRAIN.ITERATIONS": 500000, "TRAIN.BATCH": 48, "TRAIN.PATCH": 96, "DATA.SCALES": [1, 2, 3, 4]}
NRL_GDN = {"LOSS.PIXEL": "l1", "LOSS.STAGES": "last", "LOSS.WEIGHT": 1 / 16, "OPTIM.LR": 1e-4, "TRAIN.EPOCHS": 1500}
NRL_GDN |= {"OPTIM.START": "xavier", "TRAIN.BATCH": 8, "TRAIN.PATCH": 256, "DATA.SIGMA": 12.75}
CS = {"LOSS.PIXEL": "mse", "LOSS.STAGES": "all", "LOSS.CLAMP": True, "OPTIM.LR": 1e-4, "TRAIN.BATCH": 32}
FINE = {**CS, "TRAIN.EPOCHS": 100, "SCHEDULE.NAME": "multistep", "SCHEDULE.MILESTONES": [60], "SCHEDULE.GAMMA": 0.5}
AIO = {"LOSS.PIXEL": "l1", "LOSS.STAGES": "last", "OPTIM.NAME": "AdamW", "OPTIM.LR": 2e-4, "OPTIM.WEIGHT_DECAY": 0.01}
AIO |= {"OPTIM.BETAS": [0.9, 0.999], "SCHEDULE.WARMUP": 15, "TRAIN.EPOCHS": 120, "TRAIN.BATCH": 32, "TRAIN.PATCH": 128}
AIO |= {"DATA.MULTIPLE": 16}
CS |= {"TRAIN.EPOCHS": 400, "TRAIN.PATCH": 32, "SCHEDULE.NAME": "constant", "SCHEDULE.WARMUP": 0}
ISTA_NET = {"OPTIM.LR": 1e-4, "TRAIN.BATCH": 64, "TRAIN.EPOCHS": 200, "TRAIN.PATCHES": 88912, "TRAIN.PATCH": 33}
ISTA_NET |= {"SCHEDULE.NAME": "constant", "SCHEDULE.WARMUP": 0, "OPTIM.BETAS": [0.9, 0.999]}
ISTA_NET_MRI = {**ISTA_NET, "TRAIN.BATCH": 4, "TRAIN.EPOCHS": 400, "TRAIN.PATCHES": 800, "TRAIN.PATCH": 256}

# recipe: network, its number of parameters, and what the published training had.
PUBLISHED: dict[str, tuple[str, int, dict[str, Any]]] = {
    "deblur/dgunet": ("dgunet_deblur", 17_331_512, DEBLUR),
    "deblur/dgunet_plus": ("dgunet_plus_deblur", 69_572_915, DEBLUR),
    "deblur/nrl_gdn": ("nrl_gdn", 33_683_584, NRL_GDN),
    "deblur/nrl_gdn_y0": ("nrl_gdn_y0", 33_683_584, NRL_GDN),
    "deblur/rgdn_uniform": ("rgdn_uniform", 33_683_584, NRL_GDN),
    "deblur/usrnet": ("usrnet", 17_016_016, {**USRNET, "DATA.SCALES": [1]}),
    "derain/dgunet": ("dgunet_derain", 3_661_912, DERAIN),
    "derain/dgunet_plus": ("dgunet_plus_derain", 12_176_107, DERAIN),
    "denoise/dgunet": ("dgunet_denoise", 17_331_512, DENOISE),
    "denoise/dgunet_plus": ("dgunet_plus_denoise", 48_361_987, DENOISE),
    "denoise/gaussian": ("dgunet_denoise", 17_331_512, {**DENOISE, "DATA.KIND": "gaussian"}),
    "sr/usrnet": ("usrnet", 17_016_016, USRNET),
    "sr/usrnet_tiny": ("usrnet_tiny", 590_332, USRNET),
    **{
        f"all_in_one/{name}": ("dgunet_denoise", 17_331_512, {**AIO, "TRAIN.PATCHES": patches})
        for name, patches in (
            *(("aio3", 142_431), ("aio5", 162_646), ("denoise", 46_296), ("derain", 24_000), ("dehaze", 72_135)),
            *(("deblur", 10_515), ("low_light", 9_700)),
        )
    },
    "compressive_sensing/dgunet": ("dgunet_cs", 2_546_748, CS),
    "compressive_sensing/dgunet_fine": ("dgunet_cs", 2_546_748, FINE),
    "compressive_sensing/dgunet_plus": ("dgunet_plus_cs", 7_072_284, CS),
    "compressive_sensing/dgunet_plus_fine": ("dgunet_plus_cs", 7_072_284, FINE),
    "compressive_sensing/ista_net": ("ista_net", 171_090, ISTA_NET),
    "compressive_sensing/ista_net_plus": ("ista_net_plus", 336_978, ISTA_NET),
    "compressive_sensing/ista_net_plus_mri": ("ista_net_plus_mri", 336_978, ISTA_NET_MRI),
}
OURS = {
    "all_in_one/aio5_prompt",
    "all_in_one/small",
    "all_in_one/small_prompt",
    "compressive_sensing/dgunet_small",
    "compressive_sensing/ista_net_plus_smoke",
    "deblur/nrl_gdn_small",
    "denoise/camera_small",
    "denoise/finetune",
    "denoise/gaussian_small",
    "denoise/quickstart",
    "derain/dgunet_small",
    "sr/usrgan",
    "sr/usrgan_tiny",
    "sr/usrnet_tiny_small",
}


def config(recipe: str, *overrides: str) -> CfgNode:
    task, name = recipe.split("/")
    return load_config(TASKS / task / "configs" / f"{name}.yaml", overrides)


def setting(cfg: CfgNode, key: str) -> Any:
    """A setting by the key that it had before parts had options of their own, whose facts these tables are."""
    section, name = key.split(".")
    if section == "LOSS":
        return old_keys._as_old(terms_of(cfg), None)[name]  # type: ignore[index]
    if key in old_keys.KEYS:
        section_part = part_of(cfg, section)
        return plain(section_part.full(options_of(cfg, section)))[name.lower()]
    return cfg[section][name]


def test_the_loss_of_ista_net_is_the_published_one() -> None:
    for recipe in (name for name in PUBLISHED if "ista_net" in name):
        terms = [(term["NAME"], term.get("WEIGHT", 1.0)) for term in plain(terms_of(config(recipe)))]
        assert terms == [("mse", 1.0), ("symmetry", 0.01)], recipe


def test_every_recipe_is_one_of_the_papers_or_of_ours() -> None:
    assert set(RECIPES) == PUBLISHED.keys() | OURS
    outputs = [config(recipe).OUTPUT for recipe in RECIPES]
    assert len(set(outputs)) == len(outputs), "each has a run folder of its own"


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_the_recipe_is_the_published_training(recipe: str) -> None:
    name, _, settings = PUBLISHED[recipe]
    cfg = config(recipe)
    assert name == cfg.MODEL.NAME
    for key, value in settings.items():
        node = setting(cfg, key)
        assert node == pytest.approx(value) if isinstance(value, float) else node == value, key
    build_loss(cfg, torch.device("cpu"))


def test_the_published_schedules_end_at_their_published_rates() -> None:
    assert factor(config("deblur/dgunet"))(2997 - 1) * 1e-4 == pytest.approx(1e-6, rel=1e-3)
    assert factor(config("denoise/dgunet"))(80 - 4) * 1e-4 == pytest.approx(2.8e-5, rel=0.01)
    assert factor(config("all_in_one/aio5"))(135) == pytest.approx(0, abs=1e-9), "at epoch 150, beyond the run's end"
    assert factor(config("deblur/nrl_gdn"))(1499) == pytest.approx(0.9**49)
    assert [factor(config("sr/usrnet"))(t) for t in (99_998, 99_999, 499_999)] == [1, 0.5, 0.0625], "at step 100000"


def test_the_cosine_of_our_small_recipes_ends_with_the_run() -> None:
    for recipe in (name for name in OURS if name.endswith("_small")):
        cfg = config(recipe)
        assert factor(cfg)(cfg.TRAIN.ITERATIONS - cfg.SCHEDULE.WARMUP) * cfg.OPTIM.LR == pytest.approx(1e-6), recipe
        assert cfg.TRAIN.PATCHES == 250 * cfg.TRAIN.BATCH, "an epoch is 250 steps"


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_the_network_is_built_at_its_published_width(recipe: str, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(sets))  # where a matrix is
    with torch.device("meta"):
        net = build_network(config(recipe))
    assert sum(parameter.numel() for parameter in net.parameters()) == PUBLISHED[recipe][1]


NARROW = {
    "dgunet": "MODEL.STAGES 3 MODEL.WIDTH 8 MODEL.GROWTH 4 MODEL.OPERATOR_WIDTH 4",
    "dgunet_cs": "MODEL.STAGES 3 MODEL.WIDTH 8 MODEL.GROWTH 4 MODEL.RATIO 10",
    "usrnet": "MODEL.STAGES 2 MODEL.WIDTHS [8,8,8,8] MODEL.DEPTH 1",
    "ista_net": "MODEL.ARGS.stages 2 MODEL.ARGS.width 4",
    "nrl_gdn": "MODEL.STAGES 3 MODEL.TRAIN_STAGES 2 MODEL.WIDTHS [4,4,4,4] MODEL.DEPTH 1 MODEL.WIDTH 4",
}
SHORT = "TRAIN.EPOCHS 1 TRAIN.PATCHES 2 TRAIN.BATCH 2 TRAIN.PATCH 36 TRAIN.WORKERS 0 TRAIN.VALIDATE_EVERY 1 DEVICE cpu"


def narrow(name: str) -> list[str]:
    if name == "hqs_denoiser":
        own = "MODEL.ARGS.stages 2 MODEL.ARGS.widths [4,4,4,4] MODEL.ARGS.depth 1 MODEL.ARGS.level_width 4"
        return [*own.split(), *SHORT.split()]
    if name.endswith("_cs"):
        family = "dgunet_cs"
    else:
        family = next(f for f in ("dgunet", "ista_net", "usrnet", "nrl_gdn") if name.startswith(f) or f == "nrl_gdn")
    words = NARROW[family].split()
    if family.startswith("dgunet") and "plus" not in name:
        words += ["MODEL.TAIL", "4"]
    sides = {"dgunet_cs": "64", "ista_net": "72" if name.endswith("_mri") else "33"}
    short = SHORT.replace("36", sides.get(family, "36"))
    return [*words, *short.split(), *(["TRAIN.ITERATIONS", "1"] if family == "usrnet" else [])]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small pictures in the place of every set that a recipe names: 16, for recipes hold some of them out."""
    root = tmp_path_factory.mktemp("sets")
    stand_ins(root, 72, 72, block=32, count=16)
    return root


# Recipes that are a part of another, or differ from one by the network alone.
ALIKE = {f"all_in_one/{name}" for name in ("aio3", "aio5_prompt", "denoise", "derain", "deblur", "low_light", "small")}


@pytest.mark.parametrize(
    "recipe", [pytest.param(recipe, marks=pytest.mark.slow) if recipe in ALIKE else recipe for recipe in PUBLISHED]
)
def test_the_recipe_trains_on_its_sets(
    recipe: str, sets: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(sets))
    task, name = recipe.split("/")
    path = TASKS / task / "configs" / f"{name}.yaml"
    code, _, err = command("train", "--config", path, "OUTPUT", tmp_path / "run", *narrow(PUBLISHED[recipe][0]))
    assert code == 0, err
    (row,) = read_log(tmp_path / "run" / "log.jsonl")
    assert np.isfinite([row["loss"], row["val_psnr"], row["train_psnr"]]).all()
    assert row["skipped"] == 0


# Recipes that differ from another one by the network alone.
TWINS = {"deblur/nrl_gdn_y0", "deblur/rgdn_uniform", "deblur/usrnet", "sr/usrgan_tiny"}
TWINS |= {*ALIKE, "all_in_one/dehaze"}
TWINS |= {recipe for recipe in RECIPES if "dgunet_plus" in recipe}


@pytest.mark.parametrize(
    "recipe", [pytest.param(recipe, marks=pytest.mark.slow) if recipe in TWINS else recipe for recipe in RECIPES]
)
def test_a_check_of_the_recipe_reports_what_the_run_takes_and_writes_nothing(
    recipe: str, sets: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(sets))
    monkeypatch.setattr(dry_run, "ENOUGH", 0.1)
    words = [*narrow(config(recipe).MODEL.NAME), "OUTPUT", str(tmp_path / "run")]
    if "usrgan" in recipe:
        words += ["LOSS.VGG", str(random_vgg19(tmp_path / "vgg19.pth")), "TRAIN.PATCH", "96"]
    task, name = recipe.split("/")
    code, out, err = command("train", "--check", "--config", TASKS / task / "configs" / f"{name}.yaml", *words)
    assert code == 0, err
    for expected in (
        "parameters",
        "GMAC",
        "first steps",
        "for a step of 2 of",
        "validation",
        "run  ",
        "nothing was written",
    ):
        assert expected in out, out
    assert not (tmp_path / "run").exists()
