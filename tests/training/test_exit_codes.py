"""What processes of one run exit with where one of them fails: the same code on all, and the reason once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ranks import Ended, commands, ended, start

SIX = ["TRAIN.BATCH", "6", "TRAIN.PATCHES", "24"]

NETWORK = '''
import os
import torch
from unfold.facts import image
from unfold.models.unfolding import UnfoldingNetwork


class Mine(UnfoldingNetwork):
    """x + c(x), which fails in its 20th run on one process."""

    def __init__(self, stages: int = 2, error: str = "KeyError"):
        super().__init__(stages)
        self.error, self.runs = error, 0
        self.c = torch.nn.Conv2d(3, 3, 3, padding=1)

    @property
    def inputs(self):
        return {"y": image(self.channels)}

    def begin(self, y):
        self.runs += self.training
        if self.runs == 10 and os.environ.get("RANK") == "1":
            kinds = {"KeyError": KeyError, "RuntimeError": RuntimeError, "MemoryError": MemoryError}
            raise (kinds | {"OutOfMemoryError": torch.OutOfMemoryError})[self.error]("of people's own")
        return y, None

    def stage(self, k, x, memory, context):
        return x + self.c(x), memory
'''


def lines(found: list[Ended]) -> list[str]:
    return [line for _, _, err in found for line in err.splitlines() if line]


def with_network(recipe: Path) -> Path:
    (recipe.parent / "mine.py").write_text(NETWORK)
    text = [line for line in recipe.read_text().splitlines() if not line.startswith("MODEL")]
    path = recipe.with_name("mine.yaml")
    path.write_text("\n".join([*text, "MODEL: {NAME: mine.py:Mine}"]))
    return path


def unknown_model(recipe: Path) -> list[str]:
    return ["--config", str(recipe), *SIX, "MODEL.NAME", "nonsuch"]


def folder_that_one_lacks(recipe: Path) -> list[str]:
    """The recipe names it by a variable, which each machine sets."""
    recipe.write_text(recipe.read_text().replace(f"TRAIN: {recipe.parent / 'pictures'}", "TRAIN: $PICTURES"))
    return ["--config", str(recipe), *SIX]


def bad_image(recipe: Path) -> list[str]:
    return ["--config", str(recipe), *SIX]


def own_network(error: str) -> Callable[[Path], list[str]]:
    def words(recipe: Path) -> list[str]:
        return ["--config", str(with_network(recipe)), *SIX, "MODEL.ARGS.error", error]

    return words


CASES = {
    "unknown model": (unknown_model, "", "no network is called 'nonsuch'"),
    "missing on one": (folder_that_one_lacks, "missing", "there is no folder"),
    "bad image": (bad_image, "bad image", "picture2.png cannot be read"),
    "own KeyError": (own_network("KeyError"), "", "mine.py:"),
    "own RuntimeError": (own_network("RuntimeError"), "", "mine.py:"),
    "MemoryError": (own_network("MemoryError"), "", "out of memory: a training step takes"),
    "OutOfMemoryError": (own_network("OutOfMemoryError"), "", "out of memory: a training step takes"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_reason_is_reported_once_and_every_process_exits_with_2(
    recipe: Path, tmp_path: Path, world: int, case: str
) -> None:
    words, what, reason = CASES[case]
    found = ended(start(world, tmp_path / "ranks", commands, ["train", *words(recipe)], 1, 1, what), tmp_path / "ranks")
    assert [code for code, _, _ in found] == [2] * world, found
    (line,) = lines(found)
    assert line.startswith("unfold train: "), line
    assert reason in line


def real(world: int, folder: Path, words: list[str]) -> list[Ended]:
    """The command line in processes of its own, as torchrun or srun starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "unfold", *words],
            env={**os.environ, **{k: str(v) for k, v in {**there, "RANK": rank, "LOCAL_RANK": rank}.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        for rank in range(world)
    ]
    outputs = [rank.communicate(timeout=100) for rank in ranks]
    return [(rank.returncode, *output) for rank, output in zip(ranks, outputs, strict=True)]


@pytest.mark.parametrize("error", ["KeyError", pytest.param("MemoryError", marks=pytest.mark.slow)])
@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_real_processes_are_not_aborted_on_their_way_out(recipe: Path, tmp_path: Path, world: int, error: str) -> None:
    found = real(world, tmp_path, ["train", *own_network(error)(recipe)])
    assert [code for code, _, _ in found] == [2] * world, found
    assert len(lines(found)) == 1, found


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_real_processes_that_never_meet_exit_with_2(recipe: Path, tmp_path: Path, world: int) -> None:
    found = real(world, tmp_path, ["train", "--config", "nowhere.yaml"])
    assert [code for code, _, _ in found] == [2] * world, found
    assert lines(found) == ["unfold train: config nowhere.yaml: there is no such file"]
