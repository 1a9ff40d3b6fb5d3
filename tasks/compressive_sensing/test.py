"""Evaluate: `python tasks/compressive_sensing/test.py --protocol NAME --data SET --weights W` is `unfold test ...`."""

import sys

from unfold.cli import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))
