"""Published weights are found by name, downloaded once, and never used unless they are what they were."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.narrow import OURS, narrow
from tests.server import Server
from unfold import load_model
from unfold.errors import UnfoldError
from unfold.models.registry import list_models
from unfold.util.download import sha256_of
from unfold.weights import resolve_weights
from unfold.weights.known_weights import WEIGHTS
from unfold.weights.resolve_weights import find_weights

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, an empty cache, and nothing beside the package."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resolve_weights, "FOLDERS", (Path("pretrained"),))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights"


@pytest.fixture
def published(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The published weights with an address lie on this machine: a narrow USRNet, of known digest for usrnet_tiny."""
    server.body = weights_file("usrnet")
    for name, weights in WEIGHTS.items():
        if weights.url:
            digest = hashlib.sha256(server.body).hexdigest() if name == "usrnet_tiny" else None
            monkeypatch.setitem(WEIGHTS, name, replace(weights, source=server.url(weights.file), sha256=digest))
    return server


def weights_file(name: str) -> bytes:
    file = io.BytesIO()
    torch.save(narrow(name).state_dict(), file)
    return file.getvalue()


def recorded(cache: Path) -> dict[str, dict[str, object]]:
    return json.loads((cache / "digests.json").read_text())


def test_the_registry_is_in_order() -> None:
    without = set(list_models()) - {weights.model for weights in WEIGHTS.values()}
    assert without <= set(OURS), "every network of the papers has weights, or a place where they are"
    files = [weights.file for weights in WEIGHTS.values()]
    assert len(set(files)) == len(files), "one folder holds them all"
    for weights in WEIGHTS.values():
        assert weights.url is None or weights.url.startswith("https://")
        assert weights.sha256 is None or re.fullmatch("[0-9a-f]{64}", weights.sha256)
    assert WEIGHTS["usrgan"].url == "https://github.com/cszn/KAIR/releases/download/v1.0/usrgan.pth"


def test_a_file_comes_before_a_name(published: Server, home: Path) -> None:
    (home / "usrnet_tiny").write_text("mine")
    assert find_weights("usrnet_tiny") == Path("usrnet_tiny")
    assert published.requests == []


@pytest.mark.parametrize("place", ["pretrained", "cache"])
def test_a_file_in_pretrained_or_in_the_cache_is_checked_and_not_downloaded(
    published: Server, home: Path, cache: Path, place: str
) -> None:
    folder = home / "pretrained" if place == "pretrained" else cache
    folder.mkdir(parents=True)
    path = folder / "usrnet_tiny.pth"
    path.write_bytes(published.body)
    assert find_weights("usrnet_tiny").samefile(path)
    path.write_bytes(published.body + b"x")
    for _ in range(2):
        with pytest.raises(UnfoldError, match=r"usrnet_tiny\.pth is another file .* move it away"):
            find_weights("usrnet_tiny")
    assert published.requests == []
    assert not (cache / "digests.json").exists(), "known digests need no record"


def test_a_name_is_downloaded_once(published: Server, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "unfold")
    for _ in range(2):
        assert find_weights("usrnet_tiny") == cache / "usrnet_tiny.pth"
    assert len(published.requests) == 1
    assert caplog.text.count("downloading") == 1
    assert "unverified" not in caplog.text


def test_an_altered_download_is_refused(published: Server, cache: Path) -> None:
    published.body = published.body[::-1]
    with pytest.raises(UnfoldError, match="sends a wrong file"):
        find_weights("usrnet_tiny")
    assert not (cache / "usrnet_tiny.pth").exists()


