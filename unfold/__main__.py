"""`python -m unfold` is `unfold`."""

import sys

from unfold.cli import main

if __name__ == "__main__":
    sys.exit(main())
