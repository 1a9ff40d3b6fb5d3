"""Types of plain values that other trainers save beside weights: read as nothing, so that nothing of them can run."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_SCALARS = (
    "bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble complex64 "
    "complex128 str_ bytes_ void datetime64 timedelta64 generic number integer floating"
)
# By the full names under which pickles know them; of numpy those of versions 1 and 2, of pathlib those of Python 3.13.
VALUES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"builtins.{name}" for name in "int float bool str bytes list tuple dict frozenset slice range Ellipsis".split()),
    *(
        f"{module}.{kind}"
        for module in ("pathlib", "pathlib._local")
        for kind in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    ),
    *(f"datetime.{kind}" for kind in ("date", "time", "datetime", "timedelta", "timezone")),
    *("decimal.Decimal", "fractions.Fraction", "uuid.UUID", "typing.Any", "torch.torch_version.TorchVersion"),
    *("numpy.dtype", "numpy.ndarray", *(f"numpy.{kind}" for kind in _SCALARS.split())),
    *(
        f"numpy.{core}.{name}"
        for core in ("core", "_core")
        for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
    ),
    *("numpy.ma.core._mareconstruct", "numpy.ma.core.MaskedArray", "numpy.ma.MaskedArray"),
    *(f"numpy.random._pickle.__{what}_ctor" for what in ("randomstate", "generator", "bit_generator")),
    *(f"numpy.random.{kind}" for kind in ("_mt19937.MT19937", "_pcg64.PCG64", "_pcg64.PCG64DXSM", "_philox.Philox")),
    *("numpy.random._sfc64.SFC64", "numpy.random.bit_generator.SeedSequence"),
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.Metadata", "omegaconf.base.ContainerMetadata"),
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "String", "Integer", "Float", "Boolean", "Bytes", "Path", "Enum", "Interpolation")
    ),
    "ml_collections.config_dict.config_dict.ConfigDict",
    # Callbacks, by whose classes Lightning 1 files their states.
    *(
        f"pytorch_lightning.callbacks.{kind}"
        for kind in ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping")
    ),
)
DICTS = (
    *("collections.defaultdict", "easydict.EasyDict", "addict.addict.Dict", "addict.Dict", "munch.Munch"),
    *("box.box.Box", "box.Box", "yacs.config.CfgNode", "fvcore.common.config.CfgNode"),
    "mmengine.config.config.ConfigDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)
LISTS = ("collections.deque",)


class LeftOut:
    """What stands where a value was that is no weight. It keeps nothing of it, and calls nothing."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class LeftOutDict(LeftOut):
    """A dict of another type, such as a defaultdict: a plain one, without what makes its missing values."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()  # of which torch lets a file set entries, and attributes beside them


class LeftOutList(LeftOut):
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return []


def stand_in(name: str, kind: type[LeftOut] = LeftOut) -> type[LeftOut]:
    """A class which torch takes for the one of that full name."""
    module, _, short = name.rpartition(".")
    return type(short, (kind,), {"__slots__": (), "__module__": module, "__qualname__": short})


STAND_INS = (
    *(stand_in(name) for name in VALUES),
    *(stand_in(name, LeftOutDict) for name in DICTS),
    *(stand_in(name, LeftOutList) for name in LISTS),
)
NAMES = frozenset((*VALUES, *DICTS, *LISTS))
_one_at_a_time = threading.RLock()


@contextmanager
def inert(more: Iterable[str] = (), kind: type[LeftOut] = LeftOut) -> Iterator[None]:
    """Within it, torch.load(weights_only=True) reads the known types, and those called ``more``, as nothing.

    The types themselves are never imported. What the process has allowed elsewhere does not count within it.
    """
    with _one_at_a_time:  # torch's list is one for all threads
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            with torch.serialization.safe_globals([*STAND_INS, *(stand_in(name, kind) for name in more)]):
                yield
        finally:
            torch.serialization.add_safe_globals(others)
