"""Published tables are measured cell by cell, once, and say how the numbers came about."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from tests import narrow
from tests.synthetic import scene
from unfold import create_model
from unfold.cli import tables_command as tables
from unfold.errors import UnfoldError
from unfold.evaluation.methods import baseline
from unfold.evaluation.run_protocol import evaluate, evaluate_case
from unfold.models.golden.golden_rules import fill
from unfold.models.golden.usrnet_golden import usrnet_rule
from unfold.models.run_on_arrays import network
from unfold.protocols import derain, usrnet_evaluations
from unfold.tables import examples, measure
from unfold.tables.compare import compare
from unfold.tables.definitions import IMAGES, TABLES
from unfold.tables.export import read_table
from unfold.tables.html_grid import missing
from unfold.tables.open_weights import Net, open_net
from unfold.tables.published import read_published
from unfold.tables.results import Cell, ImageScore, Shown, Table
from unfold.weights.load_model import load_named

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Table, list[Shown]]]:
    """What is given to the page, which is not written here."""
    given: list[tuple[Path, Table, list[Shown]]] = []
    monkeypatch.setattr(tables, "write_page", lambda path, table, pictures: given.append((path, table, list(pictures))))
    return given


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: Any) -> Path:
    """UNFOLD_DATA with made-up kernels and a Set5."""
    root = tmp_path / "data"
    (root / "kernels").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("kernels_12", 12), ("kernels_bicubicx234", 3), ("kernels_8", 8)):
        cells = np.empty((1, count), dtype=object)
        for i in range(count):
            cells[0, i] = (rng.random((5, 5)) / 12.5).astype(np.float32)
        savemat(root / "kernels" / f"{name}.mat", {"kernels": cells})
    for i in range(5):
        picture(root / "Set5" / f"{i}.png", i)
    monkeypatch.setenv("UNFOLD_DATA", str(root))
    return root


def picture(path: Path, seed: int, noise: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = scene(26, 24, seed=seed).astype(int) + np.random.default_rng(seed).integers(0, noise + 1, (26, 24, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A narrow USRNet, which no paper has a row for."""
    return narrow.saved("usrnet", tmp_path / "narrow.pth")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases that methods are run on."""
    done: list[str] = []

    def counted(protocol: Any, method: Any, case: Any, sample: Any) -> Any:
        done.append(f"{protocol.name} {case.name}")
        return evaluate_case(protocol, method, case, sample)

    monkeypatch.setattr(measure, "evaluate_case", counted)
    return done


def cells(folder: Path, **wanted: Any) -> list[Any]:
    found = read_table(folder / "table.json").cells
    return [cell for cell in found if all(getattr(cell, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize(
    ("name", "count", "key", "value"),
    [
        ("usrnet_table1", 204, ("USRNet", ("3", "7.65", "k12"), "psnr"), 25.01),
        ("usrnet_table1", 204, ("IKC", ("4", "0", "k1"), "psnr"), 22.69),
        ("usrnet_table1_tiny", 18, ("USRNet-tiny", ("4", "0", "k3"), "psnr"), 25.8849),
        ("usrnet_bicubic", 12, ("USRNet", ("3", "Urban100"), "psnr"), 28.38),
        ("usrnet_bicubic_tiny", 6, ("USRNet-tiny", ("2", "Set5"), "psnr"), 37.2886),
        ("usrnet_bicubic_tiny", 6, ("USRNet-tiny", ("4", "Set14"), "psnr"), 28.4264),
        ("nrl_gdn_table4", 144, ("NRL-GDN", ("Flickr30", "gauss-mix"), "ssim"), 0.8398),
        ("nrl_gdn_table4", 144, ("RGDN+DRUNet", ("Set12", "gauss"), "psnr"), 27.46),
        ("nrl_gdn_table4_inputs", 12, ("Eq. 22", ("Set12", "gauss-mix"), "psnr"), 15.0335),
        ("derain", 36, ("DGUNet+", ("Average",), "psnr"), 33.46),
        ("derain", 36, ("DGUNet", ("Rain100L",), "ssim"), 0.969),
        ("deblur", 12, ("DGUNet+", ("GoPro",), "psnr"), 33.17),
        ("denoise", 12, ("DGUNet", ("DND",), "ssim"), 0.956),
        ("all_in_one_five", 70, ("DGUNet", ("LOL", ""), "psnr"), 21.87),
        ("all_in_one_five", 70, ("VLU-Net", ("CBSD68", "25"), "ssim"), 0.891),
        ("all_in_one_three", 30, ("PromptIR", ("CBSD68", "50"), "psnr"), 28.06),
        ("denoise_gaussian", 6, ("DGUNet", ("Urban100", "50"), "psnr"), 27.94),
        ("compressive_sensing", 40, ("DGUNet+", ("BSD68", "4"), "psnr"), 25.45),
    ],
)
def test_the_published_numbers_are_those_of_the_papers(name: str, count: int, key: Any, value: float) -> None:
    found = read_published(name)
    assert len(found.numbers) == count
    assert found.numbers[key].value == value
    assert found.source
    assert ("no paper" in found.numbers[key].note) == name.endswith(("_tiny", "_inputs"))


def test_a_number_that_is_probably_copied_is_marked_as_such_and_no_other() -> None:
    for name, key in (("all_in_one_five", "psnr"), ("denoise_gaussian", "psnr")):
        notes = {(method, *of): one.note for (method, of, m), one in read_published(name).numbers.items() if m == key}
        assert "probably copied" in notes.pop(("DGUNet", "CBSD68", "25"))
        assert set(notes.values()) == {""}


def test_pairs_at_hand_are_columns_that_the_average_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: Any, command: Command
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "data"))
    for data, ends in (("SOTS", ("_0.8_0.2.png", ".png")), ("Rain100L", (".png", ".png")), ("LOL/test", 2 * (".png",))):
        for side, end in zip(("input", "target"), ends, strict=True):
            picture(tmp_path / "data" / data / side / f"0{end}", len(side))
    for i in range(2):
        for side, seed in (("input_0.8", i), ("target", i + 5)):
            end = side.removeprefix("input").removeprefix("target")
            picture(tmp_path / "data" / "all_in_one" / "SOTS" / side.split("_")[0] / f"{i}{end}.png", seed)
        picture(tmp_path / "data" / "GoPro" / "test" / "input" / f"{i}.png", i)
        picture(tmp_path / "data" / "GoPro" / "test" / "target" / f"{i}.png", i + 3)
        picture(tmp_path / "data" / "CBSD68" / f"{i}.png", i)
    code, _, err = command("tables", "all_in_one_five", "-o", tmp_path / "t")
    assert code == 0, err
    found = {cell.column: cell for cell in cells(tmp_path / "t", row=("degraded input",), metric="psnr")}
    five = ("SOTS", "Rain100L", "CBSD68", "GoPro", "LOL")
    values = [cell.measured for column, cell in found.items() if column[-1] in five]
    assert len(values) == 5
    assert found[("Average",)].measured == pytest.approx(np.mean(values))
    assert found[("haze", "SOTS_pairs")].status == "done"
    (copied,) = cells(tmp_path / "t", row=("DGUNet",), column=("noise, sigma 25", "CBSD68"), metric="psnr")
    assert (copied.published, copied.status) == (31.1, "published only")
    assert "probably copied" in copied.note
    page = (tmp_path / "t" / "table.md").read_text()
    assert "one of the two is probably copied (DGUNet noise, sigma 25 CBSD68)" in page


def test_cells_without_data_are_marked_and_each_missing_set_is_named_once(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "nothing"))
    assert command("tables", "all_in_one_three", "-o", tmp_path / "t")[0] == 0
    found = cells(tmp_path / "t", row=("degraded input",))
    assert {cell.status for cell in found} == {"no data"}
    assert all(cell.measured is None for cell in found)
    page = (tmp_path / "t" / "table.md").read_text()
    assert "unweighted mean of the sets, which needs SOTS, Rain100L, CBSD68 (" in page
    assert page.count("- no data: SOTS (degraded input haze SOTS)\n") == 1


def test_every_published_number_belongs_to_a_cell_and_every_cell_to_a_known_set() -> None:
    for table in TABLES.values():
        keys = {setting.key for setting in table.settings} | {(table.average,)}
        for name in table.published:
            assert {key for _, key, _ in read_published(name).numbers} <= keys
        assert {setting.data for setting in table.settings} <= set(IMAGES)


def test_a_cell_is_the_mean_by_the_protocol(data: Path, weights: Path, tmp_path: Path, command: Command) -> None:
    code, out, err = command("tables", "usrnet_bicubic", "--weights", weights, "-o", tmp_path / "t")
    assert (code, err) == (0, "")
    protocol = usrnet_evaluations.USRNetBicubic(scale=3)
    methods = {
        "bicubic": baseline("bicubic", protocol),
        "usrnet": network(narrow.narrow("usrnet"), torch.device("cpu")),
    }
    for name, method in methods.items():
        expected = [result.scores for result in evaluate(protocol, method, protocol.cases("Set5"))]
        (cell,) = cells(tmp_path / "t", method=name, protocol="usrnet_bicubic:scale=3", data="Set5", status="done")
        assert [image.scores for image in cell.images] == expected
        assert cell.measured == pytest.approx(np.mean([scores["psnr"] for scores in expected]))
        assert cell.published is None, "a narrow USRNet is not the paper's"
        assert f"- / {cell.measured:.2f}" in out
    assert "the images differ from the known set" in cell.note
    (paper,) = cells(tmp_path / "t", row=("x3", "USRNet"), column=("Set5",))
    assert (paper.published, paper.measured, paper.status) == (34.45, None, "no weights")
    (absent,) = cells(tmp_path / "t", row=("x3", "bicubic"), column=("Urban100",))
    assert (absent.measured, absent.status, absent.note) == (None, "no data", "no data: Urban100")


def test_markdown_csv_and_json_agree(data: Path, tmp_path: Path, command: Command) -> None:
    net = tmp_path / "tiny.pth"
    torch.save(fill(create_model("usrnet_tiny"), usrnet_rule).state_dict(), net)
    shutil.rmtree(data / "Set5")
    for i in range(5):
        picture(data / "Set5" / f"{i}.png", i, noise=9)
    picture(data / "Set14" / "1.png", 1)
    assert command("tables", "usrnet_bicubic", "--weights", net, "-o", tmp_path)[0] == 0
    table = read_table(tmp_path / "table.json")
    lines = (tmp_path / "table.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    grid = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| x")]
    texts = {
        (*words[:2], column): text
        for line in grid
        for words in [line.strip("| ").split(" | ")]
        for column, text in zip(("Set5", "Set14", "BSD100", "Urban100"), words[2:], strict=True)
    }
    assert len(rows) == len(table.cells) == len(texts) == 36
    for row, cell in zip(rows, table.cells, strict=True):
        assert (row["scale"], row["method"]) == cell.row
        assert (row["published"], row["measured"]) == tuple(
            "" if value is None else repr(value) for value in (cell.published, cell.measured)
        )
        text = texts[(*cell.row, *cell.column)]
        assert text.startswith("-" if cell.published is None else f"{cell.published:.2f}")
        assert (cell.status in text) == (cell.status in ("no data", "no weights"))
        if cell.difference is not None:
            assert row["difference"] == repr(cell.measured - cell.published)
            assert f"{cell.measured:.2f} / {cell.difference:+.2f}" in text
    (tiny,) = cells(tmp_path, row=("x2", "USRNet-tiny"), column=("Set5",))
    assert (tiny.status, tiny.published, tiny.difference) == ("done", 37.2886, tiny.measured - 37.2886)
    (few,) = cells(tmp_path, row=("x2", "USRNet-tiny"), column=("Set14",))
    assert (few.status, len(few.images), few.total, few.difference) == ("partial", 1, 14, None)
    assert "(1 of 14)" in texts["x2", "USRNet-tiny", "Set14"]
    for word in ("sha256", "usrnet_bicubic: version 1", "torch", "tiling", "self-ensemble", "precision", "command"):
        for file in ("table.md", "table.csv"):
            assert word in (tmp_path / file).read_text()


def test_what_is_measured_is_not_measured_again(
    data: Path, weights: Path, tmp_path: Path, command: Command, calls: list[str]
) -> None:
    given = ("tables", "usrnet_bicubic", "--weights", weights, "-o", tmp_path / "t", "--limit", 2)
    assert command(*given)[0] == 0
    first = cells(tmp_path / "t")
    assert len(calls) == 2 * 3 * 2, "images, scales, methods"
    calls.clear()
    assert command(*given)[0] == 0
    assert calls == []
    assert cells(tmp_path / "t") == first
    assert read_table(tmp_path / "t" / "table.json").provenance["images measured now"] == 0
    command(*given[:-1], 3)
    assert set(calls) == {"usrnet_bicubic 2"}, "one image more"


@pytest.mark.parametrize(
    ("change", "again"), [("weights", 6), ("image", 6), ("version", 12), ("precision", 6), ("kernel", 12)]
)
def test_what_a_number_depends_on_has_it_measured_again(
    change: str,
    again: int,
    data: Path,
    weights: Path,
    tmp_path: Path,
    command: Command,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["tables", "usrnet_bicubic", "--weights", weights, "-o", tmp_path / "t", "--limit", 2]
    assert command(*given)[0] == 0
    before = cells(tmp_path / "t")
    calls.clear()
    if change == "weights":
        net = narrow.narrow("usrnet")
        with torch.no_grad():
            next(net.parameters()).mul_(1.5)
        torch.save({"state_dict": net.state_dict(), "model": torch.load(weights)["model"]}, weights)
    elif change == "image":
        picture(data / "Set5" / "1.png", 77)
    elif change == "version":
        monkeypatch.setattr(usrnet_evaluations.USRNetBicubic, "version", 2, raising=False)
    elif change == "kernel":
        cells_ = np.empty((1, 3), dtype=object)
        cells_[0] = [np.full((3, 3), 1 / 9)] * 3
        savemat(data / "kernels" / "kernels_bicubicx234.mat", {"kernels": cells_})
    else:
        given += ["--precision", "bf16"]
    assert command(*given)[0] == 0
    assert len(calls) == again
    if change == "image":
        assert set(calls) == {"usrnet_bicubic 1"}
    if change != "version":
        assert cells(tmp_path / "t") != before


def test_an_interrupted_run_goes_on_where_it_was(
    data: Path, weights: Path, tmp_path: Path, command: Command, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = measure.evaluate_case

    def impatient(*arguments: Any) -> Any:
        if len(calls) == 7:
            raise KeyboardInterrupt
        return counted(*arguments)

    given = ("tables", "usrnet_bicubic", "--weights", weights, "-o", tmp_path / "t")
    monkeypatch.setattr(measure, "evaluate_case", impatient)
    assert command(*given)[0] == 130
    monkeypatch.setattr(measure, "evaluate_case", counted)
    before = len(calls)
    assert command(*given)[0] == 0
    assert len(calls) - before == 5 * 3 * 2 - 6, "seven were run, of which a case that was not finished has lost one"
    assert {cell.status for cell in cells(tmp_path / "t", data="Set5") if cell.images} == {"done"}


def test_damaged_lines_of_the_cache_are_not_believed(
    data: Path, tmp_path: Path, command: Command, calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    given = ("tables", "usrnet_bicubic", "-o", tmp_path / "t", "--limit", 2)
    assert command(*given)[0] == 0
    right = cells(tmp_path / "t")
    cache = tmp_path / "t" / "cache.jsonl"
    lines = [line for line in cache.read_text().splitlines() if line]
    lines[1] = lines[1].replace('"psnr": ', '"psnr": 9', 1)
    lines[2] = "\udcff{".encode(errors="surrogateescape").decode(errors="replace")
    cache.write_text("\n".join(lines)[:-20])
    calls.clear()
    assert command(*given)[0] == 0
    assert len(calls) == 3
    assert "3 damaged lines" in caplog.text
    for before, after in zip(right, cells(tmp_path / "t"), strict=True):
        assert [image.scores for image in before.images] == [image.scores for image in after.images]
    calls.clear()
    command(*given)
    assert calls == [], "a line that was cut off does not spoil the next"


def test_several_weights_have_a_row_each(data: Path, weights: Path, tmp_path: Path, command: Command) -> None:
    tiny = [tmp_path / name for name in ("a.pth", "b.pth")]
    for i, path in enumerate(tiny):
        net = fill(create_model("usrnet_tiny"), usrnet_rule)
        with torch.no_grad():
            next(net.parameters()).mul_(1 + i)
        torch.save(net.state_dict(), path)
    given = ("tables", "usrnet_bicubic", "--limit", 1, "-o", tmp_path / "t", "--weights", *tiny, weights)
    assert command(*given)[0] == 0
    found = {cell.row[1]: cell for cell in cells(tmp_path / "t", protocol="usrnet_bicubic:scale=4", data="Set5")}
    assert list(found) == ["USRNet", "USRNet-tiny (a.pth)", "USRNet-tiny (b.pth)", "bicubic", "usrnet (narrow.pth)"]
    assert found["USRNet-tiny (a.pth)"].published == found["USRNet-tiny (b.pth)"].published == 31.9181
    assert len({cell.measured for cell in found.values()}) == 5
    expected = read_table(tmp_path / "t" / "table.json").provenance["weights"]
    assert [Path(one["file"]).name for one in expected] == ["a.pth", "b.pth", "narrow.pth"]


def test_two_networks_of_one_file_do_not_share_scores(
    data: Path, weights: Path, tmp_path: Path, command: Command
) -> None:
    state = load_named(weights)[2].state_dict()
    torch.save({"a": state, "b": {key: value * 1.1 for key, value in state.items()}}, tmp_path / "two.pth")
    given = ("tables", "usrnet_bicubic", "--limit", 1, "-o", tmp_path / "t", "--weights", tmp_path / "two.pth")
    code, _, err = command(*given)
    assert (code, err.count("\n"), "--key" in err) == (2, 1, True)
    found = []
    for key in ("a", "b", "a"):
        assert command(*given, "--key", key)[0] == 0
        (cell,) = cells(tmp_path / "t", protocol="usrnet_bicubic:scale=4", data="Set5", method="usrnet", published=None)
        found.append(cell.measured)
        assert read_table(tmp_path / "t" / "table.json").provenance["weights"][0]["key"] == key
    assert found[0] == found[2] != found[1]
    assert command("tables", "usrnet_bicubic", "--limit", 1, "-o", tmp_path / "w", "--weights", weights)[0] == 0
    (cell,) = cells(tmp_path / "w", protocol="usrnet_bicubic:scale=4", data="Set5", method="usrnet", published=None)
    assert cell.measured == found[0]


def test_published_weights_that_are_not_here_leave_their_row_empty_and_stop_nothing(
    data: Path,
    weights: Path,
    tmp_path: Path,
    command: Command,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("nrl_gdn", weights, "dgunet_deblur")
    code, out, _ = command("tables", "usrnet_bicubic", "--limit", 1, "-o", tmp_path / "t", "--weights", *names)
    assert code == 0
    assert "without nrl_gdn: the weights nrl_gdn are not here" in caplog.text
    found = {cell.row[1]: cell for cell in cells(tmp_path / "t", protocol="usrnet_bicubic:scale=4", data="Set5")}
    assert (found["USRNet"].status, found["USRNet"].measured) == ("no weights", None)
    assert found["usrnet (narrow.pth)"].status == "partial"
    assert "no data: Set14\n" in out, "the summary names the sets that are missing"
    code, _, err = command("tables", "compressive_sensing", "-o", tmp_path / "c", "--weights", "dgunet_cs")
    assert code == 2
    assert "none of the weights is here" in err
    Path("pretrained").mkdir()
    Path("pretrained", "NRL_GDN.pth").write_bytes(b"no checkpoint")
    code, _, err = command("tables", "nrl_gdn_table4", "-o", tmp_path / "n", "--weights", "nrl_gdn")
    assert (code, err.count("\n")) == (2, 1), "a file that is here and cannot be used is an error"


def test_only_the_published_network_trained_for_its_numbers_stands_in_a_published_row(tmp_path: Path) -> None:
    def stands(model: str, known: str | None, as_published: bool, row: str) -> bool:
        return Net(model, Path("a.pth"), "0", known, as_published).is_row(row)

    assert stands("usrnet", None, True, "usrnet")
    assert stands("dgunet_denoise", None, True, "dgunet_deblur"), "one network under two names"
    assert not stands("usrnet", "usrgan", True, "usrnet")
    assert not stands("usrnet_tiny", "usrnet_tiny_small", True, "usrnet_tiny"), "trained by us"
    assert not stands("usrnet", None, False, "usrnet")
    assert not stands("usrnet", None, True, "usrnet_tiny")
    narrow_one = narrow.saved("usrnet", tmp_path / "usrgan.pth")
    assert (open_net(str(narrow_one)).known, open_net(str(narrow_one)).as_published) == ("usrgan", False)
    other = narrow.saved("usrnet", tmp_path / "other.pth")
    assert open_net(str(other)).known is None
    assert open_net(f"usrgan={other}").known == "usrgan", "as was said"
    assert open_net(f"usrnet={other}").known is None, "a network's name"
    ten = narrow.saved("nrl_gdn", tmp_path / "other.pth")
    torch.save(torch.load(ten)["state_dict"], ten)
    assert open_net(f"rgdn_uniform={ten}").model == "rgdn_uniform", "the file does not say which"


def test_a_limit_counts_images_and_not_their_kernels(data: Path, tmp_path: Path, command: Command) -> None:
    for i in range(3):
        picture(data / "Set12_gray" / f"{i}.png", i)
    assert command("tables", "nrl_gdn_table4", "--limit", 2, "-o", tmp_path / "t")[0] == 0
    (cell,) = cells(tmp_path / "t", row=("noisy input",), column=("Set12", "gauss"), metric="psnr")
    assert (len(cell.images), cell.total, cell.status, cell.published) == (16, 96, "partial", 19.6818)
    assert {image.name.split("_")[0] for image in cell.images} == {"0", "1"}
    measured = {cell.row[0] for cell in cells(tmp_path / "t") if cell.images}
    assert measured == {"noisy input", "Eq. 22", "Wiener, noise known"}
    assert {cell.status for cell in cells(tmp_path / "t", row=("NRL-GDN",))} == {"no weights"}
    assert {cell.status for cell in cells(tmp_path / "t", row=("DWDN",))} == {"published only"}


def test_the_average_of_deraining_needs_all_five_sets_and_weighs_them_alike(
    data: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("Test100", "Rain100H", "Rain100L", "Test2800", "Test1200")
    for i, name in enumerate(names):
        for j in range(1 + i):
            picture(data / name / "input" / f"{j}.png", j, noise=10 * (i + 1))
            picture(data / name / "target" / f"{j}.png", j)
    assert command("tables", "derain", "-o", tmp_path / "t")[0] == 0
    sets = [cells(tmp_path / "t", row=("rainy input",), data=name, metric="psnr")[0] for name in names]
    (average,) = cells(tmp_path / "t", row=("rainy input",), column=("Average",), metric="psnr")
    assert average.measured == pytest.approx(np.mean([cell.measured for cell in sets]))
    assert (average.status, average.total, missing(average)) == ("partial", 0, "partial")
    assert cells(tmp_path / "t", row=("DGUNet",), column=("Average",), metric="ssim")[0].published == 0.923
    protocol = derain.Derain()
    expected = [
        r.scores["ssim"] for r in evaluate(protocol, baseline("identity", protocol), protocol.cases("Test1200"))
    ]
    (last,) = cells(tmp_path / "t", row=("rainy input",), data="Test1200", metric="ssim")
    assert last.measured == pytest.approx(np.mean(expected))
    shutil.rmtree(data / "Rain100L" / "target")
    assert command("tables", "derain", "-o", tmp_path / "t")[0] == 0
    (average,) = cells(tmp_path / "t", row=("rainy input",), column=("Average",), metric="psnr")
    assert (average.measured, average.status) == (None, "no data")
    assert "needs Rain100L" in average.note
    (lost,) = cells(tmp_path / "t", row=("rainy input",), data="Rain100L", metric="psnr")
    assert "no folder of targets" in lost.note


def test_weights_of_one_ratio_fill_the_cells_of_that_ratio(data: Path, tmp_path: Path, command: Command) -> None:
    picture(data / "Set11" / "a.png", 1)
    weights = narrow.saved("dgunet_cs", tmp_path / "ten.pth")
    assert command("tables", "compressive_sensing", "--weights", weights, "-o", tmp_path / "t")[0] == 0
    own = {c.column: c.status for c in cells(tmp_path / "t", row=("dgunet_cs (ten.pth)",), data="Set11", metric="psnr")}
    assert own == {("Set11", f"{r} %"): "partial" if r == 10 else "no weights" for r in (1, 4, 10, 25, 50)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("usrnet_tabel1", "no table is called 'usrnet_tabel1'; did you mean usrnet_table1?"),
        ("derain --weights {weights}", "fit no cell of this table: usrnet takes kernel, scale, sigma, y"),
        ("derain --limit 0", "--limit is a number of images, 1 or more, not 0"),
        ("derain --jobs 0", "--jobs is a number of processes, 1 or more, not 0"),
        ("derain --data nowhere", "--data nowhere: there is no such folder"),
        ("derain --weights nowhere.pth", "there is no weights file nowhere.pth"),
        ("derain deblur", "only one table at a time"),
        ("compare a.json", "compare takes two files"),
        ("compare {weights} {weights}", "is no table.json of `unfold tables`"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    arguments: str, message: str, data: Path, weights: Path, tmp_path: Path, command: Command
) -> None:
    code, _, err = command("tables", *arguments.format(weights=weights).split(), "-o", tmp_path / "t")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_an_image_that_cannot_be_read_is_reported_and_the_others_are_measured(
    data: Path, tmp_path: Path, command: Command
) -> None:
    (data / "Set5" / "3.png").write_bytes(b"damaged")
    code, out, _ = command("tables", "usrnet_bicubic", "-o", tmp_path / "t")
    assert code == 1
    assert "3 images failed" in out
    (cell,) = cells(tmp_path / "t", row=("x2", "bicubic"), column=("Set5",))
    assert (cell.status, len(cell.images)) == ("partial", 4)
    assert "3.png" in cell.note


def test_a_name_that_is_no_text_is_written_all_the_same(data: Path, tmp_path: Path, command: Command) -> None:
    (data / "Set5" / os.fsdecode(b"4\xff.png")).write_bytes(b"damaged")
    assert command("tables", "usrnet_bicubic", "-o", tmp_path / "t")[0] == 1
    assert "4\\udcff.png" in (tmp_path / "t" / "table.md").read_text()


def test_two_images_of_one_name_are_reported_and_neither_is_measured(
    data: Path, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(scene(26, 24, seed=9)).save(data / "Set5" / "3.bmp")
    assert command("tables", "usrnet_bicubic", "-o", tmp_path / "t")[0] == 0
    (cell,) = cells(tmp_path / "t", row=("x2", "bicubic"), column=("Set5",))
    assert (cell.status, cell.images) == ("no data", [])
    assert "two images called 3" in cell.note


def test_an_image_too_large_for_memory_is_reported_and_the_others_are_measured(
    data: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(protocol: Any, method: Any, case: Any, sample: Any) -> Any:
        if case.name == "3":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return evaluate_case(protocol, method, case, sample)

    monkeypatch.setattr(measure, "evaluate_case", full)
    assert command("tables", "usrnet_bicubic", "-o", tmp_path / "t")[0] == 1
    (cell,) = cells(tmp_path / "t", row=("x2", "bicubic"), column=("Set5",))
    assert (cell.status, len(cell.images)) == ("partial", 4)
    assert "3: out of memory" in cell.note


def test_weights_that_are_given_twice_have_one_row(data: Path, weights: Path, tmp_path: Path, command: Command) -> None:
    copied = shutil.copy(weights, tmp_path / "copy.pth")
    given = ("--weights", weights, copied, "--limit", 1)
    assert command("tables", "usrnet_bicubic", *given, "-o", tmp_path / "t")[0] == 0
    assert len(cells(tmp_path / "t", method="usrnet", column=("Set5",), status="partial")) == 3


def test_the_images_shown_are_those_that_gain_most_and_least(
    data: Path, weights: Path, tmp_path: Path, command: Command, pages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("tables", "usrnet_bicubic", "--weights", weights, "-o", tmp_path / "t")
    assert command(*given)[0] == 0
    ((path, table, pictures),) = pages
    assert path == tmp_path / "t" / "table.html"
    own = {cell.protocol: cell for cell in table.cells if cell.row[1] == "usrnet (narrow.pth)" and cell.images}
    plain = {cell.protocol: cell for cell in table.cells if cell.row[1] == "bicubic" and cell.images}
    gains = {
        (protocol, a.name): a.scores["psnr"] - b.scores["psnr"]
        for protocol in own
        for a, b in zip(own[protocol].images, plain[protocol].images, strict=True)
    }
    first, last = pictures[0], pictures[-1]
    assert len(pictures) == 10, "five photographs, each once among the best and once among the worst"
    assert gains[first.cell.protocol, first.image.name] == max(gains.values())
    assert gains[last.cell.protocol, last.image.name] == min(gains.values())
    assert len({(one.cell.protocol, one.image.name) for one in pictures}) == 10
    shown_gains = [gains[one.cell.protocol, one.image.name] for one in pictures]
    assert shown_gains == sorted(shown_gains, reverse=True), "from the best to the worst"
    for one in pictures:
        assert one.image.stages[-1] == pytest.approx(one.image.scores["psnr"])
        assert len(one.image.stages) == 3
        assert one.input.shape == one.result.shape == one.target.shape
        whole = np.asarray(Image.open(data / "Set5" / f"{one.image.name}.png"))
        assert np.array_equal(one.target, whole[: one.target.shape[0], : one.target.shape[1]])
    kept = next((tmp_path / "t" / "pictures").iterdir())
    whole_file = kept.read_bytes()
    for start in range(0, len(whole_file) - 8, len(whole_file) // 60):  # wherever it is damaged
        kept.write_bytes(whole_file[:start] + b"\xff" * 8 + whole_file[start + 8 :])
        examples._read(kept)
    kept.write_bytes(whole_file)
    monkeypatch.setattr(examples, "_restore", None)
    assert command(*given)[0] == 0
    again = pages[1][2]
    assert all(np.array_equal(a.result, b.result) and a.image == b.image for a, b in zip(pictures, again, strict=True))


def test_compare_finds_the_image_that_changed(data: Path, tmp_path: Path, command: Command) -> None:
    for name in ("a", "b", "c"):
        if name == "c":
            picture(data / "Set5" / "2.png", 2, noise=30)
        assert command("tables", "usrnet_bicubic", "-o", tmp_path / name)[0] == 0
    a, b, c = (tmp_path / name / "table.json" for name in ("a", "b", "c"))
    code, out, _ = command("tables", "compare", a, b)
    assert code == 0
    assert out.index("## Provenance") < out.index("## Cells")
    assert "| command |" not in out.split("## Cells")[1]
    assert out.count("None.") == 2
    code, out, _ = command("tables", "compare", a, c)
    assert code == 1
    listed = [line for line in out.split("## Images")[1].splitlines() if line.startswith("| x")]
    assert len(listed) == 3, "at every scale"
    assert all("| psnr | 2 |" in line for line in listed)
    assert "data, Set5, sha256" in out.split("## Cells")[0]
    assert command("tables", "compare", a, c, "--tolerance", 50)[0] == 0
    expected = json.loads(c.read_text())
    expected["cells"][0]["published"] += 1
    c.write_text(json.dumps(expected))
    assert command("tables", "compare", a, c, "--tolerance", 0.5)[0] == 1


@pytest.mark.parametrize(("metric", "share"), [("psnr", 1.0), ("psnr_y", 1.0), ("ssim", 0.1), ("ssim_y", 0.1)])
def test_compare_allows_the_tolerance_in_db_and_a_tenth_of_it_for_ssim(metric: str, share: float) -> None:
    def table(value: float, published: float = 0.5) -> Table:
        image = ImageScore("1", {metric: value}, 0.0, [])
        return Table("t", "", "", [Cell(("r",), ("c",), metric, "done", published, value, [image], 1)], {})

    for tolerance in (0.01, 0.5):
        allowed = share * tolerance
        for sign in (-1, 1):
            near, far = (table(0.5 + sign * factor * allowed) for factor in (0.99, 1.01))
            assert not compare(table(0.5), near, tolerance).differs
            expected = compare(table(0.5), far, tolerance)
            assert expected.differs
            assert expected.text.count(f"| {metric} |") == 2, "the cell and the image"
            assert compare(table(0.5), table(0.5, 0.5 + sign * 1.01 * allowed), tolerance).differs, "published, too"


def test_compare_lists_fifty_images_and_counts_the_rest() -> None:
    def table(count: int, value: float) -> Table:
        images = [ImageScore(str(i), {"psnr": value}, 0.0, []) for i in range(count)]
        return Table("t", "", "", [Cell(("r",), ("c",), "psnr", "done", None, 1.0, images, count)], {})

    for count, expected in ((50, False), (53, True)):
        text = compare(table(count, 1.0), table(count, 2.0), 0.5).text
        assert text.count("| psnr |") == 50
        assert ("And 3 more." in text) == expected
        assert ("more." in text) == expected


@pytest.mark.parametrize(("name", "value"), [("provenance", "none"), ("measured", "much"), ("published", [1])])
def test_compare_refuses_a_file_with_words_for_numbers(
    name: str, value: Any, data: Path, tmp_path: Path, command: Command
) -> None:
    assert command("tables", "usrnet_bicubic", "--limit", 1, "-o", tmp_path / "t")[0] == 0
    file = tmp_path / "t" / "table.json"
    expected = json.loads(file.read_text())
    (expected if name in expected else expected["cells"][0])[name] = value
    file.write_text(json.dumps(expected))
    code, _, err = command("tables", "compare", file, file)
    assert (code, err.count("\n")) == (2, 1)
    assert "is no table.json" in err


def test_compare_refuses_different_tables(data: Path, tmp_path: Path, command: Command) -> None:
    for name in ("derain", "deblur"):
        assert command("tables", name, "-o", tmp_path / name)[0] == 0
    code, _, err = command("tables", "compare", *(tmp_path / name / "table.json" for name in ("derain", "deblur")))
    assert code == 2
    assert "derain and deblur are different tables" in err


def test_the_list_names_tables_numbers_and_which_sets_are_here(data: Path, command: Command, tmp_path: Path) -> None:
    for words in (["--list"], ["list"], []):
        code, out, _ = command("tables", *words)
        assert code == 0
        assert all(name in out for name in TABLES)
        assert "+Set5 -Set14 -BSD100" in out
    picture(data / "Rain100H" / "inputcrop" / "1.png", 1)
    assert "-Rain100H" in command("tables", "list")[1], "without the clean side nothing can be measured"
    picture(data / "Rain100H" / "target" / "1.png", 1)
    assert "+Rain100H" in command("tables", "list")[1]
    (tmp_path / "empty").mkdir()
    assert "-Set5" in command("tables", "list", "--data", tmp_path / "empty")[1]


@pytest.mark.slow
def test_several_processes_measure_what_one_does(data: Path, weights: Path, tmp_path: Path, command: Command) -> None:
    for jobs in (1, 2):
        given = ("--weights", weights, "--jobs", jobs, "-o", tmp_path / str(jobs))
        assert command("tables", "usrnet_bicubic", *given)[0] == 0
    code, out, _ = command("tables", "compare", tmp_path / "1" / "table.json", tmp_path / "2" / "table.json")
    assert code == 0, out


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnfoldError, match="there is no"):
        read_table(tmp_path / "nothing.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UnfoldError, match=r"is no table\.json"):
        read_table(tmp_path / "list.json")
