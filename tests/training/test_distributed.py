"""Several processes train as one does: the same numbers, the same table, and none that is left hanging."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.narrow import NAMES, inputs, narrow
from tests.ranks import Ended, commands, ended, numbers, start
from tests.synthetic import scene
from unfold.data.patches import MemoryStore
from unfold.errors import UnfoldError
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import L1
from unfold.training.checkpoint import read_run
from unfold.training.log import read_log
from unfold.training.processes import distributed
from unfold.training.processes.distributed import Processes, processes
from unfold.training.setup.rank_consistency import check_data

TIMING = ("seconds", "images_per_s", "data_wait")
SIX = "TRAIN.BATCH 6 TRAIN.PATCHES 24"
CASES = {
    "float64": f"{SIX} TRAIN.ITERATIONS 20 TRAIN.EMA 0.9",
    # Parts of 1, 1 and 2 samples on three processes, and epochs that end with a batch of 1, of which two have nothing.
    "float64_uneven": "TRAIN.BATCH 4 TRAIN.PATCHES 21 TRAIN.ITERATIONS 8 TRAIN.ACCUMULATE 2 OPTIM.CLIP 0.1 "
    "TRAIN.CHECKPOINT_STAGES true",
    "table": f"{SIX} TRAIN.ITERATIONS 1 OPTIM.LR 1.0e-30 SCHEDULE.LR_MIN 0",
}


@pytest.fixture
def recipe(recipe: Path, pictures: Path) -> Path:
    """Five pictures, which three processes cannot share evenly."""
    for i in (3, 4):
        Image.fromarray(scene(34 + i, 36, seed=i)).save(pictures / f"picture{i}.png")
    return recipe


def weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the last checkpoint but the sums, which each process has its own part of."""
    checkpoint = read_run(folder / "checkpoints" / "last.pth")
    found = checkpoint.state | {f"trained/{k}": v for k, v in checkpoint.content.get("trained", {}).items()}
    for number, state in checkpoint.content["optimizer"]["state"].items():
        found |= {f"{number}/{name}": value for name, value in state.items()}
    return found | {"step": torch.tensor(checkpoint.content["step"])}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMING} for row in read_log(folder / "log.jsonl")]


def trained(world: int, folder: Path, argv: list[str], *event: Any) -> list[Ended]:
    return ended(start(world, folder, commands, argv, *event), folder)


@pytest.mark.slow
def test_one_two_and_three_processes_train_alike(recipe: Path, tmp_path: Path) -> None:
    folders = {world: tmp_path / f"of{world}" for world in (1, 2, 3)}
    folders[1].mkdir()
    several = {world: start(world, folders[world], numbers, recipe, folders[world], CASES) for world in (2, 3)}
    numbers(recipe, folders[1], CASES)
    for world, ranks in several.items():
        for code, _, err in ended(ranks, folders[world]):
            assert code == 0, err
        one, here = folders[1], folders[world]
        for name in ("float64", "float64_uneven"):
            expected, found = weights(one / name), weights(here / name)
            for key, value in expected.items():
                assert torch.allclose(found[key].double(), value.double(), rtol=0, atol=1e-9), (world, name, key)
            for mine, other in zip(rows(here / name), rows(one / name), strict=True):
                assert mine == pytest.approx(other, rel=1e-9)
            assert sum(row["skipped"] for row in rows(here / name)) == 1, "the step that is NaN on the last process"
        for name in NAMES:
            # In float32 the rounding of DGUNet and USRNet depends on the size of a batch by up to 3e-6.
            for dtype, bound in (("float64", 1e-12), ("float32", 1e-6 if "gdn" in name else 5e-6)):
                found, expected = (torch.load(folder / f"{name}_{dtype}.pth") for folder in (here, one))
                assert distance(found, expected) <= bound * distance(expected), (world, name, dtype)
        table = (here / "table" / "validation.json").read_bytes()
        assert table == (one / "table" / "validation.json").read_bytes()
        assert table.count(b"picture") == 5


def distance(a: dict[str, Tensor], b: dict[str, Tensor] | None = None) -> float:
    return sum((a[k] - b[k] if b else a[k]).double().square().sum().item() for k in a) ** 0.5


def test_one_that_is_stopped_or_killed_stops_all_and_the_run_goes_on_as_if_not(recipe: Path, tmp_path: Path) -> None:
    words = [*f"{SIX} TRAIN.EPOCHS 3 TRAIN.SAVE_EVERY 2 TRAIN.EMA 0.9".split(), "OUTPUT"]
    begin = ["train", "--config", str(recipe), "--resume", "auto", *words]
    whole = trained(3, tmp_path / "1", [*begin, str(tmp_path / "whole")])
    assert [code for code, _, _ in whole] == [0, 0, 0], whole
    assert [bool(out) for _, out, _ in whole] == [True, False, False]
    assert [out.count("100%") for _, out, _ in whole] == [1, 0, 0], "one line"

    argv = [*begin, str(tmp_path / "broken")]
    stopped = trained(3, tmp_path / "2", argv, 1, 5, "SIGTERM")
    assert [code for code, _, _ in stopped] == [75, 75, 75], stopped
    assert errors_in(stopped) == [
        "unfold train: stopped by SIGTERM after step 6 of 12; --resume auto continues from there"
    ]
    lost = trained(3, tmp_path / "5", [*argv, "TRAIN.WORKERS", "1"], 2, 0, "worker")
    assert [code for code, _, _ in lost] == [75, 75, 75], lost
    (line,) = errors_in(lost)
    assert line.startswith("unfold train: a process that loads data died (DataLoader worker"), line
    killed = trained(3, tmp_path / "3", [*argv, "TRAIN.WORKERS", "1"], 1, 2, "SIGKILL")
    assert [code for code, _, _ in killed] == [75, -9, 75], killed
    reason = "unfold train: process 1 of 3 died; the last checkpoint is good, --resume auto continues from it"
    assert errors_in(killed) == [reason], killed
    assert 8 <= weights(tmp_path / "broken")["step"] < 12
    resumed = trained(3, tmp_path / "4", argv)
    assert [code for code, _, _ in resumed] == [0, 0, 0], resumed
    assert "resuming after step" in resumed[0][1]

    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")


