"""One store of decoded images for all processes of a machine: the same samples, whatever happens to it."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import pickle
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.synthetic import scene
from unfold.cli import main
from unfold.config import load_config
from unfold.data.images import read_uint8
from unfold.data.pairs import Pair, read_pair
from unfold.data.patches import MemoryStore, random_patch, read_store, reduced
from unfold.data.stores import choose_store, pixel_file, store_folder
from unfold.data.stores.choose_store import Wish, shared_store
from unfold.data.stores.fingerprint import fingerprint
from unfold.data.stores.image_stores import Store, Window, read_head
from unfold.data.stores.pixel_file import PixelFile
from unfold.data.stores.shared_store import SharedStore
from unfold.degradations.degradation import Degradation
from unfold.degradations.paired import Paired
from unfold.degradations.sensing import Sensing
from unfold.errors import UnfoldError
from unfold.from_config import build_store
from unfold.settings import DataSettings, settings_of

FORK = multiprocessing.get_context("fork")
COUNT = 6


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNFOLD_STORE_LIMIT", raising=False)
    return tmp_path / "cache" / "stores"


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets count as large, whose images are decoded when they are first needed."""
    monkeypatch.setattr(choose_store, "SMALL", -1)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "set").mkdir()
    paths = [tmp_path / "set" / f"{i}.png" for i in range(COUNT)]
    for i, path in enumerate(paths):
        Image.fromarray(scene(40 + i, 50, seed=i)).save(path)
    return paths


def opened(files: list[Path], place: str, read: Callable[[Path], Any] | None = None, **wish: Any) -> SharedStore:
    def plain(path: Path) -> dict[str, Any]:
        return {"target": read_uint8(path)}

    asked = Wish(**{"place": place, "rule": "plain", "of": "a set", **wish})
    return shared_store(files, [{"target": path} for path in files], read or plain, reduced, asked)[0]


def whole(store: Store, index: int) -> dict[str, Any]:
    return store.crop(index, Window(0, 0, *store.size(index)))


def same(store: Store, files: list[Path]) -> None:
    for index, path in enumerate(files):
        np.testing.assert_array_equal(whole(store, index)["target"], read_uint8(path))


def counting(log: Path) -> Callable[[Path], Any]:
    """Reads a file, and notes so where all processes do."""

    def read(path: Path) -> dict[str, Any]:
        with log.open("a") as file:
            file.write(f"{path.stem}\n")
        return {"target": read_uint8(path)}

    return read


