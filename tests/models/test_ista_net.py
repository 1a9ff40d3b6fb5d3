"""ISTA-Net and ISTA-Net+ are the published networks, and their matrices are never those of another training."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat
from scipy.signal import correlate2d

import unfold
from tests.narrow import ARGUMENTS, ista_rule, narrow
from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.inference.restore import restore
from unfold.losses.symmetry import Symmetry
from unfold.metrics import psnr
from unfold.models.golden.golden_rules import fill
from unfold.models.ista_net import ISTANet
from unfold.models.unfolding import Output
from unfold.physics.fourier import masked_fourier, masked_fourier_adjoint
from unfold.physics.sampling import from_blocks, initial_by_least_squares, random_orthonormal, to_blocks
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Case
from unfold.steps import block_sampling, fourier_sampling
from unfold.util import log_once
from unfold.util.matrix_files import read_mask, read_matrix

Command = Callable[..., tuple[int, str, str]]
Array = NDArray[Any]
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ista_net.npz")
DATA = Path(os.environ.get("UNFOLD_DATA", "datasets"))
WEIGHTS, FILES = DATA / "weights" / "ista_net", DATA / "ista_net"
official = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the authors' weights are not below UNFOLD_DATA")


def conv(x: Array, weight: Array) -> Array:
    """Zero-padded correlation, as a loop over channels: x (Cin,H,W), weight (Cout,Cin,3,3)."""
    return np.stack([sum(correlate2d(a, k, "same") for a, k in zip(x, w, strict=True)) for w in weight])


def loop(net: Any, x: Array, normal: Callable[[Array], Array], back: Array) -> tuple[list[Array], list[float]]:
    """The phases after x_0 (H,W) and the mean squares of their symmetry, straight from the equations."""
    phases, symmetry = [], []
    for stage in net.fcs:
        p = {name: value.detach().numpy() for name, value in stage.named_parameters()}
        r = (x - p["lambda_step"] * normal(x) + p["lambda_step"] * back)[None]
        d = conv(r, p["conv_D"]) if "conv_D" in p else r
        f = conv(np.maximum(conv(d, p["conv1_forward"]), 0), p["conv2_forward"])
        s = np.sign(f) * np.maximum(np.abs(f) - p["soft_thr"], 0)

        def backward(v: Array, p: dict[str, Array] = p) -> Array:
            return conv(np.maximum(conv(v, p["conv1_backward"]), 0), p["conv2_backward"])

        x = (r + conv(backward(s), p["conv_G"]) if "conv_D" in p else backward(s))[0]
        phases.append(x)
        symmetry.append(float(np.square(backward(f) - d).mean()))
    return phases, symmetry


def files(tmp_path: Path, rows: int, side: int = 33, seed: int = 1) -> dict[str, Path]:
    """A sampling matrix without orthonormal rows, and a Q of it that is no pseudo-inverse."""
    rng = np.random.default_rng(seed)
    phi = rng.standard_normal((rows, side * side)) / side
    q = initial_by_least_squares(phi, rng.random((rows + 9, side * side)))
    savemat(tmp_path / "phi.mat", {"phi": phi})
    np.save(tmp_path / "q.npy", q)
    return {"matrix": tmp_path / "phi.mat", "initial": tmp_path / "q.npy"}


@official
@pytest.mark.parametrize(("kind", "weights"), [("plus", "ista_net_plus_cs_25"), ("ista", "ista_net_cs_25")])
def test_phases_equal_those_of_the_published_code(kind: str, weights: str) -> None:
    given = {"matrix": FILES / "phi_0_25_1089.mat", "initial": FILES / "Initialization_Matrix_25.mat"}
    net = unfold.load_model(WEIGHTS / f"{weights}.pkl", **given)
    blocks, y = (torch.from_numpy(GOLDEN[f"cs25_{kind}_{name}"]) for name in ("blocks", "y"))
    phases = GOLDEN[f"cs25_{kind}_phases"]
    # Some learned thresholds are below 0, and the shrinkage then jumps at 0: rounding chooses the side. In float32 one
    # phase is 9e-5 away on a processor with AMX, at most 1e-5 on the others that were tried; in float64 none is.
    with torch.inference_mode():
        found = [state.x for state in net.states(image=blocks.view(-1, 1, 33, 33))]
        measured = net(y)
        exact = [state.x for state in net.double().states(image=blocks.double().view(-1, 1, 33, 33))]
    assert len(found) == len(exact) == len(phases) == 10
    for k, (x, precise, golden) in enumerate(zip(found, exact, phases, strict=True)):
        assert np.abs(precise.flatten(1).numpy() - golden).max() <= 1e-5, k
        assert np.abs(x.flatten(1).numpy() - golden).max() <= 2e-4, k
    assert np.abs(measured.flatten(1).numpy() - phases[-1]).max() <= 2e-4


@official
def test_phases_of_a_whole_image_from_some_frequencies_equal_those_of_the_published_code() -> None:
    """Their mask is the 35 columns of the lowest frequencies, as the zero-filled image shows; not mask_20.mat."""
    net = unfold.load_model(WEIGHTS / "ista_net_plus_mri_20.pkl")
    with Image.open(DATA / "BrainImages_test" / "brain_test_07.png") as picture:
        image = torch.from_numpy(np.asarray(picture.convert("L")) / np.float32(255))[None, None]
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., :18] = mask[..., -17:] = 1
    with torch.inference_mode():
        found = [state.x[0, 0, 104:144, 104:144].numpy() for state in net.states(image=image, mask=mask)]
    for k, name in ((0, "zero_filled"), (1, "phase1"), (5, "phase5"), (9, "phase9")):
        assert np.abs(found[k] - GOLDEN[f"mri20_{name}"]).max() <= 1e-5, name


@pytest.mark.parametrize("name", ["ista_net", "ista_net_plus"])
@pytest.mark.parametrize(("rows", "side"), [(10, 33), (545, 33), (5, 7)])
def test_phases_under_another_matrix_equal_a_loop_in_numpy(name: str, rows: int, side: int, tmp_path: Path) -> None:
    given = files(tmp_path, rows, side)
    net = fill(unfold.create_model(name, stages=3, width=4, block=side, **given), ista_rule).eval()
    block = np.random.default_rng(0).random((side, side)).astype(np.float32)
    phi, q = read_matrix(given["matrix"], "phi"), read_matrix(given["initial"])
    y = phi @ block.ravel()
    expected, symmetry = loop(
        net,
        (q @ y).reshape(side, side),
        lambda x: (phi.T @ (phi @ x.ravel())).reshape(side, side),
        (phi.T @ y).reshape(side, side),
    )
    with torch.inference_mode():
        output = net(image=torch.from_numpy(block)[None, None], return_output=True)
    for x, reference in zip(output.stages, expected, strict=True):
        assert np.abs(x[0, 0].numpy() - reference).max() <= 2e-5 * max(1, np.abs(reference).max())
    assert [float(s.square().mean()) for s in output.extras["symmetry"]] == pytest.approx(symmetry, rel=1e-4)


def test_phases_of_masked_frequencies_equal_a_loop_in_numpy_whatever_the_size_and_the_mask() -> None:
    net = narrow("ista_net_plus_mri")
    rng = np.random.default_rng(0)
    image, mask = rng.random((13, 18)), (rng.random((13, 18)) < 0.4).astype(float)

    def back(k: Array) -> Array:
        return np.fft.ifft2(mask * k).real

    k = mask * np.fft.fft2(image)
    expected, _ = loop(net, back(k), lambda x: back(mask * np.fft.fft2(x)), back(k))
    given = torch.from_numpy(image.astype(np.float32)), torch.from_numpy(mask.astype(np.float32))
    with torch.inference_mode():
        found = net(image=given[0][None, None], mask=given[1][None, None], return_stages=True)
        measured = net(torch.from_numpy(k.astype(np.complex64))[None, None], mask=given[1][None, None])
    for x, reference in zip(found, expected, strict=True):
        assert np.abs(x[0, 0].numpy() - reference).max() <= 1e-5
    assert torch.allclose(measured, found[-1], atol=1e-6)


def test_the_adjoints_are_adjoint_and_gradients_are_those_of_differences() -> None:
    x, weight = torch.rand(2, 1, 6, 5, dtype=torch.float64), torch.rand(1, 1, 6, 5, dtype=torch.float64)
    k = torch.randn(2, 1, 6, 5, dtype=torch.complex128)
    left = (masked_fourier(x, weight) * k.conj()).sum().real / 30
    assert left == pytest.approx(float((x * masked_fourier_adjoint(k, weight)).sum()), abs=1e-12)
    assert torch.autograd.gradcheck(lambda x: masked_fourier(x, weight), x.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda k: masked_fourier_adjoint(k, weight), k.clone().requires_grad_())

    step = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    _, spectrum = fourier_sampling.begin(k, None, weight)
    assert torch.autograd.gradcheck(spectrum.descended, (x.clone().requires_grad_(), step))

    operator = block_sampling.BlockSampling(None, None, 40, 4).double()
    blocks = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    y = operator.measure(blocks)
    other = torch.rand_like(y)
    _, data = operator.begin(other, None)
    assert float((y * other).sum()) == pytest.approx(float((blocks.flatten(1) * data.back).sum()), abs=1e-12)
    assert torch.autograd.gradcheck(data.descended, (blocks.clone().requires_grad_(), step))
    assert torch.autograd.gradcheck(operator.measure, blocks.clone().requires_grad_())


@pytest.mark.parametrize("size", [(33, 33), (66, 40), (5, 70), (1, 1)])
def test_an_image_of_any_size_is_its_blocks_each_for_itself(size: tuple[int, int]) -> None:
    net = fill(unfold.create_model("ista_net_plus", stages=2, width=4, ratio=10), ista_rule).eval()
    image = torch.rand(2, 1, *size)
    whole = torch.zeros(2, 1, 66, 99)  # whole blocks, at least one row and one column of zeros more: as published
    whole[..., : size[0], : size[1]] = image
    with torch.inference_mode():
        found = net(image=image)
        alone = torch.cat([net(image=block[None]) for block in to_blocks(whole, 33)])
    assert found.shape == image.shape
    assert torch.allclose(found, from_blocks(alone, (2, 3))[..., : size[0], : size[1]], atol=1e-6)


def test_parameters_have_the_published_names_and_numbers(tmp_path: Path) -> None:
    for name, count in (("ista_net", 171_090), ("ista_net_plus", 336_978), ("ista_net_plus_mri", 336_978)):
        net = unfold.create_model(name)
        assert sum(value.numel() for value in net.state_dict().values()) == count, "Phi and Q are not in it"
        own = {"lambda_step", "soft_thr", "conv1_forward", "conv2_forward", "conv1_backward", "conv2_backward"}
        own |= set() if name == "ista_net" else {"conv_D", "conv_G"}
        assert {key.split(".", 2)[2] for key in net.state_dict()} == own
        assert {key.split(".", 2)[1] for key in net.state_dict()} == set("012345678")
    assert [block_sampling.measurements_of(r) for r in (1, 4, 10, 25, 30, 40, 50)] == [10, 43, 109, 272, 327, 436, 545]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Weights as the authors save them: legacy format, DataParallel's prefix."""
    net = fill(unfold.create_model("ista_net_plus", stages=2, width=4), ista_rule)
    path = tmp_path / "net_params_200.pkl"
    torch.save(net.official_layout(net.state_dict()), path, _use_new_zipfile_serialization=False)
    return path


