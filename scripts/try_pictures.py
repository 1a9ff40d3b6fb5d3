"""Run `unfold restore` on a folder of damaged files: each must be restored, or reported with a reason.

    python scripts/try_pictures.py [--number 1000] [--single 30] [--seed 0]

One run over a folder (scripts/hostile_folder.py) with a narrow USRNet of made-up weights at scale 2; a second one that
is interrupted and restarted, whose results must be the same bytes; one onto a disk that becomes full (a small tmpfs,
where the system lets it be mounted); and single files, each in a run of its own. Exit code 1 where anything happened
that should not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
from hostile_folder import Input, fill
from hostile_pictures import LEFT_OUT, REFUSED, RESTORED
from PIL import Image, ImageOps
from try_checkpoints import NARROW, state_of, written

from unfold.errors import one_line

SCALE, PEAK = 2, 2e9
EXPECTED = re.compile(
    r"note: |.*: estimated noise |restored |grey, restored as |failed \d+:$|  |left \d+|left out \d+: "
)
# One thread, as sums depend on their number; and a locale in which names that are no text cannot be printed.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8:strict"}
Result = subprocess.CompletedProcess[str]


class Trial:
    """A folder of inputs, the command, and what went wrong so far."""

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self.folder = folder / "in"
        self.folder.mkdir()
        self.weights = written(folder / "weights", state_of("usrnet", **NARROW["usrnet"]), "zip")
        self.inputs = fill(self.folder, folder / "elsewhere", number, seed)
        self.wrong: list[str] = []

    def command(self, source: Path, output: Path) -> list[str]:
        how = ["--weights", str(self.weights), "--scale", str(SCALE), "--kernel", "gauss:1", "--sigma", "estimate"]
        return [sys.executable, "-m", "unfold", "restore", str(source), "-o", str(output), *how]

    def run(self, source: Path, output: Path) -> Result:
        command = self.command(source, output)
        return subprocess.run(command, capture_output=True, text=True, timeout=900, env=ENVIRONMENT)

    def expect(self, right: bool, what: str) -> None:
        if not right:
            self.wrong.append(what)


def digest(folder: Path) -> str:
    """Of all names, links and contents."""
    total = hashlib.sha256()
    for where, folders, names in os.walk(folder):
        folders.sort()
        for path in (Path(where) / name for name in sorted(folders + names)):
            total.update(os.fsencode(path) + b"\0")
            if path.is_symlink():
                total.update(os.fsencode(path.readlink()))
            elif path.is_file():
                total.update(path.read_bytes())
    return total.hexdigest()


def decoded(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with path.open("rb") as file, Image.open(file) as image:
            image.load()
            try:
                return ImageOps.exif_transpose(image)
            except (SyntaxError, struct.error):  # its EXIF is corrupt
                return image


def outcome(one: Input, target: Path, lines: list[str]) -> str:
    """In a word; in capitals what must not be."""
    reported = [line for line in lines if one_line(str(one.path)) in line]
    if len(reported) > 1 or (reported and target.is_file()):
        return "REPORTED TWICE"
    if reported:
        return "REFUSED" if one.must in (RESTORED, LEFT_OUT) else REFUSED
    if not target.is_file():
        return LEFT_OUT if one.must == LEFT_OUT else "LOST"
    if one.must in (REFUSED, LEFT_OUT):
        return "RESTORED"
    result, source = decoded(target), decoded(one.path)
    size = [SCALE * side for side in source.size]
    if list(result.size) != size and not (one.kind == "corrupt EXIF" and list(result.size) == size[::-1]):
        return "WRONG SIZE"
    if one.whole is not None:
        one.path.with_name(".whole").write_bytes(one.whole)
        if not np.array_equal(np.asarray(source), np.asarray(decoded(one.path.with_name(".whole")))):
            return "DAMAGE NOT SEEN"
        one.path.with_name(".whole").unlink()
    return RESTORED


def check_messages(trial: Trial, result: Result, what: str) -> None:
    trial.expect(not result.stderr, f"{what}: standard error is not empty: {result.stderr[:500]!r}")
    for line in result.stdout.splitlines():
        trial.expect(bool(EXPECTED.match(line)), f"{what}: a line of another kind: {line[:200]!r}")


def check_rest(trial: Trial, output: Path, what: str) -> None:
    targets = {output / one.path.relative_to(trial.folder) for one in trial.inputs}
    rest = [path for path in output.rglob("*") if path.is_file() and path not in targets]
    trial.expect(not rest, f"{what}: files are left over: {rest[:3]}")


def try_folder(trial: Trial, output: Path) -> None:
    before, start = digest(trial.folder), time.perf_counter()
    result = trial.run(trial.folder, output)
    took, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    lines = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    counts: dict[str, Counter[str]] = {}
    for one in trial.inputs:
        word = outcome(one, output / one.path.relative_to(trial.folder), lines)
        counts.setdefault(one.kind, Counter())[word] += 1
        trial.expect(word == word.lower(), f"{one.kind}: {word}: {one.path.name!r}")
    print(f"{'kind':<34}{'files':>6}{'restored':>10}{'refused with a line':>21}{'left out':>10}{'anything else':>15}")
    total: Counter[str] = sum(counts.values(), Counter())
    for kind, found in [*counts.items(), ("together", total)]:
        other = found.total() - found[RESTORED] - found[REFUSED] - found[LEFT_OUT]
        print(f"{kind:<34}{found.total():>6}{found[RESTORED]:>10}{found[REFUSED]:>21}{found[LEFT_OUT]:>10}{other:>15}")
    reported = [int(number) for number in re.findall(r"^(?:restored|failed) (\d+)", result.stdout, re.MULTILINE)]
    print(f"\nthe run: exit code {result.returncode}, {reported[0]} restored, {reported[1]} failed; {took:.0f} s")
    print(f"peak memory (RSS) {peak / 1e6:.0f} MB; standard error: {len(result.stderr)} bytes")
    trial.expect(
        reported == [total[RESTORED], total[REFUSED]] and len(lines) == reported[1], f"the count is off: {reported}"
    )
    trial.expect(result.returncode == 1, f"exit code {result.returncode}")
    trial.expect(peak < PEAK, "too much memory")
    check_messages(trial, result, "folder")
    check_rest(trial, output, "folder")
    trial.expect(digest(trial.folder) == before, "the inputs are not what they were")


def try_interrupt(trial: Trial, output: Path, complete: Path) -> None:
    command, enough = trial.command(trial.folder, output), len(list(complete.glob("*"))) // 4
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as run:
        while run.poll() is None and len(list(output.glob("*"))) < enough:
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate()
    found = [path for path in output.rglob("*") if path.is_file()]
    same = all(path.read_bytes() == (complete / path.relative_to(output)).read_bytes() for path in found)
    left = re.search(r"^left (\d+): the same command continues", out, re.MULTILINE)
    trial.expect(run.returncode == 130 and not err and left is not None, f"interrupted: {run.returncode} {err[-300:]}")
    trial.expect(same, "interrupted: results are not whole")
    check_rest(trial, output, "interrupted")
    again = trial.run(trial.folder, output)
    trial.expect(digest_of_results(output) == digest_of_results(complete), "begun again: other results")
    reported = next(line for line in again.stdout.splitlines() if line.startswith("restored"))
    print(f"interrupted after {len(found)} results, all whole; begun again: {reported}")


def digest_of_results(folder: Path) -> set[tuple[str, str]]:
    return {
        (os.fsdecode(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def try_full_disk(trial: Trial, output: Path) -> None:
    output.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(output)]
    if subprocess.run(mount, capture_output=True).returncode:
        print("full disk: not tried, as no small disk can be mounted here")
        return
    try:
        result = trial.run(trial.folder, output)
        check_rest(trial, output, "full disk")
        for path in output.rglob("*"):
            if path.is_file():
                decoded(path)
    finally:
        subprocess.run(["umount", output], check=True)
    line = result.stderr.strip()
    trial.expect(result.returncode == 2 and "the disk is full" in line and "\n" not in line, f"full disk: {line!r}")
    trial.expect("left " in result.stdout, "full disk: the rest is not reported")
    print(f"full disk: exit code {result.returncode}, one line: ...{line[-60:]}")


def try_single(trial: Trial, number: int, output: Path) -> None:
    kinds = list({one.kind: one for one in trial.inputs if one.must != LEFT_OUT}.values())
    chosen = [kinds[i] for i in np.linspace(0, len(kinds) - 1, min(number, len(kinds))).astype(int)]
    codes: Counter[int] = Counter()
    for one in chosen:
        target = output / one.path.name
        result = trial.run(one.path, target)
        codes[result.returncode] += 1
        lines = [line for line in result.stdout.splitlines() if line.startswith("  ")]
        word = outcome(one, target, lines)
        right = (word == RESTORED and result.returncode == 0) or (word == REFUSED and result.returncode == 2)
        trial.expect(right, f"single {one.kind}: {word}, exit code {result.returncode}")
        check_messages(trial, result, f"single {one.kind}")
    print(f"single files: {len(chosen)}, exit codes " + ", ".join(f"{code}: {n}" for code, n in sorted(codes.items())))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--single", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        trial = Trial(Path(temporary), arguments.number, arguments.seed)
        try_folder(trial, Path(temporary, "out"))
        try_interrupt(trial, Path(temporary, "again"), Path(temporary, "out"))
        try_full_disk(trial, Path(temporary, "small"))
        try_single(trial, arguments.single, Path(temporary, "single"))
    print("\n".join(["", "NOT AS IT SHOULD BE:", *trial.wrong]) if trial.wrong else "everything as it should be")
    return 1 if trial.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
