"""The ablation: variants differ in what their names say, and a run that broke off is gone on from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from scripts import ablation
from scripts.ablation import GROUPS, Variant
from tests.synthetic import scene


def parameters(variant: Variant) -> int:
    return sum(p.numel() for p in variant.network().priors.parameters())


def test_variants_differ_in_one_thing() -> None:
    first = Variant("")
    groups = {"stages": {"stages"}, "weights": {"shared", "widths"}, "loss": {"loss"}}
    for group, variants in GROUPS.items():
        reference = vars(variants[0] if group == "one kernel" else first)
        for variant in variants:
            different = {name for name, value in vars(variant).items() if value != reference[name]} - {"title"}
            assert different <= groups.get(group, {"data"}), variant
    assert [v.stages for v in GROUPS["stages"]] == [1, 2, 4, 8]
    tied, untied, narrow = GROUPS["weights"]
    assert parameters(untied) == 4 * parameters(tied)
    assert parameters(narrow) == pytest.approx(parameters(tied), rel=0.1)
    assert ablation.same(tied) == ablation.same(first) == ablation.same(GROUPS["loss"][0])
    everything = [v for variants in GROUPS.values() for v in variants]
    assert len({ablation.same(v) for v in everything}) == 10


def test_without_a_data_step_the_kernel_is_not_looked_at() -> None:
    y, sharp, blunt = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 3, 3), torch.full((1, 1, 3, 3), 1 / 9)
    sharp[..., 1, 1] = 1
    for variant in GROUPS["any kernel"]:
        net = variant.network()
        with torch.no_grad():
            assert torch.equal(net(y, kernel=sharp), net(y, kernel=blunt)) != variant.data


def test_a_run_goes_on_from_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    for i in range(2):
        Image.fromarray(scene(64, 64, seed=i)).save(tmp_path / "pictures" / f"{i}.png")
    monkeypatch.setattr(ablation, "STEPS", 2)
    monkeypatch.setattr(ablation, "JUDGED", 2)
    monkeypatch.setattr(ablation, "JUDGED_PATCH", 48)
    monkeypatch.setattr(ablation, "KERNELS", 3)
    monkeypatch.setattr(ablation, "SEEDS", (0,))
    monkeypatch.setattr(ablation, "GROUPS", {"stages": GROUPS["stages"][:1], "one kernel": GROUPS["one kernel"]})
    given = ["DATA.TRAIN", str(tmp_path / "pictures"), "DATA.VAL", str(tmp_path / "pictures")]
    monkeypatch.setattr(sys, "argv", ["ablation", str(tmp_path / "out"), *given])
    assert ablation.main() == 0
    log = tmp_path / "out" / "ablation.json"
    whole_log = json.loads(log.read_text())
    found = whole_log["runs"]
    assert [len(runs) for runs in found.values()] == [1, 1, 1]
    first, *rest = found
    (whole,) = found.pop(first)
    log.write_text(json.dumps(whole_log))
    capsys.readouterr()
    assert ablation.main() == 0
    again = json.loads(log.read_text())["runs"]
    assert again[first][0]["psnr"] == whole["psnr"], "the same seed gives the same network"
    assert all(again[key] == found[key] for key in rest), "what was there is not run again"
    assert f"| stages | 1 stage | 26,096 | {whole['psnr']:.2f} |" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "ablation.png") as picture:
        assert picture.size[0] == 760
    monkeypatch.setattr(ablation, "STEPS", 3)
    assert ablation.main() == 2
    assert "ablation.json is of other settings" in capsys.readouterr().err
    log.write_text("{}")
    assert ablation.main() == 2
    assert "ablation.json is damaged" in capsys.readouterr().err
    sys.argv[2:] = ["OPTIM.LR", "7"]
    assert ablation.main() == 2
    assert "OPTIM.LR is no setting of the ablation" in capsys.readouterr().err
    sys.argv[2:] = ["DATA.TRAIN", "nowhere"]
    sys.argv[1] += "2"
    assert ablation.main() == 2
    assert "nowhere" in capsys.readouterr().err
    assert not Path(sys.argv[1]).exists(), "nothing is left behind"