def test_weights_are_recognised_by_their_matrix_or_their_name(theirs: Path, tmp_path: Path) -> None:
    net = unfold.load_model(theirs, **files(tmp_path, 43))
    assert isinstance(net, ISTANet)
    assert (net.stages, net.ratio, net.measurements, net.fcs[0].plus) == (2, 4, 43, True)
    assert type(unfold.load_model(theirs, "ista_net_plus_mri")).__name__ == "ISTANetMRI"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (None, {}, "ista_net_plus wants the sampling matrix Phi of blocks of 33x33, \\(M, 1089\\).*272 for 25"),
        ("ista_net_plus", {}, "the sampling matrix Phi .*\\(M, 1089\\).*give matrix=FILE"),
        ("ista_net_plus", {"ratio": 10}, "\\(109, 1089\\), of ratio 10 %: give matrix=FILE"),
        (None, {"matrix": "q.npy"}, "q.npy holds a matrix \\(1089, 43\\), and what is wanted is .*\\(M, 1089\\)"),
        (
            None,
            {"matrix": "phi.mat", "ratio": 25},
            "\\(43, 1089\\), of ratio 4 %, .*\\(272, 1089\\), of ratio 25",
        ),
        (None, {"matrix": "phi.mat", "initial": "phi.mat"}, "Q of x_0 = Q y is \\(1089, 43\\)"),
        (None, {"matrix": "none.mat"}, "there is no file .*none.mat"),
        (None, {"matrix": "bad.mat"}, "bad.mat is damaged or no .mat or .npy file"),
        (None, {"matrix": "two.mat"}, "two.mat holds a \\(2, 2\\), b \\(2, 2\\), and one matrix is wanted, called phi"),
        (None, {"matrix": "nan.npy"}, "not of finite numbers"),
        (None, {"matrix": "complex.npy"}, "complex.npy holds complex numbers, and real ones are wanted"),
        (None, {"matrix": "phi.mat", "initial": "complex.npy"}, "complex.npy holds complex numbers"),
        (None, {"matrix": np.ones((43, 1089))}, "matrix is text or null, and array.{,220} is not"),
    ],
)
def test_a_matrix_that_is_missing_or_another_is_one_line_with_its_shape(
    theirs: Path, tmp_path: Path, name: str | None, options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, 43)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.mat").write_bytes(b"no matrix")
    savemat(tmp_path / "two.mat", {"a": np.eye(2), "b": np.eye(2)})
    np.save(tmp_path / "nan.npy", np.full((43, 1089), np.nan))
    np.save(tmp_path / "complex.npy", np.full((43, 1089), 1 + 1j))
    with pytest.raises(UnfoldError, match=words) as error:
        unfold.load_model(theirs, name, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["<f8", ">f8", ">f4", "f2", "g", ">u2", "?"])
