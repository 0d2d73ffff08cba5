"""How often the 95% intervals of l2s.evaluation.stats hold the truth, and how often its tests raise a false alarm.

    python benchmarks/stats_coverage.py --simulations 2000

It prints a Markdown table. A good interval covers 95%; a good test rejects at most 5% if there is no difference.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.stats_scenarios import SCENARIOS, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    arguments = parser.parse_args()
    print("| quantity | coverage of the 95% interval | mean width | tests rejected |")
    print("| --- | --- | --- | --- |")
    for scenario in SCENARIOS:
        result = measure(scenario, arguments.simulations)
        rejected = "" if result.rejected is None else f"{result.rejected:.1%}" + (" (false)" * scenario.is_null)
        print(f"| {scenario.name} | {result.coverage:.1%} | {result.width:.3f} | {rejected} |", flush=True)


if __name__ == "__main__":
    main()
