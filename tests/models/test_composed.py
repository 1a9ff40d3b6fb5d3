"""Any data step and any prior make a network; the example of docs/compose.md runs as it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.narrow import kernels
from unfold.models.composed import Composed
from unfold.physics.blur import blur
from unfold.priors.pathway_unet import PathwayUNet
from unfold.priors.resunet import ResUNet
from unfold.steps.closed_form import prepare
from unfold.steps.data_step import BlurGradient, ClosedForm, DataStep, LearnedGradient

ROOT = Path(__file__).parents[2]
DATA = {
    "closed form": (lambda: ClosedForm(3), {"scale": 2}),
    "blur gradient": (lambda: BlurGradient(3), {}),
    "learned gradient": (lambda: LearnedGradient(3, width=4), None),
}
PRIORS = {
    "pathway": lambda: PathwayUNet(4, 2),
    "resunet": lambda: ResUNet(3, 3, (4, 4, 4, 4), 1),
    "identity": nn.Identity,
}


@pytest.mark.parametrize("data", sorted(DATA))
@pytest.mark.parametrize("prior", sorted(PRIORS))
@pytest.mark.parametrize("shared", [True, False])
def test_every_pair_trains(data: str, prior: str, shared: bool) -> None:
    build: Callable[[], DataStep]
    given: dict[str, Any] | None
    build, given = DATA[data]
    net = Composed(build(), PRIORS[prior], 3, shared=shared)
    assert len(net.priors) == (1 if shared else 3)
    y = torch.rand(2, 3, 12, 11)
    given = {} if given is None else {"kernel": kernels(2, 5), **given}
    stages = net(y, **given, return_stages=True)
    scale = given.get("scale", 1)
    assert [x.shape for x in stages] == [(2, 3, 12 * scale, 11 * scale)] * 3
    torch.stack(stages).square().sum().backward()
    unused = {name for name, p in net.named_parameters() if p.grad is None}
    expected = set()
    if prior == "pathway" and not shared:  # nothing comes into the first stage, nothing goes on from the last
        words = ("merge", "csff", ".phi.", ".gamma.")
        expected = {name for name, _ in net.named_parameters() if "priors.0." in name and any(w in name for w in words)}
        expected.add("priors.2.output.conv1.weight")
    assert unused == expected


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="parameters for 2 stages, and the network has 3"):
        Composed(ClosedForm(2), nn.Identity, 3)
    y = torch.rand(2, 3, 8, 8)
    for data in (ClosedForm(1), BlurGradient(1)):
        with pytest.raises(ValueError, match=r"3 kernels|kernel must have shape"):
            Composed(data, nn.Identity, 1)(y, kernel=kernels(3))
    step = prepare(kernels(1), (16, 16), 2)
    net = Composed(ClosedForm(1), nn.Identity, 1)
    assert net(y, kernel=step, scale=2).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="whole number"):
        net(y, kernel=kernels(1), scale=1.5)


def test_with_no_prior_the_loop_is_the_algorithm() -> None:
    """Gradient descent without a prior goes down to the blurred image's pre-image."""
    x, k = torch.rand(1, 3, 12, 12, dtype=torch.float64), kernels(1, 3, torch.float64)
    net = Composed(BlurGradient(200, "circular"), nn.Identity, 200).double()
    stages = net(blur(x, k, "circular"), kernel=k, return_stages=True)
    errors = [(stage - x).norm().item() for stage in stages]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.7 * errors[0]


def test_the_documented_example_runs_and_its_loss_falls(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "compose.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 25
    scope: dict[str, Any] = {}
    exec(code, scope)
    losses = scope["losses"]
    assert losses[-1] < losses[0]
    assert "stage" in capsys.readouterr().out
