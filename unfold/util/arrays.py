"""The type of arrays whose type of numbers is known where they are read alone."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]  # bytes, 16 bits or floats; a stricter type says which
