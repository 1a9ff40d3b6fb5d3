"""Fixtures of several tests."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: networks are tiny here, and two threads would wait for each other

import torch
from PIL import Image

from tests import server as web
from tests.synthetic import scene
from unfold.cli import main
from unfold.util import download

ROOT = Path(__file__).parent.parent

TINY = """
MODEL: {NAME: dgunet_denoise, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, OPERATOR_WIDTH: 4}
TRAIN: {EPOCHS: 3, PATCHES: 6, BATCH: 2, PATCH: 16}
OPTIM: {LR: 2.0e-3}
SCHEDULE: {WARMUP: 1}
"""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_news_of_workers() -> Iterator[None]:
    """torch's handler of SIGCHLD stays where processes loaded data, and would raise in what runs next, be it pytest."""
    yield
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this process reaches beyond this machine."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def here(host: object) -> None:
        assert host in ("127.0.0.1", "::1", "localhost"), f"a test asks for {host}"

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            here(address[0])
        connect(self, address)

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        here(host)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[web.Server]:
    """A web server, and downloads that lose patience at once."""
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    monkeypatch.setenv("no_proxy", "*")
    with web.running() as server:
        yield server


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three colour pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, size in enumerate([(48, 40), (40, 56), (33, 37)]):
        Image.fromarray(scene(*size, seed=i)).save(folder / f"picture{i}.png")
    return folder


@pytest.fixture
def recipe(tmp_path: Path, pictures: Path) -> Path:
    """A recipe of a very small network on those pictures, which trains in a second."""
    path = tmp_path / "tiny.yaml"
    data = f"DATA: {{TRAIN: {pictures}, VAL: {pictures}, TEST: {pictures}}}\n"
    path.write_text(f"OUTPUT: {tmp_path / 'run'}\nDEVICE: cpu\n{data}{TINY}")
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `unfold ...` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
