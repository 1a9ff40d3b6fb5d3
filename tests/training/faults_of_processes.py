"""What scripts/torture does to the processes of a run, one function per fault. AssertionError where one did harm."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from typing import Any

from tests import ranks
from tests.training import spoiled
from tests.training.real_runs import LOCK, PATIENCE, Run, ending, unlike
from tests.training.trial import Notes, TooLateError, Trial, check, parts


def kill(trial: Trial, run: Run, longest: float) -> None:
    time.sleep(trial.rng.uniform(0, longest))
    run.kill()
    if run.wait() == 0:
        raise TooLateError
    trial.whole()


def killed_anywhere(trial: Trial) -> Notes:
    kill(trial, trial.start(), trial.seconds)
    trial.compare()
    return {}


def killed_while_writing(trial: Trial) -> Notes:
    run, checkpoints = trial.start("TRAIN.SAVE_EVERY", 1), trial.folder / "checkpoints"
    for _ in range(trial.rng.randrange(8)):  # checkpoints that are let pass
        run.wait_for(lambda: parts(checkpoints))
        run.wait_for(lambda: not parts(checkpoints))
    run.wait_for(lambda: parts(checkpoints))
    kill(trial, run, 0.01)
    inside = bool(parts(checkpoints))
    trial.compare()
    return {"{:.0f} hit a checkpoint while it was written": inside}


def killed_twice_at_first(trial: Trial) -> Notes:
    for _ in range(2):
        kill(trial, trial.start("TRAIN.SAVE_EVERY", 0), 0.4 * trial.seconds)
    none = not (trial.folder / "checkpoints" / "last.pth").exists()
    trial.compare("TRAIN.SAVE_EVERY", 0)
    return {"{:.0f} before there was a checkpoint": none}


def killed_again_and_again(trial: Trial) -> Notes:
    for _ in range(4):
        with contextlib.suppress(TooLateError):
            kill(trial, trial.start(), 0.7 * trial.seconds)
    trial.compare()
    return {}


def asked(trial: Trial, number: int, everyone: bool = False) -> Notes:
    run = trial.start()
    time.sleep(trial.rng.uniform(0, trial.seconds))
    begin = time.monotonic()
    (run.kill_all if everyone else run.kill)(number)
    early = run.wait() == 130 and not (trial.folder / "config.yaml").exists()  # Ctrl-C before the run
    notes = trial.stopped(run, begin, 130 if early else 75)
    trial.whole()
    trial.compare()
    return notes


def sigterm(trial: Trial) -> Notes:
    return asked(trial, signal.SIGTERM)


def sigint_or_usr1(trial: Trial) -> Notes:
    return asked(trial, (signal.SIGINT, signal.SIGUSR1)[trial.number // 2 % 2])


def sigterm_to_all(trial: Trial) -> Notes:
    trial.number = 1  # with workers
    return asked(trial, signal.SIGTERM, everyone=True)


def in_validation(trial: Trial) -> Notes:
    if trial.number % 2:  # of the second epoch
        trial.copy_base()
    run = trial.start(before=spoiled.slow_validation)
    check(run.wait_for(lambda: "validating" in run.printed.read_text()), "no validation")
    begin = time.monotonic()
    run.kill(signal.SIGTERM)
    notes = trial.stopped(run, begin)
    trial.compare()
    return notes


def ctrl_c(trial: Trial) -> Notes:
    master, slave = pty.openpty()
    trial.number = 1
    words = trial.place.words(trial.name, *trial.workers)
    with subprocess.Popen(
        [sys.executable, "-m", "unfold", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(slave)
        while not (trial.folder / "checkpoints" / "last.pth").exists() and process.poll() is None:
            time.sleep(0.01)
        os.write(master, b"\x03")
        printed = b""
        with contextlib.suppress(OSError):  # which is how a terminal says that all have left it
            while text := os.read(master, 4096):
                printed += text
        os.close(master)
    if process.returncode == 0:
        raise TooLateError
    check(process.returncode == 75, f"exit code {process.returncode}")
    check(b"stopped by SIGINT" in printed and b"Traceback" not in printed, printed[-300:].decode())
    trial.compare()
    return {}


def ctrl_c_twice(trial: Trial) -> Notes:
    trial.number = 1
    run = trial.start(before=spoiled.slow_step)
    check(run.wait_for(lambda: "a long step" in run.printed.read_text()), "no long step")
    begin = time.monotonic()
    run.kill_all(signal.SIGINT)
    time.sleep(0.5)
    check(run.code is None, "the first ended the run amid a step")
    run.kill_all(signal.SIGINT)
    notes = trial.stopped(run, begin, 130)
    trial.compare()
    return notes


def dead_worker(trial: Trial) -> Notes:
    trial.number = 1
    run, step = trial.start("TRAIN.SAVE_EVERY", 1), trial.rng.randrange(1, 4)
    if not run.wait_for(lambda: run.step >= step):
        raise TooLateError
    begin = time.monotonic()
    try:
        os.kill(trial.rng.choice(run.children()), signal.SIGKILL)
    except (OSError, IndexError):
        raise TooLateError from None  # the run was over, and they with it
    notes = trial.stopped(run, begin)
    check("a process that loads data died" in run.last_line(), run.last_line())
    trial.compare()
    return notes


def no_reader(trial: Trial) -> Notes:
    run = trial.start(before=spoiled.no_reader)
    check((code := run.wait()) == 75, f"exit code {code}")
    trial.compare()
    return {}


def nan_batch(trial: Trial) -> Notes:
    reference = trial.place.finish(f"{trial.name}_reference", before=spoiled.nan_batch)
    expected = ending(reference.folder)
    check([row["skipped"] for row in expected["log"]] == [0, 1], "not one step skipped in the second epoch")
    kill(trial, trial.start(before=spoiled.nan_batch), trial.seconds)
    trial.compare(reference=expected, before=spoiled.nan_batch)
    return {}


def dead_rank(trial: Trial) -> Notes:
    """Of a run by two processes, one dies; both go on from the last checkpoint."""

    def train(name: str, *event: object) -> list[ranks.Ended]:
        argv = trial.place.words(name, "--resume", "auto", *trial.workers, "TRAIN.SAVE_EVERY", 1)
        out = trial.place.folder / f"{name}_printed"
        with LOCK:
            started = ranks.start(2, out, ranks.commands, argv, *event)
        trial.place.groups |= {rank.pid for rank in started}
        end = time.monotonic() + PATIENCE
        while any(alive(rank) for rank in started) and time.monotonic() < end:
            time.sleep(0.01)
        with LOCK:
            return ranks.ended(started, out, 1)

    def alive(rank: Any) -> bool:
        with LOCK:
            return rank.exitcode is None

    whole = f"{trial.name}_reference"
    check([code for code, *_ in train(whole)] == [0, 0], "two processes that were left alone")
    which, step = trial.number // 2 % 2, trial.rng.randrange(8)
    begin = time.monotonic()
    killed = train(trial.name, which, step, "SIGKILL")
    seconds = time.monotonic() - begin
    expected = [75, 75]
    expected[which] = -signal.SIGKILL
    check([code for code, *_ in killed] == expected, f"{killed}")
    line = f"process {which} of 2 died; the last checkpoint is good"
    check(line in killed[1 - which][2], f"not reported: {killed[1 - which][2]}")
    check([code for code, *_ in train(trial.name)] == [0, 0], "resumed")
    different = unlike(trial.folder, ending(trial.place.folder / whole))
    check(not different, f"{len(different)} values differ, {different[:3]}")
    return {"slowest begin, steps and end {:.1f} s": seconds}
