"""Messages for files that are not loaded: what they contain, and how to save their weights alone."""

from __future__ import annotations

import contextlib
import io
import pickletools
import warnings
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import torch
from torch import Tensor

from unfold.errors import one_line
from unfold.weights.inert_types import STAND_INS, LeftOut, LeftOutDict, inert

SHOWN, LONGEST = 5, 100  # number of names, and length of each
# Types that torch itself allows.
OF_PYTHON = (
    *("collections.OrderedDict", "collections.Counter", "_codecs.encode"),
    *("builtins.bytearray", "builtins.set", "builtins.complex"),
)
OF_TORCH = ("torch._utils.", "torch._tensor.", "torch.serialization.", "torch.storage.", "torch.nn.parameter.")
# Modules whose functions run commands: weights never need them, and such a file should not be loaded.
COMMANDS = ("os", "posix", "nt", "sys", "subprocess", "builtins", "runpy", "shutil", "importlib", "ctypes", "socket")
# Files that are not weights, by their first bytes (ignoring case), and the remedy.
_COMPRESSED = "packed ({}), as a download or an archive is: unpack it first, and give the file in it"
_INSTEAD = {
    b"version https://git-lfs": "a pointer of git-LFS, and not the weights: `git lfs pull` in that repository "
    "fetches them",
    **dict.fromkeys(
        (b"<!doctype", b"<html", b"<head", b"<?xml"),
        "a page of the web, and not the weights, as a site gives that wants a click or a password first: get the file "
        "itself",
    ),
    b"\x1f\x8b": _COMPRESSED.format("gzip"),
    b"bzh": _COMPRESSED.format("bzip2"),
    b"\xfd7zxz": _COMPRESSED.format("xz"),
    b"(\xb5/\xfd": _COMPRESSED.format("zstandard"),
    b"7z\xbc\xaf\x27\x1c": _COMPRESSED.format("7z"),
    b"rar!": _COMPRESSED.format("rar"),
    b"\x89hdf\r\n": "HDF5, as Keras writes it, and not what torch.save writes",
    b"{": "text, such as JSON, and not the weights",
    b"gguf": "GGUF, and not what torch.save writes",
}
_MAGIC = 0x1950A86A20F9469CFC6C  # start of torch's legacy format


class _Scan(NamedTuple):
    """Facts from the instructions of a file's pickles.

    types: the types and functions that they name; plain: a pickle not written by torch.save; protocol: the highest.
    """

    types: list[str]
    plain: bool
    protocol: int | None


def why_refused(path: Path) -> str:
    """Why a torch file is refused that is more than tensors and plain values; no code in it runs."""
    scan = _scanned(path)
    foreign = [name for name in scan.types if name not in STAND_INS and not _of_torch(name)]
    if commands := [name for name in foreign if name.partition(".")[0] in COMMANDS]:
        return (
            f"{path} holds more than weights, and code in a file is never run: it calls {some(commands)}, which no "
            "checkpoint needs: load it nowhere"
        )
    if not scan.types and scan.protocol is None:
        return f"{path} is no checkpoint: it is neither what torch.save writes nor a safetensors file"
    if not foreign and not scan.plain and scan.protocol == 2:
        return f"{path} is damaged, or holds more than weights: a value in it cannot be read safely"
    load, has = "torch.load({0}, map_location='cpu', weights_only=False)", f"it has {some(foreign)}"
    if scan.plain:
        load = "pickle.load(open({0}, 'rb'))"
        has = "it is a plain pickle" + (f" with {some(foreign)}" if foreign else "")
    elif not foreign:
        has = f"it is written with pickle protocol {scan.protocol}, and only 2 can be read safely"
    lines = saving(path, load, _where_weights_are(path, foreign, scan))
    return (
        f"{path} holds more than weights, and code in a file is never run: {has}. Where you trust its author, save "
        f"its weights alone, in Python: {lines}"
    )


