"""Stores of decoded images, on a training set of any size: memory, start to first step, crops per second, in one run.

    python scripts/bench_store.py FOLDER [COUNT]

Makes COUNT pictures of 1920x1088 (default 1,000; 20 different ones, in files of their own) in FOLDER, which is removed
at the end, and trains a small network on them, on CPU processes of one thread: one pass with DATA.STORE disk in 4,
which decode all of them; again in 1, which finds them; and some steps with files and memory. Then all are read
into the memory of one process, as before there were shared stores. Memory is the largest sum, sampled every 0.2 s, of
anonymous pages of all processes of the run (Pss_Anon) and of what shared memory (Shmem of the system) has grown: not
page cache, which can be reclaimed. Start to first step is from the start of the command to the end of that step. Crops
are 128x128, at random, in this process, of 60 of the images; all files are in the page cache.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE, DIFFERENT, CROP = (1088, 1920), 20, 128
ROUNDS, CROPS = 5, {"memory, as before": 3000, "memory": 3000, "disk": 3000, "PNG": 10}
TRAINED = "MODEL.ARGS.stages 3 MODEL.ARGS.width 8 MODEL.ARGS.growth 4 MODEL.ARGS.tail 4 TRAIN.PATCH 32"


def make(folder: Path, count: int) -> None:
    """Pictures with some noise, so that a file takes some megabytes; a text of its own makes each file another."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    files = []
    for k in range(DIFFERENT):
        waves = np.stack([np.sin(rows / (9 + k + c) + columns / (23 - k * 0.7)) for c in range(3)], axis=-1)
        image = 127 + 90 * waves + rng.normal(0, 4, (*SIZE, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "one.png", compress_level=1)
        files.append((folder / "one.png").read_bytes())
    (folder / "one.png").unlink()
    for i in range(count):
        text = b"tEXtComment\0" + f"{i:08d}".encode()
        chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
        data = files[i % DIFFERENT]
        (folder / f"{i:05d}.png").write_bytes(data[:33] + chunk + data[33:])


def shared() -> int:
    """Bytes of shared memory of the system."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("Shmem:"))
    return int(line.split()[1]) * 1024


def anonymous(groups: list[int]) -> int:
    """Bytes of anonymous pages of all processes in these process groups."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rpartition(")")[2].split()[2]) in groups:
                text = (status.parent / "smaps_rollup").read_text()
                total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss_Anon:")) * 1024
        except (OSError, IndexError, ValueError):
            continue
    return total


