"""The settings as typed objects, for functions that read some of them.

The tree (:mod:`unfold.config`) is where they are set, checked and documented.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from yacs.config import CfgNode

from unfold import registry
from unfold.merge_recipes import mixed_name
from unfold.registry import Options
from unfold.util.paths import as_path, expanded

Section = TypeVar("Section")


@dataclass(frozen=True)
class ModelSettings:
    """MODEL."""

    name: str
    args: Options

    @property
    def short_name(self) -> str:
        """The name in messages and checkpoints."""
        return registry.short(self.name)


@dataclass(frozen=True)
class DataSettings:
    """DATA."""

    kind: str
    args: Options
    train: str
    val: str
    test: str
    reduced: tuple[float, ...]
    val_protocol: str
    mix: tuple[Options, ...]
    multiple: int
    draw: str
    store: str
    skip_bad: bool

    @property
    def training_set(self) -> str:
        """DATA.TRAIN with environment variables expanded; one may contain several folders."""
        return expanded(self.train)

    @property
    def parts(self) -> dict[str, DataSettings]:
        """The parts of a mixture by name: each as for a training on that part only. Empty without a mixture."""
        found: dict[str, DataSettings] = {}
        for item in self.mix:
            said = {key.lower(): item[key] for key in ("TRAIN", "VAL", "TEST", "VAL_PROTOCOL") if item.get(key)}
            alone = replace(self, kind=str(item["KIND"]), args=item.get("ARGS", {}), mix=())
            found[mixed_name(item)] = replace(alone, **said)
        return found

    @property
    def repeats(self) -> list[int]:
        """The repeats of each part's images in a pass."""
        return [item.get("REPEAT", 1) for item in self.mix]


@dataclass(frozen=True)
class LossSettings:
    """LOSS. See :func:`unfold.config.terms_of` for the terms with all their keys."""

    terms: tuple[Options, ...]


@dataclass(frozen=True)
class OptimSettings:
    """OPTIM."""

    name: str
    lr: float
    args: Options
    clip: float
    start: str


@dataclass(frozen=True)
class ScheduleSettings:
    """SCHEDULE."""

    name: str
    args: Options
    warmup: int


@dataclass(frozen=True)
class TrainSettings:
    """TRAIN."""

    epochs: int
    iterations: int
    patches: int
    batch: int
    accumulate: int
    patch: int
    mixup: float
    mixup_after: int
    ema: float
    workers: int
    precision: str
    checkpoint_stages: bool
    validate_every: int
    save_every: int
    board: bool
    keep: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.patches // self.batch)

    @property
    def total_steps(self) -> int:
        return self.iterations or self.epochs * self.steps_per_epoch

    @property
    def units(self) -> int:
        """The run's length as the schedule counts it: steps where ITERATIONS is set, else epochs."""
        return self.iterations or self.epochs


@dataclass(frozen=True)
class TestSettings:
    """TEST."""

    protocol: str
    baselines: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """All settings."""

    output: str
    seed: int
    device: str
    model: ModelSettings
    data: DataSettings
    loss: LossSettings
    optim: OptimSettings
    schedule: ScheduleSettings
    train: TrainSettings
    test: TestSettings

    @property
    def run_folder(self) -> Path:
        """OUTPUT as a path."""
        return as_path(self.output)


def settings_of(cfg: CfgNode) -> Settings:
    """The values of a tree that :func:`unfold.config.load_config` returned."""
    return Settings(
        output=cfg.OUTPUT,
        seed=cfg.SEED,
        device=cfg.DEVICE,
        model=_section(ModelSettings, cfg.MODEL),
        data=_section(DataSettings, cfg.DATA),
        loss=_section(LossSettings, cfg.LOSS),
        optim=_section(OptimSettings, cfg.OPTIM),
        schedule=_section(ScheduleSettings, cfg.SCHEDULE),
        train=_section(TrainSettings, cfg.TRAIN),
        test=_section(TestSettings, cfg.TEST),
    )


def _section(kind: type[Section], values: CfgNode) -> Section:
    return kind(**{key.lower(): value for key, value in values.items()})
