"""Logs that people read, and nothing wasted on the way: the line, environment.json, TensorBoard, host and workers."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unfold.config import load_config
from unfold.data.images import read_uint8
from unfold.data.patches import MemoryStore
from unfold.data.stores.fingerprint import fingerprint
from unfold.data.stores.patch_cache import PatchCache
from unfold.data.stores.patch_cache_writing import prepare_cache
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.report.provenance import revision
from unfold.training import progress_line, trainer
from unfold.training.log import read_log
from unfold.training.processes.loader_worker import begin_worker
from unfold.training.progress_line import Line
from unfold.training.setup import build_run as training
from unfold.training.setup.build_run import build_trainer
from unfold.training.setup.environment import read_starts
from unfold.training.trainer import Trainer
from unfold.weights.read_checkpoint import read_checkpoint

Command = Callable[..., tuple[int, str, str]]


def build(recipe: Path, words: str = "", **options: Any) -> Trainer:
    return build_trainer(load_config(recipe, words.split()), **options)


class Clock:
    """Stands for time.perf_counter."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_line.time, "perf_counter", clock)
    return clock


MARK = "<end>"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Callable[[], str]]]:
    """terminal(columns) makes stderr a terminal; what that returns gives the text written there."""
    ends = pty.openpty()
    file = os.fdopen(ends[1], "w")

    def open_terminal(columns: int) -> Callable[[], str]:
        fcntl.ioctl(ends[1], termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        monkeypatch.setattr(sys, "stderr", file)
        return written

    def written() -> str:
        file.write(MARK)
        file.flush()
        found = b""
        while not found.endswith(MARK.encode()):  # it comes in pieces, on a busy machine late
            found += os.read(ends[0], 100_000)
        return found.decode().removesuffix(MARK)

    yield open_terminal
    file.close()
    os.close(ends[0])


WORDS = ["11.5 img/s", "loss 0.0953", "psnr 28.51", "lr 1.5e-3", "data wait 1%", "best validation 27.86", "step 1 of 2"]


def run_line(clock: Clock, steps: int, seconds: float) -> None:
    with Line(total=100, done=20, shown=True) as shown:
        for _ in range(steps):
            clock.now += seconds
            shown.update(2)
            shown.show(WORDS)


@pytest.mark.parametrize(("columns", "seen"), [(80, 5), (120, 7)])
def test_on_a_terminal_the_line_is_renewed_in_place_and_never_wider(
    clock: Clock, terminal: Callable[[int], Callable[[], str]], columns: int, seen: int
) -> None:
    written = terminal(columns)
    run_line(clock, 4, 600)
    text = written()
    assert "\x1b" not in text
    assert text.count("\n") == 1, "at the end"
    parts = [part for part in text.replace("\n", "\r").split("\r") if part.strip()]
    assert max(map(len, parts)) <= columns
    assert parts[-1].startswith(" 28% ETA 6:00:00, 11.5 img/s, loss 0.0953")  # 8 images took 2400 s; 72 are left
    assert [word in parts[-1] for word in WORDS] == [True] * seen + [False] * (7 - seen)


def test_without_a_terminal_there_is_a_plain_line_each_20_seconds_and_at_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    run_line(clock, 40, 3)
    assert [message[:21] for message in caplog.messages] == [
        " 34% ETA 01:39, 11.5 ",
        " 48% ETA 01:18, 11.5 ",
        " 62% ETA 00:57, 11.5 ",
        " 76% ETA 00:36, 11.5 ",
        " 90% ETA 00:15, 11.5 ",
        "100% ETA 00:00, 11.5 ",
    ]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_run_without_a_terminal_prints_no_control_characters(recipe: Path, command: Command) -> None:
    code, out, err = command("train", "--config", recipe)
    assert (code, err) == (0, "")
    assert not {"\r", "\x1b"} & set(out)


def test_the_line_names_loss_psnr_rate_speed_and_waiting(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_lines: list[str] = []
    monkeypatch.setattr(Line, "show", lambda self, words: shown_lines.append(", ".join(words)))
    monkeypatch.setattr(Line, "due", lambda self: True)
    run = build(recipe)
    run.fit()
    row = run.log.rows[0]
    assert len(shown_lines) == 9 + 3, "each step, and each epoch"
    end = f"img/s, loss {row['loss']:.4f}, psnr {row['train_psnr']:.2f}, lr 2.0e-3, data wait {row['data_wait']:.0%}"
    assert f"{end}, best validation {row['val_psnr']:.2f}, step 3 of 9" in shown_lines[3]
    assert shown_lines[2].startswith(shown_lines[3].split(",")[0]), "the speed of the log"


def test_each_start_of_a_run_leaves_an_entry_in_environment_json(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    build(recipe).fit(until=2)
    build(recipe, "TRAIN.PRECISION float32", resume=True).fit()
    first, second = read_starts(folder)
    assert (first["step"], second["step"]) == (0, 6)
    assert first["torch"] == torch.__version__
    assert first["numpy"] == np.__version__
    assert (first["device"], first["precision"], first["processes"]) == ("cpu", "float32", 1)
    assert first["threads"] == torch.get_num_threads()
    assert first["command"] == shlex.join(["unfold", *sys.argv[1:]])
    images = [{"target": read_uint8(path)} for path in sorted((tmp_path / "pictures").iterdir())]
    assert first["data"] == second["data"] == {"images": 3, "sha256": fingerprint(MemoryStore(images))}
    before = (folder / "environment.json").read_bytes()
    build(recipe, resume=True).fit()
    assert (folder / "environment.json").read_bytes() == before, "a run that is done is not started"
    build(recipe, overwrite=True).fit(until=1)
    (folder / "environment.json").write_text("[{")
    build(recipe, resume=True)
    assert len(read_starts(folder)) == 1, "what is damaged stops no run"
    build(recipe, overwrite=True)
    assert [start["step"] for start in read_starts(folder)] == [0]


def test_the_git_revision_is_that_of_the_tree_that_holds_the_package(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    package, other = tmp_path / "package", tmp_path / "site-packages"
    for folder in (package, other):
        folder.mkdir()
        (folder / "a.py").write_text("1")
    assert revision(package) is None
    git("init")
    git("add", "package")
    git("commit", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert revision(package) == commit
    assert revision(other) is None, "in the tree, but not kept by it"
    (package / "a.py").write_text("2")
    assert revision(package) == f"{commit}+"


def test_the_fingerprint_of_the_data_is_one_for_files_and_cache_and_changes_with_a_pixel_or_the_order(
    pictures: Path, tmp_path: Path
) -> None:
    prepare_cache(str(pictures), tmp_path / "cache.h5")
    images = [{"target": read_uint8(path)} for path in sorted(pictures.iterdir())]
    whole = fingerprint(MemoryStore(images))
    assert whole == fingerprint(PatchCache(tmp_path / "cache.h5"))
    assert whole != fingerprint(MemoryStore(images[::-1]))
    assert whole != fingerprint(MemoryStore(images[:-1]))
    pairs = [{"input": image["target"], **image} for image in images]
    assert whole != fingerprint(MemoryStore(pairs))
    images[1]["target"] = images[1]["target"].copy()
    images[1]["target"][5, 5, 0] ^= 1
    assert whole != fingerprint(MemoryStore(images))


def events(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder / "board"), size_guidance={"images": 0, "scalars": 0})
    return read.Reload()


def test_tensorboard_shows_log_stages_and_step_sizes_once_after_a_kill_too(recipe: Path, tmp_path: Path) -> None:
    folder, words = tmp_path / "run", "TRAIN.BOARD true TRAIN.EMA 0.5"
    build(recipe, f"{words} TRAIN.BOARD false OUTPUT {tmp_path / 'plain'}").fit()
    build(recipe, words).fit(until=2)
    (folder / "checkpoints" / "last.pth").unlink()  # as if killed before it: the run goes back to step 3
    build(recipe, words, resume=True).fit()
    seen = events(folder)
    rows = read_log(folder / "log.jsonl")
    for name in ("loss", "train_psnr", "val_psnr", "lr", "gradient", "images_per_s", "data_wait", "skipped"):
        points = [(event.step, event.value) for event in seen.Scalars(f"run/{name}")]
        assert points == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows], name
    r = [seen.Scalars(f"r_of_stage/{k}")[-1].value for k in (1, 2, 3)]
    checkpoint = read_checkpoint(folder / "checkpoints" / "last.pth")
    state = checkpoint.state
    assert r == pytest.approx([state["r0"].item(), state["basic.r1"].item(), state["r6"].item()])
    scores = json.loads((folder / "validation.json").read_text())["psnr"]
    assert seen.Scalars("psnr_of_stage/3")[-1].value == pytest.approx(scores["picture0"], abs=1e-3)
    assert sorted(seen.Tags()["images"]) == [f"stages/picture{i}" for i in range(3)]
    strips = seen.Images("stages/picture1")
    assert [strip.step for strip in strips] == [3, 6, 9]
    assert strips[0].width == 5 * 134 - 6, "start, three stages, target"
    other = read_checkpoint(tmp_path / "plain" / "checkpoints" / "last.pth").state
    assert all(torch.equal(state[name], other[name]) for name in other), "looking on changes nothing"
    build(recipe, words, overwrite=True)
    assert "run/loss" not in events(folder).Tags()["scalars"], "a new run begins empty"


def test_tensorboard_that_is_missing_is_reported_before_any_work(
    recipe: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unfold.training import tensorboard

    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: None)
    code, _, err = command("train", "--config", recipe, "TRAIN.BOARD", "true")
    shown_lines = "TRAIN.BOARD true writes for TensorBoard, which is missing: pip install 'unfold-restoration[log]'"
    assert (code, err) == (2, f"unfold train: {shown_lines}\n")
    assert not (tmp_path / "run").exists()


class Plain(torch.optim.Optimizer):
    """Gradient descent for tensors without numbers."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        torch._foreach_add_(weights, [weight.grad for weight in weights], alpha=-self.param_groups[0]["lr"])


ALL = "TRAIN.EMA 0.9 TRAIN.ACCUMULATE 2 OPTIM.CLIP 0.1 LOSS.EDGE 0.05 TRAIN.MIXUP 0.5 TRAIN.MIXUP_AFTER 0"
OTHER = "MODEL.WIDTH 0 MODEL.GROWTH 0 MODEL.TAIL 0 MODEL.OPERATOR_WIDTH 0 MODEL.WIDTHS [4,4,4,4] MODEL.DEPTH 1 "
USRNET = f"{OTHER} MODEL.NAME usrnet DATA.KIND usrnet TRAIN.PATCH 36 DATA.SCALES [2,3]"
NRL_GDN = f"{OTHER} MODEL.NAME nrl_gdn DATA.KIND nrl_gdn TRAIN.PATCH 32 DATA.SCALES [1] MODEL.TRAIN_STAGES 2"


@pytest.mark.parametrize("words", ["", ALL, USRNET, NRL_GDN], ids=["plain", "all", "usrnet", "nrl_gdn"])
def test_a_gpu_is_not_waited_for_but_every_so_many_steps(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Run on tensors that have no numbers, as if on a GPU: reading one fails, which shows where."""
    monkeypatch.setattr(training, "build_validation", lambda *_: GaussianDenoising())  # never reached
    run = build(recipe, f"TRAIN.PATCHES 60 {words}")
    run.device = torch.device("meta")
    update = run.update
    update.net.to("meta")
    update.optimizer = Plain(update.net.parameters(), {"lr": 1e-3, "fused": True})
    update.__post_init__()
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: torch.enable_grad())  # there is none for meta
    monkeypatch.setattr(Line, "due", lambda self: True)
    monkeypatch.setattr(trainer, "LOOK_EVERY", 3)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta") as error:
        run.fit()
    assert run.step == 3
    assert any(entry.name == "_look" for entry in error.traceback), "and it is our own look"


@pytest.mark.parametrize("parts", [1, 2])
def test_there_is_one_forward_pass_for_a_step_and_none_for_the_psnr(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    run = build(recipe, f"TRAIN.ACCUMULATE {parts} TRAIN.EPOCHS 1")
    monkeypatch.setattr(run, "validate", lambda: {"a": 30.0})
    stages: list[int] = []
    stage = run.update.net.stage
    monkeypatch.setattr(run.update.net, "stage", lambda k, *rest: (stages.append(k), stage(k, *rest))[1])
    run.fit()
    assert stages == [0, 1, 2] * 3 * parts
    assert np.isfinite(run.log.rows[0]["train_psnr"])


class Threads(Dataset[Tensor]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([cv2.getNumThreads(), torch.get_num_threads()])


def test_a_process_that_loads_data_has_one_thread(recipe: Path) -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        (found,) = DataLoader(
            Threads(), num_workers=1, worker_init_fn=functools.partial(begin_worker, parent=os.getpid())
        )
        assert found.tolist() == [[1, 1]]
    finally:
        cv2.setNumThreads(before)
    loader = build(recipe, "TRAIN.WORKERS 1").loader
    assert loader.worker_init_fn.func is begin_worker
    assert loader.persistent_workers


def test_the_curve_is_drawn_of_any_log(recipe: Path, tmp_path: Path) -> None:
    log = build(recipe).log
    for values in ([], [(0.1, None)], [(0.1, 30.0), (float("nan"), float("nan")), (0.01, 31.0)]):
        log.rows = [
            {"epoch": i, "step": i, "loss": loss, "val_psnr": psnr, "lr": 1e-4} for i, (loss, psnr) in enumerate(values)
        ]
        log.draw()
        with Image.open(tmp_path / "run" / "curve.png") as picture:
            assert picture.size == (1440, 300)