class Measured:
    """What a run took: seconds to the first step and in all, and largest memory."""

    def __init__(self, commands: list[tuple[list[str], dict[str, str]]], mark: Path) -> None:
        mark.unlink(missing_ok=True)
        before, begin = shared(), time.time()
        runs = [
            subprocess.Popen(
                argv,
                env={**os.environ, **env},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            for argv, env in commands
        ]
        said: list[list[str]] = [[] for _ in runs]
        readers = [
            threading.Thread(target=lambda run=run, lines=lines: lines.extend(run.stdout or []))
            for run, lines in zip(runs, said, strict=True)
        ]
        for reader in readers:
            reader.start()
        self.memory = 0
        while any(run.poll() is None for run in runs):
            self.memory = max(self.memory, anonymous([run.pid for run in runs]) + shared() - before)
            time.sleep(0.2)
        for reader in readers:
            reader.join()
        self.seconds = time.time() - begin
        if any(run.returncode for run in runs):
            raise SystemExit("".join(line for lines in said for line in lines))
        self.first = float(mark.read_text()) - begin if mark.exists() else float("nan")
        self.line = next((line.strip() for line in said[0] if "decoded:" in line), "")


def trained(folder: Path, place: str, world: int, steps: int) -> Measured:
    recipe, mark = folder / "recipe.yaml", folder / "first"
    recipe.write_text(f"DATA: {{TRAIN: {folder / 'set'}, VAL: photographs}}\n")
    words = f"{TRAINED} DATA.STORE {place} DEVICE cpu TRAIN.BATCH 8 TRAIN.ITERATIONS {steps} OUTPUT {folder / 'run'}"
    words += f" TRAIN.PATCHES {steps * 8} TRAIN.WORKERS 0"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    argv = [sys.executable, __file__, "child", str(mark), "train", "--config", str(recipe), "--overwrite"]
    argv += words.split()
    names = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if world > 1 else {}
    ranks = [{**names, "RANK": str(r), "LOCAL_RANK": str(r)} if world > 1 else {} for r in range(world)]
    return Measured([(argv, rank | {"UNFOLD_CACHE": str(folder / "cache")}) for rank in ranks], mark)


def child(argv: list[str]) -> int:
    """The command line, which notes when its first step has ended."""
    from unfold.cli import main
    from unfold.training.train_step import Update

    mark, step = Path(argv[0]), Update.__call__

    def noting(self: Any, *given: Any) -> Any:
        result = step(self, *given)
        if not mark.exists():
            mark.write_text(str(time.time()))
        return result

    Update.__call__ = noting  # type: ignore[method-assign]
    return main(argv[1:])


def private(folder: str) -> int:
    """All images in the memory of this process, as before."""
    from unfold.data.images import find_images
    from unfold.data.patches import read_store
    from unfold.degradations.degradation import Degradation

    return 0 if read_store(find_images(folder, "train"), Degradation().read)[0] else 1


def crops(folder: Path) -> None:
    """Crops per second by every store, in turns, of as many images as the private store holds quickly."""
    from unfold.data.images import find_images
    from unfold.data.patches import MemoryStore, random_patch, read_store, reduced, to_tensor
    from unfold.data.stores.choose_store import Wish, shared_store
    from unfold.data.stores.image_stores import FileStore, Store
    from unfold.degradations.degradation import Degradation

    os.environ["UNFOLD_CACHE"] = str(folder / "cache")
    files, read = find_images(f"{folder / 'set'}[:60]", "train"), Degradation().read
    given = [{"target": path} for path in files]
    memory: MemoryStore = read_store(files, read)[0]
    stores: dict[str, Store] = {"memory, as before": memory}
    for place in ("memory", "disk"):
        stores[place] = shared_store(files, given, read, reduced, Wish(place, rule="bench", skip_bad=True))[0]
    stores["PNG"] = FileStore(files)
    rates: dict[str, list[float]] = {name: [] for name in stores}
    for seed in range(ROUNDS):
        for name, store in stores.items():
            rng, begin = np.random.default_rng(seed), time.perf_counter()
            for _ in range(CROPS[name]):
                to_tensor(random_patch(store, CROP, rng)["target"])
            rates[name].append(CROPS[name] / (time.perf_counter() - begin))
    for name, values in rates.items():
        middle = f"{statistics.median(values):9,.0f} crops/s"
        print(f"{name:20} {middle} ({min(values):,.0f} to {max(values):,.0f} in {ROUNDS} rounds)", flush=True)


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    folder.mkdir(parents=True)
    try:
        begin = time.perf_counter()
        make(folder / "set", count)
        size = sum(path.stat().st_size for path in (folder / "set").iterdir()) / 1e9
        print(f"{count} PNG of {size:.2f} GB, {count * SIZE[0] * SIZE[1] * 3 / 1e9:.2f} GB decoded, made in ", end="")
        print(f"{time.perf_counter() - begin:.0f} s", flush=True)
        whole, some = -(-count // 8), 10
        runs: list[tuple[str, Callable[[], Measured]]] = [
            ("disk, 4 processes, one pass, empty", lambda: trained(folder, "disk", 4, whole)),
            ("disk, 1 process, one pass, found", lambda: trained(folder, "disk", 1, whole)),
            (f"files, 1 process, {some} steps", lambda: trained(folder, "files", 1, some)),
            (f"files, 4 processes, {some} steps", lambda: trained(folder, "files", 4, some)),
            (f"memory, 1 process, {some} steps", lambda: trained(folder, "memory", 1, some)),
            (
                "as before, 1 process, images alone",
                lambda: Measured([([sys.executable, __file__, "private", str(folder / "set")], {})], folder / "none"),
            ),
        ]
        for name, run in runs:
            got = run()
            said = f"{got.memory / 1e9:6.2f} GB  first step {got.first:5.1f} s  whole {got.seconds:6.1f} s"
            print(f"{name:36} {said}  {got.line}", flush=True)
        crops(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        sys.exit(child(sys.argv[2:]))
    if sys.argv[1:2] == ["private"]:
        sys.exit(private(sys.argv[2]))
    main()