def instead_of_weights(path: Path) -> str:
    """What to say of a file that is by its beginning none of torch or safetensors, but usual in their place; or ""."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"\x93NUMPY"):
        lines = saving(
            path, "numpy.load({0}, allow_pickle=True).item()", "{k: torch.as_tensor(v) for k, v in content.items()}"
        )
        return (
            f"{path} holds an array of NumPy; where it is a dict of arrays and you trust its author, in Python: {lines}"
        )
    if start[257:262] == b"ustar":
        return f"{path} is no checkpoint: it is {_COMPRESSED.format('tar')}"
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    return next(
        (f"{path} is no checkpoint: it is {what}" for mark, what in _INSTEAD.items() if head.startswith(mark)), ""
    )


def torchscript(path: Path) -> str:
    return (
        f"{path} is TorchScript, a network together with its code, which is never run; save its weights alone, in "
        f"Python: content = torch.jit.load({str(path)!r}, map_location='cpu'); "
        "torch.save(content.state_dict(), 'weights.pth')"
    )


def names_all_arrays(archive: zipfile.ZipFile) -> bool:
    """Whether a zip file is what numpy.savez writes."""
    names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def numpy_archive(path: Path) -> str:
    """Message for NumPy arrays: how to save them as tensors."""
    lines = saving(path, "numpy.load({0})", "{k: torch.as_tensor(content[k]) for k in content.files}")
    return f"{path} holds arrays of NumPy; save them as tensors, in Python: {lines}"


def arrays_for_tensors(content: object, path: Path) -> str:
    """How to save left-out arrays as tensors; "" if there is no dict of them."""
    waiting: deque[tuple[str, object]] = deque([("content", content)])
    seen = set()
    while waiting:
        place, value = waiting.popleft()
        if not isinstance(value, Mapping) or id(value) in seen:
            continue
        seen.add(id(value))
        if sum(isinstance(one, LeftOut) for one in value.values()) > 1:
            load = "torch.load({0}, map_location='cpu', weights_only=False)"
            lines = saving(path, load, f"{{k: torch.as_tensor(v) for k, v in {place}.items()}}")
            return f"; where these are arrays and you trust the author, save them as tensors, in Python: {lines}"
        waiting += [(f"{place}[{key!r}]", one) for key, one in value.items()]
    return ""


def saving(path: Path, load: str, weights: str) -> str:
    """Two Python statements in one line."""
    return one_line(f"content = {load.format(repr(str(path)))}; torch.save({weights}, 'weights.pth')")


def some(names: Iterable[str]) -> str:
    """The first few names, and how many there are."""
    known = [one_line(name if len(name) <= LONGEST else f"{name[:LONGEST]}...") for name in names]
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"{', '.join(known[:SHOWN])}{more}"


def _of_torch(name: str) -> bool:
    known = name.startswith(OF_TORCH) and name != "torch.storage._load_from_bytes"
    module, _, short = name.rpartition(".")
    plain = module == "torch" and isinstance(getattr(torch, short, None), type | torch.dtype)
    return known or plain or name in OF_PYTHON


def _scanned(path: Path) -> _Scan:
    """Read the instructions of a file one by one without executing any."""
    found: dict[str, None] = {}
    plain, protocols = True, []
    with contextlib.suppress(Exception), _pickles(path) as file:  # end of file, or not a pickle: use what was found
        plain = not isinstance(file, io.BytesIO)
        for _ in range(5):  # the legacy format: a number, a version, sizes, the content, and names of storages
            words: list[str] = []
            for op, argument, _ in pickletools.genops(file):
                if op.name in ("GLOBAL", "INST"):
                    found[_full(*str(argument).split(" ", 1))] = None
                elif op.name == "STACK_GLOBAL" and len(words) == 2:
                    found[_full(*words)] = None
                elif isinstance(argument, str):
                    words = [*words[-1:], argument]
                elif op.name == "PROTO" and argument is not None:
                    protocols.append(int(argument))
                plain &= argument != _MAGIC
    return _Scan(list(found), plain, max(protocols, default=None))


def _full(module: str, name: str) -> str:
    return f"{'builtins' if module == '__builtin__' else module}.{name}"


def _pickles(path: Path) -> IO[bytes]:
    if not zipfile.is_zipfile(path):
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl"))
        return io.BytesIO(archive.read(name))


def _where_weights_are(path: Path, foreign: list[str], scan: _Scan) -> str:
    """Python code for the state dict in ``content``; a guess where it cannot be found.

    The file is read again, without its numbers, and with stand-ins for all types that it names.
    """
    content: object = None
    for kind in (LeftOut, LeftOutDict):  # an object, or a dict subclass
        with contextlib.suppress(Exception), inert(foreign, kind), warnings.catch_warnings():  # otherwise guess
            warnings.simplefilter("ignore")
            with path.open("rb") as file:
                content = torch.load(file, map_location="meta", weights_only=True)
            break
    if isinstance(content, LeftOut):
        return "content.state_dict()"
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Mapping) and any(isinstance(one, Tensor) for one in value.values()):
            return f"content[{key!r}]"
        if isinstance(value, LeftOut) and any(mark in str(key).lower() for mark in ("model", "net", "gen", "ema")):
            return f"content[{key!r}].state_dict()"
    if any(name.startswith("torch.nn.modules.") for name in foreign):
        inside = "{k: v.state_dict() for k, v in content.items() if hasattr(v, 'state_dict')}"
        return f"getattr(content, 'state_dict', lambda: {inside})()"
    if any(name.startswith("numpy.") for name in scan.types) and scan.plain:
        return "{k: torch.as_tensor(v) for k, v in content.items() if hasattr(v, 'dtype')}"
    return "{k: v for k, v in content.items() if isinstance(v, (dict, torch.Tensor))}"
