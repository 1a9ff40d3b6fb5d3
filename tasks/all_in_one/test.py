"""Evaluate: `python tasks/all_in_one/test.py --protocol NAME --data SET --weights W` is `unfold test ...`."""

import sys

from unfold.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "test")
    sys.exit(main())
