"""The generated reference names every setting, every part with its options, and every command with its options."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from scripts import docs_reference as reference
from unfold import builtin, registry
from unfold.config import _C, SECTIONS
from unfold.merge_recipes import TERM


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reference")
    reference.write(folder)
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*.md")}


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[one.strip() for one in re.split(r" \| ", line[2:-2])] for line in lines]


def test_every_setting_has_its_type_its_default_and_its_meaning(pages: dict[str, str]) -> None:
    found = {re.sub(r".*</a>", "", row[0]).strip("`"): row for row in rows(pages["settings.md"]) if "<a id" in row[0]}
    keys = [f"{section}.{key}" for section in SECTIONS for key in _C[section]]
    keys += [key for key in _C if key not in SECTIONS]
    assert sorted(found) == sorted(keys)
    for key, row in found.items():
        _, kind, default, *meaning = row
        assert kind, f"{key} has no type"
        assert default, f"{key} has no default"
        assert " ".join(meaning).strip(), f"{key} has no comment in unfold/config.py"
    assert found["TRAIN.BATCH"][1:3] == ["`int`", "`16`"]
    assert found["OPTIM.LR"][1:3] == ["`float`", "`0.0002`"]
    for key in TERM:
        assert f"| `{key}` |" in pages["settings.md"]


def test_a_comment_above_several_keys_is_the_meaning_of_each() -> None:
    source = (
        "# Of both\n# of them.\n_C.A.ONE = 1\n_C.A.TWO = 2\n\n_C.A.NONE = 3\n"
        "# Of a section.\n_C.B = CfgNode()\n_C.B.BARE = 1\n_C.B.OWN = 2  # its own\n"
    )
    assert reference.meanings(source) == {
        "A.ONE": "Of both of them.",
        "A.TWO": "Of both of them.",
        "A.NONE": "",
        "B": "Of a section.",
        "B.BARE": "",
        "B.OWN": "its own",
    }


def test_every_part_has_its_line_and_every_option_its_type_and_default(pages: dict[str, str]) -> None:
    text = pages["parts.md"]
    sections = {part.split("\n", 1)[0]: part for what in re.split(r"^## ", text, flags=re.M)[1:] for part in [what]}
    headings = [re.findall(r"^### (.+)$", part, re.M) for part in sections.values()]
    named = [[name for heading in one for name in heading.split(", ")] for one in headings]
    assert named == [list_of(what) for what in reference.KINDS]
    for what, section in zip(reference.KINDS, sections.values(), strict=True):
        for heading, body in re.findall(r"^### (.+?)\n\n(.*?)(?=^### |\Z)", section, re.M | re.S):
            part = registry.find(reference.KINDS[what][0], heading.split(", ")[0])
            assert body.splitlines()[0].strip(), f"{heading} has no line"
            options = [row[0].strip("`") for row in rows(body) if row[0].startswith("`")]
            assert options == [name for name in part.parameters() if name != "**"], heading
            assert all(row[2] for row in rows(body) if row[0].startswith("`")), f"a default of {heading} is missing"


def test_every_option_of_a_part_has_its_meaning() -> None:
    for what, names, found in reference.parts():
        if what != "optimizer":  # those of torch
            options = [name for name in found[0].parameters() if name != "**"]
            missing = set(options) - reference.described(found[0], options).keys()
            assert not missing, f'{what} {names[0]}: the docstring has no "NAME: meaning" of {missing}'


def test_meanings_end_with_their_clause_and_are_those_of_the_nearest_docstring() -> None:
    class Base:
        """Of the base. three: far; four:
        as far."""

    class Own(Base):
        """One thing.

        one: a file (see Eq. 22), else none; two, three:
            both. Others stand below.
        """

    Base.__module__ = "unfold.base"
    part = registry.Part(registry.LOSS, "own", Own)
    assert reference.described(part, ["one", "two", "three", "four", "five"]) == {
        "one": "a file (see Eq. 22), else none",
        "two": "both",
        "three": "both",
        "four": "as far",
    }


def test_options_of_optimizers_have_the_first_sentences_of_torch() -> None:
    doc = """Implements.

    Args:
        params (iterable): parameters
        betas (tuple[float | Tensor, float | Tensor], optional):
            coefficients of
            averages. More. (default: (0.9, 0.999))
        eps (float, optional) : term of `a paper`_
            (default: 1e-8)
        last (bool, optional): if ``True``, or not

    .. note:: not (this): one
    """
    assert reference.of_torch(doc) == {
        "params": "parameters",
        "betas": "coefficients of averages",
        "eps": "term of a paper",
        "last": "if ``True``, or not",
    }


def list_of(what: str) -> list[str]:
    """The names of a kind, those of one class beside each other."""
    by_target: dict[str, list[str]] = {}
    for name, target in builtin.BUILTIN[what].items():
        by_target.setdefault(target, []).append(name)
    return [name for names in by_target.values() for name in names]


def test_every_kind_of_part_has_a_section() -> None:
    assert list(reference.KINDS) == list(builtin.BUILTIN)


def test_presets_have_their_own_defaults(pages: dict[str, str]) -> None:
    assert "usrnet: `(64, 128, 256, 512)`; usrnet_tiny: `(16, 32, 64, 64)`" in pages["parts.md"]


def test_every_command_has_every_option_with_its_help(pages: dict[str, str]) -> None:
    text = pages["commands.md"]
    for name, one, _ in reference.commands():
        if name == "unfold":
            continue
        found = re.search(rf"^###? {name}\n(.*?)(?=^##|\Z)", text, re.M | re.S)
        assert found, f"{name} is missing"
        shown = {row[0]: row for row in rows(found[1])}
        for action in one._actions:
            if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
                continue
            row = shown[f"`{reference.called(action)}`"]
            assert row[-1] or not action.help, f"{name} {row[0]} has no help"


def test_the_public_face_and_every_module_of_the_parts_have_a_place(pages: dict[str, str]) -> None:
    import unfold

    for name in set(unfold.__all__) - {"__version__", "metrics"}:
        assert re.search(rf"^::: unfold\.[\w.]+\.{name}$", pages["python/unfold.md"], re.M), name
    for folder in reference.FOLDERS:
        modules = [path.stem for path in (Path(unfold.__file__).parent / folder).glob("[!_]*.py")]
        shown = re.findall(rf"^::: unfold\.{folder}\.(\w+)$", pages[f"python/{folder}.md"], re.M)
        assert sorted(shown) == sorted(modules)
