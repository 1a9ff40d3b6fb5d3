"""The registry of sets: complete, found in every layout, and equal to what datasets/README.md says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.catalog import paper_sets, set_verdicts
from unfold.data.catalog.paper_sets import SETS, DataSet, bytes_digest, digest, look_for, state
from unfold.data.prepare.from_bsds500 import RAIN100H
from unfold.report import sets_list
from unfold.report.sets_list import format_sets, sets_as_markdown
from unfold.util.atomic_files import whole_file

ROOT = Path(__file__).parents[2]
Command = Callable[..., tuple[int, str, str]]
NAMED = [
    "GoPro",
    "HIDE",
    "RealBlur-J",
    "RealBlur-R",
    "Rain13K",
    "Rain100H",
    "Rain100L",
    "Test100",
    "Test1200",
    "Test2800",
    "SIDD",
    "DND",
    "DIV2K",
    "Flickr2K",
    "BSD400",
    "BSDS500",
    "Set5",
    "Set14",
    "BSD68",
    "srbsd68",
    "BSD100",
    "Urban100",
    "Kodak24",
    "Set11",
    "Set12",
    "Levin09",
    "CSun80",
    "Flickr30",
    "kernels",
    "PolyU",
]


def test_every_set_of_the_papers_is_listed_once_with_all_its_facts() -> None:
    names = [one.name for one in SETS]
    assert set(NAMED) <= set(names)
    assert len(names) == len(set(names))
    for one in SETS:
        assert all((one.about, one.layouts, one.use, one.source, one.licence)), one.name
        assert isinstance(one.files, int)
        assert one.files or one.name in ("Rain13K", "SOTS")  # there are several of them under one name
        assert not one.digest or len(bytes.fromhex(one.digest)) == 32
        assert not one.bytes_digest or (one.digest and len(bytes.fromhex(one.bytes_digest)) == 32)
        assert "http" not in str(one)
        assert "|" not in str(one), "it would end a column of the table"


def test_the_table_of_the_readme_is_the_registry(command: Command) -> None:
    assert f"\n{sets_as_markdown()}\n" in (ROOT / "datasets" / "README.md").read_text()
    assert command("data", "list", "--markdown") == (0, sets_as_markdown() + "\n", "")


def test_every_layout_is_found_and_the_fuller_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path))
    one = DataSet("a", "", ("a/{train,test}/{input,target}/*.png", "b/*/*.{jpg,png}", "c.png/{.,x}/*.txt"), 3, "", "")
    assert look_for(one) == []
    for name in ("a/train/input/10.png", "a/test/target/9.png", "a/val/input/1.png", "a/train/input/1.jpg"):
        touch(tmp_path / name)
    assert [path.name for path in look_for(one)] == ["9.png", "10.png"]
    for name in ("b/1/1.jpg", "b/1/2.png", "b/2/3.png", "b/4.png"):
        touch(tmp_path / name)
    assert [path.name for path in look_for(one)] == ["1.jpg", "2.png", "3.png"]
    for name in ("c.png/1.txt", "c.png/x/2.txt", "c.png/x/3.txt", "c.png/x/x/4.txt", "c.png/4.txt"):
        touch(tmp_path / name)
    assert [path.name for path in look_for(one)] == ["1.txt", "4.txt", "2.txt", "3.txt"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `unfold data list` keeps its verdicts."""
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data_sets.json"


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_digest_knows_pixels_whatever_the_name_and_the_lossless_format(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("1.png", "2.bmp", "3.webp")]
    for seed, path in enumerate(files):
        Image.fromarray(scene(seed=seed)).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    known = digest(files)
    others = [tmp_path / name for name in ("z.tif", "y.ppm", "x.png")]
    for seed, path in enumerate(others):
        Image.fromarray(scene(seed=seed)).save(path)
    assert digest(others) == known
    changed = scene(seed=2)
    changed[5, 5, 1] ^= 1
    Image.fromarray(changed).save(others[2])
    assert digest(others) != known
    assert digest(others[:2]) != known
    same_bytes = np.zeros((4, 6, 3), np.uint8)
    Image.fromarray(same_bytes).save(tmp_path / "wide.png")
    Image.fromarray(same_bytes.reshape(6, 4, 3)).save(tmp_path / "high.png")
    assert digest([tmp_path / "wide.png"]) != digest([tmp_path / "high.png"]), "the size counts"


