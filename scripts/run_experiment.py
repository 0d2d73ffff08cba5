"""Run a distillation experiment: `python scripts/run_experiment.py --run_all ...` is `l2s run --run_all ...`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works from a checkout that was not installed

from l2s.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
