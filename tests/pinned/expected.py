"""How the numbers that are pinned are taken, by make.py when they were stored and by the tests ever since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import unfold
from tests.pinned.made_up import PINNED, picture
from unfold.data.patches import random_patch
from unfold.data.stores.patch_cache import PatchCache
from unfold.tables import work_plan
from unfold.training.log import read_log
from unfold.weights.read_checkpoint import read_checkpoint

RUNS = ("nrl_gdn", "usrnet")
COUNTERS = ("step", "epoch", "pending")
LOGGED = ("epoch", "step", "loss", "train_psnr", "val_psnr", "lr")
OUTPUTS = {  # the files that hold weights, by the name of what they restore
    "nrl_gdn": "nrl_gdn/checkpoints/best.pth",
    "usrnet": "usrnet/checkpoints/best.pth",
    "usrnet, last": "usrnet/checkpoints/last.pth",
    "dgunet_cs": "dgunet_cs.safetensors",
}
TABLE = ["tables", "usrnet_bicubic", "--weights", str(PINNED / OUTPUTS["usrnet"]), "--device", "cpu", "--jobs", "1"]


def ending(folder: Path) -> dict[str, Any]:
    """What a run has come to: counters, the rows of the log, validation, and of each tensor of weights two sums."""
    last = read_checkpoint(folder / "checkpoints" / "last.pth")
    rows = read_log(folder / "log.jsonl")
    return {
        "counters": {key: last.content[key] for key in COUNTERS},
        "best": last.content["best"],
        "log": [{key: row[key] for key in LOGGED} for row in rows],
        "validation": json.loads((folder / "validation.json").read_text()),
        "weights": {key: [value.sum().item(), value.abs().sum().item()] for key, value in last.state.items()},
    }


def outputs() -> dict[str, NDArray[np.float32]]:
    """What the networks of the pinned files make of a picture, all stages."""
    y = torch.from_numpy(picture(32, 40, seed=7)).permute(2, 0, 1)[None] / 255
    k = torch.tensor([[1.0, 2, 1], [2, 4, 3], [1, 1, 1]])[None, None] / 16
    inputs: dict[str, dict[str, Any]] = {
        "nrl_gdn": {"y": y, "kernel": k},
        "usrnet": {"y": y, "kernel": k, "scale": 2, "sigma": 0.02},
        "usrnet, last": {"y": y, "kernel": k, "scale": 1, "sigma": 0.1},
        "dgunet_cs": {"image": y[:, :1]},
    }
    found = {}
    for name, file in OUTPUTS.items():
        net = unfold.load_model(PINNED / file)
        with torch.no_grad():
            stages = net(**inputs[name], return_stages=True)
        found[name] = torch.stack([stages[0], stages[-1]])[..., ::5, ::5].numpy()
    return found


def crops(cache: Path) -> dict[str, NDArray[np.uint8]]:
    """Random patches from a patch cache of pairs."""
    rng = np.random.default_rng(6)
    store = PatchCache(cache)
    return {f"crop {i}, {kind}": part for i in range(3) for kind, part in random_patch(store, 12, rng).items()}


def table_of(folder: Path) -> dict[str, float]:
    """The measured cells of a table."""
    cells = json.loads((folder / "table.json").read_text())["cells"]
    measured = [cell for cell in cells if cell["measured"] is not None]
    return {" ".join([*cell["row"], *cell["column"], cell["metric"]]): cell["measured"] for cell in measured}


def versions() -> dict[str, Any]:
    """Of what a score of a table depends on."""
    return {"unfold": unfold.__version__, "torch": torch.__version__, "libraries": work_plan._libraries()}
