"""Long work without a terminal says how far it is, by one line for all that is under way."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from tqdm import tqdm

from unfold.util import progress as shown
from unfold.util.progress import bar, progress


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged, where lines come every 50 ms."""
    monkeypatch.setattr(shown, "EVERY", 0.05)
    monkeypatch.setattr(shown, "_terminal", lambda: False)
    caplog.set_level("INFO", logger="unfold")
    return caplog.messages


def wait_for(caplog: pytest.LogCaptureFixture, text: str) -> None:
    end = time.monotonic() + 10
    while not any(text in message for message in caplog.messages):
        assert time.monotonic() < end, caplog.messages
        time.sleep(0.01)


def test_a_line_comes_while_one_item_takes_long_and_names_all_that_is_open(
    lines: list[str], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in progress(range(3), "restoring", "picture"):
        if number == 2:
            with bar(10**6, "large.png", "pixel") as pixels:
                pixels.update(250_000)
                wait_for(caplog, "restoring: 2 of 3 pictures, ETA 00:0")
                wait_for(caplog, "; large.png: 25%, ETA 0")
    assert capfd.readouterr().err == "", "no bar"
    assert "\r" not in "".join(caplog.messages)


def test_lines_end_with_the_work_and_its_thread_too(lines: list[str], caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    with bar(4, "measuring", "image") as images:
        images.update()
        wait_for(caplog, "measuring: 1 of 4 images")
    count = len(caplog.messages)
    time.sleep(0.15)
    assert len(caplog.messages) == count
    assert threading.active_count() <= before + 1, "tqdm's own may stay"


def test_quick_work_and_processes_that_others_speak_for_say_nothing(
    lines: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(progress([1, 2], "measuring", "image")) == [1, 2]
    monkeypatch.setattr(shown, "_hidden", True)
    with bar(2, "measuring", "image"):
        time.sleep(0.15)
    assert caplog.messages == []


def test_work_of_unknown_length_says_how_much_is_done(lines: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with bar(None, "weights.pth", "B") as read:
        read.update(12_000_000)
        wait_for(caplog, "weights.pth: 12.0MB")


def test_a_bar_that_python_collects_while_another_begins_does_not_stop_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Collecting an abandoned bar closes it: here within the very lines that hold the lock."""
    abandoned = bar(3, "abandoned", "image")
    event = threading.Event

    def collecting() -> threading.Event:
        abandoned.close()
        return event()

    monkeypatch.setattr(shown.threading, "Event", collecting)
    ended = []

    def begin() -> None:
        with bar(2, "next", "image"):
            ended.append(True)

    thread = threading.Thread(target=begin, daemon=True)
    monkeypatch.setattr(shown, "_reporter", shown._Reporter())
    thread.start()
    thread.join(10)
    assert ended, "it waits for a lock that it holds itself"


def test_a_line_beside_open_bars_holds_no_control_characters(
    lines: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with bar(10, "restoring", "picture"), bar(100, "large.png", "pixel"):
        tqdm.write("found JPEG", file=sys.stderr)
    assert capfd.readouterr().err == "found JPEG\n"
