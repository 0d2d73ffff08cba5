"""`python -m faults`: break tiny experiments in many ways, and print what survived.

It prints a table: the case, and how often it was tried, survived and lost. The exit status is 1 if anything was lost.
The same command resumes: finished rounds are in `rounds.jsonl` of the working folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from faults.rounds import ROUNDS, Bench, Found, Round
from l2s.jsonl import append_jsonl, recover_jsonl


def main() -> int:
    """Run the rounds that are not done, print the table, and say whether anything was lost."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(".faults"), help="working folder; what is done stays there")
    parser.add_argument("--only", default="", help="comma-separated beginnings of names of rounds")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    work: Path = arguments.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    wanted = [one for one in ROUNDS if not arguments.only or one.name.startswith(tuple(arguments.only.split(",")))]
    done = {row["round"]: [Found(**found) for found in row["found"]] for row in recover_jsonl(work / "rounds.jsonl")}
    with Bench(work) as bench:
        for one in wanted:
            if one.name not in done:
                done[one.name] = _run(one, bench, work)
    found = [each for one in wanted for each in done[one.name]]
    print(table(found))
    return 1 if any(each.lost for each in found) else 0


def _run(one: Round, bench: Bench, work: Path) -> list[Found]:
    start = time.monotonic()
    folder = work / one.name
    shutil.rmtree(folder, ignore_errors=True)
    found = one.run(bench, folder)
    append_jsonl(work / "rounds.jsonl", [{"round": one.name, "found": [vars(each) for each in found]}])
    lost = [line for each in found for line in each.lost]
    print(f"{one.name}: {sum(each.tried for each in found)} tried, {time.monotonic() - start:.0f} s", flush=True)
    for line in lost:
        print(f"    LOST: {line}", flush=True)
    if not lost:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def table(found: list[Found]) -> str:
    """The cases in rows: tried, survived, lost, and notes."""
    cases = dict.fromkeys(each.case for each in found)
    rows = [("case", "tried", "survived", "lost", "longest end, s")]
    for case in cases:
        of_case = [each for each in found if each.case == case]
        tried, lost = sum(each.tried for each in of_case), sum(len(each.lost) for each in of_case)
        ends = [seconds for each in of_case for seconds in each.seconds]
        rows.append((case, str(tried), str(max(tried - lost, 0)), str(lost), f"{max(ends):.1f}" if ends else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"{row[0]:<{widths[0]}}" + "".join(f"  {row[n]:>{widths[n]}}" for n in range(1, 5)) for row in rows]
    stages: dict[str, int] = {}
    for each in found:
        for stage, number in each.stages.items():
            stages[stage] = stages.get(stage, 0) + number
    if stages:
        lines += ["", "at work when a process was killed or asked to end:"]
        lines += [f"  {stage:<24}{number:>4}" for stage, number in sorted(stages.items(), key=lambda one: -one[1])]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
