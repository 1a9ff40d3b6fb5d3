"""Is one network for five degradations worse than five networks, and do prompts help? Equal trainings, and a table.

    python scripts/all_in_one.py -o runs/aio_experiment                 # nine trainings one after the other
    python scripts/all_in_one.py -o runs/aio_smoke --samples 16 --patch 32 --photographs 4 --test 1 --no-pairs

The second only shows whether all of it runs.

Networks of tasks/all_in_one/configs/small.yaml: one DGUNet for all five, five DGUNets for one each, and the DGUNet with
prompts; a second seed for the first and the last. Each sees --samples patches of each of its tasks,
so that a joint run has five times the steps of a single one. Trained on the photographs of
BSDS500 that are no background of Rain100L or Rain100H (datasets/bsds_ids.json, derain: 333). The last 8 of its test
are held out for the test, which also uses the real pairs of SOTS, Rain100L and GoPro if they are below UNFOLD_DATA. The
last weights are used, and nothing is selected on test images. A stopped run is continued. Writes table.md, gains.png
and pictures.jpg.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import unfold.util.as_program  # isort: skip

import yaml
from PIL import Image, ImageDraw

from unfold.data.images import data_root, find_folder
from unfold.report.draw import ACCENT, GRID, INK, PAPER, SOFT, text
from unfold.report.text_table import markdown

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "tasks" / "all_in_one" / "configs"
EPOCHS, HELD_OUT = 10, 8
SHOWN = 2  # of those held out
PAIRS = {"haze": "all_in_one/SOTS", "rain": "all_in_one/Rain100L", "blur": "GoPro_pairs"}
Scores = dict[str, float]


def unfold(*words: Any) -> None:
    subprocess.run([sys.executable, "-m", "unfold", *map(str, words)], check=True)


def lists_in(folder: Path, photographs: int | None) -> tuple[Path, Path]:
    """Lists of the photographs to train and to test on."""
    home = find_folder("BSDS500")
    files = {path.stem: path.resolve() for path in home.rglob("*.jpg")}
    ids = json.loads((ROOT / "datasets" / "bsds_ids.json").read_text())
    held = [str(number) for number in sorted(ids["test"])[-HELD_OUT:]]
    train = [str(number) for number in ids["derain"] if str(number) not in held][:photographs]
    lists = folder / "train.txt", folder / "test.txt"
    for path, names in zip(lists, (train, held), strict=True):
        path.write_text("".join(f"{files[name]}\n" for name in names))
    return lists


def run(
    folder: Path, config: str, parts: list[dict[str, Any]], seed: int, asked: argparse.Namespace
) -> dict[str, Scores]:
    """Train and test: PSNR by task, of the result and of the input; where real pairs are, "real TASK", too."""
    done = folder / "scores.json"
    if done.is_file():
        found: dict[str, Scores] = json.loads(done.read_text())
        return found
    train, test = lists_in(folder.parent, asked.photographs)
    count, recipe = len(parts), CONFIGS / f"{config}.yaml"
    per_epoch = max(asked.samples // EPOCHS, 1) * count
    common = ["DATA.MIX", yaml.safe_dump(parts, default_flow_style=True, width=10**6).strip(), "OUTPUT", folder]
    common += ["DATA.TRAIN", train, "DATA.VAL", f"{test}[:1]", "DATA.TEST", f"{test}[:{asked.test}]"]
    common += ["SEED", seed, "TRAIN.EPOCHS", EPOCHS, "TRAIN.PATCHES", per_epoch, "TRAIN.PATCH", asked.patch]
    unfold("train", "--config", recipe, "--resume", "auto", *common, "TRAIN.VALIDATE_EVERY", EPOCHS)
    weights = folder / "checkpoints" / "last.pth"
    unfold("test", "--config", recipe, "--weights", weights, *common)
    parts_of = json.loads((folder / "test" / "results.json").read_text())["parts"]
    scores: dict[str, Scores] = {}
    for task, methods in parts_of.items():
        before, after = (methods[name]["psnr"] for name in methods)
        scores[task] = {"input": before, "result": after}
    for task, data in PAIRS.items():
        if task in parts_of and (data_root() / data).is_dir() and not asked.no_pairs:
            for what, how in (("result", ["--weights", weights]), ("input", ["--model", "identity"])):
                path = folder / f"{task}_{what}.json"
                unfold("test", "--protocol", "aio", "--data", data, *how, "--json", path)
                own = json.loads(path.read_text())["mean"]["psnr"]
                scores.setdefault(f"real {task}", {})[what] = own
    done.write_text(json.dumps(scores))
    return scores


def pictures(folder: Path, asked: argparse.Namespace) -> None:
    """One held-out photograph with each degradation: input, one for all, the same with prompts, target."""
    shown, weights = folder / "pictures", []
    shutil.rmtree(shown, ignore_errors=True)  # with the strips of another photograph
    shown.mkdir()
    for name, home in (("one network", "one_for_all"), ("with prompts", "one_for_all_prompts")):
        weights.append(shown / f"{name}.pth")
        shutil.copy(folder / home / "checkpoints" / "last.pth", weights[-1])
    data = ["OUTPUT", shown, "DATA.TRAIN", folder / "train.txt", "DATA.VAL", f"{folder / 'test.txt'}[:1]"]
    data += ["DATA.TEST", f"{folder / 'test.txt'}[{min(SHOWN, asked.test - 1)}:{min(SHOWN, asked.test - 1) + 1}]"]
    unfold("test", "--config", CONFIGS / "small.yaml", "--weights", *weights, *data)
    strips = [Image.open(path) for path in sorted((shown / "test" / "strips").rglob("*.png"))]
    sheet = Image.new("RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), PAPER)
    for i, strip in enumerate(strips):
        sheet.paste(strip, (0, sum(above.height for above in strips[:i])))
    sheet.save(folder / "pictures.jpg", quality=90)


def draw(path: Path, tasks: list[str], rows: dict[str, dict[str, Scores]]) -> None:
    """The gain over the input in dB, a group of bars for each task."""
    gains = {name: {t: s["result"] - s["input"] for t, s in row.items()} for name, row in rows.items()}
    most = max([value for row in gains.values() for value in row.values()] + [1.0])
    height = 26 + sum(18 * sum(task in row for row in gains.values()) + 30 for task in tasks)
    picture = Image.new("RGB", (760, height), PAPER)
    canvas, y = ImageDraw.Draw(picture), 8
    for task in tasks:
        text(canvas, (12, y), f"{task}: gain over the input, dB", 14, INK)
        y += 22
        for name, row in gains.items():
            if task in row:
                end = 230 + 440 * max(row[task], 0) / most
                canvas.rectangle([230, y, end, y + 12], fill=ACCENT if "prompt" in name else GRID)
                text(canvas, (12, y), name, 11, SOFT)
                text(canvas, (end + 6, y), f"{row[task]:+.2f}", 11, INK)
                y += 18
        y += 8
    picture.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/aio_experiment"))
    parser.add_argument("--samples", type=int, default=20_000, help="patches of each task that a network sees")
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--test", type=int, default=HELD_OUT, help="photographs to test on")
    parser.add_argument("--photographs", type=int, help="the first so many to train on alone")
    parser.add_argument("--no-pairs", action="store_true", help="leave the real pairs out")
    asked = parser.parse_args()
    folder = asked.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    mix = yaml.safe_load((CONFIGS / "small.yaml").read_text())["DATA"]["MIX"]
    runs = [("one for all", "small", mix, 0), ("one for all, prompts", "small_prompt", mix, 0)]
    runs += [(f"one for {part['NAME']}", "small", [part], 0) for part in mix]
    runs += [("one for all, seed 1", "small", mix, 1), ("one for all, prompts, seed 1", "small_prompt", mix, 1)]
    rows: dict[str, dict[str, Scores]] = {}
    for name, config, parts, seed in runs:
        rows[name] = run(folder / name.replace(", ", "_").replace(" ", "_"), config, parts, seed, asked)
        tasks = list(rows["one for all"])
        first = ("input", *(f"{rows['one for all'][task]['input']:.2f}" for task in tasks))
        lines = [(name, *(f"{row[t]['result']:.2f}" if t in row else "" for t in tasks)) for name, row in rows.items()]
        (folder / "table.md").write_text(f"{markdown(('PSNR, dB', *tasks), [first, *lines])}\n")
        draw(folder / "gains.png", tasks, rows)
    pictures(folder, asked)
    print((folder / "table.md").read_text())


if __name__ == "__main__":
    main()
