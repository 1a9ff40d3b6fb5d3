"""Deep unfolding image restoration: networks that are optimisation algorithms, with training, evaluation and use.

Importing this package is fast; torch is loaded with the first network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unfold import metrics
    from unfold.api import register, test, train
    from unfold.errors import UnfoldError
    from unfold.inference.restore import restore
    from unfold.models.registry import create_model, list_models
    from unfold.weights.load_model import load_model

__all__ = [
    "UnfoldError",
    "__version__",
    "create_model",
    "list_models",
    "load_model",
    "metrics",
    "register",
    "restore",
    "test",
    "train",
]

_HOME = {
    "UnfoldError": "unfold.errors",
    "create_model": "unfold.models.registry",
    "list_models": "unfold.models.registry",
    "load_model": "unfold.weights.load_model",
    "restore": "unfold.inference.restore",
    "register": "unfold.api",
    "train": "unfold.api",
    "test": "unfold.api",
}


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return importlib.import_module("unfold.metrics")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'unfold' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
