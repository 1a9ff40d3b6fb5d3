"""Make the pinned files anew. They were made at commit bbfdcae, and are what that commit wrote and computed.

    git worktree add --detach /tmp/old bbfdcae
    cp -r tests/pinned /tmp/old/tests
    cd /tmp/old && OMP_NUM_THREADS=1 PYTHONPATH=. python -m tests.pinned.make

with the tests/pinned of the commit that added this file, whose imports are those of that time; then copy
/tmp/old/tests/pinned back. Later code would pin what it does itself: so make them anew only where a change of
the numbers is wanted, and the changelog says so.

What is made: two run folders (nrl_gdn, usrnet), stopped after step 4 of 9, in the middle of an epoch;
dgunet_cs.safetensors, by `unfold convert`; pairs.h5, by `unfold data prepare cache`; table/cache.jsonl, by `unfold
tables`; kernels/*.mat; and what the tests expect: expected.json and outputs.npz. Pictures are not kept: made_up.py
makes them by a rule.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import numpy as np
import torch
from scipy.io import savemat

import unfold
from tests.pinned.expected import OUTPUTS, RUNS, TABLE, crops, ending, outputs, table_of, versions
from tests.pinned.made_up import PINNED, make_data
from unfold.cli import main
from unfold.config import load_config
from unfold.training.processes.signals import Stopped
from unfold.training.setup.build_run import build_trainer
from unfold.weights.convert import convert

COMMIT = "bbfdcae"
STOP = 4  # steps that the pinned runs have done
NEUTRAL = {"folder": "a folder", "host": "a machine", "system": "Linux", "command": "unfold train", "git": COMMIT}
SENSING = {"width": 4, "growth": 0, "tail": 2, "stages": 3, "ratio": 0.1}


def kernels() -> None:
    """Files as the authors' ones, of small kernels, without the date that scipy puts into their heads."""
    (PINNED / "kernels").mkdir()
    for name, count in (("kernels_12", 12), ("kernels_8", 8), ("kernels_bicubicx234", 3)):
        cells = np.empty((1, count), dtype=object)
        for i in range(count):
            kernel = 1.0 + (np.arange(9).reshape(3, 3) * (i + 2)) % 7
            cells[0, i] = kernel / kernel.sum()
        path = PINNED / "kernels" / f"{name}.mat"
        savemat(path, {"kernels": cells}, do_compression=True)
        path.write_bytes(b"MATLAB 5.0 MAT-file, made up".ljust(116) + path.read_bytes()[116:])


def stopped_run(name: str, folder: Path) -> None:
    """A run folder as it is after a signal in the middle of the second epoch."""
    trainer = build_trainer(load_config(PINNED / f"{name}.yaml", ["OUTPUT", str(folder)]))
    render = trainer.render

    def rendered(batch: dict[str, Any], epoch: int, step: int) -> dict[str, Any]:
        if trainer.step == STOP - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return render(batch, epoch, step)

    trainer.render = rendered
    try:
        trainer.fit()
    except Stopped:
        assert trainer.step == STOP
    for left_over in ("curve.png", "checkpoints/last-1.pth"):
        (folder / left_over).unlink(missing_ok=True)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(folder), f"trained/{name}"))
    environment = folder / "environment.json"
    starts = [{**start, **NEUTRAL} for start in json.loads(environment.read_text())]
    environment.write_text(json.dumps(starts, indent=1) + "\n")


def narrow_dgunet_cs(target: Path, work: Path) -> None:
    torch.manual_seed(5)
    net = unfold.create_model("dgunet_cs", **SENSING)
    about = {"name": "dgunet_cs", "arguments": SENSING}
    half = {key: value.half() for key, value in net.state_dict().items()}  # half of the bytes to keep
    torch.save({"state_dict": half, "model": about}, work / "dgunet_cs.pth")
    convert(work / "dgunet_cs.pth", target)


def make() -> None:
    for old in ("kernels", "table", *RUNS):
        shutil.rmtree(PINNED / old, ignore_errors=True)
    for file in ("pairs.h5", *(source for source in OUTPUTS.values() if "/" not in source)):
        (PINNED / file).unlink(missing_ok=True)
    kernels()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_data(work / "data")
        os.environ["UNFOLD_DATA"] = str(work / "data")
        expected: dict[str, Any] = {"versions": versions(), "runs": {}}
        for name in RUNS:
            stopped_run(name, work / name)
            shutil.copytree(work / name, PINNED / name)
            assert (
                main(["train", "--config", str(PINNED / f"{name}.yaml"), "--resume", "OUTPUT", str(work / name)]) == 0
            )
            expected["runs"][name] = ending(work / name)
        narrow_dgunet_cs(PINNED / "dgunet_cs.safetensors", work)
        assert main(["data", "prepare", "cache", "pairs", "-o", str(work / "pairs.h5")]) == 0
        shutil.copy(work / "pairs.h5", PINNED)
        assert main([*TABLE, "-o", str(work / "table")]) == 0
        (PINNED / "table").mkdir()
        shutil.copy(work / "table" / "cache.jsonl", PINNED / "table")
        expected["table"] = table_of(work / "table")
        arrays: dict[str, Any] = {**outputs(), **crops(work / "pairs.h5")}
        np.savez_compressed(PINNED / "outputs.npz", **arrays)
    (PINNED / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    make()
