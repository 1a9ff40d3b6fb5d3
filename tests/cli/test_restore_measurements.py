"""`unfold restore` of measurements that are no pictures: what it promises of a k-space, its mask, and blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

import unfold
from tests.narrow import ista_rule
from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.inference.measured import restore_measured
from unfold.models.golden.golden_rules import fill
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Case
from unfold.steps.frequency_checks import check_mask

Command = Callable[..., tuple[int, str, str]]
Array = NDArray[Any]
SIZE = (64, 48)


def saved(path: Path, name: str, **arguments: Any) -> Path:
    net = fill(unfold.create_model(name, stages=2, width=4, **arguments), ista_rule)
    model = {"name": name, "arguments": {"stages": 2, "width": 4, **arguments}}
    torch.save({"state_dict": net.state_dict(), "model": model}, path)
    return path


def lines(size: tuple[int, int] = SIZE, centre: int = 9, share: float = 0.15, seed: int = 0) -> Array:
    """Columns: the lowest frequencies and some others, the zero frequency at [0,0]."""
    column = np.random.default_rng(seed).random(size[1]) < share
    column[: centre // 2 + 1] = column[-(centre // 2) :] = True
    return np.tile(column, (size[0], 1)).astype(np.float64)


def disc(size: tuple[int, int] = SIZE, seed: int = 0) -> Array:
    y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in size)
    return ((y[:, None] ** 2 + x**2 < 40) | (np.random.default_rng(seed).random(size) < 0.15)).astype(np.float64)


@pytest.fixture
def mri(tmp_path: Path) -> Path:
    return saved(tmp_path / "mri.pth", "ista_net_plus_mri")


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    Image.fromarray(scene(*SIZE, seed=3)).convert("L").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def pixels(path: Path) -> Array:
    with Image.open(path) as opened:
        return np.asarray(opened)


def spectrum(grey: Path) -> Array:
    return np.fft.fft2(pixels(grey) / 255)


@pytest.fixture
def run(mri: Path, tmp_path: Path, command: Command) -> Callable[..., tuple[int, str, str]]:
    def restore(source: object, target: str, mask: Array, *more: object) -> tuple[int, str, str]:
        np.save(tmp_path / "mask.npy", mask)
        words = ["--weights", mri, "--input", f"mask={tmp_path}/mask.npy", *more]
        return command("restore", source, "-o", tmp_path / target, *words)

    return restore


WRITERS: dict[str, Callable[[Path, Array], object]] = {
    "complex128.npy": lambda path, k: np.save(path, k),
    "complex64.npy": lambda path, k: np.save(path, k.astype(np.complex64)),
    "planes_last.npy": lambda path, k: np.save(path, np.stack([k.real, k.imag], -1)),
    "planes_first.npy": lambda path, k: np.save(path, np.stack([k.real, k.imag])),
    "channel.npy": lambda path, k: np.save(path, k[None]),
    "one.npz": lambda path, k: np.savez(path, data=k),
    "with_others.npz": lambda path, k: np.savez_compressed(path, k=k, mask=k.real),
    "five.mat": lambda path, k: savemat(path, {"k": k, "other": k.real}),
    "seven.mat": lambda path, k: hdf5(path, k),
}


def hdf5(path: Path, k: Array) -> None:
    """As MATLAB writes version 7.3: reversed axes, pairs of real and imag."""
    pairs = np.empty(k.T.shape, [("real", "f8"), ("imag", "f8")])
    pairs["real"], pairs["imag"] = k.T.real, k.T.imag
    with h5py.File(path, "w") as file:
        file["k"] = pairs


@pytest.mark.parametrize("masked", [False, True])
def test_the_k_space_of_a_picture_is_restored_as_the_picture_with_the_same_mask(
    run: Any, grey: Path, tmp_path: Path, masked: bool
) -> None:
    mask = disc()
    assert run(grey, "picture.png", mask)[0] == 0
    expected = pixels(tmp_path / "picture.png").astype(int)
    k = spectrum(grey) * (mask if masked else 1)
    for name, write in WRITERS.items():
        write(tmp_path / name, k)
        code, _, err = run(tmp_path / name, "k.png", mask, "--overwrite")
        assert code == 0, (name, err)
        found = pixels(tmp_path / "k.png")
        assert found.dtype == np.uint8
        assert np.abs(found - expected).max() <= 1, name
        assert (found != expected).mean() < 0.01, name


def test_an_array_keeps_the_digits_and_the_convention_is_said(
    run: Any, mri: Path, grey: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="unfold")
    np.save(tmp_path / "k.npy", spectrum(grey))
    code, _, err = run(tmp_path / "k.npy", "out.npy", disc())
    assert code == 0, err
    assert "fft2 of a picture in [0,1], the zero frequency at [0,0]" in caplog.text
    found = np.load(tmp_path / "out.npy")
    assert (found.dtype, found.shape) == (np.float32, SIZE)
    image = (pixels(grey) / np.float32(255))[..., None]
    expected = unfold.restore(image, unfold.load_model(mri), mask=disc())
    assert np.abs(found - expected[..., 0]).max() < 1e-5


def test_a_folder_of_k_spaces_becomes_pictures_and_the_mask_in_it_stays_a_mask(
    mri: Path, grey: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", spectrum(grey))
    savemat(tmp_path / "in" / "b.mat", {"anything": spectrum(grey)})
    savemat(tmp_path / "in" / "mask.mat", {"mask_matrix": disc()})
    given = ["--weights", mri, "--input", f"mask={tmp_path}/in/mask.mat"]
    code, out, err = command("restore", tmp_path / "in", "-o", tmp_path / "out", *given)
    assert code == 0, out + err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    pattern = f"{tmp_path}/in/?.*"
    code, out, err = command("restore", pattern, "-o", tmp_path / "two", *given)
    assert code == 0, out + err
    for name in ("a.png", "b.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_files_of_a_folder_that_hold_no_measurement_are_passed_over_with_what_they_hold(
    mri: Path, grey: Path, tmp_path: Path, command: Command
) -> None:
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    np.save(tmp_path / "mask.npy", disc())
    np.savez(folder / "k.npz", spectrum(grey))
    Image.open(grey).save(folder / "a.png")
    savemat(folder / "below" / "a.mat", {"mask_matrix": disc()})
    savemat(folder / "text.mat", {"author": "somebody"})
    np.savez(folder / "two.npz", rows=np.ones(SIZE), columns=np.ones(SIZE))
    others = ["below/a.mat", "text.mat", "two.npz"]
    given = ["--weights", mri, "--input", f"mask={tmp_path}/mask.npy"]
    code, out, err = command("restore", folder, "-o", tmp_path / "out", *given)
    assert (code, out.splitlines()[:2]) == (0, ["restored 2", "passed over 3, no measurements:"]), out + err
    said = sorted(out.splitlines()[2:])
    assert [line.split()[0] for line in said] == [f"{folder / name}" for name in others]
    assert "float64 of shape (64, 48), and k is of complex numbers" in said[0]
    assert "rows (64, 48), columns (64, 48), and one measurement is wanted, called k" in said[2]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "k.png"]
    for name in others:
        code, out, err = command("restore", folder / name, "-o", tmp_path / "one", *given)
        assert (code, "failed 1:" in out) == (2, True), "it is named"
    (folder / "damaged.mat").write_bytes(b"no matrix")
    assert command("restore", folder, "-o", tmp_path / "out", *given)[0] == 1
    code, out, err = command("restore", folder / "below", "-o", tmp_path / "none", *given)
    assert (code, out.splitlines()[0]) == (2, "restored 0"), "nothing was to be restored"
    np.save(tmp_path / "mask.npy", np.ones((2, 3, 4)))
    code, out, err = command("restore", folder / "k*", "-o", tmp_path / "other", *given)
    assert (code, "passed over" in out + err) == (2, False), "another file is the wrong one"


def test_masks_drawn_without_a_centre_are_taken() -> None:
    rng = np.random.default_rng(1)
    for share in (0.25, 0.5):
        for _ in range(60):
            check_mask("mask", (rng.random((64, 64)) < share).astype(np.float64))
            check_mask("mask", np.tile(rng.random(256) < share, (32, 1)).astype(np.float64))


@pytest.mark.parametrize(
    ("make", "size"), [(disc, (64, 48)), (disc, (65, 81)), (disc, (256, 256)), (lines, (256, 256)), (lines, (100, 320))]
)
def test_a_mask_with_the_zero_frequency_elsewhere_is_refused_with_the_remedy(make: Any, size: tuple[int, int]) -> None:
    mask = make(size)
    check_mask("mask", mask)
    with pytest.raises(
        UnfoldError, match=r"the middle: .*wanted at \[0,0\]: np.fft.ifftshift\(mask\) moves it"
    ) as error:
        check_mask("mask", np.fft.fftshift(mask))
    assert "\n" not in str(error.value)
    with pytest.raises(UnfoldError, match="exchanged; 1 - mask"):
        check_mask("mask", 1 - mask)
    if make is disc:
        for axis in (0, 1):
            with pytest.raises(UnfoldError, match=rf"np.fft.ifftshift\(mask, axes={axis}\)"):
                check_mask("mask", np.fft.fftshift(mask, axes=axis))


@pytest.mark.parametrize("size", [(13, 18), (64, 64), (3, 5), (1, 7), (256, 256)])
def test_a_mask_without_a_centre_is_taken_as_it_is(size: tuple[int, int]) -> None:
    for seed in range(20):
        mask = (np.random.default_rng(seed).random(size) < 0.3).astype(float)
        mask[0, 0] = 1
        check_mask("mask", mask)
    check_mask("mask", np.ones(size))


BAD_MASKS: dict[str, tuple[Array, str]] = {
    "shifted": (np.fft.fftshift(disc()), "np.fft.ifftshift(mask)"),
    "another size": (disc((48, 64)), "is 64x48, and the picture 48x64"),
    "grey": (disc() * 0.5, "mask > 0.5"),
    "nan": (np.where(disc() == 1, np.nan, 0), "finite"),
    "nothing": (np.zeros(SIZE), "is 0 everywhere"),
    "255": (255 * disc(), "values from 0 to 255"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
@pytest.mark.parametrize("measured", [False, True])
def test_a_bad_mask_is_one_line_with_exit_code_2(
    case: str, measured: bool, run: Any, grey: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "k.npy", spectrum(grey))
    mask, words = BAD_MASKS[case]
    code, out, err = run(tmp_path / "k.npy" if measured else grey, "o.png", mask)
    assert code == 2
    assert words in out + err
    assert "Traceback" not in out + err
    assert sum(words in line for line in (out + err).splitlines()) == 1
    assert not (tmp_path / "o.png").exists()


BAD: dict[str, tuple[Callable[[Array], Array], str]] = {
    "shifted": (np.fft.fftshift, "np.fft.ifftshift(k) moves it"),
    "shifted along one axis": (lambda k: np.fft.fftshift(k, axes=1), "np.fft.ifftshift(k, axes=1) moves it"),
    "orthonormal": (lambda k: k / k.size**0.5 / 4, 'norm="ortho"'),
    "of 0 to 255": (lambda k: 255 * k, "scale it"),
    "nan": (lambda k: np.where(k == k[0, 0], np.nan, k), "finite"),
    "nothing": (lambda k: 0 * k, "0 everywhere"),
    "half": (lambda k: k[:, :25], "is 48x64, and the picture 25x64"),
    "coils": (lambda k: np.stack([k] * 4), "without the axis B"),
    "one number": (lambda k: k[:1, :1], "one measurement is wanted"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_k_space_of_another_convention_is_one_line_with_exit_code_2(
    case: str, run: Any, grey: Path, tmp_path: Path
) -> None:
    change, words = BAD[case]
    np.save(tmp_path / "k.npy", change(spectrum(grey)))
    code, out, err = run(tmp_path / "k.npy", "o.png", disc())
    assert code == 2
    assert words in out + err
    assert "Traceback" not in out + err
    assert not (tmp_path / "o.png").exists()


def test_files_that_hold_no_k_space_are_one_line_each(run: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.mat").write_bytes(b"no matrix")
    (tmp_path / "bad.npz").write_bytes(b"PK no zip")
    np.savez(tmp_path / "two.npz", a=np.ones(SIZE), b=np.ones(SIZE))
    savemat(tmp_path / "real.mat", {"k": np.ones(SIZE)})
    for name, words in (
        ("bad.mat", "damaged"),
        ("bad.npz", "damaged"),
        ("none.npz", "there is no file"),
        ("two.npz", "one measurement is wanted, called k"),
        ("real.mat", "of complex numbers, or their real and imaginary parts"),
    ):
        code, out, err = run(tmp_path / name, "o.png", disc())
        assert (code, words in out + err, "Traceback" in out + err) == (2, True, False), (name, out, err)
    np.save(tmp_path / "k.npy", np.fft.fft2(np.eye(64, 48)))
    for option in (["--ensemble"], ["--tile", "64"]):
        assert run(tmp_path / "k.npy", "o.png", disc(), *option)[0] == 2


def test_doubts_that_are_no_proof_are_said(mri: Path, grey: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="unfold")
    net, mask = unfold.load_model(mri), disc()
    k = spectrum(grey)[None].astype(np.complex64)
    restore_measured(k * mask.astype(np.float32), net, {"mask": mask})
    assert not caplog.text
    other = (np.random.default_rng(5).random(SIZE) < 0.5).astype(np.float32)
    other[0, 0] = 1
    restore_measured(k * other, net, {"mask": mask})
    assert "is it the mask of this measurement?" in caplog.text
    caplog.clear()
    phase = np.exp(1j * np.linspace(0, 3, SIZE[1]))
    restore_measured(np.fft.fft2(pixels(grey) / 255 * phase)[None].astype(np.complex64), net, {"mask": mask})
    assert "its real part" in caplog.text


def test_other_doors_refuse_a_shifted_mask_too(mri: Path, grey: Path, tmp_path: Path, command: Command) -> None:
    shifted = np.fft.fftshift(disc())
    np.save(tmp_path / "mask.npy", shifted)
    with pytest.raises(UnfoldError, match="ifftshift"):
        parse_protocol(f"ista_net_mri:mask={tmp_path}/mask.npy").sample(Case("a", (grey,)))
    given = ["--weights", mri, "--input", f"mask={tmp_path}/mask.npy"]
    code, out, err = command("trace", grey, "-o", tmp_path / "traced", *given)
    assert (code, "ifftshift" in out + err) == (2, True)
    net = unfold.load_model(mri)
    k = torch.from_numpy(spectrum(grey)).to(torch.complex64)[None, None]
    with pytest.raises(UnfoldError, match="ifftshift"):
        net(k, mask=torch.from_numpy(shifted).float()[None, None])
    with pytest.raises(UnfoldError, match=r"give k.to\(torch.complex64\)"):
        net(k.to(torch.complex128), mask=torch.from_numpy(disc()).float()[None, None])


@pytest.mark.parametrize("ending", ["npy", "npz", "mat"])
@pytest.mark.parametrize("name", ["ista_net_plus", "dgunet_cs"])
def test_measurements_of_blocks_are_restored_by_the_same_door(
    name: str, ending: str, tmp_path: Path, command: Command
) -> None:
    if name == "dgunet_cs":
        arguments = {"ratio": 10, "width": 4, "growth": 2, "tail": 2}
        net = unfold.create_model(name, **arguments)
        model = {"name": name, "arguments": arguments}
        weights = tmp_path / "w.pth"
        torch.save({"state_dict": net.state_dict(), "model": model}, weights)
    else:
        weights = saved(tmp_path / "w.pth", name, ratio=10)
    net = unfold.load_model(weights)
    image = torch.rand(1, 1, 2 * net.size_multiple, 4 * net.size_multiple)
    with torch.inference_mode():
        m = (net.operator if name == "ista_net_plus" else net).measure(image)
        expected = net(m)[0, 0].clamp(0, 1).numpy()
    path, array = tmp_path / f"m.{ending}", m[0].numpy()
    writers: dict[str, Callable[[], object]] = {
        "npy": lambda: np.save(path, array),
        "npz": lambda: np.savez(path, array),
        "mat": lambda: savemat(path, {"m": array}),
    }
    writers[ending]()
    code, out, err = command("restore", path, "-o", tmp_path / "o.npy", "--weights", weights)
    assert code == 0, out + err
    assert np.abs(np.load(tmp_path / "o.npy") - expected).max() < 1e-5
    np.save(tmp_path / "less.npy", array[1:])
    code, out, err = command("restore", tmp_path / "less.npy", "-o", tmp_path / "p.npy", "--weights", weights)
    assert code == 2
    assert str(len(array)) in out + err
    assert "Traceback" not in out + err


ISLAND = """
import torch
from torch import nn
from unfold.facts import Measurement, image
from unfold.models.unfolding import UnfoldingNetwork


