"""Training in bfloat16: physics, images, losses and weights stay float32, and the run stays close to one in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.compare_precisions import verdict
from tests.narrow import NAMES, inputs, narrow
from tests.watching import watch_precision
from unfold.config import load_config
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import Charbonnier
from unfold.models.unfolding import Output
from unfold.priors import shrinkage
from unfold.training.log import read_log
from unfold.training.setup.build_run import build_trainer
from unfold.training.train_step import Update


@pytest.mark.parametrize("name", NAMES)
def test_a_step_in_bfloat16_keeps_physics_images_gradients_and_weights_in_float32(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, given = narrow(name).train(), inputs(name, 2, 32, 24)
    seen = watch_precision(net, monkeypatch)
    halves: set[str] = set()
    for key, layer in net.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda module, args, result, key=key: halves.add(key) if result.dtype == torch.bfloat16 else None
            )
    if name.startswith("ista_net"):  # its convolutions are functions
        plain = shrinkage._convolved

        def convolved(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            result = plain(x, weight)
            halves.update({"shrinkage"} if result.dtype == torch.bfloat16 else ())
            return result

        monkeypatch.setattr(shrinkage, "_convolved", convolved)
    stages_seen = []

    def loss(output: Output, batch: Mapping[str, Any]) -> torch.Tensor:
        stages_seen.extend(stage.dtype for stage in output.stages)
        return TotalLoss([Term(Charbonnier(), every_stage=True)])(output, batch)

    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    update = Update(net, net, loss, torch.optim.Adam(trained, 1e-3, fused=True), ema=0.5, autocast=True)
    with torch.no_grad():
        target = torch.zeros_like(net(**given)) + 0.5
    seen.clear()
    update({"target": target, **given})
    assert halves, "the priors are computed in bfloat16"
    assert len(seen) > 1
    for where, dtypes in seen.items():
        assert dtypes <= {torch.float32, torch.complex64}, where
    assert set(stages_seen) == {torch.float32}
    moments = [value for state in update.optimizer.state.values() for value in state.values()]
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    for tensor in (*trained, *gradients, *moments, *update.average.values()):
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()


def test_a_short_run_in_bfloat16_stays_close_to_one_in_float32(recipe: Path, tmp_path: Path) -> None:
    rows = {}
    for precision in ("float32", "bfloat16"):
        words = f"TRAIN.PRECISION {precision} OUTPUT {tmp_path / precision} TRAIN.PATCHES 16 TRAIN.VALIDATE_EVERY 3"
        build_trainer(load_config(recipe, words.split())).fit()
        rows[precision] = read_log(tmp_path / precision / "log.jsonl")
    exact, half = rows["float32"], rows["bfloat16"]
    assert exact[0]["loss"] != half[0]["loss"]
    assert exact[0]["loss"] > 1.2 * exact[-1]["loss"], "it learns, so that there is something to stay close to"
    for a, b in zip(exact, half, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.03)
        assert b["skipped"] == 0
    assert half[-1]["val_psnr"] == pytest.approx(exact[-1]["val_psnr"], abs=0.3)


def test_the_comparison_of_precisions_takes_the_mean_against_the_spread() -> None:
    table, inside = verdict({"float32": [30.0, 30.4, 30.2], "bfloat16": [30.1, 30.3, 30.0]})
    assert inside
    assert "| bfloat16 | 30.10 | 30.30 | 30.00 | 30.13 | 30.00 to 30.30 |" in table
    assert not verdict({"float32": [30.0, 30.4, 30.2], "bfloat16": [29.9, 29.9, 30.0]})[1]
    assert not verdict({"float32": [30.0, 30.4], "bfloat16": [31.0, 30.0]})[1], "better than all is outside as well"
