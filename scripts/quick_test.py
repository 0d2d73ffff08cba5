"""Check that this machine is ready for an experiment: `python scripts/quick_test.py` is `l2s check`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works from a checkout that was not installed

from l2s.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["check", *sys.argv[1:]]))
