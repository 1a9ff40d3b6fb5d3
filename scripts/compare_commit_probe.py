"""What compare_commit.py runs in both trees: it computes a bit of everything and writes the numbers down.

    python compare_commit_probe.py TREE WORK FOUND ONLY DATA

TREE: the tree whose `unfold` must be the one that is imported; WORK: a folder for what is made; FOUND: one for the
results; ONLY: run those parts alone whose names hold it; DATA: where the made-up data lie, as UNFOLD_DATA says, too.

All that is imported of the package stands in PLACES. Where a module moves, add its new place there: the first one that
is there is taken, so that one probe runs in old trees and in new ones. Recipes have the keys of commit bbfdcae, which
later trees read, too.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

PLACES = {
    "main": ["unfold.cli:main"],
    "create_model": ["unfold:create_model"],
    "load_model": ["unfold:load_model"],
    "load_config": ["unfold.config:load_config"],
    "build_trainer": ["unfold.training.setup.build_run:build_trainer", "unfold.training.run:build_trainer"],
    "Key": ["unfold.data.batches:Key"],
    "collate": ["unfold.data.batches:collate"],
    "to_device": ["unfold.data.batches:to_device"],
}


def package(name: str) -> Any:
    """A function of the package, from the first of its places that is there."""
    for place in PLACES[name]:
        module, _, attribute = place.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            missing = getattr(error, "name", None) or ""
            if isinstance(error, ModuleNotFoundError) and not missing.startswith("unfold"):
                raise
    raise ImportError(f"{name} is at none of {', '.join(PLACES[name])}: add its place to PLACES")


class Book:
    """Items found, by the part that they belong to."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str, str, Any]] = []
        self.arrays: list[np.ndarray] = []

    def put(self, what: str, name: str, value: Any) -> None:
        """Note a tensor, an array, or a plain value; dicts and lists item by item."""
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            value = (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy()
        if isinstance(value, np.ndarray):
            self.items.append((what, name, "array", str(len(self.arrays))))
            self.arrays.append(value)
        elif isinstance(value, dict | list | tuple) and value:
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in pairs:
                self.put(what, f"{name}/{key}" if name else str(key), inner)
        else:
            assert value is None or isinstance(value, bool | int | float | str | dict | list | tuple), (name, value)
            self.items.append((what, name, "value", list(value) if isinstance(value, tuple) else value))

    def write(self, folder: Path, seconds: float) -> None:
        folder.mkdir()
        named: dict[str, Any] = {str(i): array for i, array in enumerate(self.arrays)}
        np.savez(folder / "arrays.npz", **named)
        (folder / "items.json").write_text(json.dumps({"items": self.items, "seconds": seconds}))


def without(value: Any, *names: str) -> Any:
    """A copy without those keys, at any depth: times, paths, versions and texts, which are no results."""
    if isinstance(value, dict):
        return {key: without(inner, *names) for key, inner in value.items() if key not in names}
    return [without(inner, *names) for inner in value] if isinstance(value, list) else value


def unfold(*words: object) -> None:
    """Run `unfold ...` in this process."""
    try:
        code = package("main")([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    if code not in (0, None):
        raise RuntimeError(f"unfold {' '.join(map(str, words))} ended with exit code {code}")


known: dict[str, bool] = {}  # of the tree


def recipe(path: Path, text: str, **more: Any) -> Path:
    """A recipe in a file: KEY VALUE pairs of one section in a line, in YAML."""
    content = {**yaml.safe_load(text), "OUTPUT": str(path.with_suffix("")), "DEVICE": "cpu", **more}
    if "draw_key" not in known:
        empty = path.parent / "empty.yaml"
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.write_text("")
        known["draw_key"] = "DRAW" in package("load_config")(empty).DATA
    if known["draw_key"]:  # images are drawn with replacement, as all trees can
        content["DATA"] = {**content.get("DATA", {}), "DRAW": "replacement"}
    if content.get("DATA", {}).get("KIND") == "compressive_sensing":  # on tiles of 128, as all trees can
        content["DATA"] = {"VAL_PROTOCOL": "compressive_sensing:ratio=10", **content["DATA"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


# Networks. Their numbers come from fresh weights by a seed, from trainings, and from weights by a rule of this file.
SENSING = {"stages": 3, "width": 8, "growth": 4}
DGUNET = {**SENSING, "operator_width": 4}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "dgunet": ("dgunet_denoise", {**DGUNET, "tail": 4}),
    "dgunet_plus": ("dgunet_plus_derain", DGUNET),
    "dgunet_cs": ("dgunet_cs", {**SENSING, "tail": 4, "ratio": 10}),
    "dgunet_plus_cs": ("dgunet_plus_cs", {**SENSING, "tail": 4, "ratio": 10, "stages": 4}),
    "usrnet": ("usrnet", {"widths": [4, 6, 8, 8], "depth": 1, "stages": 3}),
    "nrl_gdn": ("nrl_gdn", {"widths": [4, 6, 8, 8], "depth": 1, "width": 6, "train_stages": 3}),
    "nrl_gdn_y0": ("nrl_gdn_y0", {"widths": [4, 6, 8, 8], "depth": 1, "width": 6, "train_stages": 3}),
    "rgdn_uniform": ("rgdn_uniform", {"widths": [4, 6, 8, 8], "depth": 1, "width": 6, "train_stages": 3}),
}


def inputs_of(name: str) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    if name.endswith("_cs"):
        return {"image": torch.from_numpy(rng.random((2, 1, 40, 50), np.float32))}
    kernel = rng.random((2, 1, 7, 7), np.float32)
    given = {"y": torch.from_numpy(rng.random((2, 3, 34, 42), np.float32))}
    if name.startswith("dgunet"):
        return given
    given["kernel"] = torch.from_numpy(kernel / kernel.sum((2, 3), keepdims=True))
    return {**given, "scale": 2, "sigma": torch.tensor([0.02, 0.08])} if name == "usrnet" else given


def weights(name: str, work: Path) -> Path:
    """A checkpoint with weights by a rule, made once: no training that changed changes what they are used for."""
    path = work / "weights" / f"{name}.pth"
    if path.exists():
        return path
    registered, arguments = NETWORKS[name]
    net = package("create_model")(registered, **arguments)
    state = {}
    for number, (key, value) in enumerate(sorted(net.state_dict().items())):
        noise = np.random.default_rng((7, number)).standard_normal(value.shape, np.float32)
        if value.ndim >= 2:
            state[key] = torch.from_numpy(noise * np.float32((0.6 / (value.numel() / len(value))) ** 0.5))
        elif value.numel() == 1:  # steps and slopes
            state[key] = torch.full_like(value, 0.3)
        else:
            state[key] = torch.from_numpy(0.05 * noise + np.float32(key.endswith(".weight")))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "model": {"name": registered, "arguments": arguments}}, path)
    return path


def networks(book: Book, what: str, name: str, work: Path) -> None:
    registered, arguments = NETWORKS[name]
    torch.manual_seed(0)
    net = package("create_model")(registered, **arguments)
    book.put(what, "fresh", dict(net.state_dict()))
    net = package("load_model")(weights(name, work))
    with torch.no_grad():
        stages = net(**inputs_of(name), return_stages=True)
    assert all(stage.isfinite().all() for stage in stages)
    book.put(what, "stage", list(stages))
    if name == "dgunet_cs":
        unfold("convert", weights(name, work), work / "converted.safetensors")
        with torch.no_grad():
            book.put(what, "converted", package("load_model")(work / "converted.safetensors")(**inputs_of(name)))


# Samples.
SAMPLES = {
    "gaussian": "DATA: {KIND: gaussian, SIGMA: 25}",
    "gaussian, BLIND, MIXUP": "{DATA: {KIND: gaussian, SIGMA: 55, BLIND: true}, TRAIN: {MIXUP: 0.8, MIXUP_AFTER: 1}}",
    "gaussian, REDUCED": "DATA: {KIND: gaussian, SIGMA: 15, REDUCED: [0.6, 0.5]}",
    "paired": "DATA: {KIND: paired}",
    "paired, SATURATION": "DATA: {KIND: paired, SATURATION: true}",
    "paired, from a patch cache": "DATA: {KIND: paired}",
    **{f"usrnet, scale {scale}": f"DATA: {{KIND: usrnet, SCALES: [{scale}]}}" for scale in (1, 2, 3, 4)},
    "usrnet, SHARP, scale 2": "DATA: {KIND: usrnet, SCALES: [2], SHARP: 0.4, SIGMA: 10}",
    "nrl_gdn": "DATA: {KIND: nrl_gdn}",
    "nrl_gdn, SIGMA": "DATA: {KIND: nrl_gdn, SIGMA: 12.75}",
    "rain": "DATA: {KIND: rain, VAL_PROTOCOL: derain_synthetic}",
    "compressive_sensing": "DATA: {KIND: compressive_sensing}",
    "compressive_sensing, grey": "DATA: {KIND: compressive_sensing, TRAIN: grey}",
}
MODELS = {  # MODEL of a recipe, by the kind of samples
    "gaussian": "{NAME: dgunet_denoise, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, OPERATOR_WIDTH: 4}",
    "paired": "{NAME: dgunet_plus_derain, STAGES: 3, WIDTH: 8, GROWTH: 4, OPERATOR_WIDTH: 4}",
    "rain": "{NAME: dgunet_derain, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, OPERATOR_WIDTH: 4}",
    "usrnet": "{NAME: usrnet, STAGES: 3, WIDTHS: [4, 6, 8, 8], DEPTH: 1}",
    "nrl_gdn": "{NAME: nrl_gdn, WIDTHS: [4, 6, 8, 8], DEPTH: 1, WIDTH: 6, TRAIN_STAGES: 2}",
    "compressive_sensing": "{NAME: dgunet_cs, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, RATIO: 10}",
}
TIMING = ("seconds", "images_per_s", "data_wait", "spent")
COUNT, EPOCHS = 64, (0, 1)


def sets(kind: str) -> dict[str, str]:
    train = "pairs" if kind == "paired" else "photographs_of_ours"
    return {"TRAIN": train, "VAL": "Rain100L" if kind == "paired" else "held_out", "TEST": "held_out"}


def complete(text: str) -> dict[str, Any]:
    """A recipe with its data sets and, unless it names one, a network."""
    content: dict[str, Any] = yaml.safe_load(text)
    kind = content["DATA"]["KIND"]
    content["DATA"] = {**sets(kind), **content["DATA"]}
    content.setdefault("MODEL", yaml.safe_load(MODELS[kind]))
    return content


def samples(book: Book, what: str, name: str, work: Path) -> None:
    content = complete(SAMPLES[name])
    kind = content["DATA"]["KIND"]
    if "cache" in name:
        unfold("data", "prepare", "cache", "pairs", "-o", work / "pairs.h5")
        content["DATA"]["TRAIN"] = str(work / "pairs.h5")
    content["TRAIN"] = {
        **content.get("TRAIN", {}),
        "PATCH": 32 if kind == "compressive_sensing" else 36,
        "PATCHES": COUNT,
        "BATCH": COUNT,
        "EPOCHS": 2,
    }
    content["SEED"] = list(SAMPLES).index(name)  # else all draw the same: the more draws, the more changes are seen
    path = recipe(work / "samples" / f"{name}.yaml".replace(" ", "_"), yaml.safe_dump(content))
    trainer = package("build_trainer")(package("load_config")(path, []), dry=True)
    key, collate, to_device = (package(part) for part in ("Key", "collate", "to_device"))
    scale = content["DATA"].get("SCALES", [1])[0]
    for epoch in EPOCHS:
        drawn = [trainer.loader.dataset[key(epoch, number, scale)] for number in range(COUNT)]
        for number, sample in enumerate(drawn):
            book.put(what, f"epoch {epoch}, sample {number}", dict(sample))
        batch = collate(drawn)
        book.put(what, f"epoch {epoch}, batch", dict(batch))
        rendered = trainer.render(to_device(batch, torch.device("cpu")), epoch, 0)
        book.put(what, f"epoch {epoch}, rendered", dict(rendered))
    # Which samples and scales make which step, of an epoch and after a start in the middle of one.
    trainer.sampler.start(1)
    book.put(what, "steps", [[[*k] for k in keys] for keys in trainer.sampler])


# Trainings: two epochs, stopped after the first one and resumed.
TRAININGS = {
    "dgunet": """
        DATA: {KIND: gaussian, SIGMA: 30, BLIND: true, REDUCED: [0.6]}
        LOSS: {PIXEL: charbonnier, STAGES: all, EDGE: 0.05}
        OPTIM: {LR: 2.0e-3, CLIP: 0.1}
        SCHEDULE: {NAME: cosine, WARMUP: 1}
        TRAIN: {PATCH: 24, PATCHES: 7, BATCH: 3, ACCUMULATE: 2, EMA: 0.9}
        """,
    "dgunet, in bfloat16, by steps, on rain": """
        DATA: {KIND: rain, VAL_PROTOCOL: derain_synthetic}
        LOSS: {PIXEL: l1, STAGES: last}
        OPTIM: {LR: 1.0e-3, BETAS: [0.8, 0.99]}
        SCHEDULE: {NAME: constant, WARMUP: 2}
        TRAIN: {PATCH: 24, PATCHES: 8, BATCH: 4, ITERATIONS: 4, PRECISION: bfloat16, CHECKPOINT_STAGES: true}
        """,
    "dgunet_plus": """
        DATA: {KIND: paired, SATURATION: true}
        LOSS: {PIXEL: mse, STAGES: all, CLAMP: true}
        OPTIM: {LR: 1.0e-3, WEIGHT_DECAY: 1.0e-3}
        SCHEDULE: {NAME: cosine, WARMUP: 0, LENGTH: 3, LR_MIN: 1.0e-5}
        TRAIN: {PATCH: 24, PATCHES: 6, BATCH: 2, MIXUP: 0.8, MIXUP_AFTER: 1}
        """,
    "dgunet_cs": """
        DATA: {KIND: compressive_sensing}
        LOSS: {PIXEL: l1, STAGES: all, WEIGHT: 0.5}
        OPTIM: {LR: 1.0e-3}
        SCHEDULE: {NAME: multistep, MILESTONES: [1], GAMMA: 0.3, WARMUP: 0}
        TRAIN: {PATCH: 32, PATCHES: 6, BATCH: 2}
        """,
    "dgunet_plus_cs": """
        MODEL: {NAME: dgunet_plus_cs, STAGES: 4, WIDTH: 8, GROWTH: 4, TAIL: 4, RATIO: 10}
        DATA: {KIND: compressive_sensing, TRAIN: grey, VAL: grey}
        LOSS: {PIXEL: mse, STAGES: last, CLAMP: true}
        OPTIM: {LR: 1.0e-3}
        SCHEDULE: {NAME: step, STEP: 1, GAMMA: 0.5, WARMUP: 0}
        TRAIN: {PATCH: 32, PATCHES: 4, BATCH: 2}
        """,
    "usrnet": """
        DATA: {KIND: usrnet, SCALES: [1, 2, 3, 4]}
        LOSS: {PIXEL: l1, STAGES: last}
        OPTIM: {LR: 1.0e-3, START: orthogonal}
        SCHEDULE: {NAME: multistep, MILESTONES: [1], GAMMA: 0.5, WARMUP: 0}
        TRAIN: {PATCH: 36, PATCHES: 8, BATCH: 2}
        """,
    "usrnet, SHARP, from the identity": """
        MODEL: {NAME: usrnet_tiny, STAGES: 2, WIDTHS: [8, 6, 8, 8], DEPTH: 1}
        DATA: {KIND: usrnet, SCALES: [2, 4], SHARP: 0.4, REDUCED: [0.6], SIGMA: 10}
        LOSS: {PIXEL: charbonnier, EPS: 0.01, STAGES: all}
        OPTIM: {LR: 1.0e-3, START: identity, CLIP: 1.0}
        SCHEDULE: {NAME: cosine, WARMUP: 1}
        TRAIN: {PATCH: 36, PATCHES: 6, BATCH: 3, EMA: 0.95}
        """,
    "nrl_gdn": """
        DATA: {KIND: nrl_gdn, SIGMA: 12.75}
        LOSS: {PIXEL: l1, STAGES: last, WEIGHT: 0.0625}
        OPTIM: {LR: 1.0e-3, START: xavier}
        SCHEDULE: {NAME: step, STEP: 1, GAMMA: 0.9, WARMUP: 0}
        TRAIN: {PATCH: 32, PATCHES: 6, BATCH: 2}
        """,
    "usrgan": """
        MODEL: {NAME: usrnet_tiny, STAGES: 2, WIDTHS: [4, 6, 8, 8], DEPTH: 1}
        DATA: {KIND: usrnet, SCALES: [2]}
        LOSS: {PIXEL: l1, STAGES: last, PERCEPTUAL: 1.0, VGG: vgg19.pth, ADVERSARIAL: 0.005}
        OPTIM: {LR: 1.0e-4, START: orthogonal}
        SCHEDULE: {NAME: constant, WARMUP: 0}
        TRAIN: {PATCH: 96, PATCHES: 2, BATCH: 2}
        """,
}


def ended(book: Book, what: str, folder: Path) -> None:
    """All that a run has come to, but for times, texts and versions."""
    for name in ("last", "best"):
        content = torch.load(folder / "checkpoints" / f"{name}.pth", weights_only=True)
        # What a protocol calls its options is compared with the protocols.
        rest = {key: value for key, value in content.items() if key not in ("digest", "spent", "unfold", "protocol")}
        book.put(what, name, rest)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    book.put(what, "log", without(rows, *TIMING))
    book.put(what, "validation", json.loads((folder / "validation.json").read_text()))


def training(book: Book, what: str, name: str, work: Path) -> None:
    content = complete(TRAININGS[name])
    content["TRAIN"] = {"EPOCHS": 2, **content["TRAIN"]}
    vgg = content["LOSS"].get("VGG")
    if vgg:
        content["LOSS"]["VGG"] = str(Path(sys.argv[5]) / vgg)
    path = recipe(work / "runs" / f"{name}.yaml".replace(" ", "_"), yaml.safe_dump(content))
    folder = path.with_suffix("")
    package("build_trainer")(package("load_config")(path, [])).fit(until=1)
    first = torch.load(folder / "checkpoints" / "last.pth", weights_only=True)
    book.put(what, "after an epoch", {key: first[key] for key in ("step", "epoch", "best", "state_dict")})
    unfold("train", "--config", path, "--resume")
    ended(book, what, folder)


def by_command(book: Book, what: str, name: str, work: Path) -> None:
    """A training in a process of its own, begun with settings of the command line, in keys of commit bbfdcae."""
    path = recipe(work / "by_command.yaml", yaml.safe_dump(complete(TRAININGS[name])))
    pairs = (
        "MODEL.WIDTH 4 DATA.SIGMA 12.5 DATA.REDUCED [0.5] LOSS.PIXEL l1 LOSS.EDGE 0.1 LOSS.STAGES last TRAIN.EPOCHS 1"
    )
    command = [sys.executable, "-m", "unfold", "train", "--config", str(path), *pairs.split()]
    subprocess.run(command, check=True)
    ended(book, what, path.with_suffix(""))


# The command line.
PROTOCOLS = {
    "gaussian_denoise": ("dgunet", "gaussian_denoise:sigma=15", "held_out"),
    "derain_y": ("dgunet_plus", "derain_y", "Rain100L"),
    "derain_synthetic": ("dgunet", "derain_synthetic", "held_out"),
    "deblur_rgb": ("dgunet", "deblur_rgb", "pairs"),
    "realblur_aligned": ("dgunet", "realblur_aligned", "pairs"),
    "compressive_sensing": ("dgunet_cs", "compressive_sensing:ratio=10", "grey"),
    "compressive_sensing, tiles": ("dgunet_plus_cs", "compressive_sensing:ratio=10,tile=32", "held_out"),
    "usrnet_table1": ("usrnet", "usrnet_table1:scale=3,kernel=2,noise=2.55", "held_out"),
    "usrnet_bicubic": ("usrnet", "usrnet_bicubic:scale=2", "Set5"),
    "nrl_gdn_nonuniform": ("nrl_gdn", "nrl_gdn_nonuniform:kernel=3,map=gauss_mix", "held_out"),
    "nrl_gdn_nonuniform, peaks, grey": ("nrl_gdn_y0", "nrl_gdn_nonuniform:kernel=2,map=peaks", "grey"),
    "nrl_gdn_uniform": ("rgdn_uniform", "nrl_gdn_uniform:kernel=4", "held_out"),
}
BASELINES = {"usrnet_table1, bicubic": ("bicubic", "usrnet_table1:scale=2,kernel=1", "held_out")}
NO_RESULTS = ("seconds", "median_seconds", "data", "weights", "unfold", "torch", "device")


def protocol(book: Book, what: str, name: str, work: Path) -> None:
    if name in BASELINES:
        baseline, text, source = BASELINES[name]
        method: tuple[object, ...] = ("--model", baseline)
    else:
        network, text, source = PROTOCOLS[name]
        method = ("--weights", weights(network, work))
    path = work / "protocols" / f"{name}.json"
    unfold("test", "--protocol", text, "--data", source, *method, "--json", path, "--device", "cpu")
    book.put(what, "", without(json.loads(path.read_text()), *NO_RESULTS))


def test_of_a_recipe(book: Book, what: str, name: str, work: Path) -> None:
    content = {**complete(SAMPLES["gaussian"]), "TEST": {"BASELINES": ["tv", "nlm"]}}
    path = recipe(work / "tested.yaml", yaml.safe_dump(content))
    unfold("test", "--config", path, "--weights", weights("dgunet", work), "--output", work / "tested")
    results = json.loads((work / "tested" / "results.json").read_text())
    book.put(what, "", without({key: results[key] for key in ("images", "mean", "baselines")}, "seconds"))


TABLES = {"derain": ("dgunet", "dgunet_plus"), "usrnet_bicubic": ("usrnet",), "nrl_gdn_table4": ("nrl_gdn",)}
CELL = ("row", "column", "metric", "status", "published", "measured", "difference", "images", "total")


def table(book: Book, what: str, name: str, work: Path) -> None:
    files = [word for network in TABLES[name] for word in ("--weights", weights(network, work))]
    for again in (False, True):
        unfold("tables", name, *files, "--limit", 2, "--device", "cpu", "--jobs", 1, "-o", work / "tables" / name)
        found = json.loads((work / "tables" / name / "table.json").read_text())
        now = found["provenance"]["images measured now"]
        book.put(what, f"images measured{' again' if again else ''}", now)
    cells = [{key: cell[key] for key in CELL} for cell in found["cells"]]
    book.put(what, "cell", without(cells, "seconds"))


RESTORED: dict[str, tuple[str, tuple[object, ...]]] = {
    "dgunet": ("dgunet", ()),
    "dgunet, in tiles": ("dgunet", ("--tile", 64)),
    "usrnet": ("usrnet", ("--scale", 2, "--kernel", "gauss:0.8", "--sigma", 2)),
    "usrnet, sigma estimated": ("usrnet", ("--scale", 1, "--kernel", "gauss:1.2", "--sigma", "estimate")),
    "nrl_gdn": ("nrl_gdn", ("--kernel", "gauss:1")),
}


def restored(book: Book, what: str, name: str, work: Path) -> None:
    network, words = RESTORED[name]
    picture = Path(sys.argv[5]) / "photographs_of_ours" / "3.png"
    path = work / "restored" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    unfold("restore", picture, "-o", path, "--weights", weights(network, work), "--device", "cpu", *words)
    book.put(what, "pixels", np.asarray(Image.open(path)))


Part = Callable[[Book, str, str, Path], None]


def parts() -> Iterator[tuple[str, Part, str]]:
    """What is done: its name in the table, the function, and what that is given."""
    for titles, part, names in (
        ("network", networks, NETWORKS),
        ("samples", samples, SAMPLES),
        ("training", training, TRAININGS),
        ("training by `python -m unfold`", by_command, ["dgunet"]),
        ("protocol", protocol, [*PROTOCOLS, *BASELINES]),
        ("test of a recipe", test_of_a_recipe, ["gaussian"]),
        ("table", table, TABLES),
        ("restored", restored, RESTORED),
    ):
        for name in names:
            yield f"{titles}: {name}", part, name


def main() -> int:
    tree, work, found, only = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    begun = time.monotonic()
    where = Path(importlib.import_module("unfold").__file__ or "").resolve()
    if not where.is_relative_to(tree.resolve()):
        print(f"unfold is imported from {where}, and not from {tree}")
        return 1
    work.mkdir()
    book = Book()
    for what, part, name in parts():
        if only not in what:
            continue
        start = time.monotonic()
        try:
            part(book, what, name, work)
        except Exception as error:  # the others go on; the table says which one failed
            traceback.print_exc()
            book.put(what, "failed", f"{type(error).__name__}: {error}"[:300])
        print(f"=== {what}: {time.monotonic() - start:.1f} s", flush=True)
    book.write(found, time.monotonic() - begun)
    return 0


if __name__ == "__main__":
    sys.exit(main())
