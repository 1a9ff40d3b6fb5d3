"""Numbers for JSON, which has no infinity."""

from __future__ import annotations

import math


def finite(value: float) -> float | None:
    """None for an infinite PSNR, that of a perfect result; else the value."""
    return value if math.isfinite(value) else None
