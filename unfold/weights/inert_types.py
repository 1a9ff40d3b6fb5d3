"""Plain types that other trainers save beside weights: replaced by stand-ins, so that none of their code can run."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_PATHS = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
# By module, as in pickles: numpy's of versions 1 and 2, pathlib's also of Python 3.13.
_VALUES = {
    "argparse": "Namespace",
    "builtins": "int float bool str bytes list tuple dict frozenset slice range Ellipsis",
    "datetime": "date time datetime timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "ml_collections.config_dict.config_dict": "ConfigDict",
    "numpy": "dtype ndarray bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 "
    "longdouble complex64 complex128 str_ bytes_ void datetime64 timedelta64",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "omegaconf.base": "Metadata ContainerMetadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode StringNode IntegerNode FloatNode BooleanNode BytesNode PathNode EnumNode "
    "InterpolationResultNode",
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    # Lightning 1 stores the state of callbacks under these classes.
    "pytorch_lightning.callbacks.early_stopping": "EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint": "ModelCheckpoint",
    "torch.torch_version": "TorchVersion",
    "types": "SimpleNamespace",
    "typing": "Any",
    "uuid": "UUID",
}
_DICTS = {
    "addict": "Dict",
    "addict.addict": "Dict",
    "box": "Box",
    "box.box": "Box",
    "collections": "defaultdict",
    "easydict": "EasyDict",
    "fvcore.common.config": "CfgNode",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning.pytorch.utilities.parsing": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "mmengine.config.config": "ConfigDict",
    "munch": "Munch",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "yacs.config": "CfgNode",
}
_LISTS = {"collections": "deque"}


class LeftOut:
    """Stand-in for a value that is not a weight. It stores nothing and calls nothing."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class LeftOutDict(LeftOut):
    """Stand-in for another dict type, such as defaultdict: a plain dict without its factory."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()  # torch lets a file set its entries and attributes


class LeftOutList(LeftOut):
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return []


def stand_in(name: str, kind: type[LeftOut] = LeftOut) -> type[LeftOut]:
    """A class that torch accepts as the one of that full name."""
    module, _, short = name.rpartition(".")
    return type(short, (kind,), {"__slots__": (), "__module__": module, "__qualname__": short})


STAND_INS = {
    f"{module}.{name}": stand_in(f"{module}.{name}", kind)
    for kind, types in ((LeftOut, _VALUES), (LeftOutDict, _DICTS), (LeftOutList, _LISTS))
    for module, names in types.items()
    for name in names.split()
}
_one_at_a_time = threading.RLock()


@contextmanager
def inert(more: Iterable[str] = (), kind: type[LeftOut] = LeftOut) -> Iterator[None]:
    """Inside, torch.load(weights_only=True) replaces the known types, and those named in ``more``, by stand-ins.

    The types themselves are never imported. Types that the process allowed elsewhere are not allowed inside.
    """
    with _one_at_a_time:  # all threads share torch's list
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            with torch.serialization.safe_globals([*STAND_INS.values(), *(stand_in(name, kind) for name in more)]):
                yield
        finally:
            torch.serialization.add_safe_globals(others)
