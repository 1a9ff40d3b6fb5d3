"""A network composed of any data step and any prior in the unfolding loop (see docs/compose.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from unfold import registry
from unfold.errors import UnfoldError
from unfold.facts import Input
from unfold.models.unfolding import UnfoldingNetwork, check_channels
from unfold.steps.data_step import DataStep


class Composed(UnfoldingNetwork):
    """Stage k: z_k = data(x_{k-1}), x_k = prior(z_k).

    data: the data step, with parameters for K stages; prior: a function that builds the prior, a module z -> x, or
    (z, memory=None) -> (x, memory), called without a memory in the first stage; stages: K; shared: one prior for all
    stages (weight sharing), or one for each.
    """

    def __init__(self, data: DataStep, prior: Callable[[], nn.Module], stages: int, *, shared: bool = True) -> None:
        super().__init__(stages)
        if data.stages != stages:
            raise ValueError(f"the data step has parameters for {data.stages} stages, and the network has {stages}")
        self.data = data
        self.priors = nn.ModuleList(prior() for _ in range(1 if shared else stages))
        self.channels, self.border = data.channels, data.border
        self.trained_on = "usrnet" if "scale" in data.inputs else "nrl_gdn" if "kernel" in data.inputs else "gaussian"
        # The maximum over the parts, as a prior may need more than the data step.
        parts = (data, self.priors[0])
        self.min_size = max(getattr(part, "min_size", 1) for part in parts)
        self.takes_half = all(getattr(part, "takes_half", True) for part in parts)
        self.size_multiple = max(getattr(part, "size_multiple", 1) for part in parts)

    @property
    def inputs(self) -> Mapping[str, Input]:
        return self.data.inputs

    def _begins_with(self) -> Callable[..., object]:
        return self.data.begin

    def begin(self, y: Tensor, **inputs: object) -> tuple[Tensor, object]:
        return self.data.begin(y, **inputs)

    def stage(self, k: int, x: Tensor, memory: object, context: object) -> tuple[Tensor, object]:
        z = self.data(k, x, context)
        prior = self.priors[k % len(self.priors)]
        result = prior(z) if memory is None else prior(z, memory)
        return result if isinstance(result, tuple) else (result, None)

    def residual(self, k: int, x: Tensor, context: object) -> Tensor | None:
        return self.data.residual(x, context)

    def numbers(self, k: int, context: object) -> dict[str, Tensor]:
        return self.data.numbers(k)


def compose(
    stages: int = 6,
    data: dict[str, object] | None = None,
    prior: dict[str, object] | None = None,
    shared: bool = True,
    channels: int = 3,
) -> Composed:
    """A network of a data step and a prior by name: {name: closed_form}, {name: resunet, widths: [16, 32, 64, 64]}.

    data: a section with the data step's name and options, {name: closed_form} by default; prior: a section with the
    prior's name and options, {name: resunet} by default. A name may be code (file.py:Class). stages: K, at least 1;
    shared: one prior for all stages (weight sharing), or one for each; channels: C of the images.
    """
    check_channels(channels)
    step = _part(registry.DATA_STEP, data or {"name": "closed_form"}, "data")
    half = _part(registry.PRIOR, prior or {"name": "resunet"}, "prior")
    given = {name: channels for name in ("cin", "cout", "channels") if name in half[0].given()}
    of_step = {"channels": channels} if "channels" in step[0].given() else {}
    return Composed(
        step[0].build(step[1], _at("data"), stages=stages, **of_step),
        lambda: half[0].build(half[1], _at("prior"), **given),
        stages,
        shared=shared,
    )


def _part(kind: registry.Kind, said: Mapping[str, object], key: str) -> tuple[registry.Part, dict[str, object]]:
    options = dict(said)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise UnfoldError(
            f"{key} is a {kind.what} by its name, such as {{name: {registry.names(kind)[0]}}}, not {said}"
        )
    return registry.find(kind, name), options


def _at(key: str) -> Callable[[str], str]:
    return lambda option: f"{key}.{option}" if option else key
