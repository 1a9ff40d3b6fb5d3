"""Random generators for NumPy functions: always an argument, never global.

Published protocols draw from NumPy's legacy generator, ``RandomState``, and some also from Python's ``random.Random``:
the same seeds give the published numbers. Elsewhere a ``Generator`` is used. Where a function needs a RandomState, pass
``np.random.RandomState(g.bit_generator)`` for a Generator g; both then advance together.
"""

from __future__ import annotations

import numpy as np

Rng = np.random.RandomState | np.random.Generator
