"""Time of a tiny experiment on a CPU with forked stages and with a new interpreter for each.

    python benchmarks/stage_start.py [--rounds 3]

Its models have two small layers, so nearly all of the time is spent on starting stages. Every second round runs in
reverse order.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from l2s.config import resolve_config
from l2s.models.tiny import save_tiny_pair
from l2s.runner import experiment
from l2s.runner.executors import LocalExecutor

WAYS = ("forked", "new")


def main() -> None:
    """Run all rounds and print the medians, or one run if `--way` is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        run_experiment(arguments.way, arguments.folder)
        return
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        save_tiny_pair(Path(folder))
        for number in range(arguments.rounds):
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                seconds[way].append(time_of(way, Path(folder), number))
                print(f"round {number + 1}, {way}: {seconds[way][-1]:.1f} s", flush=True)
    medians = {way: statistics.median(found) for way, found in seconds.items()}
    for way, median in medians.items():
        print(f"{way}: {median:.1f} s ({min(seconds[way]):.1f} to {max(seconds[way]):.1f})")
    print(f"forked / new: {statistics.median(a / b for a, b in zip(*seconds.values(), strict=True)):.2f}")


def time_of(way: str, folder: Path, number: int) -> float:
    """Wall seconds of a whole run, with the start of `l2s` itself."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder / f"{way}-{number}")]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def run_experiment(way: str, folder: Path) -> None:
    """All stages on eight problems, in this process and those that it starts."""
    if way == "new":
        vars(experiment)["LocalExecutor"] = with_new_interpreters
    models = folder.parent
    flags: dict[str, Any] = {
        "run_all": True, "experiment_name": "tiny", "output_dir": folder, "processed_dir": folder / "data",
        "teacher_model": str(models / "teacher"), "student_model": str(models / "student"), "device": "cpu",
        "dtype": "float32", "tuning": "full", "gradient_checkpointing": False, "domains": "math",
        "math_source": "one_step", "math_train_size": 8, "math_eval_size": 4, "max_new_tokens": 8, "max_length": 256,
    }  # fmt: skip
    experiment.run_experiment(resolve_config(flags))


def with_new_interpreters(devices: Any, lock_fd: int, config: Any, coming: Any) -> LocalExecutor:
    """An executor that has nothing to fork stages from."""
    return LocalExecutor(devices, lock_fd, config)


if __name__ == "__main__":
    main()