def test_an_unknown_digest_is_noted_recorded_and_must_stay(
    published: Server, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    path = find_weights("usrgan")
    digest = sha256_of(path)
    assert f"SHA-256 is {digest}, recorded as unverified" in caplog.text
    record = recorded(cache)["usrgan"]
    assert (record["sha256"], record["verified"]) == (digest, False)
    assert record["url"] == published.url("usrgan.pth")
    find_weights("usrnet")
    assert set(recorded(cache)) == {"usrgan", "usrnet"}
    caplog.clear()
    assert find_weights("usrgan") == path
    assert caplog.text == "", "noted once"

    path.write_bytes(weights_file("nrl_gdn"))
    with pytest.raises(UnfoldError, match="has changed since its first use") as caught:
        find_weights("usrgan")
    assert digest in str(caught.value)
    assert sha256_of(path) in str(caught.value)
    path.unlink()
    published.body = weights_file("nrl_gdn")
    with pytest.raises(UnfoldError, match="has changed since its first use"):
        find_weights("usrgan")


def test_unknown_digests_in_pretrained_are_recorded_too(
    home: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "pretrained").mkdir()
    path = home / "pretrained" / "NRL_GDN.pth"
    path.write_bytes(weights_file("nrl_gdn"))
    find_weights("nrl_gdn")
    assert f"{sha256_of(path)}, recorded as unverified" in caplog.text
    assert recorded(cache)["nrl_gdn"]["sha256"] == sha256_of(path)
    path.write_bytes(weights_file("usrnet"))
    with pytest.raises(UnfoldError, match="has changed since its first use"):
        find_weights("nrl_gdn")


def test_a_web_page_in_place_of_weights_is_neither_kept_nor_recorded(published: Server, cache: Path) -> None:
    whole, published.body = published.body, b"<html>Please log in</html>"
    with pytest.raises(UnfoldError, match=r"usrgan\.pth is no checkpoint"):
        find_weights("usrgan")
    assert not (cache / "digests.json").exists()
    published.body = whole
    assert find_weights("usrgan").read_bytes() == whole


@pytest.mark.parametrize("place", ["pretrained", "cache"])
def test_a_file_that_somebody_fetched_by_hand_is_never_deleted(home: Path, cache: Path, place: str) -> None:
    folder = home / "pretrained" if place == "pretrained" else cache
    folder.mkdir(parents=True)
    (folder / "NRL_GDN.pth").write_text("no weights")
    with pytest.raises(UnfoldError, match="no checkpoint"):
        find_weights("nrl_gdn")
    assert (folder / "NRL_GDN.pth").read_text() == "no weights"


def test_the_file_of_another_network_under_the_name_is_refused_and_not_recorded(home: Path, cache: Path) -> None:
    (home / "pretrained").mkdir()
    path = home / "pretrained" / "dgunet_deblur.pth"
    path.write_bytes(weights_file("nrl_gdn"))
    with pytest.raises(UnfoldError, match=r"holds nrl_gdn or .*, and dgunet_deblur is wanted"):
        find_weights("dgunet_deblur")
    assert not (cache / "digests.json").exists()


def test_a_name_with_an_extension_and_one_too_long(home: Path) -> None:
    with pytest.raises(UnfoldError, match="are called usrnet_tiny, without an extension"):
        find_weights("usrnet_tiny.pth")
    with pytest.raises(UnfoldError, match="cannot be a file: File name too long"):
        find_weights("x" * 300)


@pytest.mark.parametrize("content", ["{", "[]", '{"usrgan": {}}', '{"usrgan": {"sha256": 3}}'])
def test_records_that_cannot_be_read_trust_nothing(published: Server, cache: Path, content: str) -> None:
    cache.mkdir(parents=True)
    (cache / "digests.json").write_text(content)
    with pytest.raises(UnfoldError, match=r"digests\.json cannot be read"):
        find_weights("usrgan")


def test_a_digest_that_cannot_be_recorded_is_reported_and_the_weights_are_used(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "pretrained").mkdir()
    (home / "pretrained" / "NRL_GDN.pth").write_bytes(weights_file("nrl_gdn"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "file"))
    path = find_weights("nrl_gdn")
    assert path.name == "NRL_GDN.pth"
    (line,) = [message for message in caplog.messages if "could not be recorded" in message]
    assert hashlib.sha256(path.read_bytes()).hexdigest() in line
    assert str(tmp_path / "file") in line
    assert "UNFOLD_CACHE" in line


def test_weights_on_a_cloud_drive_say_where_and_where_to(cache: Path) -> None:
    with pytest.raises(UnfoldError) as caught:
        find_weights("dgunet_deblur")
    for part in (
        "Deep-Generalized-Unfolding-Networks",
        "pretrained/dgunet_deblur.pth",
        str(cache / "dgunet_deblur.pth"),
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("usernet_tiny", "did you mean usrnet_tiny"),
        ("there/usrgan.pth", "are called usrgan, without an extension"),
        ("painting", "unfold weights list"),
        ("pretrained", "name the file in it"),
    ],
)
def test_neither_a_file_nor_a_name(home: Path, text: str, expected: str) -> None:
    (home / "pretrained").mkdir()
    with pytest.raises(UnfoldError, match=f"(there is no weights file )?{text}.*") as caught:
        find_weights(text)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("own", "shared", "folder"),
    [("/a", "/b", "/a"), ("", "/b", "/b/unfold"), ("", "", "/h/.cache/unfold"), ("", "relative", "/h/.cache/unfold")],
)
def test_the_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, own: str, shared: str, folder: str
) -> None:
    for name, value in (("UNFOLD_CACHE", own), ("XDG_CACHE_HOME", shared), ("HOME", "/h")):
        monkeypatch.setenv(name, value)
    assert resolve_weights.weights_folder() == Path(folder) / "weights"


