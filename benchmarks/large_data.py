"""Time and memory of large data: 100,000 training rows and 10,000 evaluation items, and a half and a quarter of them.

Each step runs in a process of its own, with the code of its stage; models are tiny, and all answers are there already,
so that only the data costs. Seconds are those of the processor, in all threads and children; memory is the peak of the
process above that of its start. `growth` compares a size with the one before: 2.0 is linear, and less is a fixed cost.
Run it with `python -m benchmarks.large_data [--json FILE]`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from l2s.config import ExperimentConfig
from l2s.generation.engines.protocol import Completion
from l2s.jsonl import Row, load_jsonl, write_jsonl
from l2s.models.tiny import save_tiny_pair
from l2s.run_dir import RunDir
from l2s.sealed import seal
from l2s.tasks.types import Item

TRAIN_ROWS, EVAL_ITEMS = 100_000, 10_000
PARTS = (0.25, 0.5, 1.0)
QUESTION_WORDS, ANSWER_WORDS = 60, 80
MODELS = ("teacher", "student_base", "student_sft", "student_kd")
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """The cost of one step at one size."""

    step: str
    rows: int
    seconds: float
    mib: float


def measured(step: str, rows: int, work: Callable[[], None]) -> Measured:
    """Run `work` in a forked process, without what other processes cost the machine meanwhile."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        code = 1
        try:
            before = resident_bytes()
            with redirect_stdout(sys.stderr if "--verbose" in sys.argv else Path(os.devnull).open("w")):
                work()
            seconds = sum(os.times()[:4])  # of a new process: they begin at 0
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            os.write(writing, json.dumps([seconds, (peak - before) / MIB]).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found = pipe.read()
    os.waitpid(pid, 0)
    if not found:
        raise RuntimeError(f"{step} failed with {rows} rows")
    return Measured(step, rows, *json.loads(found))


def resident_bytes() -> int:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Data:
    """An experiment with a share `part` of the rows, in `folder`."""

    def __init__(self, folder: Path, part: float) -> None:
        self.folder = folder
        self.train, self.eval = int(TRAIN_ROWS * part), int(EVAL_ITEMS * part)
        folder.mkdir()
        save_tiny_pair(folder)
        rng = random.Random(0)
        for name, number in (("train", self.train), ("eval", self.eval)):
            write_jsonl(folder / f"{name}.jsonl", _rows(name, number, rng))

    def config(self, **fields: object) -> ExperimentConfig:
        """Settings of the experiment; answers are graded by the number that they end with."""
        settings = {
            "experiment_name": "large", "run_all": True, "domains": "own", "own_grader": "number",
            "teacher_model": str(self.folder / "teacher"), "student_model": str(self.folder / "student"),
            "train_file": self.folder / "train.jsonl", "eval_file": self.folder / "eval.jsonl",
            "output_dir": self.folder / "outputs", "processed_dir": self.folder / "processed",
            "max_new_tokens": 256, "max_length": 4096, "dtype": "float32", "device": "cpu",
        }  # fmt: skip
        return ExperimentConfig(**(settings | fields))

    @property
    def run_dir(self) -> RunDir:
        """The run folder."""
        return RunDir.of(self.config())

    def prepare(self) -> None:
        """Read the user's files, and write both datasets."""
        from l2s.tasks import prepare

        prepare.run(self.config(), self.run_dir)

    def answer(self) -> None:
        """Write the answers that `generate` and `evaluate` would get from models."""
        for items, log in (
            (self.run_dir.train_data, self.run_dir.answers_of_try(0)),
            (self.run_dir.eval_data, self.run_dir.prediction_log("student_base")),
        ):
            log.parent.mkdir(parents=True, exist_ok=True)
            write_jsonl(log, (seal(asdict(_answer(item))) for item in load_jsonl(items)))

    def generate(self) -> None:
        """Read the answers, grade them, and write what students learn from."""
        from l2s.generation import generate

        generate.run(self.config(), self.run_dir)

    def render(self) -> None:
        """Read and tokenise what a training learns from."""
        from l2s.chat import load_renderer
        from l2s.sequences import hold_out, load_sequences

        config = self.config()
        sequences, counts = load_sequences(self.run_dir.responses, load_renderer(config, "student_model"), config)
        hold_out(sequences, counts, config)

    def evaluate(self) -> None:
        """Read the answers of a model, grade them, and write predictions; fidelity is left out as for an endpoint."""
        from l2s.evaluation import evaluate

        remote = {"engine": "endpoint", "teacher_endpoint": "http://127.0.0.1:9/v1", "arms": "sft"}
        evaluate.run(self.config(**remote), self.run_dir, model="student_base")

    def grade(self, domain: str) -> Callable[[], None]:
        """Grade one answer to each of as many items of a built-in domain.

        HumanEval has 164 items: they repeat, with their own solutions as answers, and each program runs in the sandbox.
        """
        from l2s.tasks.table import TASKS, grade_all

        sizes = {"math_eval_size": self.eval, "aiops_eval_size": self.eval, "code_eval_size": min(self.eval, 164)}
        config = self.config(domains=domain, math_source="synthetic", **sizes)
        task = TASKS[domain]
        items = list(islice(cycle(task.eval_items(config)), self.eval))
        answered = [(item, (domain == "code" and task.solution(item)) or _wrong(item), "stop") for item in items]

        def work() -> None:
            grade_all(answered, config)

        return work

    def report(self) -> Callable[[], None]:
        """Write the reports of four models, beside all training rows."""
        from l2s.report import stage
        from support.synthetic_run import make_run

        sizes = {"math": self.eval // 2, "aiops": self.eval // 4, "code": self.eval // 4}
        config, run_dir = make_run(self.folder, models=MODELS, sizes=sizes, response_words=ANSWER_WORDS)
        rows = load_jsonl(self.run_dir.train_data)
        write_jsonl(run_dir.train_data, ({**row, "domain": tuple(sizes)[n % 3]} for n, row in enumerate(rows)))

        def work() -> None:
            stage.run(config, run_dir)

        return work


def _rows(name: str, number: int, rng: random.Random) -> Iterator[Row]:
    for index in range(number):
        words = " ".join(f"word{rng.randrange(20_000)}" for _ in range(QUESTION_WORDS))
        yield {"id": f"{name}-{index}", "prompt": f"{words}?", "reference": str(index)}


def _wrong(item: Item) -> str:
    return f"{item['messages'][-1]['content'][:400]}\nThe answer is 42."


def _answer(item: Row) -> Completion:
    words = " ".join(f"step{n}" for n in range(ANSWER_WORDS))
    right = int(item["id"].rpartition("-")[2]) % 3
    text = f"{words}. The answer is {item['reference'] if right else 'unknown'}."
    return Completion(item["id"], text, "stop", 2 * ANSWER_WORDS, seconds=0.01)


def steps(data: Data, only: str) -> Iterator[Measured]:
    """The steps at one size whose names hold `only`, and those whose files they read, in the order of the pipeline."""
    yield measured("prepare", data.train + data.eval, data.prepare)
    data.answer()
    yield measured("generate: read, grade, write", data.train, data.generate)
    if only in "train: read, tokenise":
        yield measured("train: read, tokenise", data.train, data.render)
    if only in "evaluate: read, grade, write":
        yield measured("evaluate: read, grade, write", data.eval, data.evaluate)
    for domain in ("math", "aiops", "code"):
        if only in f"grade {domain}":
            yield measured(f"grade {domain}", data.eval, data.grade(domain))
    if only in "report":
        yield measured("report", data.eval, data.report())


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="l2s-large-") as name:
        yield Path(name)


def table(found: list[Measured]) -> str:
    """Time and memory at each size, and how both grow from half of the rows to all."""
    lines = [f"{'step':<30}{'rows':>9}{'seconds':>9}{'MiB':>8}{'growth: time':>14}{'memory':>8}"]
    for step in dict.fromkeys(one.step for one in found):
        of_step = [one for one in found if one.step == step]
        for before, one in zip([None, *of_step], of_step, strict=False):
            line = f"{one.step:<30}{one.rows:>9,}{one.seconds:>9.1f}{one.mib:>8.0f}"
            if before:
                line += f"{one.seconds / before.seconds:>14.2f}{one.mib / max(before.mib, 1):>8.2f}"
            lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", type=float, default=1.0, help="share of the rows to go up to")
    parser.add_argument("--only", default="", help="measure the steps whose names hold this text, and what they need")
    parser.add_argument("--verbose", action="store_true", help="show what the stages print")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch  # noqa: F401  so that no step pays for the import

    import l2s.evaluation.evaluate
    import l2s.generation.generate
    import l2s.report.stage  # noqa: F401

    found = []
    with scratch() as folder:
        for part in PARTS:
            for one in steps(Data(folder / str(part), part * arguments.part), arguments.only):
                print(f"{one.step}: {one.rows:,} rows, {one.seconds:.1f} s, {one.mib:.0f} MiB", file=sys.stderr)
                found.append(one)
    print(table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