class Island(UnfoldingNetwork):
    channels = 1
    measurement = Measurement("m", "(B,2,h,w), of any numbers", AXES)

    @property
    def inputs(self):
        return {"y": image(1)}

    def __init__(self, stages=1):
        super().__init__(stages)
        self.scale = nn.Parameter(torch.ones(1))

    def begin(self, y=None, *, m=None):
        return (y if m is None else m[:, :1]), None

    def stage(self, k, x, memory, context):
        return x, memory
"""


@pytest.mark.parametrize("across", [1, 2, 3])
def test_measurements_of_few_blocks_across_are_no_pictures(
    across: int, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="unfold")
    weights = saved(tmp_path / "w.pth", "ista_net_plus", ratio=1, block=16)  # M = 3
    net = unfold.load_model(weights)
    image = torch.rand(1, 1, 32, 16 * across)
    with torch.inference_mode():
        m = net.operator.measure(image)
        expected = net(m)[0, 0].clamp(0, 1).numpy()
    np.save(tmp_path / "m.npy", m[0].numpy())
    code, out, err = command("restore", tmp_path / "m.npy", "-o", tmp_path / "o.npy", "--weights", weights)
    assert code == 0, out + err
    assert np.abs(np.load(tmp_path / "o.npy") - expected).max() < 1e-5
    assert ("it may be a picture or m; it is read as m" in caplog.text) == (across != 2)


def test_arrays_that_are_pictures_by_their_numbers_or_sizes_stay_pictures(
    tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="unfold")
    weights = saved(tmp_path / "w.pth", "ista_net_plus", ratio=1, block=16)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", scene(3, 40))  # 8 bits
    np.save(tmp_path / "in" / "b.npy", (scene(40, 40) / 255).astype(np.float32))  # 40 is not M
    code, out, err = command("restore", tmp_path / "in", "-o", tmp_path / "out", "--weights", weights)
    assert code == 0, out + err
    assert [np.load(tmp_path / "out" / f"{name}.npy").shape for name in "ab"] == [(3, 40, 3), (40, 40, 3)]
    assert "a.npy: by its shape, (3, 40, 3), it may be a picture or m; it is read as a picture" in caplog.text
    assert "b.npy" not in caplog.text


@pytest.mark.parametrize(("axes", "shape"), [(3, (2, 8, 3)), (2, (8, 6))])
def test_a_network_that_does_not_say_how_many_numbers_it_measures_is_asked_by_the_file(
    axes: int, shape: tuple[int, ...], tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="unfold")
    (tmp_path / "island.py").write_text(ISLAND.replace("AXES", str(axes)))
    name = f"{tmp_path / 'island.py'}:Island"
    net = unfold.create_model(name, stages=1)
    torch.save(
        {"state_dict": net.state_dict(), "model": {"name": name, "arguments": {"stages": 1}}}, tmp_path / "w.pth"
    )
    array = np.random.default_rng(0).random(shape, np.float32)
    np.save(tmp_path / "m.npy", array)
    np.savez(tmp_path / "n.npz", array)
    words = ("--weights", tmp_path / "w.pth", "--model", name)
    code, out, err = command("restore", tmp_path / "m.npy", "-o", tmp_path / "o.npy", *words)
    assert code == 0, out + err
    assert np.load(tmp_path / "o.npy").shape == shape
    assert "it is read as a picture; in .npz or .mat it is m" in caplog.text
    assert command("restore", tmp_path / "n.npz", "-o", tmp_path / "p.npy", *words)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), array if axes == 2 else array[0])


def test_a_measurement_of_another_ratio_in_a_folder_has_failed(tmp_path: Path, command: Command) -> None:
    weights, m = saved(tmp_path / "w.pth", "ista_net_plus", ratio=1, block=16), 3
    (tmp_path / "in").mkdir()
    for name, count in (("a", m), ("b", m + 1)):
        np.savez(tmp_path / "in" / f"{name}.npz", np.random.default_rng(0).random((count, 4, 4)))
    code, out, err = command("restore", tmp_path / "in", "-o", tmp_path / "out", "--weights", weights)
    assert (code, "restored 1\nfailed 1:" in out) == (1, True), out + err
