"""Try loading checkpoints: which files are loaded, and what 360 damaged or hostile files do.

    python scripts/try_checkpoints.py [--manifests DIR] [--seed 0]

The first table: every network at its published width, in one layout, and a narrow network of each family in every
container, below every wrapper, with every prefix. Weights are made by rule from names and shapes. --manifests: a folder
of published manifests (.json files of [name, shape] pairs), whose state dicts are made from the file alone.
The second: files that are cut, flipped, renamed, reshaped, inflated or hostile. A file counts as refused when loading
it raises UnfoldError with one line. Exit code 1 where a file did anything else than it should.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib
import io
import itertools
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from unfold import create_model, list_models, load_model
from unfold.errors import UnfoldError
from unfold.models.golden.dgunet_golden import dgunet_rule
from unfold.models.golden.nrl_gdn_golden import nrl_gdn_rule
from unfold.models.golden.usrnet_golden import usrnet_rule
from unfold.models.ista_net import ISTANetMRI
from unfold.models.nrl_gdn import NRLGDN
from unfold.models.registry import network_part
from unfold.weights.convert import convert

State = dict[str, Tensor]
_NARROW_DGUNET = {"width": 16, "growth": 4, "operator_width": 4}
_NARROW = {"widths": (4, 6, 8, 8), "depth": 1}
NARROW: dict[str, dict[str, Any]] = {
    "dgunet_denoise": {**_NARROW_DGUNET, "tail": 4},
    "dgunet_plus_denoise": {**_NARROW_DGUNET, "stages": 4},
    "dgunet_cs": {"width": 16, "growth": 4, "tail": 4, "ratio": 10},
    "dgunet_plus_cs": {"width": 16, "growth": 4, "tail": 4, "ratio": 10, "stages": 4},
    "usrnet": {**_NARROW, "stages": 3, "hyper_width": 8},
    "nrl_gdn": {**_NARROW, "width": 6},
}
WRAPPERS = (None, "state_dict", "params", "params_ema", "net", "net_g", "model.generator")
PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "model.net.")


def filled(shapes: list[tuple[str, Any]]) -> State:
    """Numbers by rule for names and shapes."""
    rules = (("h.mlp.", usrnet_rule), ("d_alpha.", nrl_gdn_rule))
    rule = next((rule for mark, rule in rules if any(name.startswith(mark) for name, _ in shapes)), dgunet_rule)
    seed = torch.Generator()
    return {name: rule(name, torch.Size(shape), seed.manual_seed(zlib.crc32(name.encode()))) for name, shape in shapes}


def state_of(name: str, **arguments: Any) -> State:
    with torch.device("meta"):
        net = create_model(name, **arguments)
    return filled([(key, value.shape) for key, value in net.state_dict().items()])


def written(path: Path, state: State, container: str, wrapper: str | None = None, prefix: str = "") -> Path:
    """A file of that layout. Safetensors knows no wrapper."""
    named = {prefix + key: value for key, value in state.items()}
    if container == "safetensors":
        path = path.with_suffix(".safetensors")
        path.write_bytes(save({key: value.clone() for key, value in named.items()}))
        return path
    path = path.with_suffix(".pth")
    torch.save(named if wrapper is None else {wrapper: named}, path, _use_new_zipfile_serialization=container == "zip")
    return path


def comes_back(path: Path, state: State, name: str | None) -> bool:
    """Whether loading gives the numbers that were written, bit for bit."""
    found = load_model(path, name).state_dict()
    return all(torch.equal(value, found[key]) for key, value in state.items() if key in found)


def loaded(folder: Path, manifests: Path | None) -> Iterator[tuple[str, int, int, int, int]]:
    """(what, entries, files, of them recognised without a name, of them equal bit for bit)."""
    for name in (name for name in list_models() if name != "composed"):  # whose parts a bare state dict does not show
        if network_part(name).make.file_wanted({}):  # a file beside the weights, which is no matter of layouts
            continue
        # Of networks that share a layout, the name says which it is.
        given_name = name if network_part(name).make in (NRLGDN, ISTANetMRI) else None
        yield _tried(folder, name, state_of(name), given_name, [("zip", "state_dict", "module.")])
    for path in sorted(manifests.glob("*.json")) if manifests else []:
        shapes = json.loads(path.read_text())
        if isinstance(shapes, list) and "discriminator" not in path.stem:
            name = "nrl_gdn" if path.stem.startswith("nrlgdn") else None
            yield _tried(folder, f"{path.name} (manifest)", filled(shapes), name, [("zip", None, "module.")])
    layouts = [
        (container, wrapper, prefix)
        for container, wrapper, prefix in itertools.product(("zip", "legacy", "safetensors"), WRAPPERS, PREFIXES)
        if wrapper is None or container != "safetensors"
    ]
    for name, arguments in NARROW.items():
        given_name = name if name == "nrl_gdn" else None
        yield _tried(folder, f"{name}, narrow", state_of(name, **arguments), given_name, layouts)


def _tried(
    folder: Path, what: str, state: State, name: str | None, layouts: list[tuple[str, str | None, str]]
) -> tuple[str, int, int, int, int]:
    equal = 0
    for container, wrapper, prefix in layouts:
        path = written(folder / "weights", state, container, wrapper, prefix)
        equal += comes_back(path, state, name)
        path.unlink()
    return what, len(state), len(layouts), 0 if name else len(layouts), equal


class Code:
    """Pickles to a command that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def damaged(folder: Path, trace: Path, rng: np.random.Generator) -> Iterator[tuple[str, str, bytes]]:
    """(kind, suffix, bytes) of 360 files."""
    state = state_of("usrnet", **NARROW["usrnet"])
    deep = state_of("dgunet_denoise", **NARROW["dgunet_denoise"])
    whole: dict[str, bytes] = {}
    for container in ("zip", "legacy", "safetensors"):
        whole[container] = written(folder / "w", state, container).read_bytes()
    convert(folder / "w.pth", folder / "ours.safetensors")
    whole["ours"] = (folder / "ours.safetensors").read_bytes()
    zipped = written(folder / "w", state, "zip").read_bytes()

    def suffix(container: str) -> str:
        return ".pth" if container in ("zip", "legacy") else ".safetensors"

    for i in range(50):
        container = list(whole)[i % 4]
        yield "truncated", suffix(container), whole[container][: rng.integers(len(whole[container]))]
    for i in range(50):
        container = ("zip", "ours")[i % 2]
        broken = bytearray(whole[container])
        place = int(rng.integers(len(broken)))
        broken[place] ^= 1 << int(rng.integers(8))
        yield "one bit flipped", suffix(container), bytes(broken)
    for kind, change in (("renamed keys", _renamed), ("wrong shapes", _reshaped)):
        for i in range(50):
            container = ("zip", "legacy", "safetensors")[i % 3]
            path = written(folder / "w", change((state, deep)[i % 2], rng), container)
            yield kind, path.suffix, path.read_bytes()
    for _ in range(50):
        yield "bombs", *_bomb(zipped, rng)
    yield from _no_checkpoints(trace, rng)