def test_the_digest_of_jpeg_and_of_other_files_is_of_their_bytes(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.jpg")
    (tmp_path / "b.mat").write_bytes(b"numbers")
    files = [tmp_path / "b.mat", tmp_path / "a.jpg"]
    words = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    assert digest(files) == hashlib.sha256("".join(words).encode()).hexdigest()


def test_what_is_there_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, command: Command
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path))
    right = digest(sorted(pictures.glob("*.png")))
    layout = ("pictures/*.png",)
    ours = (
        DataSet("whole", "", layout, 3, "", "", digest=right),
        DataSet("other", "", layout, 3, "", "", digest="00" * 32),
        DataSet("unknown", "", layout, 3, "", ""),
        DataSet("part", "", layout, 4, "", "", digest=right),
        DataSet("nowhere", "", ("none/*.png",), 3, "", ""),
    )
    assert [state(one).right for one in ours] == [True, False, None, None, None]
    monkeypatch.setattr("unfold.report.sets_list.SETS", ours)
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in format_sets().splitlines()[1:]}
    assert lines == {
        "whole": "3 files, digest right",
        "other": "3 files, digest differs",
        "unknown": "3 files",
        "part": "3 of 4 files",
        "nowhere": "not found",
    }
    code, out, err = command("data", "list")
    assert (code, err) == (0, "")
    assert out == format_sets() + "\n"


def test_one_damaged_image_does_not_end_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path))
    one = DataSet("broken", "", ("pictures/*.png",), 3, "", "", digest=digest(sorted(pictures.glob("*.png"))))
    (pictures / "picture1.png").write_bytes((pictures / "picture1.png").read_bytes()[:200])
    assert state(one) == (3, False)
    monkeypatch.setattr("unfold.report.sets_list.SETS", (one,))
    assert "broken  3 files, digest differs" in format_sets()


