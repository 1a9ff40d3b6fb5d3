"""Adversarial training: the formulas, who learns from what, and runs that resume, skip and refuse as all others do."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import VGG19_Weights

from tests import server as web
from tests.standins import random_vgg19
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.facts import Input, image
from unfold.losses.adversarial import fooling_loss, judging_loss
from unfold.losses.vgg_features import PerceptualDistance, vgg19_features
from unfold.models.unfolding import Output
from unfold.training.adversarial_step import AdversarialUpdate
from unfold.training.checkpoint import read_run
from unfold.training.discriminator import Discriminator
from unfold.training.log import read_log
from unfold.training.processes.distributed import Processes
from unfold.training.setup import build_parts
from unfold.training.setup.build_parts import build_loss
from unfold.training.setup.build_run import build_trainer
from unfold.training.train_step import Update
from unfold.training.trainer import Trainer

Command = Callable[..., tuple[int, str, str]]
LOG = "log.jsonl"
TIMING = ("seconds", "images_per_s", "data_wait")
WORDS = "LOSS.ADVERSARIAL 0.1 LOSS.STAGES last TRAIN.PATCH 96 TRAIN.PATCHES 4 TRAIN.EPOCHS 2 TRAIN.VALIDATE_EVERY 2"


class Tint(nn.Module):
    """The smallest network that restores anything: a convolution of 1x1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.inputs: Mapping[str, Input] = {"y": image(3)}

    def forward(self, y: Tensor, return_output: bool) -> Output:
        return Output([y, self.conv(y)], {})


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs with a discriminator of a sixteenth of the width, which is trained in no time."""
    monkeypatch.setattr(build_parts, "Discriminator", functools.partial(Discriminator, 4))


def build(recipe: Path, folder: Path, words: str = WORDS, **options: Any) -> Trainer:
    return build_trainer(load_config(recipe, [*words.split(), "OUTPUT", str(folder)]), **options)


def last(output: Output, batch: Mapping[str, Any]) -> Tensor:
    return F.l1_loss(output.stages[-1], batch["target"])


def pair(weight: float = 0.5, rate: float = 0.0, **options: Any) -> AdversarialUpdate:
    """An update of a Tint and a narrow discriminator."""
    net, judge = Tint(), Discriminator(4)
    optimizer = torch.optim.Adam([*net.parameters(), *judge.parameters()], rate, fused=True)
    return AdversarialUpdate(net, net, last, optimizer, discriminator=judge, weight=weight, **options)


def batch() -> dict[str, Tensor]:
    return {"target": torch.rand(3, 3, 96, 96), "y": torch.rand(3, 3, 96, 96)}


def bce(x: NDArray[np.float64], wanted: float) -> float:
    p = 1 / (1 + np.exp(-x))
    return float(-np.mean(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)))


def test_the_relativistic_average_losses_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    real, restored = rng.normal(1, 2, (5, 1)), rng.normal(-1, 2, (5, 1))
    up, down = real - restored.mean(), restored - real.mean()
    a, b = torch.from_numpy(real), torch.from_numpy(restored)
    assert judging_loss(a, b).item() == pytest.approx((bce(up, 1) + bce(down, 0)) / 2, rel=1e-12)
    assert fooling_loss(a, b).item() == pytest.approx((bce(up, 0) + bce(down, 1)) / 2, rel=1e-12)
    assert judging_loss(a[:1], a[:1]).item() == pytest.approx(math.log(2))


def test_the_discriminator_has_the_published_names_shapes_and_order() -> None:
    published = json.loads((Path(__file__).parents[1] / "golden" / "manifests.json").read_text())
    with torch.device("meta"):
        state = Discriminator().state_dict()
    manifest = json.dumps([[key, list(value.shape)] for key, value in state.items()])
    assert hashlib.sha256(manifest.encode()).hexdigest() == published["usrgan_discriminator"]


def test_the_discriminator_is_what_its_names_and_the_paper_say() -> None:
    judge, x = Discriminator(4), torch.rand(2, 3, 96, 96)
    weights = {name: value.clone() for name, value in judge.state_dict().items()}
    found = judge(x)
    for i in (0, 1, 4, 7, 10, 13, 16, 19, 22, 25):
        kernel = weights[f"features.{i}.weight"]
        x = F.conv2d(x, kernel, weights[f"features.{i}.bias"], stride=2 if kernel.shape[-1] == 4 else 1, padding=1)
        if i == 0:
            continue
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        kept = judge.get_buffer(f"features.{i + 1}.running_mean")
        assert torch.allclose(kept, 0.9 * mean.flatten(), atol=1e-6)
        x = F.leaky_relu((x - mean) / torch.sqrt(variance + 1e-4), 0.2)
    x = F.linear(x.flatten(1), weights["classifier.0.weight"], weights["classifier.0.bias"])
    x = F.linear(F.leaky_relu(x, 0.2), weights["classifier.2.weight"], weights["classifier.2.bias"])
    assert torch.allclose(found, x, atol=1e-5)
    assert found.shape == (2, 1)


def test_each_net_learns_from_its_own_loss_and_not_from_the_others() -> None:
    update, given = pair(), batch()
    net, judge = copy.deepcopy(update.net), copy.deepcopy(update.discriminator)
    update(given)

    x, target = net(given["y"], return_output=True).stages[-1], given["target"]
    real = judge(target)
    ones, zeros = torch.ones(3, 1), torch.zeros(3, 1)
    entropy = F.binary_cross_entropy_with_logits
    # The discriminator's two terms, backward one after the other.
    (0.5 * entropy(real - judge(x.detach()).mean(0).detach(), ones)).backward()
    (0.5 * entropy(judge(x.detach()) - real.detach().mean(0), zeros)).backward()
    for mine, its in zip(update.discriminator.parameters(), judge.parameters(), strict=True):
        assert torch.allclose(mine.grad, its.grad, rtol=1e-4, atol=1e-6)
    # The network's, with what the discriminator says of real patches held fixed.
    fooled = (entropy(real.detach() - judge(x).mean(0), zeros) + entropy(judge(x) - real.detach().mean(0), ones)) / 2
    wanted = torch.autograd.grad(F.l1_loss(x, target) + 0.5 * fooled, tuple(net.parameters()))
    for parameter, gradient in zip(update.net.parameters(), wanted, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_without_weight_the_network_trains_as_if_it_were_alone() -> None:
    given, update = batch(), pair(weight=0.0, rate=1e-2)
    net = copy.deepcopy(update.net)
    alone = Update(net, net, last, torch.optim.Adam(net.parameters(), 1e-2, fused=True))
    before = copy.deepcopy(update.discriminator.state_dict())
    for _ in range(2):
        sums, others = update(dict(given)), alone(dict(given))
        assert torch.equal(sums[:6], others)
    assert all(torch.equal(a, b) for a, b in zip(update.net.parameters(), net.parameters(), strict=True))
    after = update.discriminator.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in after if name.endswith("weight"))


def test_the_discriminator_learns_to_recognise_restored_patches() -> None:
    update, given = pair(rate=1e-3), batch()
    given["y"] = F.avg_pool2d(given["y"], 5, 1, 2)
    first, *_, final = [update(dict(given))[-1].item() / 3 for _ in range(8)]
    assert first == pytest.approx(math.log(2), abs=0.3)
    assert final < first / 4


@pytest.mark.parametrize("whose", ["network", "discriminator"])
def test_a_step_that_is_not_finite_for_either_changes_neither(whose: str) -> None:
    update, given = pair(rate=1e-3), batch()
    update(dict(given))
    before = copy.deepcopy([update.net.state_dict(), update.discriminator.state_dict(), update.optimizer.state_dict()])
    if whose == "network":
        sums = update({**given, "y": given["y"] * math.nan})
    else:
        hook = update.discriminator.classifier[2].weight.register_hook(lambda gradient: gradient * math.nan)
        sums = update(dict(given))
        hook.remove()
    assert dict(zip(update.names, sums.tolist(), strict=True)) == {name: name == "skipped" for name in update.names}
    after = [update.net.state_dict(), update.discriminator.state_dict(), update.optimizer.state_dict()]
    assert all(torch.equal(a, b) for a, b in zip(tensors(before), tensors(after), strict=True))
    assert update(dict(given)).isfinite().all()
    assert not torch.equal(before[0]["conv.weight"], update.net.conv.weight)


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [tensor for item in items for tensor in tensors(item)]


@pytest.mark.usefixtures("_narrow")
def test_a_run_killed_inside_an_epoch_resumes_to_the_bit(recipe: Path, tmp_path: Path) -> None:
    words = f"{WORDS} TRAIN.EMA 0.9 OPTIM.CLIP 0.1 TRAIN.SAVE_EVERY 1"
    build(recipe, tmp_path / "whole", words).fit()
    for step in (1, 3):
        trainer = build(recipe, tmp_path / "killed", words, resume="auto")
        trainer.render = dying(trainer, step)
        with pytest.raises(Killed):
            trainer.fit()
    build(recipe, tmp_path / "killed", words, resume=True).fit()
    whole, killed = (read_run(tmp_path / name / "checkpoints" / "last.pth").content for name in ("whole", "killed"))
    assert whole["digest"] == killed["digest"], "it is of all tensors, the discriminator's and Adam's among them"
    assert (whole["step"], whole["best"]) == (killed["step"], killed["best"])
    assert whole["discriminator"]["features.2.num_batches_tracked"] == 3 * 4, "three batches in each of four steps"
    assert len(whole["optimizer"]["param_groups"]) == 2
    rows = [
        [{key: value for key, value in row.items() if key not in TIMING} for row in read_log(tmp_path / name / LOG)]
        for name in ("whole", "killed")
    ]
    assert rows[0] == rows[1]
    assert all(0 < row[name] < 3 for row in rows[0] for name in ("adversarial", "discriminator"))


class Killed(Exception):
    """Stands for a kill: nothing that was in memory is kept."""


def dying(trainer: Trainer, at: int) -> Callable[..., dict[str, Any]]:
    render = trainer.render

    def rendered(given: dict[str, Any], epoch: int, step: int) -> dict[str, Any]:
        if trainer.step == at:
            raise Killed
        return render(given, epoch, step)

    return rendered


@pytest.mark.usefixtures("_narrow")
def test_bfloat16_trains_both_and_keeps_float32_weights(recipe: Path, tmp_path: Path) -> None:
    trainer = build(recipe, tmp_path / "run", f"{WORDS} TRAIN.PRECISION bfloat16 TRAIN.EPOCHS 1")
    seen = []
    trainer.update.discriminator.register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    trainer.fit()
    (row,) = read_log(tmp_path / "run" / LOG)
    assert row["skipped"] == 0
    assert math.isfinite(row["loss"] + row["adversarial"] + row["discriminator"])
    assert set(seen) == {torch.float32}


@pytest.mark.usefixtures("_narrow")
def test_a_discriminator_that_is_not_finite_is_never_written(recipe: Path, tmp_path: Path) -> None:
    trainer = build(recipe, tmp_path / "run", WORDS)
    trainer.update.optimizer.param_groups[1]["lr"] = math.inf
    with pytest.raises(UnfoldError, match="weights became infinite or NaN"):
        trainer.fit()
    assert not (tmp_path / "run" / "checkpoints" / "last.pth").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("TRAIN.PATCH 64", "TRAIN.PATCH must be 96, what the discriminator of the loss adversarial takes, and is 64"),
        ("TRAIN.ACCUMULATE 2", "TRAIN.ACCUMULATE must be 1 with the loss adversarial"),
        ("LOSS.ADVERSARIAL -1", "LOSS.ADVERSARIAL must not be negative"),
        (
            "MODEL.NAME dgunet_cs MODEL.OPERATOR_WIDTH 0 DATA.KIND compressive_sensing",
            "LOSS.TERMS: adversarial takes images of 3 channels, and dgunet_cs has 1",
        ),
        (
            "LOSS.ADVERSARIAL 0 LOSS.PERCEPTUAL 1 TRAIN.PATCH 12",
            "TRAIN.PATCH must be at least 16 for the loss perceptual",
        ),
        ("LOSS.PERCEPTUAL 1 LOSS.VGG none.pth", "there is no weights file none.pth; its option vgg names the file"),
    ],
)
def test_settings_that_do_not_fit_are_one_line_before_the_work(
    recipe: Path, tmp_path: Path, command: Command, words: str, expected: str
) -> None:
    code, _, err = command("train", "--config", recipe, *WORDS.split(), *words.split())
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UnfoldError, match="the loss adversarial trains in one process, not 2"):
        build(recipe, tmp_path / "run", processes=Processes(0, 2))


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_vgg19(tmp_path_factory.mktemp("vgg") / "vgg19.pth")


def test_the_perceptual_distance_is_that_of_conv5_4_before_its_relu(vgg: Path) -> None:
    state = torch.load(vgg, weights_only=True)

    def conv5_4(x: Tensor) -> Tensor:
        mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        x = (x - mean) / std
        names = iter(sorted({int(name.split(".")[1]) for name in state}))
        for block, convolutions in enumerate((2, 2, 4, 4, 4)):
            x = F.max_pool2d(x, 2) if block else x
            for i in range(convolutions):
                number = next(names)
                x = F.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], padding=1)
                x = x if (block, i) == (4, 3) else x.relu()
        assert number == 34
        return x

    x, target = torch.rand(2, 3, 32, 40, requires_grad=True), torch.rand(2, 3, 32, 40, requires_grad=True)
    distance = PerceptualDistance(vgg19_features(str(vgg)))
    found = distance(x, target)
    expected = (conv5_4(x) - conv5_4(target)).abs().mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(expected, x)
    found.backward()
    assert torch.allclose(x.grad, gradient, rtol=1e-3, atol=1e-7)
    assert target.grad is None
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_the_perceptual_loss_is_added_with_its_weight(recipe: Path, vgg: Path) -> None:
    plain = load_config(recipe, ["LOSS.STAGES", "last", "TRAIN.PATCH", "16"])
    cfg = load_config(recipe, f"LOSS.STAGES last LOSS.PERCEPTUAL 3.0 LOSS.VGG {vgg} TRAIN.PATCH 16".split())
    x, target, cpu = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), torch.device("cpu")
    distance = PerceptualDistance(vgg19_features(str(vgg)))(x, target).item()
    given = Output([target, x], {}), {"target": target}
    expected = build_loss(plain, cpu).total(*given).item() + 3 * distance
    assert build_loss(cfg, cpu).total(*given).item() == pytest.approx(expected, rel=1e-6)


def test_vgg_weights_that_cannot_be_had_are_one_line_that_says_where_to_put_them(
    server: web.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = server.url("vgg19-0123abcd.pth")
    monkeypatch.setattr(VGG19_Weights.IMAGENET1K_V1.value, "url", url)
    path = tmp_path / "hub" / "checkpoints" / "vgg19-0123abcd.pth"
    server.acts = ["500"] * 9
    with pytest.raises(UnfoldError) as caught:
        vgg19_features()
    expected = str(caught.value)
    assert expected.startswith("the loss perceptual needs VGG19's weights:")
    assert url in expected
    assert f"save it as {path}" in expected
    assert expected.endswith("or set its option vgg to where the file is")
    assert "\n" not in expected
    server.acts = []
    with pytest.raises(UnfoldError, match=r"is not what .* should be: its SHA-256 is .*; move it away"):
        vgg19_features()


def test_torchvisions_file_is_read_from_its_cache_when_it_is_the_right_one(
    vgg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(vgg.read_bytes()).hexdigest()
    path = tmp_path / "hub" / "checkpoints" / f"vgg19-{digest[:8]}.pth"
    path.parent.mkdir(parents=True)
    path.hardlink_to(vgg)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(VGG19_Weights.IMAGENET1K_V1.value, "url", f"https://nowhere.invalid/{path.name}")
    assert torch.equal(vgg19_features().state_dict()["34.bias"], torch.load(vgg, weights_only=True)["features.34.bias"])


def test_other_weights_than_vgg19s_are_refused(vgg: Path, tmp_path: Path) -> None:
    state = torch.load(vgg, weights_only=True)
    path = tmp_path / "other.pth"
    torch.save({name: state[name] for name in ("features.0.weight", "features.0.bias")}, path)
    with pytest.raises(UnfoldError, match=r"does not hold torchvision's VGG19: features.2.weight \(64, 64, 3, 3\)"):
        vgg19_features(str(path))


def test_the_discriminator_may_begin_as_kairs_does() -> None:
    torch.manual_seed(0)
    judge = Discriminator(8)
    judge.start_as_kair()
    for module in judge.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            flat = module.weight.detach().flatten(1)
            small = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
            assert torch.allclose(small, 0.04 * torch.eye(len(small)), atol=1e-5), "orthogonal, gain 0.2"
            assert not module.bias.any()
        elif isinstance(module, nn.BatchNorm2d):
            assert 0.1 <= module.weight.min() < module.weight.max() <= 1
