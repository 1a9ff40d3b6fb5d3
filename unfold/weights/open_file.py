"""Weights from an open file or from bytes, for readers of paths."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from unfold.errors import UnfoldError

Source = str | Path | IO[bytes] | bytes | bytearray | memoryview


@contextmanager
def as_path_of(source: Source) -> Iterator[str | Path]:
    """A path for the source: the path itself, or a temporary file with the bytes, or with the rest of an open file.
    UnfoldError for anything else. Inside, messages name the source, not the temporary file.
    """
    if isinstance(source, (str, os.PathLike)):
        yield source if isinstance(source, str) else Path(source)
        return
    if isinstance(source, io.TextIOBase):
        raise UnfoldError(f"{_name(source)} is open as text: open it in binary mode, open(path, 'rb')")
    content: object = source.read() if hasattr(source, "read") else source
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise UnfoldError(f"weights are a path, an open binary file or bytes, not a {type(source).__name__}")
    with tempfile.TemporaryDirectory() as folder:
        # A JSON header follows its length in eight bytes.
        suffix = ".safetensors" if bytes(content[8:9]) == b"{" else ".pth"
        path = Path(folder) / f"weights{suffix}"
        path.write_bytes(content)
        try:
            yield path
        except UnfoldError as error:
            raise UnfoldError(str(error).replace(str(path), _name(source))) from None


def _name(source: object) -> str:
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the file in memory"
