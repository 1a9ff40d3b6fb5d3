"""The configuration: recipes over bases over defaults, and one clear line for every mistake."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_origin, get_type_hints

import pytest
from yacs.config import CfgNode

from unfold.config import BASELINES, differences, dumped, load_config, options_of
from unfold.errors import UnfoldError
from unfold.evaluation.classical_methods import CLASSICAL
from unfold.settings import settings_of
from unfold.training.setup.settings_check import check_training


def write(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_bases_come_first_in_order_then_the_recipe_then_the_command_line(tmp_path: Path) -> None:
    write(tmp_path, "SEED: 1\nTRAIN: {EPOCHS: 1, BATCH: 1}\n", "bases/one.yaml")
    write(tmp_path, "_BASE_: one.yaml\nTRAIN: {EPOCHS: 2, PATCH: 32}\n", "bases/two.yaml")
    path = write(tmp_path, "_BASE_: [bases/two.yaml]\nTRAIN: {PATCH: 48}\n")
    cfg = load_config(path, ["TRAIN.PATCH", "64", "OUTPUT", "somewhere"])
    assert (cfg.SEED, cfg.TRAIN.EPOCHS, cfg.TRAIN.BATCH, cfg.TRAIN.PATCH) == (1, 2, 1, 64)
    assert cfg.OUTPUT == "somewhere"
    with pytest.raises(AttributeError):
        cfg.SEED = 5


def same(section: CfgNode, view: object) -> None:
    """The view has a field for each key, in lower case, of its value and of its type; and no others."""
    fields = get_type_hints(type(view))
    assert list(fields) == [key.lower() for key in section]
    for key, value in section.items():
        held, kind = getattr(view, key.lower()), fields[key.lower()]
        if is_dataclass(kind):
            same(value, held)
        else:
            assert held == value, key
            assert isinstance(value, get_origin(kind) or kind), key


def test_every_key_of_the_tree_has_a_field_of_its_type_with_its_value(tmp_path: Path) -> None:
    words = ["DATA.REDUCED", "[0.6]", "TEST.BASELINES", "[tv]", "MODEL.ARGS.stages", "4", "TRAIN.BATCH", "3"]
    for cfg in (load_config(write(tmp_path, "")), load_config(write(tmp_path, ""), words)):
        same(cfg, settings_of(cfg))


def test_an_epoch_is_rounded_up_to_whole_steps_and_iterations_come_before_epochs(tmp_path: Path) -> None:
    path = write(tmp_path, "TRAIN: {EPOCHS: 3, PATCHES: 10, BATCH: 4}\n")
    train = settings_of(load_config(path)).train
    assert (train.steps_per_epoch, train.total_steps) == (3, 9)
    train = settings_of(load_config(path, ["TRAIN.ITERATIONS", "7"])).train
    assert (train.steps_per_epoch, train.total_steps) == (3, 7)


def test_a_dumped_config_reads_back_equal(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, "OPTIM: {LR: 1e-4, BETAS: [0.5, 0.9]}\nTEST: {BASELINES: [tv]}\n"))
    again = load_config(write(tmp_path, dumped(cfg), "dump.yaml"))
    assert again == cfg
    assert differences(cfg, again) == []
    other = load_config(tmp_path / "dump.yaml", ["OPTIM.LR", "2"])
    assert differences(cfg, other) == ["OPTIM.LR 0.0001 -> 2.0"]


def test_the_trees_own_dump_is_the_dump_of_run_folders(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, "LOSS: {TERMS: [{NAME: l1, ARGS: {}}]}\nDATA: {REDUCED: [0.5]}\n"))
    assert cfg.dump() == dumped(cfg)


DROPS = [
    (
        "MODEL: {NAME: dgunet_denoise, ARGS: {width: 16, stages: 3}}",
        ["MODEL.NAME", "dgunet_deblur", "MODEL.ARGS.stages", "4"],
        "MODEL.NAME dgunet_deblur in place of dgunet_denoise drops options of dgunet_denoise that it takes, too: "
        "MODEL.ARGS.width 16 ({file})",
    ),
    (
        "SCHEDULE: {NAME: step, ARGS: {step: 30, gamma: 0.9}}",
        ["SCHEDULE.NAME", "multistep", "SCHEDULE.ARGS.milestones", "[3]"],
        "SCHEDULE.NAME multistep in place of step drops options of step that it takes, too: "
        "SCHEDULE.ARGS.gamma 0.9 ({file})",
    ),
    (
        "DATA: {KIND: nrl_gdn, ARGS: {sigma: 12.75}}",
        ["DATA.KIND", "gaussian"],
        "DATA.KIND gaussian in place of nrl_gdn drops options of nrl_gdn that it takes, too: "
        "DATA.ARGS.sigma 12.75 ({file})",
    ),
    (
        "MODEL: {NAME: composed, ARGS: {prior: {name: pathway_unet, width: 8}}}",
        ["MODEL.ARGS.prior", "{name: here.py:Prior}"],
        "MODEL.ARGS.prior.name here.py:Prior in place of pathway_unet drops options of pathway_unet that it takes, "
        "too: MODEL.ARGS.prior.width 8 ({file})",
    ),
]


@pytest.mark.parametrize(("recipe", "words", "line"), DROPS)
def test_a_number_that_another_part_does_not_inherit_is_named_in_one_line(
    recipe: str,
    words: list[str],
    line: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text(
        "from torch import nn\n\n\nclass Prior(nn.Identity):\n    def __init__(self, width: int = 1) -> None: ...\n"
    )
    path = write(tmp_path, recipe)
    load_config(path, words)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"note: command line: {line.format(file=path)}; set again those that are to stay"
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["SCHEDULE.NAME", "multistep", "SCHEDULE.ARGS.gamma", "0.5"],  # said again
        ["SCHEDULE.NAME", "cosine"],  # which has none of the two
        ["SCHEDULE.NAME", "step"],  # no other
    ],
)
def test_of_options_that_change_no_number_nothing_is_said(
    words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_config(write(tmp_path, "SCHEDULE: {NAME: step, ARGS: {step: 30, gamma: 0.9}}"), words)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["MODEL.ARGS.day", "2020-01-01"], "MODEL.ARGS.day is a date to YAML, 2020-01-01"),
        (["MODEL.ARGS.steps", "{1: 0.5}"], "MODEL.ARGS.steps: the key 1 is no text"),
        (["LOSS.TERMS", "[{NAME: l1, ARGS: {a: [2020-01-01]}}]"], "LOSS.TERMS.0.ARGS.a is a date to YAML"),
    ],
)
def test_options_of_types_that_no_record_holds_are_refused(words: list[str], line: str, tmp_path: Path) -> None:
    with pytest.raises(UnfoldError, match=f"^command line: {re.escape(line)}.*put it into quotes"):
        load_config(write(tmp_path, ""), words)


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, "OPTIM: {LR: 1e-4}\nDATA: {SIGMA: 15}\n"), ["SCHEDULE.LR_MIN", "1e-7"])
    assert (cfg.OPTIM.LR, cfg.DATA.ARGS.sigma, cfg.SCHEDULE.ARGS.lr_min) == (1e-4, 15.0, 1e-7)
    assert load_config(write(tmp_path, ""), ["OUTPUT", "5"]).OUTPUT == "5", "a folder may be called so"


def test_model_arguments_are_those_that_differ_from_the_published(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, "MODEL: {NAME: dgunet_derain, STAGES: 4}\n"))
    assert options_of(cfg, "MODEL") == {"stages": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TRAIN: {EPOCH: 3}", "no key TRAIN.EPOCH; did you mean TRAIN.EPOCHS?"),
        ("LR: 3", "no key LR; did you mean OPTIM.LR?"),
        ("Training: {EPOCHS: 3}", "no key Training; did you mean TRAIN?"),
        ("SEED: 1\nSEED: 2", "key SEED is given twice (again in line 2)"),
        ("TRAIN:\n  BATCH: 1\n  BATCH: 1", "key BATCH is given twice (again in line 3)"),
        ("TRAIN: 5", "TRAIN is a section"),
        ("TRAIN: {EPOCHS: many}", "TRAIN.EPOCHS is a whole number, and 'many' is not"),
        ("TRAIN: {EPOCHS: 2.5}", "TRAIN.EPOCHS is a whole number, and 2.5 is not"),
        ("TRAIN: {EPOCHS: true}", "TRAIN.EPOCHS is a whole number, and True is not"),
        ("OPTIM: {LR: fast}", "OPTIM.LR is a number, and 'fast' is not"),
        ("OPTIM: {BETAS: 0.9}", "OPTIM.BETAS is a list, and 0.9 is not"),
        ("OPTIM: {BETAS: [a, b]}", "an item of OPTIM.BETAS is a number, and 'a' is not"),
        ("OPTIM: {BETAS: [0.9]}", "OPTIM.ARGS.betas is a list of 2"),
        ("OUTPUT: true", "OUTPUT is text, and True is not"),
        ("OUTPUT: {A: 5}", "OUTPUT is text"),
        ("DATA: {KIND: rain, BLIND: true}", "DATA.BLIND belongs to DATA.KIND gaussian, and it is rain"),
        ("DATA: {KIND: usrnet, REDUCED: [1.5]}", "DATA.REDUCED is a list of numbers from 0.1 to below 1, not [1.5]"),
        ("DATA: {REDUCED: [a]}", "DATA.REDUCED is a list of numbers from 0.1 to below 1, not ['a']"),
        ("DATA: {REDUCED: [0.5, 0.01]}", "DATA.REDUCED is a list of numbers from 0.1 to below 1, not [0.5, 0.01]"),
        ("DATA: {REDUCED: [true]}", "DATA.REDUCED is a list of numbers from 0.1 to below 1, not [True]"),
        ("DATA: {REDUCED: 0.5}", "DATA.REDUCED is a list, and 0.5 is not"),
        ("DATA: {KIND: paired, REDUCED: [0.5]}", "DATA.REDUCED is for clean images that are degraded on the way"),
        ("DATA: {TRAIN: a.h5, REDUCED: [0.5]}", "DATA.REDUCED makes copies of files, and a.h5 is a cache"),
        ("DATA: {SHARP: 0.5}", "DATA.SHARP belongs to DATA.KIND usrnet, and it is gaussian"),
        ("DATA: {KIND: usrnet, SHARP: 1.5}", "sharp is a share, from 0 to 1, not 1.5"),
        ("DATA: {KIND: usrnet, SHARP: -1}", "sharp is a share, from 0 to 1, not -1"),
        ("DATA: {ARGS: {grey: 2}}", "grey is a share, from 0 to 1, not 2"),
        ("DATA: {KIND: usrnet, ARGS: {grey: -1}}", "grey is a share, from 0 to 1, not -1"),
        ("DATA: {KIND: nrl_gdn, ARGS: {grey: 1.5}}", "grey is a share, from 0 to 1, not 1.5"),
        ("DATA: {SHARP: -1}", "DATA.SHARP belongs to DATA.KIND usrnet, and it is gaussian"),
        ("DATA: {SATURATION: true}", "DATA.SATURATION belongs to DATA.KIND paired, and it is gaussian"),
        ("TRAIN: {PRECISION: float16}", "TRAIN.PRECISION is one of float32, bfloat16, not 'float16'"),
        ("TRAIN: {EPOCHS: 0}", "TRAIN.EPOCHS must be greater than 0"),
        ("OPTIM: {LR: .nan}", "OPTIM.LR must be finite, not nan"),
        ("SEED: -1", "SEED must not be negative"),
        ("TEST: {BASELINES: [bm3d]}", "TEST.BASELINES is a list of tv, nlm, not 'bm3d'"),
        ("_BASE_: other.yaml", "there is no such file"),
        ("_BASE_: recipe.yaml", "leads back to this file"),
        ("_BASE_: [3]", "_BASE_ is a file name or a list of them, not [3]"),
        ("_BASE_:", "_BASE_ is a file name"),
        ("_BASE_: true", "_BASE_ is a file name"),
        ("_BASE_: {a.yaml: 1}", "_BASE_ is a file name"),
        ("OUTPUT: ''", "OUTPUT names the run folder"),
        ("SEED: 99999999999999999999", "SEED must be below"),
        ("OPTIM: {LR: .inf}", "OPTIM.LR must be finite"),
        ("OPTIM: {LR: 1e-7}", "defaults: SCHEDULE.ARGS: lr_min must not exceed OPTIM.LR"),
        ("- 1\n- 2", "a config is KEY: value lines"),
        ("a: [1", "is not valid YAML"),
        ("? [1, 2]\n: 3", "is not valid YAML"),
        ("!!python/object/apply:os.system ['echo hacked']", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UnfoldError) as caught:
        check_training(load_config(path))  # of options, when the parts are built; all else is known without them
    message = str(caught.value)
    assert expected in message
    assert "recipe.yaml" in message or expected.startswith("defaults")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["TRAIN.EPOCHS"], "'TRAIN.EPOCHS' has no value"),
        (["TRAIN.EPOCHS=3"], "has no value: write KEY VALUE, with a space"),
        (["data.train", "3"], "did you mean DATA.TRAIN?"),
        (["data.sigma", "3"], "did you mean DATA.ARGS.sigma?"),
        (["TRAIN.EPOCHZ", "3"], "command line: there is no key TRAIN.EPOCHZ; did you mean TRAIN.EPOCHS?"),
        (["TRAIN.EPOCHS.X", "3"], "there is no key TRAIN.EPOCHS.X; did you mean TRAIN.EPOCHS?"),
        (["TRAIN", "3"], "command line: TRAIN is a section"),
        (["SEED", "[1"], "the value of SEED is not valid YAML"),
        (["OUTPUT", "{a: 1"], "the value of OUTPUT is not valid YAML"),
        (["OUTPUT", "{a: 1, a: 2}"], "key a is given twice"),
        (["OUTPUT", "'runs/a"], "the value of OUTPUT is not valid YAML"),
        (["SEED", "*.png"], "command line: SEED is a whole number, and '*.png' is not"),
        (["TRAIN.EPOCHS", "0"], "command line: TRAIN.EPOCHS must be greater than 0"),
    ],
)
def test_a_mistaken_override_is_one_line(tmp_path: Path, overrides: list[str], expected: str) -> None:
    with pytest.raises(UnfoldError) as caught:
        load_config(write(tmp_path, "SEED: 1"), overrides)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{id}_*", "{id}x4", "*.png", "*/raw", "%Y", "@home", "a: b: c", "`x`", "&a*b", "!x[y]"]
)
def test_text_that_yaml_cannot_read_is_taken_as_it_stands_on_the_command_line(tmp_path: Path, text: str) -> None:
    given = ["DATA.KIND", "paired", "DATA.ARGS.name", text, "OUTPUT", text]
    cfg = load_config(write(tmp_path, "SEED: 1"), given)
    assert (cfg.DATA.ARGS["name"], cfg.OUTPUT) == (text, text)


def test_overrides_of_a_call_in_python_may_be_values_and_are_a_list(tmp_path: Path) -> None:
    path = write(tmp_path, "SEED: 1")
    cfg = load_config(path, ["TRAIN.EPOCHS", 2, "OPTIM.LR", 1e-3, "DATA.REDUCED", [0.6], "DATA.SKIP_BAD", True])
    assert (cfg.TRAIN.EPOCHS, cfg.OPTIM.LR, cfg.DATA.REDUCED, cfg.DATA.SKIP_BAD) == (2, 1e-3, (0.6,), True)
    for mistaken, expected in [
        ({"TRAIN.EPOCHS": 2}, "overrides are a list KEY, VALUE"),
        ("TRAIN.EPOCHS 2", "overrides are a list KEY, VALUE"),
        (["TRAIN.EPOCHS", 2, 3], "3 has no value"),
        (["TRAIN.EPOCHS", 2.5], "TRAIN.EPOCHS is a whole number, and 2.5 is not"),
        ([3, "TRAIN.EPOCHS"], "a key is text, and 3 is not"),
    ]:
        with pytest.raises(UnfoldError, match=expected):
            load_config(path, mistaken)  # type: ignore[arg-type]


def test_a_bad_value_is_blamed_on_the_file_that_sets_it(tmp_path: Path) -> None:
    write(tmp_path, "TRAIN: {EPOCHS: 0}", "base.yaml")
    with pytest.raises(UnfoldError, match=r"base.yaml: TRAIN.EPOCHS"):
        load_config(write(tmp_path, "_BASE_: base.yaml"))


def test_the_baselines_named_are_those_there_are() -> None:
    assert set(BASELINES) == set(CLASSICAL)


def test_files_that_are_no_config_are_distinguished(tmp_path: Path) -> None:
    for path, expected in [
        (tmp_path / "none.yaml", "no such file"),
        (write(tmp_path, "", "code.py"), "a config is a .yaml file"),
        (tmp_path / "folder.yaml", "cannot be read"),
    ]:
        (tmp_path / "folder.yaml").mkdir(exist_ok=True)
        with pytest.raises(UnfoldError, match=expected):
            load_config(path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnfoldError, match="cannot be read"):
        load_config(tmp_path / "binary.yaml")
    assert isinstance(load_config(write(tmp_path, "")), CfgNode)


def test_every_shipped_recipe_loads() -> None:
    root = Path(__file__).parent.parent
    recipes = [*root.glob("configs/**/*.yaml"), *root.glob("tasks/*/configs/*.yaml")]
    assert len(recipes) >= 3
    for path in recipes:
        load_config(path)
