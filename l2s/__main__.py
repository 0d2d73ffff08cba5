"""`python -m l2s` is the command `l2s`."""

import sys

from l2s.cli import main

if __name__ == "__main__":
    sys.exit(main())
