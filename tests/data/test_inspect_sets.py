"""The doctor names what is wrong and why, finds photographs that are in two sets, and claims nothing that is not so."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.mutilated import KINDS, write_mutilated
from tests.synthetic import scene
from unfold.data import parallel
from unfold.data.catalog.inspect_sets import Report, examine
from unfold.data.catalog.overlap import Overlap, overlay
from unfold.data.images import PHOTOGRAPHS, find_images, read_image
from unfold.errors import UnfoldError
from unfold.metrics import psnr

ROOT = str(Path(__file__).parents[2])
Command = Callable[..., tuple[int, str, str]]
# As many photographs as there are scenes, each of about the size of BSDS's.
SCENES = [name for split in PHOTOGRAPHS.values() for name in split if name != "motorcycle_right.png"]


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    files = [path for split in PHOTOGRAPHS for path in find_images("photographs", split) if path.name in SCENES]
    return [np.ascontiguousarray(read_image(path)[-321:, :481]) for path in files]


def save(picture: np.ndarray, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


def texts_of(report: Report, kind: str) -> list[str]:
    return [finding.text for finding in report.findings if finding.kind == kind]


def overlaps(report: Report) -> list[tuple[str, str, Overlap]]:
    return [(pair.first.name, pair.second.name, pair.how) for pairs in report.shared.values() for pair in pairs]


def test_every_mutilated_file_is_named_with_its_reason(tmp_path: Path, command: Command) -> None:
    expected = write_mutilated(tmp_path / "bad", 5 * len(KINDS))
    for seed in range(30):
        save(scene(seed=seed), tmp_path / "bad" / f"good{seed}.png")
    code, out, err = command("data", "doctor", tmp_path, "--json", tmp_path / "report.json")
    assert (code, err) == (1, "")
    assert_named(expected, tmp_path / "report.json")
    for path, (error, _) in expected.items():
        assert not error or str(path) in out, "no error is left out of the text"
    assert "good" not in out


def assert_named(expected: dict[Path, tuple[bool, str]], report: Path) -> None:
    findings = json.loads(report.read_text())["findings"]
    of_path = {path: finding for finding in findings for path in finding["paths"]}
    assert set(of_path) == {str(path) for path in expected}
    for path, (error, reason) in expected.items():
        finding = of_path[str(path)]
        assert finding["error"] == error, finding
        assert re.search(reason, finding["text"]), finding
        assert str(path) in finding["text"]
        assert "\n" not in finding["text"]


# Run the command with 500 MB for all that a process holds, its workers likewise (they inherit the limit).
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (500_000_000, 500_000_000))
from unfold.cli import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_five_hundred_mutilated_files_take_little_memory(tmp_path: Path) -> None:
    expected = write_mutilated(tmp_path / "bad", 500)
    for seed in range(60):
        save(scene(seed=seed), tmp_path / "bad" / f"good{seed}.png")
    (tmp_path / "limited.py").write_text(LIMITED)
    command = [sys.executable, tmp_path / "limited.py", "data", "doctor", tmp_path / "bad"]
    command += ["--json", tmp_path / "report.json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ROOT})
    assert (result.returncode, result.stderr) == (1, "")
    assert_named(expected, tmp_path / "report.json")


def test_copies_crops_and_other_formats_are_found_and_no_other_photograph_is(
    photographs: list[np.ndarray], tmp_path: Path
) -> None:
    for i, picture in enumerate(photographs):
        save(picture, tmp_path / "all" / "train" / f"{i}.png")
    first, second, third, fourth, fifth = photographs[:5]
    save(first[:-1, :-1], tmp_path / "all" / "test" / "less.png")
    save(second, tmp_path / "all" / "test" / "encoded.jpg", quality=75)
    save(third[100:260, 200:440], tmp_path / "all" / "test" / "quarter.png")
    save(fourth, tmp_path / "all" / "test" / "copy.bmp")
    half = np.asarray(Image.fromarray(fifth).resize((240, 160), Image.Resampling.LANCZOS))
    save(np.rot90(half), tmp_path / "all" / "test" / "small_and_turned.png")
    save(np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8), tmp_path / "all" / "test" / "n.png")
    report = examine([str(tmp_path)])
    assert set(report.shared) == {("all/test", "all/train")}
    found = {first: (second, how) for first, second, how in overlaps(report)}
    assert {first: second for first, (second, _) in found.items()} == {
        "less.png": "0.png",
        "encoded.jpg": "1.png",
        "quarter.png": "2.png",
        "copy.bmp": "3.png",
        "small_and_turned.png": "4.png",
    }
    assert [name for name, (_, how) in found.items() if how.equal] == ["copy.bmp", "less.png", "quarter.png"]
    quarter = found["quarter.png"][1]
    assert quarter.corner == (-100, -200)
    assert quarter.covers[0] == 1
    assert abs(quarter.covers[1] - 0.25) < 0.01
    turned = found["small_and_turned.png"][1]
    assert abs(turned.scale - 2) < 0.02
    assert abs(abs(turned.turn) - 90) < 1
    assert min(how.correlation for _, how in found.values()) > 0.97
    assert report.errors == 0, "it is a warning: some sets are crops of others"


def test_what_is_covered_is_a_share_of_either_picture_whatever_their_scale(photographs: list[np.ndarray]) -> None:
    whole = photographs[0][:320, :480]
    half = np.asarray(Image.fromarray(whole).resize((240, 160), Image.Resampling.LANCZOS))
    part = whole[80:240, 120:360]
    found = overlay(half, part, np.array([[2.0, 0, -120], [0, 2, -80]]))
    assert found is not None
    assert found.scale == 2
    assert found.covers == pytest.approx((0.25, 1), abs=0.01)
    back = overlay(part, half, np.array([[0.5, 0, 60], [0, 0.5, 40]]))
    assert back is not None
    assert back.covers == pytest.approx((1, 0.25), abs=0.01)


def test_photographs_of_one_set_are_not_compared_but_for_copies(photographs: list[np.ndarray], tmp_path: Path) -> None:
    save(photographs[0], tmp_path / "a.png")
    save(photographs[0][5:], tmp_path / "b.png")
    save(photographs[0], tmp_path / "c.bmp")
    report = examine([str(tmp_path)])
    assert report.shared == {}
    assert texts_of(report, "duplicate") == [f"the same pixels: {tmp_path / 'a.png'}, {tmp_path / 'c.bmp'}"]


def test_of_pairs_the_targets_are_compared_and_two_paths_with_one_another(
    photographs: list[np.ndarray], tmp_path: Path, command: Command
) -> None:
    save(photographs[0], tmp_path / "rain" / "input" / "1.png")
    save(photographs[1], tmp_path / "rain" / "target" / "1.png")
    for i, picture in enumerate(photographs[:2]):
        save(picture, tmp_path / "clean" / f"{i}.png")
    report = examine([str(tmp_path / "rain"), str(tmp_path / "clean")])
    assert [(a, b, how.equal) for a, b, how in overlaps(report)] == [("1.png", "1.png", True)]
    assert list(report.shared) == [(str(tmp_path / "rain"), str(tmp_path / "clean"))]
    code, out, _ = command("data", "doctor", tmp_path / "rain", tmp_path / "clean")
    assert code == 0, out
    assert f"    {tmp_path / 'clean' / '1.png'} is {tmp_path / 'rain' / 'target' / '1.png'}\n" in out


def test_pairs_are_checked_and_measured(tmp_path: Path, command: Command) -> None:
    rng = np.random.default_rng(0)
    expected = {}
    for i in range(5):
        clean = scene(seed=i)
        noisy = np.clip(clean + rng.normal(0, 5 * (i + 1), clean.shape), 0, 255).astype(np.uint8)
        expected[str(save(noisy, tmp_path / "test" / "input" / f"{i}.png"))] = psnr(noisy, clean)
        save(clean, tmp_path / "test" / "target" / f"{i}.png")
    paths = sorted(expected, key=expected.get)  # type: ignore[arg-type]
    mean = sum(expected.values()) / 5
    code, out, _ = command("data", "doctor", tmp_path, "--json", tmp_path / "report.json")
    assert code == 0
    span = f"{expected[paths[0]]:.2f} to {expected[paths[-1]]:.2f}"
    assert f"5 pairs, PSNR of the inputs {mean:.3f} dB ({span}); worst:" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("      ")] == paths[:3]
    (one,) = json.loads((tmp_path / "report.json").read_text())["sets"]
    assert one["psnr"] == pytest.approx(expected, abs=1e-9)

    alone = save(scene(), tmp_path / "test" / "input" / "alone.png")
    lost = save(scene(), tmp_path / "test" / "target" / "lost.png")
    save(scene(32, 64), tmp_path / "test" / "input" / "0.png")
    save(scene(seed=1), tmp_path / "test" / "input" / "1.png")
    report = examine([str(tmp_path)])
    assert texts_of(report, "unpaired") == [f"{path} has no partner of the same name" for path in (alone, lost)]
    sizes, same = texts_of(report, "pair")
    assert re.search(r"input.0\.png is 64x32, .*target.0\.png 64x64, .*: a pair has one size", sizes)
    assert re.search(r"input.1\.png and .*target.1\.png are the same", same)
    assert report.errors == 3, "the same twice is no error"


def test_layouts_that_are_no_pairs_are_reported(tmp_path: Path) -> None:
    save(scene(), tmp_path / "half" / "rainy" / "1.png")
    save(scene(), tmp_path / "double" / "gt" / "1.png")
    save(scene(), tmp_path / "double" / "input" / "1.png")
    save(scene(), tmp_path / "double" / "input" / "1.bmp")
    save(scene(), tmp_path / "side" / "a_blur1.png")
    save(scene(seed=1), tmp_path / "side" / "a_sharp1.png")
    save(scene(seed=2), tmp_path / "side" / "b_sharp1.png")
    save(scene(seed=3), tmp_path / "names" / "unreal_real.png")
    save(scene(seed=4), tmp_path / "names" / "other.png")
    (tmp_path / "half" / "target").mkdir()
    report = examine([str(tmp_path)])
    texts = "\n".join(texts_of(report, "unpaired"))
    assert re.search(r"1\.bmp and 1\.png have one name|1\.png and 1\.bmp have one name", texts)
    assert re.search(r"rainy has no folder of targets beside it that is looked at", texts)
    assert "b_sharp1.png has no partner" in texts
    assert texts.count("\n") == 2, "a name that ends in _real is no pair by itself"
    assert report.errors == 2


def test_sizes_are_held_against_the_network(tmp_path: Path, command: Command) -> None:
    small = save(scene(12, 64), tmp_path / "a.png")
    save(scene(64, 64), tmp_path / "b.png")
    code, out, _ = command("data", "doctor", tmp_path)
    assert (code, "multiple" in out) == (0, False)
    code, out, _ = command("data", "doctor", tmp_path, "--model", "usrnet_tiny")
    assert code == 0
    assert "1 have a side that is no multiple of 8: usrnet_tiny pads them" in out
    save(scene(6, 64), small)
    code, out, _ = command("data", "doctor", tmp_path, "--model", "dgunet_denoise")
    assert code == 1
    assert f"{small} is 64x6 pixels, and at least 8x8 are needed" in out


def test_files_are_seen_once_also_through_links(tmp_path: Path) -> None:
    picture = save(scene(), tmp_path / "sets" / "train" / "a.png")
    (tmp_path / "sets" / "loop").symlink_to(tmp_path / "sets")
    (tmp_path / "elsewhere").mkdir()
    save(scene(seed=1), tmp_path / "elsewhere" / "b.png")
    (tmp_path / "sets" / "test").symlink_to(tmp_path / "elsewhere")
    report = examine([str(tmp_path / "sets"), str(picture)])
    assert sorted(path.name for one in report.sets for path in one.files) == ["a.png", "b.png"]
    assert [Path(one.name).name for one in report.sets] == ["test", "train"]


def test_bad_arguments_are_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "root"))
    save(scene(), tmp_path / "root" / "mine" / "a.png")
    assert command("data", "doctor", "mine")[0] == 0
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        (("nowhere",), "there is no nowhere, nor"),
        ((tmp_path / "empty",), "holds no images"),
        (("mine", "--model", "usrnett"), "did you mean usrnet"),
    ]:
        code, out, err = command("data", "doctor", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    with pytest.raises(UnfoldError, match="there is no nowhere"):
        examine(["mine", "nowhere"])


def test_processes_find_the_same(
    photographs: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(64):
        file = io.BytesIO()
        Image.fromarray(scene(seed=i)).save(file, "PNG")
        path = tmp_path / "train" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.getvalue()[: 500 if i == 3 else None])
    save(photographs[0], tmp_path / "train" / "a.png")
    save(photographs[0][20:, 30:], tmp_path / "test" / "b.png")
    reports = []
    for count in (1, 2):
        monkeypatch.setattr(parallel, "processors", lambda count=count: count)
        reports.append(examine([str(tmp_path)]))
    one, two = reports
    assert one == two
    assert len(overlaps(two)) == 1
    assert two.errors == 1


# Run the command with processes that end as if they were killed.
KILLED = """
import os, sys
from unfold.cli import main
from unfold.data import parallel
from unfold.data.catalog import inspect_sets
parallel.processors = lambda: 2
def end(unit):
    os._exit(9)
