"""`unfold restore`: what goes in, where it comes out, what is reported, and what is never overwritten."""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.inference.test_picture_files import PROFILE, hostile
from tests.narrow import ARGUMENTS, narrow, saved
from tests.synthetic import scene
from unfold import restore
from unfold.cli import restore_command as module
from unfold.data.formats.kernel_files import read_kernels
from unfold.errors import UnfoldError
from unfold.inference import tile_memory
from unfold.inference.collect_files import find_jobs
from unfold.inference.kernel_and_noise import estimated_sigma, gaussian, named_kernel
from unfold.inference.photographs import tasks
from unfold.inference.photographs.evidence import gather
from unfold.inference.photographs.reductions import kernel_of
from unfold.inference.photographs.tasks import bicubic, first_assumption
from unfold.inference.picture_files import Picture, read_picture, write_picture
from unfold.physics.kernels import bicubic_kernel, gaussian_kernel, normalised, shift_kernel

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def blind(tmp_path: Path) -> Path:
    """Weights of a network that takes nothing but the picture."""
    return saved("dgunet_deblur", tmp_path / "blind.pth")


@pytest.fixture
def usrnet(tmp_path: Path) -> Path:
    return saved("usrnet", tmp_path / "usrnet.pth")


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "unfold")


def test_a_folder_is_restored_with_its_folders_and_goes_on_where_it_stopped(
    blind: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    (pictures / "inner").mkdir()
    Image.fromarray(scene(20, 30, seed=7)).save(pictures / "inner" / "picture0.png")
    (pictures / "notes.txt").write_text("no picture")
    (pictures / ".hidden.png").write_text("no picture")
    out = pictures / "out"
    code, printed, _ = command("restore", pictures, "-o", out, "--weights", blind)
    assert (code, printed) == (0, "restored 4\nleft out 1: 1 .txt\n")
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["inner/picture0.png", "picture0.png", "picture1.png", "picture2.png"]
    expected = restore(scene(20, 30, seed=7), narrow("dgunet_deblur"))
    np.testing.assert_array_equal(read_picture(out / "inner" / "picture0.png").pixels, expected)

    (out / "picture1.png").unlink()
    before = (out / "picture0.png").stat().st_mtime_ns
    code, printed, _ = command("restore", pictures, "-o", out, "--weights", blind)
    assert (code, printed) == (0, "restored 1; 3 already existed (--overwrite replaces them)\nleft out 1: 1 .txt\n")
    assert (out / "picture0.png").stat().st_mtime_ns == before
    assert (
        command("restore", pictures, "-o", out, "--weights", blind, "--overwrite")[1]
        == "restored 4\nleft out 1: 1 .txt\n"
    )
    assert (out / "picture0.png").stat().st_mtime_ns > before


def test_one_file_goes_into_the_file_or_the_folder_that_is_named(
    blind: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    one = pictures / "picture0.png"
    assert command("restore", one, "-o", tmp_path / "deep" / "x.tif", "--weights", blind)[0] == 0
    assert command("restore", one, "-o", tmp_path / "folder", "--weights", blind)[0] == 0
    a, b = (read_picture(tmp_path / name).pixels for name in ("deep/x.tif", "folder/picture0.png"))
    np.testing.assert_array_equal(a, b)
    assert not list(tmp_path.rglob("*.part"))


def test_pictures_that_fail_do_not_stop_the_others_and_are_listed(
    blind: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY", 0.0)
    monkeypatch.setattr(module, "available", lambda device: 0)
    monkeypatch.setattr(module, "read_picture", lambda path, largest: read_picture(path, 200e6))
    folder = tmp_path / "in"
    folder.mkdir()
    names = hostile(folder)
    bad = [path for name, (path, _) in names.items() if name not in ("folder.png", "none.png")]
    Image.fromarray(scene(16, 16)).save(folder / "good.png")
    code, printed, err = command("restore", folder, "-o", tmp_path / "out", "--weights", blind)
    assert code == 1
    assert err == ""
    assert printed.startswith("restored 2\n"), "good.png and deep.png"
    assert f"failed {len(bad)}:" in printed
    for path in bad:
        assert sum(str(path) in line for line in printed.splitlines()) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["deep.png", "good.png"]


def test_when_all_fail_the_exit_code_is_2(blind: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "a.png").write_text("nothing")
    code, printed, _ = command(
        "restore", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "o", "--weights", blind
    )
    assert code == 2
    assert printed.count("\n") == 4
    assert "there is no picture" in printed


def test_what_a_picture_brings_along_comes_out_again(usrnet: Path, tmp_path: Path, command: Command) -> None:
    alpha = np.full((16, 24), 500, np.uint16)
    write_picture(tmp_path / "a.png", Picture(scene(16, 24).astype(np.uint16) * 257, alpha, PROFILE))
    words = ("--weights", usrnet, "--scale", 2, "--kernel", "gauss:1", "--sigma", 5)
    assert command("restore", tmp_path / "a.png", "-o", tmp_path / "o", *words)[0] == 0
    found = read_picture(tmp_path / "o" / "a.png")
    assert (found.pixels.shape, found.pixels.dtype) == ((32, 48, 3), np.uint16)
    assert (found.alpha == 500).all()
    assert found.profile == PROFILE
    given = {"kernel": gaussian(1, 2), "scale": 2, "sigma": 5 / 255}
    expected = restore(scene(16, 24).astype(np.uint16) * 257, narrow("usrnet"), **given)
    np.testing.assert_allclose(found.pixels.astype(int), expected, atol=1)  # another memory layout rounds otherwise


def test_a_grey_picture_stays_grey_and_it_is_noted(blind: Path, tmp_path: Path, command: Command) -> None:
    grey = scene(32, 24)[..., :1]
    write_picture(tmp_path / "g.png", Picture(grey))
    code, printed, _ = command("restore", tmp_path / "g.png", "-o", tmp_path / "o", "--weights", blind)
    assert code == 0
    assert f"three equal channels and averaged: {tmp_path / 'g.png'}" in printed
    found = read_picture(tmp_path / "o" / "g.png").pixels
    net = narrow("dgunet_deblur")
    with torch.inference_mode():
        y = torch.from_numpy(np.repeat(grey, 3, axis=2) / np.float32(255)).permute(2, 0, 1)[None]
        mean = net(y)[0].mean(0).clamp(0, 1).numpy()
    np.testing.assert_array_equal(found[..., 0], np.rint(mean * 255))


def test_a_network_of_one_channel_restores_a_grey_picture_as_it_is_without_a_note(
    tmp_path: Path, command: Command
) -> None:
    grey = scene(32, 24)[..., :1]
    write_picture(tmp_path / "g.png", Picture(grey))
    net = narrow("dgunet_deblur", channels=1)
    model = {"name": "dgunet_deblur", "arguments": {**ARGUMENTS["dgunet_deblur"], "channels": 1}}
    torch.save({"state_dict": net.state_dict(), "model": model}, tmp_path / "one.pth")
    given = ("-o", tmp_path / "o", "--weights", tmp_path / "one.pth")
    code, printed, _ = command("restore", tmp_path / "g.png", *given)
    assert (code, printed.strip()) == (0, "restored 1")
    options = module.Options({}, False, "auto", False, "float32", alone=False)
    worker = module._Worker(str(tmp_path / "one.pth"), None, None, {}, "cpu", options)
    try:
        done = worker.run(find_jobs([str(tmp_path / "g.png")], tmp_path / "j", None, Counter())[0])
    finally:
        module.logger.removeFilter(worker._note)
    assert done is not None
    assert not done.grey, "nor by one of several processes"
    with torch.inference_mode():
        y = torch.from_numpy(grey / np.float32(255)).permute(2, 0, 1)[None]
        expected = net(y)[0].permute(1, 2, 0).clamp(0, 1).numpy()
    np.testing.assert_array_equal(read_picture(tmp_path / "o" / "g.png").pixels, np.rint(expected * 255))


def test_in_tiles_the_difference_to_the_whole_is_reported(
    blind: Path, pictures: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(scene(90, 70)).save(tmp_path / "a.png")
    assert command("restore", tmp_path / "a.png", "-o", tmp_path / "o", "--weights", blind, "--tile", 64)[0] == 0
    assert "a.png: 12 tiles of 64 pixels with a halo of 16. On its middle, 70x90, they differ" in caplog.text
    caplog.clear()
    command("restore", tmp_path / "a.png", "-o", tmp_path / "p", "--weights", blind)
    assert "tiles" not in caplog.text


def test_without_a_kernel_enlarging_chooses_one_for_each_picture_as_the_task_does(
    usrnet: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "implausible", lambda *arguments: None)  # random weights
    Image.fromarray(scene(16, 16)).save(tmp_path / "a.png")
    words = ("restore", tmp_path / "a.png", "--weights", usrnet, "-o")
    assert command(*words, tmp_path / "3", "--scale", 3)[0] == 0
    assert "no --kernel is given; it is estimated from each picture" in caplog.text
    assert "a.png: found no trace of JPEG, no noise in its smoothest parts" in caplog.text
    evidence = gather(scene(16, 16))
    assumed = first_assumption(evidence, 3)
    np.testing.assert_array_equal(assumed["kernel"], kernel_of(evidence.ways[0], 3))

    def differing(folder: str, **other: Any) -> float:
        """The share of values; what lies between two levels is rounded either way, as Fourier transforms happen to."""
        found = read_picture(tmp_path / folder / "a.png").pixels.astype(int)
        return float((found != restore(scene(16, 16), narrow("usrnet"), scale=3, **{**assumed, **other})).mean())

    assert differing("3") < 1e-3
    assert differing("3", sigma=15 / 255) > 1e-2
    assert command(*words, tmp_path / "15", "--scale", 3, "--sigma", 15)[0] == 0
    assert differing("15", sigma=15 / 255) < 1e-3


def test_enlarging_without_a_kernel_is_guarded(
    usrnet: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "implausible", lambda *arguments: "it rings")
    Image.fromarray(scene(16, 16)).save(tmp_path / "a.png")
    assert command("restore", tmp_path / "a.png", "--weights", usrnet, "-o", tmp_path / "o", "--scale", 2)[0] == 0
    np.testing.assert_array_equal(read_picture(tmp_path / "o" / "a.png").pixels, bicubic(scene(16, 16), 2))
    assert "the network's results were refused (it rings); enlarged by bicubic interpolation instead" in caplog.text


def test_the_published_kernel_and_noise_of_usrnet_can_be_named(
    usrnet: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(scene(16, 16)).save(tmp_path / "a.png")
    words = ("restore", tmp_path / "a.png", "--weights", usrnet, "-o")
    assert command(*words, tmp_path / "3", "--scale", 3, "--kernel", "gauss:1.5")[0] == 0
    assert "assuming noise of 2 (of 255)" in caplog.text
    assert "next to nothing will change" not in caplog.text
    kernel = normalised(shift_kernel(gaussian_kernel(25, 1.5), 3))
    found = read_picture(tmp_path / "3" / "a.png").pixels.astype(int)

    def differing(**other: Any) -> float:
        """The share of values; what lies between two levels is rounded either way, as Fourier transforms happen to."""
        expected = {"kernel": kernel, "scale": 3, "sigma": 2 / 255, **other}
        return float((found != restore(scene(16, 16), narrow("usrnet"), **expected)).mean())

    assert differing() < 1e-3
    assert differing(sigma=15 / 255) > 1e-2
    assert differing(kernel=gaussian_kernel(25, 1.5)) > 1e-2
    assert command(*words, tmp_path / "1", "--sigma", "estimate")[0] == 0
    assert "at scale 1 is hardly a blur, and next to nothing will change" in caplog.text
    assert "a.png: estimated noise" in caplog.text


@pytest.mark.parametrize(("scale", "across", "down"), [(1, 3, 3), (2, 5, 2)])
def test_the_sheet_of_kernels_has_a_panel_for_each(
    scale: int, across: int, down: int, usrnet: Path, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(scene(60, 50)).save(tmp_path / "a.jpg")
    words = ("restore", tmp_path / "a.jpg", "--weights", usrnet, "--scale", scale, "--kernel", "grid", "-o")
    code, printed, _ = command(*words, tmp_path / "o")
    assert code == 0
    assert "a.png: the same detail" in printed
    with Image.open(tmp_path / "o" / "a.png") as sheet:
        assert sheet.size == (across * 248 - 8, down * 266)
        panels = np.asarray(sheet)
    places = [(266 * row, 248 * column) for row in range(down) for column in range(across)]
    corners = {panels[y : y + 50, x : x + 50].tobytes() for y, x in places}
    assert len(corners) == 8 + scale
    assert command(*words, tmp_path / "o")[0] == 2


def test_ordinary_mistakes_are_reported_before_any_work(
    usrnet: Path, blind: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    gdn, out, one = saved("nrl_gdn", tmp_path / "gdn.pth"), tmp_path / "o", pictures / "picture0.png"
    (tmp_path / "other").mkdir()
    Image.fromarray(scene()).save(tmp_path / "other" / "picture0.png")
    (tmp_path / "none").mkdir()
    for words, expected in [
        ([one, "-o", out, "--weights", blind, "--scale", 2], "dgunet_deblur does not take --scale"),
        ([one, "-o", out, "--weights", blind, "--kernel", "grid"], "dgunet_deblur does not take --kernel"),
        ([one, "-o", out, "--weights", gdn], "nrl_gdn needs --kernel"),
        ([one, "-o", out, "--weights", gdn, "--kernel", "gauss:1", "--sigma", 3], "does not take --sigma"),
        ([one, "-o", out, "--weights", usrnet, "--scale", 5], "no kernel is assumed for scale 5"),
        ([one, "-o", out, "--weights", usrnet, "--scale", 0], "--scale is a whole number from 1"),
        ([one, "-o", out, "--weights", usrnet, "--sigma", "much"], "--sigma is a noise level"),
        ([one, "-o", out, "--weights", usrnet, "--kernel", "gauss"], "is written gauss:1.6"),
        ([one, "-o", out, "--weights", usrnet, "--kernel", "gauss:0"], "a width is from"),
        ([one, "-o", out, "--weights", usrnet, "--kernel", "bicubic"], "it goes with USRNet's --scale from 2"),
        ([one, "-o", out, "--weights", usrnet, "--kernel", "bicubik"], "neither gauss:WIDTH nor bicubic"),
        ([one, "-o", out, "--weights", usrnet, "--kernel", "bicubic:2"], "neither gauss:WIDTH nor bicubic"),
        ([one, "-o", out, "--weights", usrnet, "--kernel", "k.mat"], "there is no kernel file k.mat"),
        ([one, "-o", out, "--weights", blind, "--tile", "big"], "--tile is auto, none or a number"),
        ([one, "-o", out, "--weights", blind, "--tile", 8], "tile is at least 64"),
        ([one, "-o", out, "--weights", blind, "--device", "warp"], "the device warp"),
        ([one, "-o", out, "--weights", saved("dgunet_cs", tmp_path / "cs.pth")], "DGUNet-CS restores compressed"),
        ([one, "-o", out, "--weights", tmp_path / "no.pth"], "no.pth"),
        ([pictures, "-o", pictures, "--weights", blind], "is the picture itself"),
        ([pictures, "-o", tmp_path / "x.png", "--weights", blind], "names one picture"),
        ([one, tmp_path / "other", "-o", out, "--weights", blind], "would both become"),
        ([tmp_path / "none", "-o", out, "--weights", blind], "no pictures"),
        ([tmp_path / "*.nothing", "-o", out, "--weights", blind], "no file or folder has a name of this pattern"),
        ([pictures, "-o", out, "--weights", usrnet, "--kernel", "grid"], "takes one picture"),
    ]:
        code, _, err = command("restore", *words)
        assert code == 2, words
        assert err.count("\n") == 1, err
        assert expected in err
        assert not out.exists()


def test_patterns_and_names(pictures: Path, tmp_path: Path) -> None:
    Image.fromarray(scene()).save(pictures / "picture0.jpg")
    jobs = find_jobs([str(pictures / "picture?.png")], tmp_path / "o")
    assert [job.target.name for job in jobs] == ["picture0.png", "picture1.png", "picture2.png"]
    both = find_jobs([str(pictures)], tmp_path / "o")
    assert [job.target.name for job in both] == ["picture0.jpg", "picture0.png", "picture1.png", "picture2.png"]
    assert len(find_jobs([str(pictures), str(pictures)], tmp_path / "o")) == 4
    (pictures / "odd[1].png").write_bytes((pictures / "picture0.png").read_bytes())
    assert find_jobs([str(pictures / "odd[1].png")], tmp_path / "o")[0].target == tmp_path / "o" / "odd[1].png"
    (pictures / "again").symlink_to(pictures, target_is_directory=True)
    assert len(find_jobs([str(pictures)], tmp_path / "o")) == 5
    (tmp_path / "link.png").symlink_to(pictures / "picture0.png")
    with pytest.raises(UnfoldError, match="is the picture itself"):
        find_jobs([str(pictures / "picture0.png")], tmp_path / "link.png")


@pytest.mark.parametrize("name", ["x.exr", "x.npz", "x.v2"])
def test_a_name_with_an_ending_that_no_picture_has_is_said_to_become_a_folder(
    name: str, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = find_jobs([str(pictures / "picture0.png")], tmp_path / name)
    assert jobs[0].target == tmp_path / name / "picture0.png"
    assert f"{name} becomes a folder: pictures are written as .png, .tif" in caplog.text
    caplog.clear()
    find_jobs([str(pictures)], tmp_path / name)
    (tmp_path / name).mkdir()
    find_jobs([str(pictures / "picture0.png")], tmp_path / name)
    find_jobs([str(pictures / "picture0.png")], tmp_path / "plain")
    assert not caplog.text, "a folder goes into a folder, one that is there is meant, and others have no ending"


def test_pictures_and_folders_are_taken_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10/1.png", "b9/1.png", "a10.png", "a9.png", "a100.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    names = ["a9.png", "a10.png", "a100.png"]
    jobs = find_jobs([str(tmp_path / "in")], tmp_path / "o")
    assert [job.target.relative_to(tmp_path / "o").as_posix() for job in jobs] == [*names, "b9/1.png", "b10/1.png"]
    assert [job.target.name for job in find_jobs([str(tmp_path / "in" / "a*.png")], tmp_path / "o")] == names


def test_a_full_disk_stops_the_run_and_a_folder_that_cannot_be_written_is_reported(
    blind: Path, pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(number: int) -> Callable[..., None]:
        def write(path: Path, picture: Picture) -> None:
            raise OSError(number, os.strerror(number), str(path))

        return write

    monkeypatch.setattr(module, "write_picture", fails(errno.ENOSPC))
    code, _, err = command("restore", pictures, "-o", tmp_path / "o", "--weights", blind)
    assert code == 2
    assert "the disk is full" in err
    monkeypatch.setattr(module, "write_picture", fails(errno.EACCES))
    code, printed, _ = command("restore", pictures, "-o", tmp_path / "o", "--weights", blind)
    assert code == 2
    assert printed.count("cannot be written: Permission denied") == 3


def test_kernels_by_name(tmp_path: Path) -> None:
    from scipy.io import savemat

    np.testing.assert_allclose(named_kernel("gauss:1.6", 1), gaussian_kernel(25, 1.6), atol=1e-12)
    assert named_kernel("gauss:8", 1).shape == (49, 49)
    np.testing.assert_array_equal(named_kernel("bicubic", 3), bicubic_kernel(3))
    cells = np.empty(2, object)
    cells[:] = [np.ones((3, 3)), np.eye(5)]
    path = str(tmp_path / "k.mat")
    savemat(path, {"kernels": cells})
    np.testing.assert_array_equal(named_kernel(f"{path}:2", 1), read_kernels(path)[1])
    for text in (path, f"{path}:3", f"{path}:0"):
        with pytest.raises(UnfoldError, match="holds 2 kernels"):
            named_kernel(text, 1)


def test_noise_is_estimated_where_there_is_noise_and_zero_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.linspace(0.2, 0.8, 400)[:, None, None], 300, axis=1).repeat(3, axis=2)
    for sigma in (1, 5, 25):
        noisy = smooth + rng.normal(0, sigma / 255, smooth.shape)
        assert 255 * estimated_sigma(noisy) == pytest.approx(sigma, rel=0.03)
        as_integers = np.rint(noisy.clip(0, 1) * 65535).astype(np.uint16)
        assert 255 * estimated_sigma(as_integers) == pytest.approx(sigma, rel=0.03)
    assert estimated_sigma(np.full((40, 40, 1), 77, np.uint8)) == 0
    assert estimated_sigma(smooth.astype(np.float32)) < 1e-4
    assert estimated_sigma(np.zeros((1, 1, 3), np.uint8)) == 0


def test_several_processes_write_the_same_bytes_and_say_the_same(
    usrnet: Path, pictures: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    for i, name in enumerate(("a.png", "b.jpg", "c.tif")):
        Image.fromarray(scene(30, 26, seed=40 + i)).save(pictures / name)
    (pictures / "broken.png").write_bytes(b"no picture")
    words = ["restore", pictures, "--weights", usrnet, "--kernel", "gauss:1.6", "--sigma", "estimate"]
    expected: dict[str, tuple[object, ...]] = {}
    for name, more in (("one", []), ("two", ["--jobs", "2"])):
        caplog.clear()
        code, out, _ = command(*words, "-o", tmp_path / name, *more)
        # Lines of progress are written after some seconds alone, and how many, the machine decides.
        lines = [record.message for record in caplog.records if record.module != "progress"]
        expected[name] = code, out.replace(str(tmp_path / name), "OUT"), lines
    assert expected["one"] == expected["two"]
    assert expected["one"][0] == 1
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert first == second
    assert len(first) == 6


def test_a_picture_too_large_beside_others_is_restored_alone_and_as_it_would_be(
    blind: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the process of this test, in place of one of its own."""
    options = module.Options({}, False, "auto", False, "float32", alone=False)
    worker = module._Worker(str(blind), None, None, {}, "cpu", options)
    try:
        (job, *_) = find_jobs([str(pictures)], tmp_path / "out", None, Counter())
        done = worker.run(job)
        assert done is not None
        assert done.what == "done"
        monkeypatch.setattr(tile_memory, "_sharers", {"cpu": 10**9, "device": 1})
        assert worker.run(job) is None, "tiles would be made"
    finally:
        module.logger.removeFilter(worker._note)


def killed_at_the_second(job: Any) -> Any:
    if job.source.name == "b.png":
        signal.raise_signal(signal.SIGKILL)
    return run_alone(job)


run_alone = module._run


def test_what_a_killed_process_leaves_is_restored_alone(
    blind: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        Image.fromarray(scene(20, 16, seed=i)).save(tmp_path / "in" / name)
    monkeypatch.setattr(module, "_run", killed_at_the_second)
    code, printed, _ = command("restore", tmp_path / "in", "-o", tmp_path / "o", "--weights", blind, "--jobs", "2")
    assert code == 0
    assert "restored 3" in printed
    assert "a process was ended from outside, perhaps for lack of memory" in caplog.text
    assert len(list((tmp_path / "o").iterdir())) == 3


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_less_than_one_process_is_refused(blind: Path, pictures: Path, command: Command, jobs: str) -> None:
    code, _, err = command("restore", pictures, "-o", pictures / "out", "--weights", blind, "--jobs", jobs)
    assert (code, err) == (2, f"unfold restore: --jobs is a number of processes, 1 or more, not {jobs}\n")


def test_pictures_left_as_they_are_do_not_count_as_restored(tmp_path: Path, command: Command) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(scene(40, 40)).save(tmp_path / "in" / name)
    write_picture(tmp_path / "in" / "grey.png", Picture(scene(40, 40)[..., :1]))
    noisy = scene(64, 64) / 255 + np.random.default_rng(0).normal(0, 0.2, (64, 64, 3))
    words = ("restore", tmp_path / "in", "--task", "denoise", "-o")
    assert command(*words, tmp_path / "o")[:2] == (0, "restored 0; 3 left as they are\n")
    Image.fromarray(np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)).save(tmp_path / "in" / "noisy.png")
    (tmp_path / "o" / "b.png").unlink()
    code, printed, _ = command(*words, tmp_path / "o")
    assert (code, printed) == (0, "restored 1; 1 left as it is; 2 already existed (--overwrite replaces them)\n")
