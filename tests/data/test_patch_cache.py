"""A patch cache holds the pixels of the files, whole or not at all, for any process that reads it."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tests.synthetic import scene
from unfold.data import parallel
from unfold.data.images import read_uint8
from unfold.data.pairs import Pair
from unfold.data.patches import MemoryStore, random_patch
from unfold.data.stores import patch_cache_writing
from unfold.data.stores.image_stores import FileStore, Item, Store, Window, files_of, find_items, read_files
from unfold.data.stores.patch_cache import PatchCache, difference
from unfold.data.stores.patch_cache_writing import write_cache
from unfold.errors import UnfoldError

Command = Callable[..., tuple[int, str, str]]
SIZES = [(150, 300), (130, 128), (40, 33), (257, 129)]  # below, at and above the size of a chunk


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "processors", lambda: 1)


@pytest.fixture
def pairs(tmp_path: Path) -> list[Item]:
    for kind, shift in (("input", 0), ("target", 100)):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for i, size in enumerate(SIZES):
            suffix = "jpg" if (kind, i) == ("input", 2) else "png"
            noise = np.random.default_rng(shift + i).integers(0, 255, (*size, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "set" / kind / f"{i}.{suffix}")
    return find_items(str(tmp_path / "set"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "caches" / "set.h5"


def windows(store: Store, count: int) -> list[tuple[int, Window]]:
    """Random parts of random images, and every whole one."""
    rng = np.random.default_rng(7)
    found = [(i, Window(0, 0, *store.size(i))) for i in range(len(store))]
    for _ in range(count):
        index = int(rng.integers(len(store)))
        (row, height), (column, width) = (
            sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in store.size(index)
        )
        found.append((index, Window(row, column, height - row, width - column)))
    return found


def left(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if file.suffix != ".lock")


def decoded(items: list[Item], index: int, window: Window) -> dict[str, np.ndarray]:
    row, column, height, width = window
    item = items[index]
    assert isinstance(item, Pair)
    return {
        kind: read_uint8(getattr(item, kind))[row : row + height, column : column + width]
        for kind in ("input", "target")
    }


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[kind], other[kind]) for kind in one)


def test_every_store_gives_the_pixels_of_the_files(pairs: list[Item], path: Path) -> None:
    assert write_cache(pairs, path) == len(SIZES)
    assert left(path) == ["set.h5"]
    for store in (PatchCache(path), FileStore(pairs)):
        assert [store.size(i) for i in range(len(store))] == SIZES
        for index, window in windows(store, 60):
            crop = store.crop(index, window)
            assert crop["input"].dtype == np.uint8
            assert equal(crop, decoded(pairs, index, window))
        for window in (Window(0, 0, 41, 5), Window(-1, 0, 5, 5), Window(3, 30, 5, 4), Window(3, 3, -1, 5)):
            with pytest.raises(ValueError, match="not inside an image of 33x40"):
                store.crop(2, window)


def test_images_are_their_own_targets_and_grey_and_turned_ones_are_read(tmp_path: Path, path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(scene(20, 30)[..., 0]).save(folder / "grey.png")
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.fromarray(scene(20, 30)).save(folder / "turned.png", exif=turn)
    items = find_items(str(folder))
    assert write_cache(items, path) == 2
    assert PatchCache(path).manifest["grey"] == [True, False]
    for store in (PatchCache(path), FileStore(items)):
        assert store.size(1) == (30, 20)
        assert equal(store.crop(1, Window(0, 0, 30, 20)), {"target": np.rot90(scene(20, 30), -1)})
        assert equal(store.crop(0, Window(0, 0, 20, 30)), {"target": np.repeat(scene(20, 30)[..., :1], 3, axis=2)})


def test_it_is_chunked_and_says_what_it_was_made_of_and_not_where(
    pairs: list[Item], path: Path, tmp_path: Path
) -> None:
    write_cache(pairs, path)
    cache = PatchCache(path)
    assert cache.names == ["0", "1", "2", "3"]
    assert cache.manifest["version"] == 2
    assert cache.manifest["files"][2] == ["2.jpg", "2.png"]
    with h5py.File(path) as file:
        assert file["input/0"].chunks == (128, 128, 3)
        assert file["input/2"].chunks == (40, 33, 3)
        for i, pair in enumerate(pairs):
            assert isinstance(pair, Pair)
            for k, source in enumerate((pair.input, pair.target)):
                assert file["sha256"][i, k].tobytes().hex() == hashlib.sha256(source.read_bytes()).hexdigest()
    assert str(tmp_path).encode() not in path.read_bytes()


class Crops(Dataset[tuple[torch.Tensor, int, int]]):
    """Parts of a cache, with the process that has read them and the one that opened the file."""

    def __init__(self, store: PatchCache, parts: list[tuple[int, Window]]) -> None:
        self.store, self.parts = store, parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        crop = self.store.crop(*self.parts[index])
        return torch.from_numpy(np.concatenate([crop["input"], crop["target"]])), os.getpid(), self.store._process


def loaded(cache: PatchCache, workers: int) -> tuple[list[torch.Tensor], set[int]]:
    batches = list(DataLoader(Crops(cache, windows(cache, 20)), None, num_workers=workers))
    assert all(process == opener for _, process, opener in batches), "no process uses another's handle"
    return [crop for crop, *_ in batches], {process for _, process, _ in batches}


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3")
def test_worker_processes_read_the_same_for_any_number_of_them(pairs: list[Item], path: Path) -> None:
    write_cache(pairs, path)
    cache = PatchCache(path)
    expected, here = loaded(cache, 0)  # which leaves a handle open, that the workers inherit
    assert here == {os.getpid()}
    for workers in (1, 3):
        found, processes = loaded(cache, workers)
        assert len(processes) == workers
        assert os.getpid() not in processes
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(loaded(cache, 0)[0], expected, strict=True)), "nor do they disturb"


def test_a_cache_that_has_read_can_be_pickled(pairs: list[Item], path: Path) -> None:
    write_cache(pairs, path)
    cache = PatchCache(path)
    window = Window(3, 4, 20, 21)
    before = cache.crop(0, window)
    assert equal(pickle.loads(pickle.dumps(cache)).crop(0, window), before)


def test_decoding_in_processes_gives_the_same_file(
    pairs: list[Item], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cache(pairs, path)
    monkeypatch.setattr(parallel, "processors", lambda: 2)
    write_cache(pairs, path.with_name("two.h5"))
    assert path.with_name("two.h5").read_bytes() == path.read_bytes()


def test_what_is_there_is_kept(pairs: list[Item], path: Path) -> None:
    write_cache(pairs, path)
    os.utime(path, (1, 1))
    assert write_cache(pairs, path) == 0
    assert path.stat().st_mtime == 1


def test_sources_that_changed_are_reported_and_the_cache_is_made_anew(pairs: list[Item], path: Path) -> None:
    write_cache(pairs, path)
    cache = PatchCache(path)
    assert difference(cache, pairs) is None
    source = pairs[1].input  # type: ignore[union-attr]
    content = bytearray(source.read_bytes())
    content[-1] ^= 1  # of the same length, and PIL does not mind
    source.write_bytes(content)
    assert difference(cache, pairs) == f"{source} has changed since it was made"
    Image.fromarray(scene(130, 128)).save(source)
    assert difference(cache, pairs) == f"{source} has changed since it was made"
    assert write_cache(pairs, path) == 4
    assert np.array_equal(PatchCache(path).crop(1, Window(0, 0, 130, 128))["input"], scene(130, 128))


def test_a_cache_of_other_files_and_a_folder_are_not_replaced(pairs: list[Item], path: Path, tmp_path: Path) -> None:
    write_cache(pairs, path)
    whole = path.read_bytes()
    for other, expected in (
        (pairs[:3], "made of 4 images, and there are 3"),
        ([pairs[1], pairs[0], *pairs[2:]], r"made of 0\.png and 0\.png where 1\.png and 1\.png would be now"),
        ([files_of(pair)["target"] for pair in pairs], "holds input and target, and target are wanted"),
    ):
        with pytest.raises(UnfoldError, match=rf"set\.h5 is a cache of other files: it .*{expected}; name another"):
            write_cache(other, path)
        assert path.read_bytes() == whole
    (tmp_path / "dir.h5").mkdir()
    with pytest.raises(UnfoldError, match=r"dir\.h5 is a folder, and a cache is a file"):
        write_cache(pairs, tmp_path / "dir.h5")


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Decoding ends with an error at the image of that name."""
    decode = patch_cache_writing._decode

    def failing(files: dict[str, Path]) -> Any:
        if files["target"].stem == name:
            raise error
        return decode(files)

    monkeypatch.setattr(patch_cache_writing, "_decode", failing)


