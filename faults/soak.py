"""`python -m faults.soak`: repeats all stages in one process tree, and looks whether anything grows.

Each repetition runs every stage of a tiny experiment in this process, grades programs in the sandbox and answers with a
user's grader, and runs a second experiment whole, with a process for each stage. After it, the memory, file handles,
threads and processes of the tree are counted, and the files in TMPDIR, /dev/shm and the output folder. It prints a
table, and exits with 1 if something grew by more than its bound.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import psutil

from faults.experiment import Experiment
from faults.finished import GRADER
from faults.forked import ForkServer
from faults.processes import Start, output_of, start_forked, wait
from l2s.config import ExperimentConfig
from l2s.jsonl import write_jsonl
from l2s.models.tiny import save_tiny_pair
from l2s.run_dir import RunDir
from l2s.runner.executors import quiet_libraries, run_stage
from l2s.runner.selection import select_stages, settle
from l2s.tasks import code

MIB = 1 << 20
SHARED_MEMORY = Path("/dev/shm")
PROBLEM = {
    "task_id": "soak/0", "prompt": "def add(a, b):\n", "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}  # fmt: skip
PROGRAMS = {
    "correct": "def add(a, b):\n    return a + b\n",
    "wrong": "def add(a, b):\n    return a - b\n",
    "timeout": "def add(a, b):\n    while True:\n        pass\n",
    "crashed": "import os\ndef add(a, b):\n    os.abort()\n",
}


@dataclass(frozen=True)
class Measure:
    """One quantity after a repetition, and how much a repetition may add to it."""

    name: str
    bound: float
    reason: str


# What a stage leaks once in each repetition grows by 1; a tenth of that is the noise of other processes on the machine.
COUNT = 0.1
MEASURES = (
    Measure("memory, MiB", 0.5, "the allocator keeps up to this; a repetition touches over a hundred MiB"),
    Measure("file handles", COUNT, "one that a stage leaves open adds 1"),
    Measure("threads", COUNT, "one that a stage leaves adds 1"),
    Measure("processes", COUNT, "one that a stage leaves adds 1"),
    Measure("files in TMPDIR", COUNT, "one that a stage leaves adds 1"),
    Measure("files in /dev/shm", COUNT, "one that a stage leaves adds 1"),
    Measure("output files", COUNT, "each repetition replaces the same files"),
    Measure("output, KiB", 1.0, "times in manifests vary in length; logs, which are appended to, are left out"),
)


class Soak:
    """The experiments that are repeated in `folder`; `arms` train in this process."""

    def __init__(self, folder: Path, arms: str = "sft,kd,opd") -> None:
        save_tiny_pair(folder)
        rows = [{"id": f"row-{n}", "prompt": f"Say w{n}, and count to {n}.", "reference": f"w{n}"} for n in range(20)]
        write_jsonl(folder / "train.jsonl", rows[:14])
        write_jsonl(folder / "eval.jsonl", rows[14:])
        (folder / "grader.py").write_text(GRADER)
        self.folder = folder
        self.config = settle(
            ExperimentConfig(
                experiment_name="soak", run_all=True, arms=arms, domains="own,math", math_source="one_step",
                math_train_size=4, math_eval_size=2, own_grader=f"python:{folder / 'grader.py'}:grade",
                teacher_model=str(folder / "teacher"), student_model=str(folder / "student"),
                output_dir=folder / "outputs", processed_dir=folder / "processed", train_file=folder / "train.jsonl",
                eval_file=folder / "eval.jsonl", max_new_tokens=8, max_length=512, tuning="lora", lora_r=4,
                gradient_checkpointing=False, gradient_accumulation_steps=1, save_steps=4, heldout_answers=1,
                opd_steps=4, opd_max_new_tokens=8, dtype="float32", device="cpu",
            )
        )  # fmt: skip
        self.run_dir = RunDir.of(self.config)
        self.run_dir.create()
        self.run_dir.save_config(self.config)
        quiet_libraries()

    def repeat(self) -> None:
        """Run all stages from their beginning, in this process."""
        with redirect_stdout(StringIO()):
            for stage in select_stages(self.config):
                run_stage(stage, self.config, self.run_dir, "run")

    def grade(self) -> None:
        """Run programs in the sandbox, of each way to end."""
        for status, program in PROGRAMS.items():
            found = code.grade(PROBLEM, f"```python\n{program}```", timeout_s=1.0).status
            if found != status:
                raise RuntimeError(f"a program that should be {status} was graded {found}")

    def run_whole(self, start: Start) -> None:
        """Run another experiment with a process for each stage; it makes everything again."""
        experiment = Experiment(self.folder / "whole", ("--teacher_signal=topk", "--topk=64", "--force"))
        if not experiment.folder.exists():
            experiment.create()
        code_of_run = wait(start(experiment))
        if code_of_run != 0:
            raise RuntimeError(f"a run ended with status {code_of_run}: see {output_of(experiment)}")

    def measure(self) -> list[float]:
        """The values of MEASURES now."""
        gc.collect()
        tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
        outputs = [path for path in self.folder.rglob("*") if path.is_file() and not _is_log(path)]
        return [
            sum(process.memory_info().rss for process in tree) / MIB,
            sum(process.num_fds() for process in tree),
            sum(process.num_threads() for process in tree),
            len(tree),
            _number_of_files(Path(tempfile.gettempdir())),
            _number_of_files(SHARED_MEMORY),
            len(outputs),
            sum(path.stat().st_size for path in outputs) / 1024,
        ]


def _is_log(path: Path) -> bool:
    return path.name in ("log.jsonl", "output.txt") or path.parent.name == "logs"


def _number_of_files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*")) if folder.exists() else 0


def growth(samples: list[list[float]]) -> list[float]:
    """What a repetition adds to each measure: the slope of a line through the samples, without the first third."""
    settled = np.array(samples[len(samples) // 3 :])
    times = np.arange(len(settled))
    return [float(np.polyfit(times, column, 1)[0]) for column in settled.T]


def grown(samples: list[list[float]]) -> list[str]:
    """The measures that grow by more than their bound."""
    return [
        f"{measure.name}: {slope:+.3f} in a repetition, at most {measure.bound}"
        for measure, slope in zip(MEASURES, growth(samples), strict=True)
        if slope > measure.bound
    ]


def table(samples: list[list[float]]) -> str:
    """First and last value of each measure, its growth in a repetition, and the bound with its reason."""
    lines = [f"{'':<18}{'first':>10}{'last':>10}{'growth':>10}{'bound':>8}"]
    for number, (measure, slope) in enumerate(zip(MEASURES, growth(samples), strict=True)):
        first, last = samples[0][number], samples[-1][number]
        lines.append(
            f"{measure.name:<18}{first:>10.1f}{last:>10.1f}{slope:>+10.3f}{measure.bound:>8.1f}  {measure.reason}"
        )
    return "\n".join(lines)


@contextmanager
def own_scratch(folder: Path) -> Iterator[None]:
    """Let this process and all that it starts use `folder` for scratch files."""
    before, tempfile.tempdir = os.environ.get("TMPDIR"), None
    folder.mkdir(parents=True)
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


def repeat(soak: Soak, work: Callable[[], None], go_on: Callable[[int], bool]) -> list[list[float]]:
    """Repeat `work` while `go_on` (of the number of repetitions) holds, at least three times; measure after each."""
    samples: list[list[float]] = []
    while len(samples) < 3 or go_on(len(samples)):
        work()
        samples.append(soak.measure())
    return samples


def main() -> int:
    """Soak for some minutes, print the table, and say whether anything grew."""
    parser = argparse.ArgumentParser(prog="faults.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--work", type=Path, default=Path(".soak"), help="working folder; what is in it is removed")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = arguments.work.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.monotonic()
    with own_scratch(folder / "scratch"):
        server = ForkServer()
        soak, start = Soak(folder / "experiment"), start_forked(server)

        def work() -> None:
            soak.repeat()
            soak.grade()
            soak.run_whole(start)

        try:
            samples = repeat(soak, work, lambda _: time.monotonic() - begin < 60 * arguments.minutes)
        finally:
            server.close()
    print(f"{len(samples)} repetitions in {(time.monotonic() - begin) / 60:.1f} minutes\n\n{table(samples)}")
    for line in grown(samples):
        print(f"GREW: {line}")
    return 1 if grown(samples) else 0


if __name__ == "__main__":
    sys.exit(main())
