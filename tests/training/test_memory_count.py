"""Memory of a training step: counted without computing, the same that it takes, and what makes it less."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from yacs.config import CfgNode

from tests.narrow import NAMES, inputs, narrow
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.from_config import build_network
from unfold.inference.tile_memory import Living
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import Charbonnier
from unfold.training import memory_count
from unfold.training.memory_count import example_batch, step_memory, what_helps
from unfold.training.processes.distributed import Processes
from unfold.training.setup.build_parts import build_loss, build_update
from unfold.training.train_step import Update
from unfold.training.trainer import Trainer
from unfold.util.device import place

Command = Callable[..., tuple[int, str, str]]
CPU = torch.device("cpu")
DGUNET = "MODEL.STAGES 3 MODEL.WIDTH 8 MODEL.GROWTH 4 MODEL.OPERATOR_WIDTH 4 TRAIN.PATCH 24"
USRNET = "MODEL.NAME usrnet_tiny MODEL.STAGES 3 MODEL.WIDTHS [4,6,8,8] MODEL.DEPTH 1 DATA.KIND usrnet TRAIN.PATCH 48"
NRL_GDN = "MODEL.NAME nrl_gdn MODEL.TRAIN_STAGES 2 MODEL.WIDTHS [4,6,8,8] MODEL.DEPTH 1 MODEL.WIDTH 6 TRAIN.PATCH 40"
CS = "MODEL.NAME dgunet_cs MODEL.STAGES 3 MODEL.WIDTH 8 MODEL.GROWTH 4 DATA.KIND compressive_sensing TRAIN.PATCH 64"


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], CfgNode]:
    path = tmp_path / "recipe.yaml"
    path.write_text("TRAIN: {BATCH: 2}")
    return lambda words: load_config(path, words.split())


def taken(cfg: CfgNode) -> int:
    """What two real steps hold at most."""
    with Living() as living:
        net = place(build_network(cfg), CPU).train()
        net.checkpoint_stages = cfg.TRAIN.CHECKPOINT_STAGES
        update, _ = build_update(cfg, net, build_loss(cfg, CPU), Processes())
        for _ in range(2):
            update(example_batch(cfg, cfg.TRAIN.BATCH))
    return living.peak


@pytest.mark.parametrize(
    "words",
    [
        f"{DGUNET} TRAIN.CHECKPOINT_STAGES true TRAIN.EMA 0.9 LOSS.EDGE 0.1 OPTIM.CLIP 1",
        f"{USRNET} DATA.SCALES [2]",
        f"{USRNET} TRAIN.PRECISION bfloat16",
        f"{USRNET} TRAIN.ACCUMULATE 2 TRAIN.BATCH 3",
        f"{USRNET} TRAIN.PATCH 96 TRAIN.BATCH 1 LOSS.ADVERSARIAL 0.1",
        f"{NRL_GDN} DATA.KIND nrl_gdn TRAIN.CHECKPOINT_STAGES true TRAIN.PRECISION bfloat16",
        CS,
    ],
)
def test_what_is_counted_is_what_a_step_takes(config: Callable[[str], CfgNode], words: str) -> None:
    cfg = config(words)
    assert step_memory(cfg) == pytest.approx(taken(cfg), rel=0.02)


def test_a_step_is_counted_whose_memory_no_machine_has(config: Callable[[str], CfgNode]) -> None:
    cfg = config(f"{USRNET} TRAIN.PATCH 8184 TRAIN.BATCH 64 TRAIN.PATCHES 64")
    one, eight = step_memory(cfg), step_memory(cfg, world=8)
    assert one > 2**41
    assert eight == pytest.approx(one / 8, rel=0.01)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_checkpointed_stages_give_the_gradients_to_a_millionth(name: str, precision: str) -> None:
    given, found = inputs(name, 2, 32, 24), []
    for checkpointed in (False, True):
        net = narrow(name).train()
        net.checkpoint_stages = checkpointed
        trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, 0.0, fused=True)
        update = Update(
            net, net, TotalLoss([Term(Charbonnier(), every_stage=True)]), optimizer, autocast=precision == "bfloat16"
        )
        with torch.no_grad():
            target = torch.full_like(net(**given), 0.5)
        update({"target": target, **given})
        found.append({key: p.grad for key, p in net.named_parameters() if p.grad is not None})
    plain, checkpointed_ones = found
    assert plain.keys() == checkpointed_ones.keys()
    for key, gradient in plain.items():
        assert (checkpointed_ones[key] - gradient).norm() <= 1e-6 * gradient.norm(), key


def test_checkpointed_stages_take_the_memory_of_about_one(config: Callable[[str], CfgNode]) -> None:
    words = f"{USRNET} MODEL.STAGES 9 TRAIN.BATCH 4"
    assert step_memory(config(f"{words} TRAIN.CHECKPOINT_STAGES true")) < 0.4 * step_memory(config(words))


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("TRAIN.BATCH 8", ["3200 with TRAIN.CHECKPOINT_STAGES true", "TRAIN.ACCUMULATE 4", "TRAIN.PATCH 20"]),
        ("TRAIN.BATCH 6 TRAIN.ACCUMULATE 2", ["TRAIN.CHECKPOINT_STAGES true", "TRAIN.ACCUMULATE 6", "TRAIN.PATCH 20"]),
        ("TRAIN.BATCH 1 TRAIN.CHECKPOINT_STAGES true", ["TRAIN.PATCH 20", "200 with TRAIN.PRECISION bfloat16"]),
        (
            "TRAIN.PATCH 8 TRAIN.CHECKPOINT_STAGES true",
            ["TRAIN.ACCUMULATE 2", "TRAIN.BATCH 1", "bfloat16"],
        ),
    ],
)
def test_three_settings_that_take_less_are_reported_with_their_numbers(
    config: Callable[[str], CfgNode], monkeypatch: pytest.MonkeyPatch, words: str, settings: list[str]
) -> None:
    def counted(cfg: CfgNode, world: int = 1) -> int:
        train = cfg.TRAIN
        saved = (4 if train.CHECKPOINT_STAGES else 1) * (2 if train.PRECISION == "bfloat16" else 1)
        return int(train.BATCH // train.ACCUMULATE * train.PATCH**2 // saved)

    monkeypatch.setattr(memory_count, "in_bytes", str)
    monkeypatch.setattr(memory_count, "step_memory", counted)
    cfg = config(f"TRAIN.PATCH 40 {words}")
    expected = what_helps(cfg)
    assert expected.startswith(f"a training step takes {counted(cfg)} (estimated); it would take ")
    assert expected.count(" with ") == len(settings)
    assert all(setting in part for setting, part in zip(settings, expected.split(", "), strict=True))


def test_a_run_out_of_memory_says_what_would_help(
    recipe: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: Trainer) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Trainer, "fit", fit)
    sizes = iter([9.1e9, 2.5e9, 4.6e8, 1e7])
    monkeypatch.setattr(memory_count, "step_memory", lambda cfg, world: int(next(sizes)))
    code, _, err = command("train", "--config", recipe)
    assert code == 2
    assert err == (
        "unfold train: out of memory: a training step takes 9.1 GB (estimated); it would take 2.5 GB with "
        "TRAIN.CHECKPOINT_STAGES true, 460 MB with TRAIN.ACCUMULATE 2, 10 MB with TRAIN.PATCH 8\n"
    )


def test_validation_out_of_memory_is_distinguished(
    recipe: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validate(*arguments: object) -> Tensor:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr("unfold.training.setup.build_run.validate", validate)
    code, _, err = command("train", "--config", recipe)
    assert code == 2
    assert "out of memory while DATA.VAL is restored" in err
    assert err.count("\n") == 1


def test_other_errors_pass(config: Callable[[str], CfgNode]) -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_count.what_helps_without_memory(config(DGUNET)):
        raise RuntimeError("shapes")
    with pytest.raises(UnfoldError, match="bad"), memory_count.what_helps_without_memory(config(DGUNET)):
        raise UnfoldError("bad")


@pytest.mark.slow
def test_a_step_beyond_free_memory_is_refused_before_the_system_kills_it(
    recipe: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_count, "LARGE", 1)
    monkeypatch.setattr(memory_count, "available", lambda device: 10_000_000)
    code, _, err = command("train", "--config", recipe, "TRAIN.PATCH", 48, "TRAIN.BATCH", 6)
    assert code == 2
    assert err.count("\n") == 1
    assert re.search(r"a training step takes \d+ MB \(estimated\); it would take .*; 10 MB are free", err), err
    monkeypatch.setattr(memory_count, "available", lambda device: 10**12)
    assert command("train", "--config", recipe, "TRAIN.EPOCHS", 1)[0] == 0