inspect_sets._examine = end
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def test_a_process_that_is_killed_is_reported_in_one_line(tmp_path: Path) -> None:
    for i in range(64):
        (tmp_path / f"{i}.png").touch()
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, tmp_path / "killed.py", "data", "doctor", tmp_path]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ROOT}, timeout=60
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "reading images: a process was ended from outside" in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


def test_an_unreadable_target_does_not_mix_up_the_photographs(photographs: list[np.ndarray], tmp_path: Path) -> None:
    for i, picture in enumerate(photographs[:4]):
        save(picture, tmp_path / "train" / "input" / f"{i}.png")
        save(picture // 2, tmp_path / "train" / "target" / f"{i}.png")
        save(picture[10:, 20:] // 2, tmp_path / "test" / f"{i}.png")
    broken = tmp_path / "train" / "target" / "0.png"
    broken.write_bytes(b"nothing")
    report = examine([str(tmp_path)])
    assert [finding.paths for finding in report.findings if finding.error] == [(broken,)]
    (found,) = report.shared.values()
    test, train = tmp_path / "test", tmp_path / "train"
    assert [(pair.first, pair.second) for pair in found] == [
        (test / "0.png", train / "input" / "0.png"),
        *((test / f"{i}.png", train / "target" / f"{i}.png") for i in (1, 2, 3)),
    ]


def test_sets_without_anything_readable_or_without_corners_are_reported(tmp_path: Path, command: Command) -> None:
    garbage = tmp_path / "bad" / "a.png"
    garbage.parent.mkdir()
    garbage.write_bytes(b"garbage")
    code, out, err = command("data", "doctor", garbage.parent)
    assert (code, err) == (1, "")
    assert "1 images: none readable" in out
    assert f"{garbage} is not an image" in out
    for name in ("train", "test"):
        save(np.full((64, 64, 3), len(name), np.uint8), tmp_path / "flat" / name / "a.png")
    assert examine([str(tmp_path / "flat")]).shared == {}


def test_files_are_taken_whatever_their_extension(tmp_path: Path, command: Command) -> None:
    for name in ("x.dat", "x"):
        path = save(scene(), tmp_path / name, format="PNG")
        code, out, err = command("data", "doctor", path)
        assert (code, err) == (0, "")
        assert f"{path} is PNG by its content" in out
    path.write_bytes(b"numbers")
    assert command("data", "doctor", path)[0] == 1


# A pipe that is opened would keep the test waiting: it is run as a process that can be ended.
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_links_to_themselves_are_reported_and_not_opened(tmp_path: Path) -> None:
    pipe, loop, lost = (tmp_path / "set" / f"{name}.png" for name in ("pipe", "loop", "lost"))
    save(scene(), tmp_path / "set" / "good.png")
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    lost.symlink_to(tmp_path / "nowhere.png")
    code = "import sys; from unfold.cli import main; sys.exit(main())"
    for arguments in ([tmp_path / "set"], [pipe]):
        command = [sys.executable, "-c", code, "data", "doctor", *arguments]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ROOT}, timeout=60
        )
        assert (result.returncode, result.stderr) == (1, "")
        assert f"{pipe} is no regular file, and is not opened" in result.stdout
    findings = {finding.paths: finding.text for finding in examine([str(tmp_path / "set")]).findings}
    assert set(findings) == {(pipe,), (loop,), (lost,)}
    assert findings[loop,].startswith(f"{loop} cannot be read: ")
    assert findings[lost,] == f"there is no image {lost}"
