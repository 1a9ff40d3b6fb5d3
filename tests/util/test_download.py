"""Downloads arrive whole and as they should be, or not at all, and no byte is fetched twice without need."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.request import OpenerDirector, Request

import pytest

from tests.server import Server
from unfold.errors import UnfoldError
from unfold.util import download as module
from unfold.util.download import download


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.pth"


def digest(server: Server) -> str:
    return hashlib.sha256(server.body).hexdigest()


def left(target: Path) -> list[str]:
    """What lies in the folder, but for the lock."""
    return sorted(path.name for path in target.parent.iterdir() if path.suffix != ".lock")


def refused(server: Server, target: Path, sha256: str | None = None) -> str:
    with pytest.raises(UnfoldError) as caught:
        download(server.url(), target, sha256)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    return str(caught.value)


@pytest.mark.parametrize("known", [True, False])
def test_a_file_arrives_whole_and_alone(server: Server, target: Path, known: bool) -> None:
    assert download(server.url(), target, digest(server).upper() if known else None) == digest(server)
    assert target.read_bytes() == server.body
    assert left(target) == ["file.pth"]
    assert download(server.url(), target, None) == digest(server)
    assert len(server.requests) == 1, "what is there is not fetched again"


@pytest.mark.parametrize("act", ["cut", "stall"])
@pytest.mark.parametrize("dated", [False, True])
def test_what_breaks_off_goes_on_where_it_stopped(server: Server, target: Path, act: str, dated: bool) -> None:
    if dated:
        server.etag, server.dated = 'W/"weak"', "Wed, 21 Oct 2015 07:28:00 GMT"
    server.acts = [act, act]
    assert download(server.url(), target, None) == digest(server)
    half, size = len(server.body) // 2, len(server.body)
    assert server.ranges() == [None, f"bytes={half}-", f"bytes={half + (size - half) // 2}-"]
    assert [headers["If-Range"] for headers in server.requests[1:]] == [server.dated or server.etag] * 2
    assert target.read_bytes() == server.body
    assert left(target) == ["file.pth"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: Server, target: Path) -> None:
    server.acts = ["cut", "500", "500"]
    assert "500" in refused(server, target)
    assert download(server.url(), target, digest(server)) == digest(server)
    assert server.ranges()[-1] == f"bytes={len(server.body) // 2}-"


def test_a_part_from_another_address_is_not_continued(server: Server, target: Path) -> None:
    server.acts = ["cut", "500", "500"]
    refused(server, target)
    download(server.url("mirror.pth"), target, None)
    assert server.ranges()[-1] is None
    assert target.read_bytes() == server.body


def test_without_a_version_a_part_is_not_continued(server: Server, target: Path) -> None:
    server.etag = None
    server.acts = ["cut"]
    assert download(server.url(), target, None) == digest(server)
    assert server.ranges() == [None, None]


def test_a_server_that_ignores_ranges_means_a_fresh_start(server: Server, target: Path) -> None:
    server.acts = ["cut", "ignore"]
    assert download(server.url(), target, None) == digest(server)
    assert target.read_bytes() == server.body


def test_half_a_file_does_not_pass_for_the_whole_where_nobody_says_how_long_it_is(server: Server, target: Path) -> None:
    server.acts = ["endless"]
    assert "the server does not state the file's length" in refused(server, target)
    server.acts = ["endless"]
    assert "sends a wrong file" in refused(server, target, digest(server))


@pytest.mark.parametrize("act", ["204", "to http://[::1", "to /round"])
def test_odd_answers_are_one_line(server: Server, target: Path, act: str) -> None:
    server.acts = [act] * 40
    assert "could not be downloaded" in refused(server, target)


@pytest.mark.parametrize("act", ["serve", "range"])
def test_a_file_that_changes_meanwhile_means_a_fresh_start(server: Server, target: Path, act: str) -> None:
    """Whether the server looks at If-Range or not."""
    server.acts = ["cut", "500", "500"]
    refused(server, target)
    server.body, server.etag, server.acts = server.body[::-1], '"two"', [act]
    assert download(server.url(), target, None) == digest(server)
    assert target.read_bytes() == server.body


def test_a_part_longer_than_the_file_means_a_fresh_start(server: Server, target: Path) -> None:
    server.acts = ["cut", "500", "500"]
    refused(server, target)
    (target.parent / ".file.pth.part").write_bytes(2 * server.body)
    assert download(server.url(), target, None) == digest(server)


def test_another_file_than_expected_is_not_kept(server: Server, target: Path) -> None:
    expected = refused(server, target, "ab" * 32)
    assert "ab" * 32 in expected
    assert digest(server) in expected
    assert left(target) == []


def test_another_file_under_the_target_is_reported_and_left_alone(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(UnfoldError, match=rf"file\.pth is another file .* not {digest(server)}"):
        download(server.url(), target, digest(server))
    assert target.read_text() == "mine"
    assert server.requests == []


def test_failures_of_the_server_are_tried_again_and_refusals_are_not(
    server: Server, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.acts = ["404"]
    assert "answers 404 Not Found" in refused(server, target)
    assert len(server.requests) == 1
    caplog.set_level(logging.INFO, "unfold")
    server.acts = ["503", "429"]
    assert download(server.url(), target, None) == digest(server)
    assert len(server.requests) == 4
    assert caplog.text.count("trying again in") == 2


def test_pauses_grow_and_end(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module, "PAUSES", (1.0, 2.0, 4.0))
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    server.acts = ["500"] * 9
    expected = refused(server, target)
    assert pauses == [1, 2, 4]
    assert str(target) in expected, "where to put it by hand"


def test_no_connection_is_one_line(server: Server, target: Path) -> None:
    address = server.url()
    server.server_close()
    with pytest.raises(UnfoldError, match="Connection refused"):
        download(address, target, None)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/f", "file:///etc/passwd", "f.pth"])
def test_only_http_is_spoken(server: Server, target: Path, address: str) -> None:
    with pytest.raises(UnfoldError, match="no http or https address"):
        download(address, target, None)
    if ":" in address:
        server.acts = [f"to {address}"]
        assert re.search("not followed|not allowed", refused(server, target))


def test_https_is_not_left_for_http() -> None:
    with pytest.raises(UnfoldError, match="is not followed"):
        module._Redirects().redirect_request(Request("https://a/b"), None, 302, "", {}, "http://a/b")


def test_a_server_that_is_not_who_it_says_is_not_asked_again(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "self-signed certificate"
    asked: list[object] = []

    def impostor(_: object, request: object, **__: object) -> None:
        asked.append(request)
        raise URLError(error)

    monkeypatch.setattr(OpenerDirector, "open", impostor)
    assert "self-signed certificate" in refused(server, target)
    assert len(asked) == 1


def test_redirects_are_followed_with_the_range(server: Server, target: Path) -> None:
    server.acts = [f"to {server.url('there')}", "cut", f"to {server.url('there')}"]
    assert download(server.url(), target, None) == digest(server)
    half = f"bytes={len(server.body) // 2}-"
    assert server.ranges() == [None, None, half, half]


def test_a_full_disk_is_one_line_and_room_lets_it_go_on(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., IO[Any]] = Path.open

    class Full:
        """Takes 1000 bytes."""

        def __init__(self, file: IO[bytes]) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, chunk: bytes) -> None:
            self.file.write(chunk[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path: Path, mode: str = "r", **options: Any) -> Any:
        file = real(path, mode, **options)
        return Full(file) if path.suffix == ".part" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        assert "the disk is full" in refused(server, target)
    assert download(server.url(), target, None) == digest(server)
    assert server.ranges() == [None, "bytes=1000-"]


def test_a_folder_that_cannot_be_written_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UnfoldError, match=r"x\.pth cannot be written: (File exists|Not a directory)"):
            download(server.url(), folder / "x.pth", None)
    if os.geteuid():  # root may write everywhere
        tmp_path.chmod(0o500)
        with pytest.raises(UnfoldError, match=r"x\.pth cannot be written: Permission denied"):
            download(server.url(), tmp_path / "x.pth", None)
        tmp_path.chmod(0o700)
    assert server.requests == []


def in_another_process(server: Server, target: Path) -> subprocess.Popen[str]:
    call = f"download({server.url()!r}, Path({str(target)!r}), None)"
    code = f"from pathlib import Path; from unfold.util.download import download; print({call})"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_downloads_and_all_have_the_file(server: Server, target: Path) -> None:
    server.slow = 0.5
    processes = [in_another_process(server, target) for _ in range(3)]
    assert [process.communicate(timeout=20)[0] for process in processes] == [f"{digest(server)}\n"] * 3
    assert len(server.requests) == 1
    assert target.read_bytes() == server.body
    assert left(target) == ["file.pth"]


def test_a_killed_process_leaves_what_the_next_one_continues(server: Server, target: Path) -> None:
    server.acts = ["stall"]
    part, half = target.parent / ".file.pth.part", len(server.body) // 2
    process = in_another_process(server, target)
    while not part.exists() or part.stat().st_size == 0:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    arrived = part.stat().st_size
    assert 0 < arrived <= half
    assert download(server.url(), target, None) == digest(server)
    assert server.ranges() == [None, f"bytes={arrived}-"]
