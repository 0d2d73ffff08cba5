"""`python -m faults.soak`: repeats all stages in one process tree, and looks whether anything grows.

Each repetition runs every stage of a tiny experiment in this process, grades programs in the sandbox and answers with a
user's grader, and runs a second experiment whole, with a process for each stage. After it, the memory, file handles,
threads and processes of the tree are counted, and the files in TMPDIR, /dev/shm and the output folder. TMPDIR is its
own, and so is /dev/shm where `unshare --mount` is allowed. It prints a table, and exits with 1 if something grew by
more than its bound, or if it ran too short a time to tell.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
from scipy.stats import theilslopes
from transformers import AutoTokenizer

from faults.experiment import Experiment
from faults.finished import GRADER
from faults.forked import ForkServer
from faults.processes import Start, output_of, start_forked, wait
from l2s.chat import load as chat_load
from l2s.config import ExperimentConfig
from l2s.jsonl import write_jsonl
from l2s.models.tiny import save_tiny_pair
from l2s.run_dir import RunDir
from l2s.runner.executors import run_stage
from l2s.runner.selection import select_stages, settle
from l2s.tasks import code
from l2s.terminal import quiet_libraries

MIB = 1 << 20
SHARED_MEMORY = Path("/dev/shm")
OWN_SHARED_MEMORY = "L2S_SOAK_OWN_SHARED_MEMORY"  # set where no other program's files are in /dev/shm
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
    Measure("memory, MiB", 0.5, "not shared with others; a repetition touches over a hundred MiB"),
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
        _load_tokenizers_once()

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
            sum(process.memory_full_info().uss for process in tree) / MIB,
            sum(process.num_fds() for process in tree),
            sum(process.num_threads() for process in tree),
            len(tree),
            _number_of_files(Path(tempfile.gettempdir())),
            _number_of_files(SHARED_MEMORY) if OWN_SHARED_MEMORY in os.environ else 0,
            len(outputs),
            sum(path.stat().st_size for path in outputs) / 1024,
        ]


def _load_tokenizers_once() -> None:
    """Let the stages of this process share their tokenizers, as a stage in a process of its own has one of each.

    The library keeps the merges of every tokenizer that was ever loaded, in each thread that has used it: 0.3 MiB more
    in a repetition, which would hide what l2s itself keeps.
    """
    vars(chat_load)["AutoTokenizer"] = SimpleNamespace(from_pretrained=cache(AutoTokenizer.from_pretrained))


def _is_log(path: Path) -> bool:
    return path.name in ("log.jsonl", "output.txt") or path.parent.name == "logs"


def _number_of_files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*")) if folder.exists() else 0


@dataclass(frozen=True)
class Growth:
    """What a repetition adds to a measure: the slope through the second half of the samples, with its 95% interval."""

    measure: Measure
    slope: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the whole interval is above the bound, or below it, or neither: then more repetitions must tell."""
        if self.low > self.measure.bound:
            return "GREW"
        return "flat" if self.high <= self.measure.bound else "UNKNOWN"


def growths(samples: list[list[float]]) -> list[Growth]:
    """The growth of each measure. Theil-Sen slopes, with Sen's interval: one jump, or noise, hardly moves them."""
    settled = np.array(samples[len(samples) // 2 :])
    found = (theilslopes(column) for column in settled.T)  # a sample is a repetition
    return [
        Growth(measure, *map(float, (one.slope, one.low_slope, one.high_slope)))
        for measure, one in zip(MEASURES, found, strict=True)
    ]


def table(samples: list[list[float]]) -> str:
    """Each measure: first, middle and last value, growth with its interval, bound, verdict, and the bound's reason."""
    lines = [f"{'':<18}{'first':>10}{'middle':>10}{'last':>10}{'growth':>9}{'95% interval':>18}{'bound':>7}"]
    for number, one in enumerate(growths(samples)):
        first, middle, last = (samples[at][number] for at in (0, len(samples) // 2, -1))
        interval = f"{one.low:+.3f} to {one.high:+.3f}"
        lines.append(
            f"{one.measure.name:<18}{first:>10.1f}{middle:>10.1f}{last:>10.1f}{one.slope:>+9.3f}{interval:>18}"
            f"{one.measure.bound:>7.1f}  {one.verdict}; {one.measure.reason}"
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


def in_own_shared_memory() -> None:
    """Replace this process by one that alone sees its /dev/shm; where that is not allowed, say so and return."""
    if OWN_SHARED_MEMORY in os.environ:
        return
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mounted = f'mount -t tmpfs l2s-soak {SHARED_MEMORY} && exec "$@"'
    command = ["unshare", "--mount", *user, "sh", "-c", mounted, "soak"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as reason:
        print(f"files in /dev/shm are left out, for other programs use it too: {reason}")
        return
    again = [*command, sys.executable, "-m", "faults.soak", *sys.argv[1:]]
    os.execvpe(again[0], again, os.environ | {OWN_SHARED_MEMORY: "1"})


def repeat(soak: Soak, work: Callable[[], None], go_on: Callable[[int], bool]) -> list[list[float]]:
    """Repeat `work` while `go_on` (of the number of repetitions) holds, at least four times; measure after each."""
    samples: list[list[float]] = []
    while len(samples) < 4 or go_on(len(samples)):
        work()
        samples.append(soak.measure())
        print(*(f"{value:.1f}" for value in samples[-1]), file=sys.stderr, flush=True)
    return samples


def main() -> int:
    """Soak for some minutes, print the table, and say whether anything grew."""
    parser = argparse.ArgumentParser(prog="faults.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--work", type=Path, default=Path(".soak"), help="working folder; what is in it is removed")
    arguments = parser.parse_args()
    in_own_shared_memory()
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
    return 0 if all(one.verdict == "flat" for one in growths(samples)) else 1


if __name__ == "__main__":
    sys.exit(main())