class Listing:
    """A set of three pictures that is as it should be, its line of `unfold data list`, and the files it opened."""

    def __init__(self, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNFOLD_DATA", str(pictures.parent))
        self.opened: list[str] = []
        read, read_bytes = paper_sets.read_image, Path.read_bytes

        def read_image(path: Path, **options: bool) -> object:
            self.opened.append(path.name)
            return read(path, **options)

        def read_all(path: Path) -> bytes:
            self.opened += [path.name] if path.parent == pictures else []
            return read_bytes(path)

        self.files = sorted(pictures.glob("*.png"))
        (pictures / "numbers.mat").write_bytes(b"numbers")
        self.files.append(pictures / "numbers.mat")
        self.set_digest(monkeypatch, digest(self.files))
        monkeypatch.setattr(paper_sets, "read_image", read_image)
        monkeypatch.setattr(Path, "read_bytes", read_all)

    def set_digest(self, monkeypatch: pytest.MonkeyPatch, known: str, of_bytes: str = "") -> None:
        layout = ("pictures/*.{png,mat}",)
        one = DataSet("a", "", layout, len(self.files), "", "", digest=known, bytes_digest=of_bytes)
        monkeypatch.setattr("unfold.report.sets_list.SETS", (one,))

    def line(self) -> tuple[str, int]:
        """The verdict, and how many files were opened for it."""
        self.opened.clear()
        return format_sets().splitlines()[1].split(", ")[1].strip(), len(self.opened)


@pytest.fixture
def listing(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Listing:
    return Listing(pictures, monkeypatch)


def test_the_second_list_opens_no_file_of_a_set(listing: Listing, cache: Path) -> None:
    assert listing.line() == ("digest right", 4)
    assert listing.line() == ("digest right", 0)
    assert cache.is_file()
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_a_copy_of_known_bytes_is_right_without_decoding_and_another_by_its_pixels(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **options: bool) -> object:
        raise AssertionError(f"{path} is decoded")

    with monkeypatch.context() as patch:
        listing.set_digest(monkeypatch, digest(listing.files), bytes_digest(listing.files))
        patch.setattr(paper_sets, "read_image", refuse)
        assert listing.line()[0] == "digest right"
    with Image.open(listing.files[0]) as image:
        image.save(listing.files[0], compress_level=0)
    assert listing.line()[0] == "digest right", "other bytes, and the same pixels"
    Image.fromarray(scene(8, 8)).save(listing.files[0])
    assert listing.line()[0] == "digest differs"


@pytest.mark.parametrize("which", [0, 3])
def test_a_file_of_another_size_or_time_is_read_again(listing: Listing, which: int) -> None:
    import os

    listing.line()
    path, before = listing.files[which], listing.files[which].read_bytes()
    other = listing.files[1].read_bytes() if which == 0 else b"others."
    path.write_bytes(other)
    assert listing.line() == ("digest differs", 4)
    assert listing.line() == ("digest differs", 0)
    path.write_bytes(before)
    assert listing.line() == ("digest right", 4), "the same size as at first, and another time"
    facts = path.stat()
    path.write_bytes(other[: len(before)].ljust(len(before), b"x"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert listing.line()[0] == "digest differs", "a copy that restores the time of content has its own time of change"


def test_files_that_come_go_or_are_renamed_are_read_again(listing: Listing) -> None:
    listing.line()
    listing.files[0].rename(listing.files[0].with_name("renamed.png"))
    assert listing.line() == ("digest right", 4)
    listing.files[1].unlink()
    assert "3 of 4 files" in format_sets()


def test_another_known_digest_is_compared_anew(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    listing.line()
    listing.set_digest(monkeypatch, "00" * 32)
    assert listing.line() == ("digest differs", 4)


@pytest.mark.parametrize(
    "damaged", [b"", b"\xff", b"[]", b"{", b"[" * 100_000, b'{"%s": 1}', b'{"%s": []}', b'{"%s": ["%s", "yes"]}']
)
def test_damaged_verdicts_are_ignored_and_rewritten(listing: Listing, cache: Path, damaged: bytes) -> None:
    listing.line()
    [(key, (stamp, _))] = json.loads(cache.read_text()).items()
    for word in (key, stamp):
        damaged = damaged.replace(b"%s", word.encode(), 1)
    cache.write_bytes(damaged)
    assert listing.line() == ("digest right", 4)
    assert listing.line() == ("digest right", 0)


def test_a_cache_that_cannot_be_written_only_makes_the_list_slower(
    listing: Listing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_bytes(b"no folder")
    assert listing.line() == ("digest right", 4)
    assert listing.line() == ("digest right", 4)
    assert capsys.readouterr() == ("", "")


def test_the_oldest_of_very_many_verdicts_are_dropped(
    listing: Listing, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing.line()
    [(ours, verdict)] = json.loads(cache.read_text()).items()
    others = dict.fromkeys([f"a below {tmp_path / 'gone'}", f"b below {tmp_path}"], verdict)
    cache.write_text(json.dumps({ours: ["of older files", True]} | others))
    assert listing.line()[1] == 4
    assert [*json.loads(cache.read_text())] == [*others, ours]
    monkeypatch.setattr(set_verdicts, "MOST", 2)
    listing.set_digest(monkeypatch, "00" * 32)
    listing.line()
    assert [*json.loads(cache.read_text())] == [f"b below {tmp_path}", ours]


def test_two_processes_that_write_verdicts_at_the_same_time_do_not_share_a_temporary_file(
    listing: Listing, cache: Path
) -> None:
    listing.line()
    before = cache.read_bytes()
    with whole_file(cache, shared=True) as first:
        first.write(b"[")
        with whole_file(cache, shared=True) as second:
            second.write(before)
        assert cache.read_bytes() == before
        first.write(b"]")
    assert cache.read_bytes() == b"[]"
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_an_unreadable_file_is_tried_again(listing: Listing, cache: Path) -> None:
    listing.files[0].write_bytes(listing.files[0].read_bytes()[:200])
    assert listing.line()[0] == "digest differs"
    assert listing.line()[1] > 0
    assert not cache.exists()


def test_tables_compare_the_images_themselves(listing: Listing) -> None:
    listing.line()
    listing.opened.clear()
    [one] = sets_list.SETS
    assert state(one) == (4, True)
    assert len(listing.opened) == 4


def test_the_id_lists_of_bsds_fit_together() -> None:
    ids = json.loads((ROOT / "datasets" / "bsds_ids.json").read_text())
    train, val, test, bsd68, derain = (
        {str(number) for number in ids[name]} for name in ("train", "val", "test", "bsd68", "derain")
    )
    assert [len(part) for part in (train, val, test, bsd68, derain)] == [200, 100, 200, 68, 333]
    assert len(train | val | test) == 500
    assert bsd68 <= val
    assert derain == (train | test) - set(RAIN100H.values()), "Rain100H's backgrounds are not trained on"


@pytest.mark.slow
def test_the_sets_at_hand_have_the_digests_of_the_registry() -> None:
    import os

    if "UNFOLD_DATA" not in os.environ:
        pytest.skip("UNFOLD_DATA is not set: no data sets to compare")
    states = {one.name: state(one).right for one in paper_sets.SETS}
    assert any(right is not None for right in states.values()), "none of the sets is there"
    assert [name for name, right in states.items() if right is False] == []


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sets lie."""
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


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
    assert "no set is called xyz; `unfold data list` lists the names" in err


def put(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i}.png").touch()


def test_a_set_is_there_where_all_its_files_are_in_any_layout(data: Path, command: Command) -> None:
    put(data / "Set12", 11)
    code, out, err = command("data", "get", "Set12")
    assert (code, out) == (2, "")
    assert "12 files, 11 of them there" in err
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
