"""Evaluate a denoiser: `python tasks/denoise/test.py --config FILE --weights FILE` is `unfold test ...`."""

import sys

from unfold.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "test")
    sys.exit(main())
