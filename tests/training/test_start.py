"""Fine-tuning: a run begins with given weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests import narrow
from unfold import create_model
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.models.usrnet import HyperParameters
from unfold.priors.conv_block import ConvBlock
from unfold.training.setup.build_run import build_trainer
from unfold.training.setup.weight_init import fill
from unfold.training.trainer import Trainer
from unfold.weights.read_checkpoint import read_checkpoint


def build(recipe: Path, *words: object, **options: Any) -> Trainer:
    return build_trainer(load_config(recipe, [str(word) for word in words]), **options)


def test_weights_to_begin_with_are_those_of_the_first_step(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        build(recipe).fit(until=1)
    assert "beginning with random weights" in caplog.text, "a note for a forgotten --init"
    caplog.clear()
    given = tmp_path / "run" / "checkpoints" / "last.pth"
    trainer = build(recipe, "OUTPUT", tmp_path / "fine", init=str(given))
    assert "random weights" not in caplog.text
    expected = read_checkpoint(given).state
    assert all(torch.equal(value, expected[name]) for name, value in trainer.update.net.state_dict().items())
    assert trainer.step == 0
    assert not trainer.update.optimizer.state


def test_weights_that_do_not_fit_are_refused_or_taken_in_part_and_what_stays_fresh_is_listed(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(recipe).fit(until=1)
    given = tmp_path / "run" / "checkpoints" / "last.pth"
    wider = ["OUTPUT", tmp_path / "wider", "MODEL.TAIL", 8]
    with pytest.raises(UnfoldError, match=r"--init: .* \(--partial takes over what fits\)"):
        build(recipe, *wider, init=str(given))
    with caplog.at_level("INFO"):
        trainer = build(recipe, *wider, init=str(given), partial=True)
    expected, found = read_checkpoint(given).state, trainer.update.net.state_dict()
    same = {name for name, value in found.items() if torch.equal(value, expected.get(name, torch.empty(0)))}
    fresh = {name for name, value in found.items() if value.shape != expected[name].shape}
    assert fresh == {"concat67.weight", "tail.weight"}
    assert same == found.keys() - fresh
    assert f"fresh are {', '.join(name for name in found if name in fresh)}" in caplog.text


def test_one_command_begins_with_weights_and_goes_on_from_its_checkpoint(recipe: Path, tmp_path: Path) -> None:
    build(recipe).fit(until=1)
    given, fine = str(tmp_path / "run" / "checkpoints" / "last.pth"), ["OUTPUT", tmp_path / "fine"]
    build(recipe, *fine, init=given, resume="auto").fit(until=1)
    with pytest.raises(UnfoldError, match="--init starts a run and --resume continues one"):
        build(recipe, *fine, init=given, resume=True)
    going_on = build(recipe, *fine, init=given, resume="auto")
    assert going_on.step == 3
    own = read_checkpoint(tmp_path / "fine" / "checkpoints" / "last.pth").state
    assert all(torch.equal(value, own[name]) for name, value in going_on.update.net.state_dict().items())


def test_usrnet_can_begin_near_its_data_steps_alone() -> None:
    torch.manual_seed(0)
    net = create_model("usrnet", widths=(8, 12, 16, 16), depth=1, stages=4)
    image = torch.rand(2, 4, 24, 32)
    far = (net.p(image) - image[:, :3]).abs().mean()
    fill(net, "identity")
    assert (net.p(image) - image[:, :3]).abs().mean() < 0.03 < 0.3 < far
    sigmas, levels = torch.tensor([0.0, 1, 4, 16]) / 255, torch.tensor([0.5, 0.1957, 0.0766, 0.03])
    alphas, betas = (x[..., 0, 0] for x in net.h(sigmas, 2))
    torch.testing.assert_close(betas, levels.expand(4, 4), rtol=1e-3, atol=0)
    torch.testing.assert_close(alphas, 0.23 * (sigmas[:, None] ** 2 + 0.0027**2) / levels**2, rtol=2e-3, atol=0)
    torch.testing.assert_close(net.h(sigmas, 4)[0], net.h(sigmas, 1)[0])
    few = HyperParameters(stages=3, width=2)
    few.start()
    assert few(sigmas, 1)[0].diff(dim=0).gt(0).all(), "as well as few channels allow"
    loss = net(torch.rand(1, 3, 12, 12), kernel=torch.full((1, 1, 3, 3), 1 / 9), scale=2, sigma=0.1).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters()), "all weights learn"


@pytest.mark.parametrize(("width", "scale"), [(6, 1.0), (8, -1.0), (16, -1.0), (64, 1.0), (4, 0.0)])
def test_a_convolution_block_can_begin_near_a_multiple_of_its_input(width: int, scale: float) -> None:
    torch.manual_seed(0)
    block, x = ConvBlock(3, width), torch.randn(2, 3, 20, 24)
    block.start_as_identity(scale)
    assert (block(x) - scale * x).abs().mean() < 0.05 * x.abs().mean(), "near 0 where there is no room for both signs"
    block(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters()), "all layers learn"


def test_nrl_gdn_can_begin_near_gradient_descent() -> None:
    torch.manual_seed(0)
    net = create_model("nrl_gdn_y0", widths=(4, 4, 4, 4), depth=1, width=8, train_stages=1)
    y, k = torch.rand(1, 3, 24, 24), torch.rand(1, 1, 3, 3)
    k /= k.sum()
    taps = k.expand(3, 1, 3, 3)
    error = F.conv2d(y, taps.flip((2, 3)), padding=1, groups=3) - y
    descended = y - (F.conv2d(error, taps, padding=1, groups=3) + 0.1 * net.r(y))
    fill(net, "identity")
    torch.testing.assert_close(net(y, kernel=k), descended, rtol=0, atol=0.01)
    net(y, kernel=k).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters()), "all weights learn"


def test_other_networks_have_no_such_beginning() -> None:
    with pytest.raises(UnfoldError, match=r"OPTIM\.START identity is not for DGUNet: use default"):
        fill(narrow.narrow("dgunet_deblur"), "identity")
    with pytest.raises(UnfoldError, match=r"3 channels cannot pass through 2; make the first of MODEL\.ARGS\.widths"):
        fill(create_model("usrnet", widths=(2, 4, 4, 4), depth=1), "identity")