def forked(work: Callable[[], Any], count: int = 1) -> list[int | None]:
    """Exit codes of processes that do the work at once."""

    def run() -> None:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)

    processes = [FORK.Process(target=run) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def written(folder: Path) -> None:
    """Pictures of all kinds that are read, of different sizes."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(scene(40, 54))
    for name in ("a.png", "b.jpg", "c.tif", "d.webp", "e.bmp", "f.ppm"):
        picture.save(folder / name, **({"exif": exif} if name[0] in "abcd" else {}))
    picture.convert("L").save(folder / "g.png")
    picture.convert("P").save(folder / "h.png")
    picture.convert("1").save(folder / "i.png")
    Image.fromarray(rng.integers(0, 65536, (41, 30), np.uint16)).save(folder / "j.png")
    Image.fromarray(rng.integers(0, 65536, (42, 30), np.uint16)).save(folder / "k.tif", exif=exif)
    np.save(folder / "l.npy", rng.random((30, 44, 3), np.float32))
    np.save(folder / "m.npy", rng.integers(0, 256, (31, 44), np.uint8))


@pytest.mark.parametrize("place", ["memory", "disk", "files"])
@pytest.mark.parametrize("kind", [Degradation(), Sensing()])
def test_patches_are_the_same_in_all_stores_for_all_kinds_of_files(
    tmp_path: Path, lazy: None, place: str, kind: Degradation
) -> None:
    (tmp_path / "set").mkdir()
    written(tmp_path / "set")
    kind.channels = 1 if isinstance(kind, Sensing) else 3
    sources = kind.sources(str(tmp_path / "set"))
    before = read_store(sources, kind.read)[0]
    store, left_out = shared_store(sources, [kind.files(s) for s in sources], kind.read, reduced, Wish(place, rule="x"))
    assert not left_out
    assert [store.size(i) for i in range(len(store))] == [before.size(i) for i in range(len(before))]
    for _ in range(2):  # as it is decoded, and as it is there
        for seed in range(40):
            one, other = (random_patch(s, 24, np.random.default_rng(seed)) for s in (before, store))
            assert one["target"].dtype == other["target"].dtype
            np.testing.assert_array_equal(one["target"], other["target"])
    assert fingerprint(store) == fingerprint(before)


@pytest.mark.parametrize("place", ["memory", "disk", "files"])
def test_pairs_of_two_sizes_and_smaller_copies_are_the_same_in_all_stores(
    tmp_path: Path, lazy: None, place: str
) -> None:
    pairs = []
    for i in range(3):
        target = scene(40 + 2 * i, 60, seed=i)
        Image.fromarray(target).save(tmp_path / f"{i}.png")
        Image.fromarray(target[::2, ::2]).save(tmp_path / f"{i}_y.png")
        pairs.append(Pair(str(i), tmp_path / f"{i}_y.png", tmp_path / f"{i}.png"))
    kind = Paired()
    before = MemoryStore([dict(zip(("input", "target"), read_pair(pair), strict=True)) for pair in pairs])
    store, _ = shared_store(pairs, [kind.files(p) for p in pairs], kind.read, reduced, Wish(place, rule="x"))
    assert store.scale == before.scale == 2
    assert kind.scales == (2,)
    for seed in range(30):
        one, other = (random_patch(s, 16, np.random.default_rng(seed)) for s in (before, store))
        assert one["input"].shape == (8, 8, 3)
        for name in ("input", "target"):
            np.testing.assert_array_equal(one[name], other[name])
    assert fingerprint(store) == fingerprint(before)
    clean = [pair.target for pair in pairs]
    copies = read_store(clean, Degradation().read, factors=[0.6, 0.35])[0]
    shrunk = opened(clean, place, factors=[0.6, 0.35])
    assert len(shrunk) == len(copies) == 9
    assert [shrunk.size(i) for i in range(9)] == [copies.size(i) for i in range(9)]
    assert fingerprint(shrunk) == fingerprint(copies), "a copy that is asked for before its image, too"


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_every_image_is_decoded_once_by_all_processes_together(
    files: list[Path], tmp_path: Path, lazy: None, place: str
) -> None:
    store = opened(files, place, counting(tmp_path / "log"))
    (tmp_path / "log").unlink()  # the first says what all are like
    assert forked(lambda: same(store, files), 3) == [0, 0, 0]
    again = pickle.loads(pickle.dumps(store.file))
    assert all(entry.state == pixel_file.FILLED for entry in again.entries()), "as a process started afresh sees it"
    assert sorted((tmp_path / "log").read_text().split()) == [path.stem for path in files]


def test_two_runs_that_begin_at_once_fill_one_store(files: list[Path], tmp_path: Path, lazy: None, cache: Path) -> None:
    def run() -> None:
        same(opened(files, "disk", counting(tmp_path / "log")), files)

    assert forked(run, 2) == [0, 0]
    assert len(list(cache.glob("*.pixels"))) == 1
    decoded = (tmp_path / "log").read_text().split()
    assert len(decoded) == COUNT + 2, "each once, and the first by each run to see what it is like"


@pytest.mark.parametrize("write", range(3, 3 + 3 * COUNT, 2))
def test_a_run_killed_amid_the_first_filling_leaves_images_whole_or_absent(
    files: list[Path], lazy: None, write: int, cache: Path
) -> None:
    real, done = pixel_file._write, iter(range(1000))

    def killing(fd: int, data: Any, offset: int) -> None:
        if next(done) == write:
            real(fd, memoryview(data)[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        real(fd, data, offset)

    def run() -> None:
        pixel_file._write = killing
        same(opened(files, "disk"), files)

    assert forked(run) == [-signal.SIGKILL]
    assert forked(lambda: same(opened(files, "disk"), files), 2) == [0, 0]
    store = opened(files, "disk")
    assert store.complete()
    assert fingerprint(store) == fingerprint(read_store(files, Degradation().read)[0])
    pixels = sum(read_uint8(path).nbytes + 64 for path in files)
    assert next(cache.glob("*.pixels")).stat().st_size <= store.file.pixels_from + pixels, "places are used again"


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5000)


def cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def flipped(place: int) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 16]))

    return flip


HARM = [cut_off, cut_to_nothing, flipped(3), flipped(40), flipped(pixel_file.END + 1), flipped(pixel_file.FIRST + 9)]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_a_damaged_store_is_made_anew_with_one_line(
    files: list[Path], cache: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    same(opened(files, "disk"), files)
    path = next(cache.glob("*.pixels"))
    harm(path)
    caplog.clear()
    same(opened(files, "disk"), files)
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "is damaged" in lines[0]
    assert "made again" in lines[0]
    caplog.clear()
    same(opened(files, "disk"), files)
    assert "damaged" not in caplog.text


def test_a_store_that_is_cut_off_during_the_run_is_one_line(files: list[Path], cache: Path) -> None:
    store = opened(files, "disk")
    cut_to_nothing(next(cache.glob("*.pixels")))
    with pytest.raises(UnfoldError, match=r"\.pixels is damaged: its end is gone; start again"):
        same(store, files)


def test_a_full_disk_in_the_run_leaves_the_rest_to_the_files_with_one_line(
    files: list[Path], lazy: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.pwrite, [0]

    def filling(fd: int, data: Any, offset: int) -> int:
        written[0] += len(data)
        if written[0] > 25_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    store = opened(files, "disk")
    monkeypatch.setattr(os, "pwrite", filling)
    caplog.clear()
    for _ in range(2):
        same(store, files)
    assert caplog.text.count("takes no more (No space left on device)") == 1
    assert caplog.text.count("\n") == 1
    monkeypatch.undo()
    caplog.clear()
    monkeypatch.setattr(choose_store, "SMALL", -1)
    assert pickle.loads(pickle.dumps(store.file)).entry(0).state == pixel_file.FILLED, "what is there stays"


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_limit_on_the_size_of_files_leaves_images_to_the_files(files: list[Path], lazy: None, place: str) -> None:
    def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        same(opened(files, place), files)

    assert forked(run) == [0], "neither killed by a signal nor stopped"


def test_a_cache_folder_that_cannot_be_written_leaves_images_to_the_files_with_one_line(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "a file"))
    store = opened(files, "disk")
    assert caplog.text.count("cannot be kept on the disk") == 1
    same(store, files)
    assert fingerprint(store) == fingerprint(read_store(files, Degradation().read)[0])


def test_what_fits_a_quarter_of_the_memory_limit_is_in_memory_and_else_on_the_disk(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = sum(read_uint8(path).nbytes for path in files)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(choose_store, "memory_limit", lambda: 4 * size)
    assert opened(files, "auto").file.mapped
    assert "decoded: in memory, 0.0 MB" in caplog.text or "decoded: in memory" in caplog.text
    assert not cache.exists()
    monkeypatch.setattr(choose_store, "memory_limit", lambda: 4 * size - 4)
    store = opened(files, "auto")
    assert not store.file.mapped
    assert f"on the disk, {size / 1e6:.1f} MB in {store.file.path}, 0 of {COUNT} there by now" in caplog.text
    same(store, files)


def test_stores_give_way_to_new_ones_within_the_limit_but_those_in_use(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cache: Path
) -> None:
    size = sum(path.stat().st_blocks * 512 for path in [Path(opened(files[:2], "disk").file.path)])
    monkeypatch.setenv("UNFOLD_STORE_LIMIT", str(2.5 * size / 1e9))
    used = opened(files[2:4], "disk")
    opened(files[4:], "disk")
    there = list(cache.glob("*.pixels"))
    assert len(there) == 2
    assert Path(used.file.path) in there
    monkeypatch.setenv("UNFOLD_STORE_LIMIT", str(1.2 * size / 1e9))
    same(opened(files[:2], "disk"), files[:2])
    assert "UNFOLD_STORE_LIMIT leaves" in caplog.text
    assert list(cache.glob("*.pixels")) == [Path(used.file.path)]
    for text in ("much", "-1", "inf"):
        monkeypatch.setenv("UNFOLD_STORE_LIMIT", text)
        with pytest.raises(UnfoldError, match="UNFOLD_STORE_LIMIT is a number of GB"):
            opened(files[:2], "disk")


def test_a_store_that_is_being_filled_counts_as_large_as_it_will_be(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cache: Path, lazy: None
) -> None:
    first = opened(files[:3], "disk")
    whole_size = int(first.file.about["needed"])
    monkeypatch.setenv("UNFOLD_STORE_LIMIT", str((whole_size + 8000) / 1e9))
    assert first.file.entries()[0].state == pixel_file.EMPTY
    opened(files[3:], "disk")
    assert "UNFOLD_STORE_LIMIT leaves" in caplog.text
    assert len(list(cache.glob("*.pixels"))) == 1


def test_a_store_that_others_fill_is_not_taken_for_damaged(tmp_path: Path) -> None:
    count = 600
    file = store_folder.find_or_begin("k", count, ["target"], 1000, "\N{GRINNING FACE}" * 500)

    def fill() -> None:
        mine = PixelFile(os.open(file.path, os.O_RDWR), file.path, file.room, False)
        for slot in range(count):
            with mine.alone_at(slot):
                mine.put(slot, {"target": np.zeros((8, 8, 3), np.uint8)})

    filling = FORK.Process(target=fill)
    filling.start()
    found = []
    while filling.is_alive():
        found.append(file.damage())
    assert found
    assert set(found) == {""}
    assert filling.exitcode == 0


def test_damaged_stores_leave_no_file_open_and_those_of_others_are_left_alone(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    path = Path(opened(files[:2], "disk").file.path)
    damaged = path.with_name(f"damaged{path.name}")
    damaged.write_bytes(b"damaged" * 2000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert sorted(one.of for one in store_folder.kept()) == ["a set", "damaged"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    whose, plain_open, plain_path_open = path.stem, os.open, Path.open

    def refused(place: Any, *arguments: Any, **named: Any) -> int:
        if str(place) == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return plain_open(place, *arguments, **named)

    def path_refused(place: Path, *arguments: Any, **named: Any) -> Any:
        if place.stem == whose:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return plain_path_open(place, *arguments, **named)

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(Path, "open", path_refused)
    monkeypatch.setenv("UNFOLD_STORE_LIMIT", "0.00002")
    same(opened(files[2:4], "disk"), files[2:4])
    assert main(["data", "cache", "list"]) == 0
    assert "another user's" in capsys.readouterr().out
    assert main(["data", "cache", "clear"]) == 0
    assert f"{path} stays" in capsys.readouterr().out


def test_the_cache_is_listed_and_cleared_but_what_is_in_use(
    files: list[Path], capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    assert main(["data", "cache", "list"]) == 0
    assert capsys.readouterr().out == f"0.00 GB of at most 100 (UNFOLD_STORE_LIMIT) in {cache}\n"
    opened(files[:2], "disk")
    store = opened(files, "disk")
    assert main(["data", "cache", "list"]) == 0
    out = capsys.readouterr().out
    assert f"{COUNT} of {COUNT} images" in out
    assert "2 of 2 images" in out
    assert "a set" in out
    assert main(["data", "cache", "clear"]) == 0
    out = capsys.readouterr().out
    assert f"{store.file.path} stays: a run uses it" in out
    assert "removed 1 of 2 stores" in out
    same(store, files)
    del store
    assert main(["data", "cache", "clear"]) == 0
    assert not list(cache.glob("*.pixels"))


def test_a_changed_file_is_decoded_anew_even_where_its_length_and_date_stay(files: list[Path]) -> None:
    for path in files:
        Image.fromarray(scene(40, 50)).save(path.with_suffix(".bmp"))
    bitmaps = [path.with_suffix(".bmp") for path in files]
    same(opened(bitmaps, "disk"), bitmaps)
    before = bitmaps[3].stat()
    Image.fromarray(scene(40, 50, seed=9)).save(bitmaps[3])
    os.utime(bitmaps[3], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bitmaps[3].stat().st_size == before.st_size
    same(opened(bitmaps, "disk"), bitmaps)


def test_a_pair_of_another_scale_that_is_left_out_leaves_the_scale_of_the_samples(tmp_path: Path) -> None:
    pairs = []
    for i, scale in enumerate((1, 1, 2)):
        Image.fromarray(scene(20, 24, seed=i)).save(tmp_path / f"{i}_y.png")
        Image.fromarray(scene(20 * scale, 24 * scale, seed=i)).save(tmp_path / f"{i}.png")
        pairs.append(Pair(str(i), tmp_path / f"{i}_y.png", tmp_path / f"{i}.png"))
    kind = Paired()
    asked = Wish("memory", skip_bad=True, rule="x")
    store, left_out = shared_store(pairs, [kind.files(p) for p in pairs], kind.read, reduced, asked)
    assert len(left_out) == 1
    assert (store.scale, kind.scales) == (1, (1,))


@pytest.mark.parametrize("place", ["memory", "disk", "files"])
def test_bad_images_are_named_before_the_first_step_or_left_out(
    files: list[Path], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files[0].write_bytes(b"no picture")
    files[2].write_bytes(files[2].read_bytes()[:200])  # its head is good
    with pytest.raises(UnfoldError, match=r"2 of 6 training images .*SKIP_BAD true.*0\.png.*; .*2\.png"):
        opened(files, place)
    monkeypatch.setattr(choose_store, "SMALL", -1)
    asked = Wish(place, skip_bad=True, rule="x", factors=[0.5])
    store, left_out = shared_store(files, [{"target": path} for path in files], Degradation().read, reduced, asked)
    assert len(left_out) == 2
    good = [path for i, path in enumerate(files) if i not in (0, 2)]
    same(store, good)
    assert fingerprint(store) == fingerprint(read_store(good, Degradation().read, factors=[0.5])[0])
    for path in files:
        path.write_bytes(b"no picture")
    with pytest.raises(UnfoldError, match=r"6 of 6 training images cannot be used: .*0\.png"):
        opened(files, place, skip_bad=True)


def test_a_bad_image_of_a_large_set_is_named_when_it_is_needed(files: list[Path], lazy: None) -> None:
    flipped(600)(files[2])
    store = opened(files, "memory")
    whole(store, 1)
    with pytest.raises(UnfoldError, match=r"2\.png cannot be read"):
        whole(store, 2)
    files[3].write_bytes(files[3].read_bytes()[:-100])
    with pytest.raises(UnfoldError, match=r"1 of 6 .*3\.png"):
        opened(files, "memory")  # a PNG that was cut off is noticed by its chunks


def test_the_head_of_a_png_says_its_size_without_its_pixels_being_decoded(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(path: Path) -> None:
        """Move the orientation behind the pixels, where it may stand, too."""
        data = path.read_bytes()
        start = data.index(b"eXIf") - 4
        size = int.from_bytes(data[start : start + 4], "big") + 12
        end = data.index(b"IEND") - 4
        path.write_bytes(data[:start] + data[start + size : end] + data[start : start + size] + data[end:])

    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("early", "late"):
        Image.fromarray(scene(20, 30)).save(tmp_path / f"{name}.png", exif=exif)
    late(tmp_path / "late.png")
    for name in ("early", "late"):
        assert read_head(tmp_path / f"{name}.png").size == read_uint8(tmp_path / f"{name}.png").shape[:2] == (30, 20)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda *_: pytest.fail("it is decoded"))
    assert read_head(files[1]).size == (41, 50)
    assert read_head(tmp_path / "early.png").size == (30, 20)


def test_an_image_that_is_not_as_its_head_said_is_refused(files: list[Path], lazy: None) -> None:
    store = opened(files, "memory")
    Image.fromarray(scene(30, 30)).save(files[4])
    with pytest.raises(UnfoldError, match=r"4\.png has 30x30 pixels, and its head says 50x44"):
        whole(store, 4)


def data_of(recipe: Path, place: str) -> DataSettings:
    return settings_of(load_config(recipe, ["DATA.STORE", place])).data


def test_a_store_is_chosen_by_the_recipe_and_refused_where_it_would_do_nothing(
    tmp_path: Path, files: list[Path]
) -> None:
    class Own(Degradation):
        def read(self, source: Path) -> dict[str, Any]:
            return {"target": read_uint8(source)[:20, :20]}

    class Said(Own):
        def files(self, source: Path) -> dict[str, Path]:
            return {"target": source}

    class Halves(Degradation):
        def degrade(self, target: Any, rng: Any) -> dict[str, Any]:
            return {"y": target / 2}

    recipe = tmp_path / "a.yaml"
    recipe.write_text(f"DATA: {{TRAIN: {files[0].parent}}}\n")
    for place in ("memory", "disk", "files"):
        store = build_store(data_of(recipe, place), Halves())[0]
        assert isinstance(store, SharedStore)
        same(store, files)
    assert len(store_folder.kept()) == 1, "code that reads as the package does can be found again"
    with pytest.raises(UnfoldError, match="head says 50x40"):
        build_store(data_of(recipe, "disk"), Said())
    assert isinstance(build_store(data_of(recipe, "auto"), Own())[0], MemoryStore)
    with pytest.raises(UnfoldError, match=r"DATA\.STORE disk is not for .*\(Own reads images by itself"):
        build_store(data_of(recipe, "disk"), Own())
    with pytest.raises(UnfoldError, match=r"DATA\.STORE is one of auto, memory, disk, files, not 'ram'"):
        load_config(recipe, ["DATA.STORE", "ram"])
    assert len(store_folder.kept()) == 1, "code that may change unseen keeps nothing"