def test_a_broken_run_leaves_no_cache_and_the_next_goes_on(
    pairs: list[Item], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_at(patch, "2", RuntimeError("broken"))
        with pytest.raises(RuntimeError, match="broken"):
            write_cache(pairs, path)
    assert left(path) == [".set.h5.part"]
    assert write_cache(pairs, path) == 2, "two of four were there"
    cache = PatchCache(path)
    assert all(equal(cache.crop(*part), decoded(pairs, *part)) for part in windows(cache, 0))


@pytest.mark.parametrize("harm", ["source changed", "pixels damaged", "cut", "another set", "empty"])
def test_only_what_is_sound_is_gone_on_from(
    pairs: list[Item], path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    with monkeypatch.context() as patch:
        fail_at(patch, "3", RuntimeError("broken"))
        with pytest.raises(RuntimeError, match="broken"):
            write_cache(pairs, path)
    part = path.with_name(".set.h5.part")
    if harm == "source changed":
        source = pairs[0].target  # type: ignore[union-attr]
        content = bytearray(source.read_bytes())
        content[-1] ^= 1
        source.write_bytes(content)
    elif harm == "pixels damaged":
        with h5py.File(part, "r+") as file:
            file["target/0"][100, 100] ^= 1
    elif harm == "cut":
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    elif harm == "another set":
        pairs = pairs[1:]
    else:
        part.write_bytes(b"")
    expected = {"source changed": 2, "pixels damaged": 2, "cut": 4, "another set": 3, "empty": 4}
    assert write_cache(pairs, path) == expected[harm]
    cache = PatchCache(path)
    assert all(equal(cache.crop(*part), decoded(pairs, *part)) for part in windows(cache, 0))


KILLED = """
import os, signal, sys
from pathlib import Path
from unfold.data import parallel
from unfold.data.stores import patch_cache_writing
from unfold.data.stores.image_stores import find_items
parallel.processors = lambda: 1
decode, seen = patch_cache_writing._decode, []
def killed(files):
    seen.append(files)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(files)
patch_cache_writing._decode = killed
patch_cache_writing.write_cache(find_items(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_process_loses_nothing_that_it_had_written(pairs: list[Item], path: Path, tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "set", path], check=False)
    assert result.returncode == -9
    assert left(path) == [".set.h5.part"]
    assert write_cache(pairs, path) == 2


def test_of_two_writers_one_works_and_the_other_waits(pairs: list[Item], path: Path) -> None:
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(write_cache(pairs, path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 4]


def test_a_full_disk_is_reported_and_room_lets_it_go_on(
    pairs: list[Item], path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(OSError, match=r"needed") as caught:
            write_cache(pairs, path)
        assert caught.value.errno == errno.ENOSPC
        assert left(path) == [], "an error before any work"
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "posix_fallocate", full)
        code, _, err = command("data", "prepare", "cache", tmp_path / "set", "-o", path)
        assert (code, err) == (2, f"unfold data: {path.with_name('.set.h5.part')}: the disk is full; make room\n")
        assert left(path) == []
    with monkeypatch.context() as patch:
        expected = "Can't write data (file write failed: errno = 28, error message = 'No space left on device')"
        fail_at(patch, "1", OSError(expected))
        with pytest.raises(OSError, match="No space left") as caught:
            write_cache(pairs, path)
        assert caught.value.errno == errno.ENOSPC
    assert write_cache(pairs, path) == 3


def test_the_room_that_is_asked_for_is_what_the_file_takes(
    pairs: list[Item], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks are whole: more than 3 bytes per pixel."""
    write_cache(pairs, path)
    size, usage = path.stat().st_size, shutil.disk_usage(path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(0.9 * size)))
    with pytest.raises(OSError, match="bytes are needed"):
        write_cache(pairs, path.with_name("other.h5"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=size))
    write_cache(pairs, path.with_name("other.h5"))


def test_damage_is_one_line(pairs: list[Item], path: Path, tmp_path: Path) -> None:
    with pytest.raises(UnfoldError, match="there is no cache"):
        PatchCache(path)
    write_cache(pairs, path)
    whole = path.read_bytes()
    for content in (b"", b"no cache", whole[:3000], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UnfoldError, match="damaged or no cache") as caught:
            PatchCache(path)
        assert "\n" not in str(caught.value)
        with pytest.raises(UnfoldError, match="delete it"):
            write_cache(pairs, path)
        assert path.read_bytes() == content, "what is no cache is not overwritten"
    path.write_bytes(whole)
    cache = PatchCache(path)
    with h5py.File(path, "r+") as file:
        file["target/1"][100, 100] ^= 1
        del file["input/3"]
    with pytest.raises(UnfoldError, match="damaged or no cache"):
        cache.crop(3, Window(0, 0, 2, 2))
    later = path.with_name("later.h5")
    with h5py.File(later, "w") as file:
        file["manifest"] = np.frombuffer(b'{"version": 3}', np.uint8)
    with pytest.raises(UnfoldError, match="of version 3, and 2 is read"):
        PatchCache(later)


def test_one_that_is_cut_off_while_it_is_read_is_reported(pairs: list[Item], path: Path) -> None:
    write_cache(pairs, path)
    cache = PatchCache(path)
    window = Window(0, 0, 16, 16)
    cache.crop(0, window)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UnfoldError, match=r"damaged or no cache \(its end is gone\)"):
        cache.crop(0, window)


