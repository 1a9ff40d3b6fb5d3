"""Weights are loaded from open files and bytes as from paths."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.narrow import narrow
from unfold import load_model
from unfold.errors import UnfoldError


def content(kind: str) -> bytes:
    state = narrow("usrnet").state_dict()
    if kind == "safetensors":
        return save(state)
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_open_files_and_bytes_give_the_network_of_the_path(kind: str, tmp_path: Path) -> None:
    data, want = content(kind), narrow("usrnet").state_dict()
    path = tmp_path / "w"
    path.write_bytes(b"head" + data)
    with path.open("rb") as file:
        file.seek(4)
        for source in (io.BytesIO(data), data, bytearray(data), memoryview(data), file):
            net = load_model(source, device=torch.device("cpu"))
            assert all(torch.equal(value, want[key]) for key, value in net.state_dict().items())
            assert not net.training


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (io.BytesIO(content("zip")[:-500]), "the file in memory is damaged"),
        (b"", "the file in memory is damaged or no checkpoint .it is empty"),
        (io.StringIO("text"), "open as text: open it in binary mode"),
        ({}, "weights are a path, an open binary file or bytes, not a dict"),
        (None, "not a NoneType"),
    ],
)
def test_what_holds_no_weights_is_refused_without_the_name_of_a_file_that_is_gone(source: Any, expected: str) -> None:
    with pytest.raises(UnfoldError, match=expected) as caught:
        load_model(source)
    assert "/tmp" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnfoldError, match="the device tpu cannot be used here"):
        load_model(content("zip"), device="tpu")
