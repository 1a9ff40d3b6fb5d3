"""`unfold bench` measures what it says, and reports what could not be measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.narrow import ARGUMENTS
from unfold.bench.bench import run_bench
from unfold.bench.bench_table import format_bench
from unfold.bench.roofline import Convolution, alone, dominant
from unfold.bench.sample_loading import rates
from unfold.bench.timing import peak, take_turns
from unfold.bench.variants import WAYS, forward, prepared, random_inputs
from unfold.models.registry import create_model
from unfold.report.models_list import count_gmac

Command = Callable[..., tuple[int, str, str]]
CPU = torch.device("cpu")


def test_ways_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    found, failed = take_turns({name: lambda name=name: calls.append(name) for name in "ab"}, CPU, seconds=0.0)
    assert not failed
    assert calls == ["a", "b"] * (found["a"].rounds + 1)
    assert found["b"].rounds == 3
    assert 0 <= found["a"].fastest <= found["a"].median <= found["a"].slowest


def test_a_way_that_fails_later_takes_no_other_with_it() -> None:
    left = iter(range(2))
    found, failed = take_turns({"a": lambda: next(left), "b": lambda: None}, CPU, seconds=0.0)
    assert found.keys() == {"b"}
    assert isinstance(failed["a"], StopIteration)


def test_ways_do_what_they_are_called() -> None:
    net = create_model("usrnet", **ARGUMENTS["usrnet"])
    given = random_inputs(net, 1, 128, 128, CPU)
    results = {way.name: forward(prepared(net, way, CPU), way, given)() for way in WAYS["infer"] if not way.compiled}
    plain = results["plain"]
    assert (results["channels_last"] - plain).abs().max() < 1e-5
    assert 1e-5 < (results["bf16"] - plain).abs().max() < 0.1
    assert results["tiled"].shape == plain.shape
    assert results["tiled"].min() >= 0
    assert results["tiled"].max() <= 1
    layouts = {
        way.name: prepared(net, way, CPU).p.m_body[0].res[0].weight.is_contiguous(memory_format=torch.channels_last)
        for way in WAYS["infer"][:2]
    }
    assert layouts == {"plain": False, "channels_last": True}
    kept = {way.name: prepared(net, way, CPU).checkpoint_stages for way in WAYS["train"] if not way.compiled}
    assert {name for name, checkpointed in kept.items() if checkpointed} == {"checkpointed", "bf16 checkpointed"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is unknown")
def test_the_peak_is_what_a_run_holds_and_not_what_was_there() -> None:
    held = torch.ones(40_000_000)  # 160 MB

    def run() -> float:
        return float(torch.ones(25_000_000).sum()) + float(held[0])  # 100 MB

    assert 90e6 < (peak(run, CPU) or 0) < 130e6


@pytest.mark.parametrize("name", ["usrnet_tiny", "dgunet_cs"])
def test_the_dominant_convolution_is_the_one_with_most_of_the_work(name: str) -> None:
    with torch.device("meta"):
        net = create_model(name).train()
        given = random_inputs(net, 2, 64, 64, torch.device("meta"))
    one, share = dominant(net, given)
    # Of the layers as the network has them: a hook on each counts its work by its own output.
    work: dict[tuple[Any, ...], int] = {}

    def count(layer: Any, inputs: Any, output: Any) -> None:
        pixels = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        key = (tuple(inputs[0].shape), tuple(layer.weight.shape))
        work[key] = work.get(key, 0) + pixels[:, 0].numel() * layer.weight.numel()

    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net(**given)
    assert (one.input, one.weight) == max(work, key=lambda key: work[key])
    if name == "usrnet_tiny":  # whose work is layers alone
        assert share == pytest.approx(max(work.values()) / sum(work.values()))
        assert sum(work.values()) / 1e9 == pytest.approx(count_gmac(net, given))


@pytest.mark.parametrize(
    ("one", "output", "macs"),
    [
        (Convolution((2, 4, 6, 8), (5, 4, 3, 3), (1, 1), (1, 1), False), (2, 5, 6, 8), 2 * 48 * 5 * 4 * 9),
        (Convolution((1, 4, 6, 8), (5, 4, 2, 2), (2, 2), (0, 0), False), (1, 5, 3, 4), 12 * 5 * 4 * 4),
        (Convolution((1, 4, 6, 8), (4, 5, 2, 2), (2, 2), (0, 0), True), (1, 5, 12, 16), 48 * 4 * 5 * 4),
    ],
)
def test_a_convolution_alone_is_what_it_says(one: Convolution, output: tuple[int, ...], macs: int) -> None:
    run, found = alone(one, torch.float32, CPU)
    assert found == macs
    assert tuple(run().shape) == output


@pytest.mark.parametrize("name", ["dgunet_deblur", "dgunet_cs", "usrnet", "nrl_gdn"])
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_every_network_is_measured_in_every_way(name: str, mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(self: nn.Module) -> None:
        raise RuntimeError("no compiler\n  is here")

    monkeypatch.setattr(nn.Module, "compile", no_compiler)
    found = run_bench(name, mode=mode, size=(32, 32), seconds=0.01, device="cpu", **ARGUMENTS[name])
    rows = {row.way: row for row in found.rows}
    assert list(rows) == [way.name for way in WAYS[mode]]
    assert rows["compiled"].outcome == "no compiler is here"
    measured = {way for way, row in rows.items() if row.times}
    assert {"plain", "channels_last", "bf16"} <= measured
    assert found.ceilings.keys() == {"float32", "bf16"}
    for way in measured:
        row = rows[way]
        assert row.times is not None
        passes = 3 if mode == "train" else 1
        assert row.teraflops == pytest.approx(2e-3 * found.gmac * passes / row.times.median)
    if mode == "infer":
        assert rows["channels_last"].difference is not None
        assert rows["channels_last"].difference < 1e-5
        expected = "measurements of blocks" if "cs" in name else "too small for tiles of 64 pixels"
        assert expected in rows["tiled"].outcome
    text = format_bench(found)
    assert "| compiled | no compiler is here |" in text
    assert f"{found.parameters:,} parameters" in text
    json.dumps(found.as_json())


def test_the_command_writes_a_table_and_json(tmp_path: Path, command: Command) -> None:
    words = ["bench", "usrnet_tiny", "--size", 32, 32, "--seconds", 0.01, "--ways", "bf16", "--device", "cpu"]
    code, out, err = command(*words, "--json", tmp_path / "a.json")
    assert code == 0, err
    assert "| bf16 |" in out
    assert "compiled" not in out
    found = json.loads((tmp_path / "a.json").read_text())
    assert [row["way"] for row in found["rows"]] == ["plain", "bf16"]
    assert found["rows"][1]["times"]["rounds"] >= 3
    assert found["provenance"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dgunet_derain", "--size", "4", "4"], "--size is at least 8 8 for dgunet_derain"),
        (["usrnet_tiny", "--size", "24", "99"], "--size is at least 25 25 for usrnet_tiny, not 24 99"),
        (["usrnet_tiny", "--mode", "data", "--size", "8", "8"], "--size is at least 25 25"),
        (["dgunet_cs", "--mode", "data", "--batch", "0"], "--batch and --seconds are above 0"),
        (["usrnet_tiny", "--batch", "0"], "--batch and --seconds are above 0"),
        (["usrnet_tiny", "--ways", "fast"], "--ways: there is none called 'fast'; there are plain, channels_last"),
        (["usrnet_tini"], "did you mean usrnet_tiny"),
        (["usrnet_tiny", "--json", "nowhere/a.json"], "there is no folder nowhere"),
        (["usrnet_tiny", "--mode", "data", "--size", "8", "9"], "square patches"),
    ],
)
def test_mistakes_are_one_line(words: list[str], expected: str, command: Command) -> None:
    code, _, err = command("bench", *words)
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1


def test_training_samples_are_counted_from_files_memory_and_cache() -> None:
    found = rates("usrnet_tiny", 32, 2, seconds=0.05, device=CPU)
    assert {rate.store for rate in found} == {"files", "memory", "cache"}
    assert {rate.workers for rate in found} >= {0, 1}
    assert all(rate.samples_per_s > 0 for rate in found)
    assert {rate.store for rate in rates("dgunet_cs", 32, 2, seconds=0.05, device=CPU)} == {"files", "memory"}