def test_a_cache_with_damaged_pixels_is_made_anew(pairs: list[Item], path: Path) -> None:
    write_cache(pairs, path)
    with h5py.File(path, "r+") as file:
        file["target/1"][100, 100] ^= 1
    assert write_cache(pairs, path) == 4
    cache = PatchCache(path)
    assert all(equal(cache.crop(*part), decoded(pairs, *part)) for part in windows(cache, 0))


def test_bad_images_are_reported(pairs: list[Item], path: Path, tmp_path: Path) -> None:
    with pytest.raises(UnfoldError, match="no images"):
        write_cache([], path)
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), np.full((20, 20, 3), 300, np.uint16))
    with pytest.raises(UnfoldError, match=r"deep\.png has 16 bits per channel, and a cache"):
        write_cache([deep], path)
    assert FileStore([deep]).crop(0, Window(0, 0, 2, 2))["target"].dtype == np.uint16
    Image.fromarray(scene(150, 299)).save(pairs[0].target)  # type: ignore[union-attr]
    with pytest.raises(UnfoldError, match=r"one size and depth, and .*0\.png 300x150 .*0\.png 299x150"):
        write_cache(pairs, path.with_name("other.h5"))
    pairs[0].target.write_bytes(b"")  # type: ignore[union-attr]
    with pytest.raises(UnfoldError, match=r"0\.png is empty"):
        write_cache(pairs, path.with_name("other.h5"))
    assert not path.with_name("other.h5").exists()