def test_several_go_on_with_images_that_have_moved_and_all_refuse_other_ones(
    recipe: Path, pictures: Path, tmp_path: Path
) -> None:
    argv = ["train", "--config", str(recipe), *f"{SIX} TRAIN.EPOCHS 2 SCHEDULE.NAME constant".split()]
    argv += ["OUTPUT", str(tmp_path / "run")]
    assert [code for code, _, _ in trained(2, tmp_path / "1", argv)] == [0, 0]
    shutil.copytree(pictures, tmp_path / "elsewhere")
    shutil.copytree(pictures, tmp_path / "others")
    Image.fromarray(scene(40, 56, seed=9)).save(tmp_path / "others" / "picture1.png")
    longer = [*argv, "--resume", "TRAIN.EPOCHS", "3", "DATA.TRAIN"]
    refused = trained(2, tmp_path / "2", [*longer, str(tmp_path / "others")])
    assert (refused[0][0], refused[1][0] in (1, 2)) == (2, True), refused
    (line,) = errors_in(refused)
    assert "holds other images than" in line
    moved = trained(2, tmp_path / "3", [*longer, str(tmp_path / "elsewhere")])
    assert [code for code, _, _ in moved] == [0, 0], moved
    assert "the images are the same" in moved[0][1] + moved[0][2]
    assert weights(tmp_path / "run")["step"] == 12


def errors_in(found: list[Ended]) -> list[str]:
    """What the processes say on stderr, but for the bar."""
    lines = [line for _, _, err in found for line in err.splitlines()]
    return [line for line in lines if line and not line.startswith("training:")]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("unreadable", "unfold train: an image here cannot be read"),
        ("memory", "unfold train: out of memory: a training step takes"),
        ("mistake", "RuntimeError: a mistake of ours"),
        ("another recipe", "process 1 was started by another recipe or command line than process 0: OPTIM.LR 0.002 ->"),
        ("no recipe", "unfold train: config none.yaml: there is no such file"),
    ],
)
def test_an_error_on_one_ends_all_and_is_reported_once(recipe: Path, tmp_path: Path, what: str, line: str) -> None:
    found = trained(3, tmp_path / "ranks", ["train", "--config", str(recipe), *SIX.split()], 1, 2, what)
    assert all(code in (1, 2) for code, _, _ in found), found
    assert "".join(err for _, _, err in found).count(line) == 1, found
    assert (tmp_path / "run" / "checkpoints").exists() is False


@pytest.mark.parametrize("every_stage", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_that_is_trained_gets_a_gradient(name: str, every_stage: bool) -> None:
    net = narrow(name).train()
    output = net.run(**inputs(name, 1, 32, 32))
    TotalLoss([Term(L1(), every_stage=every_stage)])(output, {"target": torch.rand_like(output.stages[-1])}).backward()
    assert [key for key, p in net.named_parameters() if p.requires_grad and p.grad is None] == []
    shared = [name for name, _ in net.named_buffers() if name in net.state_dict()]
    assert not shared, "which processes would have to share: fixed matrices are the same in all"


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, Any] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: calls.update(gpu=number))
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda backend, **_: calls.update(backend=backend))
    monkeypatch.setattr(distributed.dist, "new_group", lambda **_: None)
    watch: Any = SimpleNamespace(store=None, begin=lambda: None, meet=lambda patience: None)
    for device in ("auto", "cuda"):
        Processes(3, 4, 1, watch).join(device)
        assert calls == {"gpu": 1, "backend": "nccl"}
        calls.clear()
    Processes(3, 4, 1, watch).join("cpu")
    assert calls == {"backend": "gloo"}
    with pytest.raises(UnfoldError, match="DEVICE cuda:1 is one GPU, and each of 4 processes has its own: set auto"):
        Processes(3, 4, 1, watch).join("cuda:1")
    with pytest.raises(UnfoldError, match=r"more processes here than there are GPUs to be seen, 2: set --nproc-per"):
        Processes(3, 4, 2, watch).join("auto")


def test_processes_that_were_not_started_by_torchrun_are_errors_that_name_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with processes(print, lambda error: 1) as us:
        assert (us.rank, us.world) == (0, 1), "one is one, whatever it is called"
    monkeypatch.setenv("WORLD_SIZE", "2")
    errors_in = "LOCAL_RANK, MASTER_ADDR, MASTER_PORT not: start it by torchrun"
    with pytest.raises(UnfoldError, match=errors_in), processes(print, lambda error: 1):
        pass


def test_machines_with_other_images_are_reported() -> None:
    first = "2 training images of 40 pixels and 1 cases for validation"
    us: Any = SimpleNamespace(gather=lambda mine: [first, mine])
    check_data(us, MemoryStore([{"target": np.zeros((4, 5, 3))}] * 2), [0])
    with pytest.raises(UnfoldError, match=r"process 1 finds 1 training images of 20 pixels .* process 0 2 training"):
        check_data(us, MemoryStore([{"target": np.zeros((4, 5, 3))}]), [0])
