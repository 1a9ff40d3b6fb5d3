"""Sources of randomness that NumPy functions take: always an argument, never global.

Published protocols draw from NumPy's legacy generator, ``RandomState``, and some also from Python's ``random.Random``:
the same seeds give the published numbers. Elsewhere a ``Generator`` does. Where a function needs a RandomState, a
Generator g serves as ``np.random.RandomState(g.bit_generator)``, and both then move on together.
"""

from __future__ import annotations

import numpy as np

Rng = np.random.RandomState | np.random.Generator
