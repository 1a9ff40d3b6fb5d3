"""The commands as functions, and registration of user parts, for a notebook or a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unfold import registry
from unfold.config import load_config
from unfold.errors import UnfoldError
from unfold.settings import settings_of

_KINDS = {
    "network": registry.NETWORK,
    "degradation": registry.DEGRADATION,
    "loss": registry.LOSS,
    "protocol": registry.PROTOCOL,
}


def register(name: str | None = None, **parts: Callable[..., Any]) -> list[str]:
    """Register classes by name in this process: ``unfold.register(network=ISTANet, loss=FFTLoss)``.

    Keywords: network, degradation, loss, protocol. A class is named by its attribute ``name``, or else by its class
    name; the names of its presets are registered, too. name: another name, for a single class. Returns the names. A
    package registers by entry points (groups unfold.networks, unfold.degradations, unfold.losses, unfold.protocols),
    which other processes find, too. Raises UnfoldError for a class that is not such a part, and for a built-in name.
    """
    for kind in parts:
        if kind not in _KINDS:
            raise UnfoldError(f"{kind} is no kind of part: there are {', '.join(_KINDS)}")
        if not callable(parts[kind]):
            raise UnfoldError(f"{kind} is registered by its class, and this is a {type(parts[kind]).__name__}")
    if name is not None and len(parts) != 1:
        raise UnfoldError("name goes with one part")
    return [registry.register(_KINDS[kind], part, name) for kind, part in parts.items()]


def train(
    config: str | Path,
    overrides: Sequence[object] = (),
    *,
    resume: bool | str = False,
    overwrite: bool = False,
    init: str | None = None,
) -> float:
    """Train as `unfold train --config` does, in this process; returns the best validation PSNR in dB.

    config: a recipe, a .yaml file; overrides: settings, KEY, VALUE, KEY, VALUE, ...; resume: True to continue from the
    newest checkpoint, "auto" to continue or start; overwrite: start again if OUTPUT already holds a run; init: initial
    weights, a file or a name. Raises UnfoldError for bad settings or data.
    """
    from unfold.training.processes.batch_loading import end_workers
    from unfold.training.setup.build_run import build_trainer

    trainer = build_trainer(
        load_config(config, overrides),
        resume="auto" if resume == "auto" else bool(resume),
        overwrite=overwrite,
        init=init,
    )
    try:
        trainer.fit()
    finally:
        end_workers(trainer.loader)
    return trainer.best


def test(
    config: str | Path,
    weights: str | Path | Sequence[str | Path],
    overrides: Sequence[object] = (),  # noqa: PT028  (no test of pytest)
    *,
    output: str | Path | None = None,  # noqa: PT028
    data: str | None = None,  # noqa: PT028
) -> str:
    """Evaluate as `unfold test --config` does; returns the table (PSNR in dB, SSIM, seconds) as text.

    config: a recipe, a .yaml file; weights: a file or name, or several that are compared side by side; overrides:
    settings, KEY, VALUE, ...; output: folder for the results, by default OUTPUT/test; data: the images, instead of
    DATA.TEST. Raises UnfoldError for bad settings, weights or data.
    """
    from unfold.evaluation.recipe_evaluation import run_test

    cfg = load_config(config, overrides)
    folder = Path(output) if output is not None else settings_of(cfg).run_folder / "test"
    return run_test(cfg, weights, folder, data=data)
