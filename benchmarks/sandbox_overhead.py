"""Cost of confinement: the time of grading a problem, compared with a bare Python process for it.

Both are timed in turns, so that other work on the machine affects both. Run it with `python
benchmarks/sandbox_overhead.py [problems] [side by side]`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import get_args

from l2s import sandbox
from l2s.config import resolve_config
from l2s.errors import UserError
from l2s.sandbox.backends import Name
from l2s.tasks import code
from l2s.tasks.types import Item


def main() -> None:
    problems, side_by_side = (int(argument) for argument in (*sys.argv[1:], "50", "2")[:2])
    items = code.eval_items(resolve_config({"code_eval_size": problems}))
    for name in get_args(Name):
        try:
            backend = sandbox.probe(name)
        except UserError as error:
            print(f"{name}: {error}")
            continue
        timings = [time_in_turns(item, backend) for item in items]
        bare, confined = (statistics.median(column) for column in zip(*timings, strict=True))
        print(f"{name}, one after another: bare {bare:.1f} ms, confined {confined:.1f} ms, {confined - bare:+.1f} ms")
        bare = throughput(items, run_bare, side_by_side)
        confined = throughput(items, partial(run_confined, backend=backend), side_by_side)
        print(
            f"{name}, {side_by_side} side by side: bare {bare:.1f} ms a problem, confined {confined:.1f} ms, "
            f"{confined - bare:+.1f} ms"
        )


def time_in_turns(item: Item, backend: sandbox.Backend) -> tuple[float, float]:
    """Milliseconds for the problem, bare and confined."""
    return milliseconds(lambda: run_bare(item)), milliseconds(lambda: run_confined(item, backend))


def throughput(items: list[Item], run: Callable[[Item], None], side_by_side: int) -> float:
    """Milliseconds of wall time for each problem with `side_by_side` of them running at a time."""
    with ThreadPoolExecutor(side_by_side) as pool:
        return milliseconds(lambda: list(pool.map(run, items))) / len(items)


def milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def run_bare(item: Item) -> None:
    """Solution and tests in one unconfined Python, like a script."""
    problem = item["meta"]["row"]
    script = f"{item['reference']}\n{problem['test']}\ncheck({problem['entry_point']})\n"
    subprocess.run([sys.executable, "-c", script], check=True)


def run_confined(item: Item, backend: sandbox.Backend) -> None:
    """The same solution and tests in the two processes of the sandbox."""
    problem = item["meta"]["row"]
    outcome = sandbox.run_tests(
        backend,
        item["reference"],
        reference=item["reference"],
        names={"candidate": problem["entry_point"]},
        tests=problem["test"] + "\ncheck(candidate)\n",
        timeout_s=60,
    )
    assert outcome.status == "correct", (item["id"], outcome)


if __name__ == "__main__":
    main()
