"""A run that is asked to stop, wherever it is, keeps its state and says so by its exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.real_runs import ending, unlike
from unfold.cli import main
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.training.processes.signals import EXIT_STOPPED, Request, Stopped, requests_to_stop
from unfold.training.setup import build_run
from unfold.training.setup.build_run import build_trainer
from unfold.training.trainer import Trainer

Command = Callable[..., tuple[int, str, str]]
WORDS = ("TRAIN.EMA 0.9 TRAIN.EPOCHS 2", "TRAIN.ITERATIONS 5 SCHEDULE.NAME step SCHEDULE.WARMUP 0")


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def build(recipe: Path, folder: Path, words: str, **options: Any) -> Trainer:
    return build_trainer(load_config(recipe, [*words.split(), "OUTPUT", str(folder)]), **options)


def signal_in(trainer: Trainer, part: str, call: int) -> None:
    """Let the call of that number of a part of the trainer send a signal when it is done."""
    whole, calls = getattr(trainer, part), iter(range(100))

    def signalling(*arguments: Any) -> Any:
        found = whole(*arguments)
        if next(calls) == call:
            signal.raise_signal(signal.SIGTERM)
        return found

    setattr(trainer, part, signalling)


@pytest.mark.parametrize("words", WORDS, ids=["epochs", "iterations"])
def test_stopped_in_each_validation_and_at_each_end_of_an_epoch(recipe: Path, tmp_path: Path, words: str) -> None:
    build(recipe, tmp_path / "whole", words).fit()
    for end in range(2):
        for part, call in (("render", 2 if not end else 2 - ("ITERATIONS" in words)), ("validate", 0)):
            trainer = build(recipe, tmp_path / "stopped", words, resume="auto")
            signal_in(trainer, part, call)
            with pytest.raises(Stopped, match=rf"^stopped by SIGTERM after step {trainer.steps if end else 3} of"):
                trainer.fit()
    build(recipe, tmp_path / "stopped", words, resume=True).fit()
    assert unlike(tmp_path / "stopped", ending(tmp_path / "whole")) == []


def test_killed_when_the_log_has_the_epoch_and_the_checkpoint_has_not(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "TRAIN.EPOCHS 2"
    build(recipe, tmp_path / "whole", words).fit()
    for _ in range(2):  # both times after the first epoch, the second time from what the first left
        trainer = build(recipe, tmp_path / "killed", words, resume="auto")
        monkeypatch.setattr(trainer.log, "draw", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trainer.fit()
        assert len((tmp_path / "killed" / "log.jsonl").read_text().splitlines()) == 1
    build(recipe, tmp_path / "killed", words, resume="auto").fit()
    assert unlike(tmp_path / "killed", ending(tmp_path / "whole")) == []


def test_killed_between_the_first_best_and_the_first_last(recipe: Path, tmp_path: Path) -> None:
    trainer = build(recipe, tmp_path / "run", "")
    trainer.log.add = lambda row: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        trainer.fit()
    assert (tmp_path / "run" / "checkpoints" / "best.pth").exists()
    again = build(recipe, tmp_path / "run", "", resume="auto")
    assert (again.step, again.pending) == (3, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_stopped_while_the_run_is_built(
    recipe: Path, command: Command, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def building(*arguments: Any) -> Any:
        try:
            signal.raise_signal(number)
        except Exception as error:  # as those who read damaged files do
            raise UnfoldError("swallowed") from error

    monkeypatch.setattr(build_run, "build_store", building)
    code, _, err = command("train", "--config", recipe)
    assert code == EXIT_STOPPED
    said = f"unfold train: stopped by {number.name} outside the steps of the run; --resume auto starts or continues it"
    assert err.splitlines() == [said]
    signal.raise_signal(number)  # a second one on the way out changes nothing


def test_a_second_signal_on_the_way_out_does_not_change_the_exit_code(
    recipe: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(trainer: Trainer) -> None:
        raise Stopped("stopped after step 1")

    monkeypatch.setattr(Trainer, "fit", stopped)
    assert command("train", "--config", recipe)[::2] == (EXIT_STOPPED, "unfold train: stopped after step 1\n")
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGUSR1)


def test_handlers_are_as_before_when_a_run_is_done(recipe: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGCHLD)]
    assert main(["train", "--config", str(recipe), "TRAIN.EPOCHS", "1", "TRAIN.WORKERS", "1"]) == 0
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGCHLD)]
    assert before == after


def test_the_second_ctrl_c_ends_at_once_and_one_at_a_time_is_obeyed_at_once() -> None:
    with requests_to_stop() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    request = Request()
    with request.raising_at_once(), pytest.raises(Stopped, match=r"^stopped by SIGUSR1$"):
        request.receive(signal.SIGUSR1, None)
    request.receive(signal.SIGTERM, None)
    with pytest.raises(Stopped), request.raising_at_once():
        pytest.fail("it was asked before")
    with request.raising_at_once(False):
        request.receive(signal.SIGTERM, None)
