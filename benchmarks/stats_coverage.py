"""How often the 95% intervals of l2s.evaluation.stats hold the truth, and how often its tests raise a false alarm.

    python benchmarks/stats_coverage.py --simulations 2000
    python benchmarks/stats_coverage.py --few_units --simulations 600    also of the bootstrap alone

It prints a Markdown table. A good interval covers 95%; a good test rejects at most 5% if there is no difference.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.evaluation.stats import intervals
from support.stats_scenarios import FEW_UNITS, SCENARIOS, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--few_units", action="store_true", help="intervals of two to six units")
    arguments = parser.parse_args()
    if arguments.few_units:
        show_few_units(arguments.simulations)
        return
    print("| quantity | coverage of the 95% interval | mean width | tests rejected |")
    print("| --- | --- | --- | --- |")
    for scenario in SCENARIOS:
        result = measure(scenario, arguments.simulations)
        rejected = "" if result.rejected is None else f"{result.rejected:.1%}" + (" (false)" * scenario.is_null)
        print(f"| {scenario.name} | {result.coverage:.1%} | {result.width:.3f} | {rejected} |", flush=True)


def show_few_units(simulations: int) -> None:
    """The coverage with few units, and what it would be if Student's t were no lower limit of the width."""
    print("| quantity | bootstrap alone | with Student's t |")
    print("| --- | --- | --- |")
    for scenario in FEW_UNITS:
        with patch.object(intervals, "FEW_UNITS", 0):
            alone = measure(scenario, simulations)
        print(f"| {scenario.name} | {alone.coverage:.0%} | {measure(scenario, simulations).coverage:.0%} |", flush=True)


if __name__ == "__main__":
    main()
