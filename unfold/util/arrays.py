"""Types of values that only those who read them know more of."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]  # bytes, 16 bits or floats; a stricter type says which
# By name: tensors or arrays, and numbers, as a network takes them, and a sample or a batch holds them.
Named = dict[str, Any]