def test_a_matrix_may_be_of_any_numbers(kind: str, tmp_path: Path) -> None:
    phi = np.random.default_rng(0).random((10, 1089)) < 0.5
    np.save(tmp_path / "phi.npy", phi.astype(kind))
    net = unfold.create_model("ista_net_plus", matrix=tmp_path / "phi.npy", stages=1, width=4)
    assert (net.operator.phi.numpy() == phi).all()


def test_what_is_measured_and_an_image_to_measure_are_not_given_together() -> None:
    image, mask = torch.rand(1, 1, 33, 33), torch.ones(1, 1, 33, 33)
    with pytest.raises(UnfoldError, match="either measurements or image="):
        unfold.create_model("ista_net", stages=1, width=4)(torch.rand(1, 272, 2, 3), image=image)
    mri = unfold.create_model("ista_net_plus_mri", stages=1, width=4)
    with pytest.raises(UnfoldError, match=r"either k, .* or image="):
        mri(torch.fft.fft2(image), image=image, mask=mask)
    with pytest.raises(UnfoldError, match=r"k has the shape \(B,1,H,W\), not \(1, 3, 33, 33\)"):
        mri(torch.fft.fft2(image.expand(1, 3, 33, 33)), mask=mask)


def test_shapes_that_no_network_has_are_one_line(theirs: Path, tmp_path: Path) -> None:
    state = torch.load(theirs, weights_only=True)
    key = next(key for key in state if key.endswith("fcs.0.conv1_forward"))
    torch.save({**state, key: torch.tensor(1.0)}, tmp_path / "odd.pkl")
    with pytest.raises(UnfoldError, match="no network that is known"):
        unfold.load_model(tmp_path / "odd.pkl", **files(tmp_path, 43))


