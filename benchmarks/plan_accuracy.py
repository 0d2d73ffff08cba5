"""The plan's predictions beside what a finished run measured, stage by stage.

    l2s run --preset demo --run_all
    python benchmarks/plan_accuracy.py outputs/demo

It reads results.json alone. A ratio above 1 means that the stage took more than predicted. Other programs make a run
take longer, so compare times of an idle machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

MIB = 1 << 20
HEADER = (
    f"{'stage':<24}{'predicted s':>12}{'measured s':>12}{'ratio':>7}"
    f"{'predicted MiB':>15}{'measured MiB':>14}{'ratio':>7}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    for run in parser.parse_args().runs:
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        print(f"{run.name}\n{HEADER}")
        print("\n".join(rows(results["predicted"], results["stages"])))


def rows(predicted: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """A line for each stage that has both, and one for their sums of time."""
    both = [name for name in predicted if name in measured]
    lines = [line(name, predicted[name], measured[name]) for name in both]
    sums = (sum(found[name]["seconds"] for name in both) for found in (predicted, measured))
    return [*lines, f"{'all':<24}{seconds(*sums)}"]


def line(name: str, expected: dict[str, Any], found: dict[str, Any]) -> str:
    text = f"{name:<24}{seconds(expected['seconds'], found['seconds'])}"
    planned, peak = expected["memory_bytes"], found["peak_memory_bytes"]
    return text + (f"{planned / MIB:>15.0f}{peak / MIB:>14.0f}{peak / planned:>7.2f}" if planned and peak else "")


def seconds(expected: float, found: float) -> str:
    return f"{expected:>12.1f}{found:>12.1f}{found / expected:>7.2f}"


if __name__ == "__main__":
    main()
