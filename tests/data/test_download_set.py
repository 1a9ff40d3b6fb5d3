"""Sets arrive whole and as they should be, archives do no harm, and what cannot be fetched is told."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server import Server
from unfold.data.prepare import download_set, unpack_archive
from unfold.data.prepare.download_set import Archive, get_set
from unfold.data.prepare.unpack_archive import unpack
from unfold.errors import UnfoldError

Command = Callable[..., tuple[int, str, str]]
RANDOM = random.Random(0)
FILES = {"train/input/a.png": RANDOM.randbytes(5000), "train/target/a.png": RANDOM.randbytes(6000), "readme.txt": b""}


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("empty/", b"")
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o4777
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sets lie; downloads go into "cache" beside it."""
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def offered(server: Server, data: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that offers the set Blur, whose digest is not known, and Rain, whose digest is."""
    server.body = zipped(FILES)
    digest = hashlib.sha256(server.body).hexdigest()
    url = server.url("files.zip")
    monkeypatch.setattr(download_set, "ARCHIVES", {"Blur": Archive(url), "Rain": Archive(url, digest)})
    return server


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "prepared.json"
    }


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize(("name", "trust"), [("Rain", "(verified)"), ("Blur", "(unverified: ")])
def test_a_set_is_downloaded_checked_and_unpacked(
    offered: Server, data: Path, command: Command, name: str, trust: str, tmp_path: Path
) -> None:
    offered.acts = ["cut"]
    code, out, err = command("data", "get", name)
    assert (code, err) == (0, "")
    where, digest = out.splitlines()[-2:]
    assert where == str(data / name)
    assert f"{hashlib.sha256(offered.body).hexdigest()} {trust}" in digest
    assert content(data / name) == FILES
    assert left(data) == [name]
    assert left(tmp_path / "cache" / "data") == (["digests.json"] if name == "Blur" else []), "no archive is left"
    assert offered.ranges()[1] is not None, "resumed"
    assert "already; nothing was downloaded" in command("data", "get", name)[1]
    assert len(offered.requests) == 2


def test_another_file_than_at_first_is_told_and_not_unpacked(offered: Server, data: Path, tmp_path: Path) -> None:
    get_set("Blur")
    record = json.loads((tmp_path / "cache" / "data" / "digests.json").read_text())["Blur"]
    assert record["sha256"] == hashlib.sha256(offered.body).hexdigest()
    assert record["verified"] is False
    (data / "Blur").rename(data / "elsewhere")
    offered.body, offered.etag = zipped({"other.png": b"other"}), '"two"'
    with pytest.raises(UnfoldError, match="has changed since its first use"):
        get_set("Blur")
    with pytest.raises(UnfoldError, match="sends another file than it should"):
        get_set("Rain")
    assert left(data) == ["elsewhere"]


def test_a_web_page_in_place_of_an_archive_is_not_recorded(offered: Server, data: Path, tmp_path: Path) -> None:
    good, offered.body = offered.body, b"<html>please log in</html>" * 100
    with pytest.raises(UnfoldError, match="is no archive"):
        get_set("Blur")
    assert left(tmp_path / "cache" / "data") == []
    offered.body = good
    get_set("Blur")
    assert content(data / "Blur") == FILES


def test_a_damaged_archive_leaves_nothing_behind(offered: Server, data: Path) -> None:
    offered.body = offered.body.replace(FILES["train/input/a.png"], FILES["train/input/a.png"][::-1])
    with pytest.raises(UnfoldError, match=r"files\.zip is damaged \(Bad CRC"):
        get_set("Blur")
    assert left(data) == []


def test_sets_without_an_address_say_where_to_get_them(data: Path, command: Command) -> None:
    code, out, err = command("data", "get", "GoPro")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"Put it below {data} as GoPro/" in err
    assert "2103 pairs for training, 1111 for testing" in err
    (data / "GoPro").mkdir(parents=True)
    assert command("data", "get", "GoPro")[0] == 2, "a folder alone is no set"
    assert "did you mean GoPro" in command("data", "get", "Gopro")[2]
    code, _, err = command("data", "get", "xyz")
    assert code == 2
    assert "no set is called xyz; `unfold data list` tells the names" in err


def put(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i}.png").touch()


def test_a_set_is_there_where_all_its_files_are_in_any_layout(data: Path, command: Command) -> None:
    put(data / "Set12_gray", 12)
    assert command("data", "get", "Set12") == (
        0,
        f"Set12 is in {data / 'Set12_gray'} already; nothing was downloaded\n",
        "",
    )
    put(data / "Rain100H" / "input", 100)
    code, out, err = command("data", "get", "Rain100H")
    assert (code, out) == (2, "")
    assert "200 files, 100 of them there" in err
    put(data / "Rain100H" / "target", 100)
    assert f"Rain100H is in {data / 'Rain100H'} already" in command("data", "get", "Rain100H")[1]
    put(data / "Rain13K" / "train" / "input", 1)
    assert command("data", "get", "Rain13K")[0] == 0, "nobody knows how many there are"


def test_a_part_of_a_set_is_not_taken_for_it_nor_replaced(
    offered: Server, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(download_set.ARCHIVES, "Set12", download_set.ARCHIVES["Rain"])
    put(data / "Set12", 11)
    with pytest.raises(UnfoldError, match=r"Set12 is there already, and does not hold all of Set12; move it away"):
        get_set("Set12")
    assert offered.requests == []
    assert len(content(data / "Set12")) == 11


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files_are_unpacked_too_with_no_rights_of_their_own(tmp_path: Path, mode: str) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(tarred(FILES, mode))
    assert unpack(archive, tmp_path / "there") == len(FILES)
    assert content(tmp_path / "there") == FILES
    assert all(path.stat().st_mode & 0o7111 == 0 for path in (tmp_path / "there").rglob("*.png"))


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:/evil", "a\\..\\evil"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_names_that_lead_out_are_refused(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes], name: str) -> None:
    archive, folder = tmp_path / "a", tmp_path / "deep" / "there"
    archive.write_bytes(make({"good.png": b"1", name: b"evil"}))
    with pytest.raises(UnfoldError, match="leads out of the folder, and is not unpacked"):
        unpack(archive, folder)
    assert content(tmp_path / "deep") == {"there/good.png": b"1"}
    assert left(tmp_path) == ["a", "deep"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_tar_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc"
        archive.addfile(info)
    (tmp_path / "a").write_bytes(buffer.getvalue())
    with pytest.raises(UnfoldError, match="'link', a link or a device"):
        unpack(tmp_path / "a", tmp_path / "there")


def test_links_in_zip_files_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc")
    with pytest.raises(UnfoldError, match="'link', a link or a device"):
        unpack(tmp_path / "a", tmp_path / "there")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_that_grow_without_measure_are_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = {"bomb.png": bytes(30_000_000)}
    archive = tmp_path / "a"
    archive.write_bytes(zipped(bomb, zipfile.ZIP_DEFLATED) if kind == "zip" else tarred(bomb, "w:gz"))
    with pytest.raises(UnfoldError, match="more than 20 times its size"):
        unpack(archive, tmp_path / "there")
    assert (tmp_path / "there" / "bomb.png").stat().st_size <= 20 * archive.stat().st_size
    monkeypatch.setattr(unpack_archive, "MOST_FILES", 2)
    archive.write_bytes(zipped(FILES) if kind == "zip" else tarred(FILES))
    with pytest.raises(UnfoldError, match="more than 2 files"):
        unpack(archive, tmp_path / "there")


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:xz"])
@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_damaged_archives_are_one_line(tmp_path: Path, mode: str, harm: str) -> None:
    files = {f"{i}.png": RANDOM.randbytes(3000) for i in range(9)}
    whole = bytearray(zipped(files) if mode == "zip" else tarred(files, mode))
    if harm == "cut":
        del whole[len(whole) // 2 :]
        if mode == "w":
            del whole[3584 * 3 :]  # between two files
    elif mode == "w":
        whole[3072 + 512 + 3 : 3072 + 512 + 9] = b"\xff" * 6  # the head of the second file
    else:
        whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "a").write_bytes(whole)
    with pytest.raises(UnfoldError, match=r"is damaged|is no archive") as caught:
        unpack(tmp_path / "a", tmp_path / "there")
    assert "\n" not in str(caught.value)