def test_a_network_is_loaded_by_the_name_of_its_weights(published: Server, home: Path) -> None:
    net, want = load_model("usrnet_tiny"), narrow("usrnet")
    assert all(torch.equal(value, want.state_dict()[key]) for key, value in net.state_dict().items())
    (home / "pretrained").mkdir()
    for name, file in (("nrl_gdn", "NRL_GDN.pth"), ("rgdn_uniform", "rgdn_uniform.pth")):
        (home / "pretrained" / file).write_bytes(weights_file(name))
        with pytest.raises(UnfoldError, match="share one layout"):
            load_model(f"pretrained/{file}")
    assert load_model("nrl_gdn").noise_model != load_model("rgdn_uniform").noise_model


def test_test_and_convert_take_names(
    published: Server, home: Path, recipe: Path, tmp_path: Path, command: Command
) -> None:
    code, out, _ = command("convert", "usrgan", "usrgan.safetensors")
    assert code == 0
    assert "usrgan.safetensors: usrnet" in out
    assert load_model("usrgan.safetensors").state_dict().keys() == narrow("usrnet").state_dict().keys()
    code, _, err = command("test", "--config", recipe, "--weights", "usrgan")
    assert code == 2
    assert f"{tmp_path / 'cache' / 'weights' / 'usrgan.pth'} do not fit" in err


def test_list_says_what_is_here_and_how_far_it_is_known(published: Server, home: Path, command: Command) -> None:
    find_weights("usrgan")
    find_weights("usrnet_tiny")
    (home / "pretrained").mkdir()
    (home / "pretrained" / "NRL_GDN.pth").write_bytes(b"123")
    code, out, _ = command("weights", "list")
    assert code == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}
    size = f"{len(published.body):,}"
    assert rows["usrnet_tiny_small"].startswith("usrnet_tiny 2,365,448 a20d9291a Set14, bicubic")
    assert rows["usrnet"] == "usrnet ? unknown to download"
    assert rows["usrgan"].startswith(f"usrnet {size} unverified /")
    assert rows["usrnet_tiny"].startswith(f"usrnet_tiny {size} known /")
    assert rows["nrl_gdn"] == "nrl_gdn 3 unknown pretrained/NRL_GDN.pth"
    assert rows["dgunet_cs_10"] == "dgunet_cs ? unknown by hand: dgunet_cs_10.pth"
    assert "state no licence" in out


def test_get_prints_path_digest_and_trust(published: Server, cache: Path, home: Path, command: Command) -> None:
    for name, trust in (("usrnet_tiny", "(verified)"), ("usrgan", "(unverified: ")):
        (home / name).touch()  # get means the published ones
        code, out, _ = command("weights", "get", name)
        assert code == 0
        path, digest = out.splitlines()[-2:]
        assert Path(path) == cache / f"{name}.pth"
        assert digest.startswith(f"SHA-256 {sha256_of(Path(path))} {trust}")
    for name, expected in (("usrgn", "did you mean usrgan"), ("nrl_gdn", "save the file as")):
        code, out, err = command("weights", "get", name)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert expected in err
