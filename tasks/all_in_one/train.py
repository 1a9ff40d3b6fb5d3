"""Train: `python tasks/all_in_one/train.py --config FILE` is `unfold train --config FILE`."""

import sys

from unfold.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    sys.exit(main())
