"""Numbers for JSON, which knows no infinity."""

from __future__ import annotations

import math


def finite(value: float) -> float | None:
    """The PSNR of a perfect result becomes null."""
    return value if math.isfinite(value) else None
