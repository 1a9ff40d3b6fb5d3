"""What the guides show can be typed: every command is known, every setting exists, and all of it runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.guides import PAGES, ROOT, blocks, commands, run_page
from unfold.cli.arguments import parse
from unfold.config import load_config

NOT_RUN = {  # why a test does not run a block; one that is added here is a promise less
    "first_steps.md": ["makes an environment of its own, about 6 GB"],
    "clusters.md": ["needs SLURM"],
    "reproduce_tables.md": [
        "needs the sets of the table below UNFOLD_DATA, and the authors' weights, which are downloaded",
        "needs two results of the command above",
    ],
}


def test_the_blocks_that_are_not_run_are_these() -> None:
    left_out = {page.name: [block.why_not for block in blocks(page) if block.why_not] for page in PAGES}
    assert {name: why for name, why in left_out.items() if why} == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_guide_says_what_it_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(blocks(page)), "a block is not closed, or is written otherwise"
    for block in blocks(page):
        assert block.language in ("bash", "python", "yaml", "text")
        assert block.title or block.language != "yaml"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_unfold_command_of_a_guide_is_one_that_the_command_line_takes(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, page.name, "exec")
        if block.language != "bash":
            continue
        subprocess.run(["bash", "-n", "-c", block.text], check=True)
        for line in commands(block.text):
            words = shlex.split(line, comments=True)
            if words[0] == "torchrun":
                words = words[words.index("unfold") :]
            if words[0] == "unfold":
                parse(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_recipe_of_a_guide_is_read_and_every_key_value_fits(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").symlink_to(ROOT / "tasks")
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
            if block.language == "yaml":
                assert isinstance(yaml.safe_load(block.text), dict)
                load_config(block.title)
        if block.language == "bash":
            for line in commands(block.text):
                words = shlex.split(line, comments=True)
                recipe = words[words.index("--config") + 1] if "--config" in words else ""
                if recipe and Path(recipe).exists():
                    arguments = parse(words[words.index("unfold") + 1 :])
                    load_config(recipe, arguments.overrides)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_guide_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


def test_the_words_that_people_search_for_stand_where_they_belong() -> None:
    def page(name: str) -> str:
        return re.sub(r"\s+", " ", (ROOT / "docs" / name).read_text(encoding="utf-8").lower())

    for name, words in {
        "first_steps.md": ("ground truth", "dry run", "held-out", "baseline"),
        "guides/train.md": ("augmentation", "early stopping", "overfitting", "regularisation", "dry run", "held-out"),
        "guides/own_pairs.md": ("ground truth", "held-out", "baseline", "overfitting"),
        "guides/own_network.md": ("receptive field",),
        "guides/restore_pictures.md": ("receptive field",),
        "concepts/the_loop.md": ("ground truth", "regularisation"),
        "concepts/priors.md": ("receptive field", "regularisation"),
        "concepts/stages.md": ("overfitting", "regularisation"),
        "concepts/scoring.md": ("ground truth", "baseline", "held-out"),
    }.items():
        for word in words:
            assert word in page(name), f"{name} does not say {word!r}"
