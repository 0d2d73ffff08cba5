"""Print the tables of docs/RESULTS.md from the archived experiments, and draw its figure.

python benchmarks/experiment/show.py [--figure docs/results.svg]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.experiment_archive import archived
from support.experiment_figure import panels, save_figure
from support.experiment_kept import Kept
from support.experiment_page import results_page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, help="SVG file to draw the scores to")
    arguments = parser.parse_args()
    experiments = {name: Kept.load(name) for name in archived()}
    for title, table in results_page(experiments).items():
        print(f"{title}\n", *table, "", sep="\n")
    if arguments.figure:
        save_figure(panels(experiments), arguments.figure)


if __name__ == "__main__":
    main()
