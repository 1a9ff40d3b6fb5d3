"""Time to find 50,000 pairs by each rule: `python scripts/bench_pairs.py [COUNT]`. Files are empty."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

from unfold.data.pairs import find_pairs

LAYOUTS: dict[str, Callable[[int], tuple[str, str]]] = {
    "the same name": lambda i: (f"lq/{i:06}.png", f"gt/{i:06}.png"),
    "scale": lambda i: (f"LR/{i:06}x4.png", f"HR/{i:06}.png"),
    "prefix": lambda i: (f"rain/rain-{i:06}.png", f"norain/norain-{i:06}.png"),
    "many of one": lambda i: (f"hazy/{i // 10:06}_{i % 10}_0.2.jpg", f"clear/{i // 10:06}.png"),
    "side by side": lambda i: (f"{i:06}_noisy.png", f"{i:06}_clean.png"),
    "scenes": lambda i: (f"seq{i // 100}/blur/{i % 100}.png", f"seq{i // 100}/sharp/{i % 100}.png"),
    "template": lambda i: (f"a/{i // 10:06}_{i % 10}.jpg", f"b/{i // 10:06}.png"),
}
OPTIONS = {"template": {"input": "a", "target": "b", "name": "{id}_*"}}


def main(count: int = 50_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, layout in LAYOUTS.items():
            home = Path(folder) / name
            lines = []
            for i in range(count):
                for path in (home / side for side in layout(i)):
                    if i < 100 or not path.parent.is_dir():
                        path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                lines.append(" ".join(layout(i)))
            start = time.perf_counter()
            found = len(find_pairs(str(home), "train", **OPTIONS.get(name, {})))
            seconds = time.perf_counter() - start
            assert found == count
            print(f"{name}: {found:,} pairs in {seconds:.2f} s", flush=True)
            if name == "the same name":
                (home / "list.txt").write_text("\n".join(lines))
                start = time.perf_counter()
                found = len(find_pairs(str(home / "list.txt")))
                print(f"a list: {found:,} pairs in {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