@pytest.mark.parametrize(("most", "kind"), [(1, "u1"), (255, "u1"), (1, "u2"), (65535, "u2")])
def test_a_mask_in_a_picture_is_of_its_depth_or_of_0_and_1(most: int, kind: str, tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((9, 8)) < 0.5
    Image.fromarray((most * mask).astype(kind)).save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png") == mask).all()


def test_a_mask_in_colour_is_refused(tmp_path: Path) -> None:
    Image.fromarray(scene(9, 8)).save(tmp_path / "mask.png")
    with pytest.raises(UnfoldError, match=r"mask.png is no picture of a mask: it is in colour"):
        read_mask(tmp_path / "mask.png")


def test_without_q_x_0_is_the_pseudo_inverse_and_that_is_said(
    theirs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = files(tmp_path, 43)
    caplog.set_level("INFO", logger="unfold")
    log_once.forget()
    net = unfold.load_model(theirs, matrix=given["matrix"])
    assert "pseudo-inverse of Phi, not by a published Q" in caplog.text
    block = torch.rand(1, 1, 33, 33)
    x, _ = net.begin(image=block)
    phi = read_matrix(given["matrix"])
    assert np.abs(phi @ x.flatten().numpy() - phi @ block.flatten().numpy()).max() < 1e-4


def trained(path: Path, arguments: dict[str, Any], name: str = "ista_net_plus") -> Path:
    net = fill(unfold.create_model(name, stages=2, width=4), ista_rule)
    model = {"name": name, "arguments": {"stages": 2, "width": 4, **arguments}}
    torch.save({"state_dict": net.state_dict(), "model": model}, path)
    return path


def test_a_checkpoint_knows_its_matrix_by_its_digest_and_no_path_in_it_is_opened(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = files(tmp_path, 272)
    monkeypatch.setattr("unfold.util.matrix_files.np.load", lambda *_, **__: pytest.fail("opened"))
    poisoned = trained(tmp_path / "poisoned.pth", {"matrix": str(given["initial"]), "initial": str(given["initial"])})
    with pytest.raises(UnfoldError, match=r"trained with a file matrix .*give matrix=FILE"):
        unfold.load_model(poisoned)
    monkeypatch.undo()

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"OUTPUT: {tmp_path}/run\nDEVICE: cpu\nMODEL: {{NAME: ista_net_plus, ARGS: {{ratio: 25, stages: 2, width: 4, "
        f"matrix: {given['matrix']}, initial: {given['initial']}}}}}\n"
        "DATA: {KIND: blocks, TRAIN: photographs, VAL: photographs}\n"
        "LOSS: {TERMS: [{NAME: mse}, {NAME: symmetry, WEIGHT: 0.01}]}\n"
        "TRAIN: {EPOCHS: 1, PATCHES: 2, PATCH: 33, BATCH: 2, WORKERS: 0}\n"
    )
    code, _, err = command("train", "--config", recipe)
    assert code == 0, err
    ours = tmp_path / "run" / "checkpoints" / "last.pth"
    expected = torch.load(ours, weights_only=True)["model"]["arguments"]
    assert {len(expected[key]["sha256"]) for key in ("matrix", "initial")} == {64}
    assert str(tmp_path) not in str(expected)
    assert unfold.load_model(ours, **given).ratio == 25
    with pytest.raises(UnfoldError, match=r"SHA-256 begins with [0-9a-f]{12}.*\(272, 1089\), of ratio 25 %"):
        unfold.load_model(ours)
    other = tmp_path / "other"
    other.mkdir()
    files(other, 272, seed=2)
    with pytest.raises(UnfoldError, match=r"SHA-256 begins with .*, and that of .*phi.mat with"):
        unfold.load_model(ours, matrix=other / "phi.mat", initial=given["initial"])
    code, _, err = command("test", "--config", recipe, "--weights", ours, "MODEL.ARGS.matrix", other / "phi.mat")
    assert code == 2
    assert "and that of" in err
    kept = given["matrix"].read_bytes()
    given["matrix"].write_bytes((other / "phi.mat").read_bytes())
    code, _, err = command("train", "--config", recipe, "--resume")
    assert code == 2, "a run does not go on with another matrix in the same place"
    assert "and that of" in err
    given["matrix"].write_bytes(kept)
    code, _, err = command("train", "--config", recipe, "--resume")
    assert code == 0, err
    code, _, err = command("convert", ours, tmp_path / "ours.safetensors")
    assert code == 0, err
    assert unfold.load_model(tmp_path / "ours.safetensors", **given).ratio == 25
    with pytest.raises(UnfoldError, match="give matrix=FILE"):
        unfold.load_model(tmp_path / "ours.safetensors")


def test_converted_weights_of_others_still_ask_for_their_matrix(theirs: Path, tmp_path: Path, command: Command) -> None:
    target = tmp_path / "converted.safetensors"
    assert command("convert", theirs, target, "--name", "ista_net_plus")[0] == 0
    with pytest.raises(UnfoldError, match="give matrix=FILE"):
        unfold.load_model(target)
    assert unfold.load_model(target, **files(tmp_path, 10)).ratio == 1


def test_weights_that_were_trained_with_a_matrix_of_our_own_make_it_again(tmp_path: Path) -> None:
    path = trained(tmp_path / "own.pth", {"ratio": 10})
    assert torch.equal(unfold.load_model(path).operator.phi, unfold.load_model(path).operator.phi)
    with pytest.raises(UnfoldError, match="was trained without a file matrix"):
        unfold.load_model(path, matrix=files(tmp_path, 109)["matrix"])


def test_restore_takes_matrix_and_mask_by_input(theirs: Path, tmp_path: Path, command: Command) -> None:
    given, picture = files(tmp_path, 545), tmp_path / "a.png"
    Image.fromarray(scene(70, 45, seed=3)).convert("L").save(picture)
    words = ["--input", f"matrix={given['matrix']}", "--input", f"initial={given['initial']}"]
    code, _, err = command("restore", picture, "-o", tmp_path / "cs.png", "--weights", theirs, *words)
    assert code == 0, err
    with Image.open(picture) as opened, Image.open(tmp_path / "cs.png") as result:
        y, x = np.asarray(opened), np.asarray(result)
    net = unfold.load_model(theirs, **given)
    assert (x == restore(y, net)).all()
    exact = restore(y / np.float32(255), net)
    assert np.abs(restore(y / np.float32(255), net, tile=264) - exact).max() < 1e-6
    with pytest.raises(UnfoldError, match="measure it 8 times"):
        restore(y, net, ensemble=True)

    mask = (np.random.default_rng(0).random(y.shape) < 0.5).astype(np.uint8)
    savemat(tmp_path / "mask.mat", {"mask_matrix": mask})
    Image.fromarray(255 * mask).save(tmp_path / "mask.png")
    results = []
    for kind in ("mat", "png"):
        words = ["--weights", theirs, "--model", "ista_net_plus_mri", "--input", f"mask={tmp_path / 'mask'}.{kind}"]
        code, _, err = command("restore", picture, "-o", tmp_path / f"{kind}.png", *words)
        assert code == 0, err
        with Image.open(tmp_path / f"{kind}.png") as result:
            results.append(np.asarray(result))
    assert (results[0] == results[1]).all()
    with pytest.raises(UnfoldError, match="whole numbers 0 and 1"):
        restore(y, unfold.load_model(theirs, "ista_net_plus_mri"), mask=mask)
    code, _, err = command("restore", picture, "-o", tmp_path / "t.png", *words, "--tile", "64")
    assert code == 2
    assert "in one piece" in err
    code, _, err = command("restore", picture, "-o", tmp_path / "t.png", "--weights", theirs)
    assert code == 2
    assert "matrix" in err


def test_protocols_refuse_networks_of_other_ratios_and_masks_of_other_sizes(theirs: Path, tmp_path: Path) -> None:
    net = unfold.load_model(theirs, **files(tmp_path, 109))
    parse_protocol("ista_net_cs:ratio=10").fit(net)
    with pytest.raises(UnfoldError, match=r"takes 109 .*ratio 10 %, and ista_net_cs:ratio=25,block=33 means 272"):
        parse_protocol("ista_net_cs:ratio=25").fit(net)
    Image.fromarray(scene(20, 24, seed=3)).convert("L").save(tmp_path / "a.png")
    case = Case("a", (tmp_path / "a.png",))
    np.save(tmp_path / "mask.npy", np.ones((20, 24)))
    sample = parse_protocol(f"ista_net_mri:mask={tmp_path}/mask.npy").sample(case)
    assert psnr(sample.inputs["y"], sample.inputs["image"]) > 100, "all frequencies"
    np.save(tmp_path / "mask.npy", np.ones((20, 20)))
    with pytest.raises(UnfoldError, match="is 24x20, and the mask 20x20"):
        parse_protocol(f"ista_net_mri:mask={tmp_path}/mask.npy").sample(case)
    np.save(tmp_path / "mask.npy", 255 * np.ones((20, 24)))
    with pytest.raises(UnfoldError, match=r"values from 255 to 255"):
        read_mask(tmp_path / "mask.npy")


def test_symmetry_reaches_the_loss_and_is_spared_where_nobody_looks() -> None:
    net = narrow("ista_net_plus")
    image = torch.rand(2, 1, 16, 16)
    net.requires_grad_(False)
    output = net(image=image, return_output=True)
    assert float(Symmetry()(output, {})) == pytest.approx(
        sum(float(s.square().mean()) for s in output.extras["symmetry"]), rel=1e-6
    )
    assert len(output.extras["symmetry"]) == net.stages
    counted: list[bool] = []
    net.fcs[0].register_forward_pre_hook(lambda module, given: counted.append(given[1]))
    net(image=image)
    net(image=image, return_output=True)
    assert counted == [False, True]
    with pytest.raises(UnfoldError, match="return 'symmetry'"):
        Symmetry()(Output([image], {}), {})


def test_blocks_are_cut_and_put_together_row_by_row() -> None:
    x = torch.arange(2 * 1 * 6 * 9.0).view(2, 1, 6, 9)
    blocks = to_blocks(x, 3)
    assert torch.equal(blocks[1, 0], x[0, 0, :3, 3:6])
    assert torch.equal(blocks[6, 0], x[1, 0, :3, :3])
    assert torch.equal(from_blocks(blocks, (2, 3)), x)
    phi = random_orthonormal(5, 9)
    assert np.abs(phi @ phi.T - np.eye(5)).max() < 1e-12
    assert np.abs(initial_by_least_squares(phi, np.random.default_rng(0).random((2000, 9))) - phi.T).max() < 1
    assert set(ARGUMENTS) >= {"ista_net", "ista_net_plus", "ista_net_plus_mri"}
