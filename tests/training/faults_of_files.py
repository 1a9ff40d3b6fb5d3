"""What scripts/torture does to the files of a run, one function per fault. AssertionError where one did harm."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.training import spoiled
from tests.training.real_runs import ending, flat
from tests.training.trial import Notes, TooLateError, Trial, check
from unfold.data.stores.patch_cache_writing import prepare_cache
from unfold.errors import UnfoldError
from unfold.training.checkpoint import read_run

FLIPS = 20


def truncated(trial: Trial) -> Notes:
    last = trial.copy_base()
    os.truncate(last, trial.rng.randrange(last.stat().st_size))
    trial.compare()
    expected = "going back to the one before" in (trial.place.folder / f"{trial.name}.txt").read_text()
    return {"{:.0f} found and named": expected}


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def flipped(trial: Trial) -> Notes:
    last = trial.copy_base()
    refused = sum(refused_or_harmless(last, trial) for _ in range(FLIPS))
    flip(last, trial.rng)
    trial.compare()
    expected = "going back to the one before" in (trial.place.folder / f"{trial.name}.txt").read_text()
    return {
        "{:.0f} found and named": expected,
        "{:.0f} in what nothing reads": not expected,
        "{:.0f} more, only read": FLIPS,
        "{:.0f} of these refused": refused,
        "{:.0f} of these with every number intact": FLIPS - refused,
    }


def refused_or_harmless(path: Path, trial: Trial) -> bool:
    """Whether a flipped bit is found; where it is not, all must be as it was."""
    whole = read_run(path)
    damaged = path.with_name(f"{path.stem}.flipped")
    shutil.copy(path, damaged)
    flip(damaged, trial.rng)
    try:
        found = read_run(damaged)
    except UnfoldError:
        return True
    finally:
        damaged.unlink()
    same = flat(found.state, "") | flat(found.content, "") == flat(whole.state, "") | flat(whole.content, "")
    check(same, "a checkpoint with a flipped bit was read, and its numbers are others")
    return False


def all_damaged(trial: Trial) -> Notes:
    for path in trial.copy_base().parent.glob("last*.pth"):
        flip_until_refused(path, trial.rng)
    before = files(trial.folder)
    trial.refused(trial.start(), "no checkpoint in")
    check(files(trial.folder) == before, "files were changed")
    return {}


def flip_until_refused(path: Path, rng: random.Random) -> None:
    while True:
        flip(path, rng)
        try:
            read_run(path)
        except UnfoldError:
            return


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def full_disk(trial: Trial) -> Notes:
    size = trial.copy_base().stat().st_size
    shutil.rmtree(trial.folder)
    trial.folder.mkdir()
    space = int(size * trial.rng.uniform(1.2, 3.1))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={space}", "tmpfs", str(trial.folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        trial.refused(trial.start("TRAIN.SAVE_EVERY", 1), "the disk is full; make room and use --resume")
        trial.whole()
        read_run(trial.folder / "checkpoints" / "last.pth")
        subprocess.run(["mount", "-o", "remount,size=64m", str(trial.folder)], check=True)
        trial.compare()
    finally:
        subprocess.run(["umount", "--lazy", str(trial.folder)], check=True)
    return {}


def can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def file_limit(trial: Trial) -> Notes:
    step = read_run(trial.copy_base()).content["step"]
    trial.refused(trial.start(before=spoiled.small_files), "File too large")
    check(read_run(trial.folder / "checkpoints" / "last.pth").content["step"] == step, "the last checkpoint is another")
    trial.compare()
    return {}


def corrupt_image(trial: Trial) -> Notes:
    pictures = trial.place.folder / f"{trial.name}_pictures"
    shutil.copytree(trial.place.pictures, pictures)
    bad = pictures / "picture9.png"
    content = (pictures / "picture0.png").read_bytes()
    bad.write_bytes(content[: trial.rng.randrange(len(content) // 2)])
    trial.refused(trial.start("DATA.TRAIN", pictures), "picture9.png")
    check(not trial.folder.exists(), "a run was begun")
    trial.compare("DATA.TRAIN", pictures, "DATA.SKIP_BAD", "true")
    check("picture9.png" in (trial.folder / "left_out.txt").read_text(), "not in left_out.txt")
    return {}


def corrupt_cache(trial: Trial) -> Notes:
    pictures = trial.place.folder / f"{trial.name}_pictures"
    pictures.mkdir()
    cache, whole = pictures / "cache.h5", pictures / "whole.h5"
    for i in range(2):  # more than HDF5 keeps in memory
        noise = np.random.default_rng(i).integers(0, 256, (1400, 1400, 3), np.uint8)
        Image.fromarray(noise).save(pictures / f"{i}.png", compress_level=0)
    prepare_cache(str(pictures), cache)
    shutil.copy(cache, whole)
    words = ("DATA.TRAIN", cache, "TRAIN.SAVE_EVERY", 1)
    trial.place.finish(f"{trial.name}_reference", *words)
    run = trial.start(*words)
    if not run.wait_for(lambda: run.step >= 1):
        raise TooLateError
    os.truncate(cache, cache.stat().st_size // 8)
    trial.refused(run, "cache.h5 is damaged or no cache")
    trial.whole()
    shutil.copy(whole, cache)
    trial.compare(*words, reference=ending(trial.place.folder / f"{trial.name}_reference"))
    return {}


def finished(trial: Trial) -> Notes:
    trial.copy_base()
    trial.compare()
    before = files(trial.folder)
    trial.compare()
    check(files(trial.folder) == before, "files were changed")
    return {}