def _renamed(state: State, rng: np.random.Generator) -> State:
    chosen = set(rng.choice(list(state), rng.integers(1, 4), replace=False))
    return {f"{key}_" if key in chosen else key: value for key, value in state.items()}


def _reshaped(state: State, rng: np.random.Generator) -> State:
    key = str(rng.choice(list(state)))
    value = state[key]
    return {**state, key: torch.cat([value, value[:1]])}


def _bomb(whole: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Small files that ask for much memory."""
    kind, much = int(rng.integers(4)), int(rng.integers(10, 200)) * 1_000_000
    if kind == 0:  # compressed zeros
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(whole)) as parts, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bomb:
            for name in parts.namelist():
                bomb.writestr(name, parts.read(name))
            with bomb.open("archive/data/999", "w") as part:  # in pieces, as what memory this takes is watched
                for _ in range(much // 1_000_000):
                    part.write(bytes(1_000_000))
        return ".pth", out.getvalue()
    if kind == 1:  # a directory whose entries all show the same bytes, and promise more of them than there are
        out = io.BytesIO(whole)
        with zipfile.ZipFile(out, "a") as bomb:
            bomb.writestr("archive/data/999", b"")  # so that the directory is written anew
            for member in bomb.filelist:
                member.header_offset = bomb.filelist[0].header_offset
                member.file_size = member.compress_size = much
        return ".pth", out.getvalue()
    if kind == 2:  # one number, expanded to a tensor of any size
        out = io.BytesIO()
        torch.save({"h.mlp.0.weight": torch.zeros(1).expand(much * 100)}, out)
        return ".pth", out.getvalue()
    header = json.dumps({"a": {"dtype": "F32", "shape": [much], "data_offsets": [0, 4 * much]}}).encode()
    size = len(header) if rng.integers(2) else 2**62  # an endless header, or endless data
    return ".safetensors", struct.pack("<Q", size) + header


def _no_checkpoints(trace: Path, rng: np.random.Generator) -> Iterator[tuple[str, str, bytes]]:
    hostile = []
    for zipped in (True, False):
        out = io.BytesIO()
        torch.save({"state_dict": {"a": Code(trace)}}, out, _use_new_zipfile_serialization=zipped)
        hostile.append(out.getvalue())
    hostile.append(pickle.dumps({"state_dict": Code(trace)}))
    for i in range(20):
        yield "code inside", (".pth", ".pkl", ".pt")[i % 3], hostile[i % 3]
    for i in range(30):
        content = (b"", rng.bytes(int(rng.integers(1, 5000))), b"<!DOCTYPE html><title>Sign in</title>")[i % 3]
        yield "empty or no checkpoint", (".pth", ".safetensors")[i % 2], content
    state = state_of("usrnet", **NARROW["usrnet"])
    for i in range(60):
        value = _around(Call(*_calls(trace)[i % len(_calls(trace))]))[i % 7]
        out = io.BytesIO()
        torch.save({"state_dict": state, "more": [value]}, out, _use_new_zipfile_serialization=i % 2 == 0)
        yield "inert types with calls", (".pth", ".ckpt", ".pt")[i % 3], out.getvalue()


class Call:
    """Pickles to a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


def _calls(trace: Path) -> list[tuple[Any, ...]]:
    line = f"__import__('os').mkdir({str(trace)!r})"
    return [
        (os.mkdir, str(trace)),
        (os.system, f"mkdir {trace}"),
        (eval, line),
        (exec, line),
        (getattr, Call(importlib.import_module, "os"), "mkdir"),
        (Path.mkdir, trace),
        (functools.partial, os.mkdir, str(trace)),
        (subprocess.getoutput, f"mkdir {trace}"),
        (np.fromfile, str(trace)),
        (importlib.import_module, "antigravity"),
        (pickle.loads, pickle.dumps(Code(trace))),
    ]


def _around(call: Call) -> list[Any]:
    """What other trainers save beside weights, with a call inside."""
    objects = np.empty(1, dtype=object)
    objects[0] = call
    return [
        argparse.Namespace(a=call),
        defaultdict(call.call[0]),  # the function itself, as what makes values
        defaultdict(list, a=call),
        objects,
        Call(PurePosixPath, call),
        Call(np.dtype, call),
        Call(datetime.datetime, call),
    ]


def outcome(path: Path, intact: list[State]) -> tuple[str, str]:
    """What loading a file did, in a word, and its message."""
    try:
        found = load_model(path).state_dict()
    except UnfoldError as error:
        return ("refused" if "\n" not in str(error) else "MORE THAN ONE LINE"), str(error)
    except BaseException as error:
        return "ANOTHER ERROR", repr(error)
    same = any(s.keys() == found.keys() and all(torch.equal(s[k], found[k]) for k in s) for s in intact)
    return "loaded, every number intact" if same else "LOADED SILENTLY", ""


def try_damaged(folder: Path, rng: np.random.Generator) -> bool:
    """Print the table of damaged files; whether all were refused or harmless. First, as peak memory never falls."""
    trace = folder / "code_has_run"
    intact = [state_of("usrnet", **NARROW["usrnet"])]
    files = list(damaged(folder, trace, rng))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts: dict[str, Counter[str]] = {}
    examples: dict[str, str] = {}
    slowest = 0.0
    for kind, suffix, content in files:
        path = folder / f"damaged{suffix}"
        path.write_bytes(content)
        start = time.perf_counter()
        word, message = outcome(path, [] if kind == "inert types with calls" else intact)
        slowest = max(slowest, time.perf_counter() - start)
        counts.setdefault(kind, Counter())[word] += 1
        examples.setdefault(f"{kind}: {word}", message.replace(str(folder) + os.sep, ""))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    ran = trace.exists()
    print(f"{'damaged or hostile':<26}{'files':>6}   what became of them")
    for kind, found in counts.items():
        print(f"{kind:<26}{found.total():>6}   {', '.join(f'{n} {word}' for word, n in found.items())}")
    total: Counter[str] = sum(counts.values(), Counter())
    print(f"{'together':<26}{total.total():>6}   {', '.join(f'{n} {word}' for word, n in total.items())}")
    print(f"code that ran: {'YES' if ran else 'none'}; slowest {slowest:.2f} s; peak memory grew by {grown:.0f} MB")
    print("\nfor example")
    for what, message in examples.items():
        print(textwrap.fill(f"{what}{message and ': '}{message}", 118, initial_indent="  ", subsequent_indent="      "))
    return not ran and all(word == word.lower() for word in total)


def try_layouts(folder: Path, manifests: Path | None) -> bool:
    """Print the table of what was loaded; whether all came back bit for bit."""
    print(f"\n{'loaded':<54}{'entries':>8}{'files':>7}{'without a name':>16}{'equal bit for bit':>19}")
    right = True
    for what, entries, files, nameless, equal in loaded(folder, manifests):
        print(f"{what:<54}{entries:>8}{files:>7}{nameless:>16}{equal:>19}", flush=True)
        right &= equal == files
    return right


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--manifests", type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if arguments.manifests is not None and not any(arguments.manifests.glob("*.json")):
        parser.error(f"{arguments.manifests} holds no manifests (.json)")
    with tempfile.TemporaryDirectory() as temporary:
        refused = try_damaged(Path(temporary), np.random.default_rng(arguments.seed))
        came_back = try_layouts(Path(temporary), arguments.manifests)
    return 0 if refused and came_back else 1


if __name__ == "__main__":
    sys.exit(main())