def test_pairs_are_distinguished_from_images(tmp_path: Path, pairs: list[Item], pictures: Path) -> None:
    assert all(isinstance(item, Pair) for item in pairs)
    assert all(isinstance(item, Path) for item in find_items(str(pictures)))
    assert len(find_items("photographs")) == 6
    (tmp_path / "side").mkdir()
    for name in ("a_blur1.png", "a_sharp1.png"):
        shutil.copy(pairs[0].target, tmp_path / "side" / name)  # type: ignore[union-attr]
    assert isinstance(find_items(str(tmp_path / "side"))[0], Pair)
    shutil.copy(pairs[0].target, pictures / "castle_real.png")  # type: ignore[union-attr]
    assert all(isinstance(item, Path) for item in find_items(str(pictures))), "a name alone makes no pair"
    (pictures / "castle_mean.txt").touch()
    assert len(find_items(str(pictures))) == 4
    shutil.rmtree(tmp_path / "set" / "input")
    with pytest.raises(UnfoldError, match="no folder of inputs beside it"):
        find_items(str(tmp_path / "set"))


def test_training_patches_are_the_same_from_a_cache(pairs: list[Item], path: Path) -> None:
    write_cache(pairs, path)
    stores: list[Store] = [MemoryStore([read_files(files_of(item)) for item in pairs]), PatchCache(path)]
    for seed in range(20):
        one, other = (random_patch(store, 48, np.random.default_rng(seed)) for store in stores)
        assert equal(one, other)
