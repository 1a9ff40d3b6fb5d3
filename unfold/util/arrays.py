"""Type aliases for arrays and named values."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]  # any number type; a stricter alias says which
# Tensors or arrays and numbers by name: the inputs of a network, a sample or a batch.
Named = dict[str, Any]
