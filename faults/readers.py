"""What reads the files of an experiment, as the stages and commands do it, without the hours of work around it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from faults.finished import Finished
from l2s.chat import load_renderer
from l2s.config import resolve_config
from l2s.evaluation.fidelity import _source
from l2s.generation.collect import collect
from l2s.generation.engines.protocol import Completion, Request, Sampling
from l2s.jsonl import cut_unfinished_line, load_jsonl
from l2s.models.load import load_model
from l2s.report.numbers.files import read_run
from l2s.run_dir import SIGNAL_INDEX, Manifest, fingerprint
from l2s.runner.freshness import check_inputs, inputs_of, state_of
from l2s.runner.pipeline import STAGES
from l2s.runner.selection import select_stages
from l2s.sequences import load_sequences, render_answer
from l2s.signals.record import record_signals
from l2s.signals.store import SignalStore, open_training_signals, read_signals
from l2s.tasks import math, mbpp, own
from l2s.tasks.table import TASKS
from l2s.training.checkpoints import last_whole_checkpoint

Same = Callable[[Any, Any, Finished], bool]


def _equal(found: Any, whole: Any, finished: Finished) -> bool:
    return bool(operator.eq(found, whole))


@dataclass(frozen=True)
class Reader:
    """One thing that reads files.

    Attributes:
        name: as it stands in the table.
        patterns: the files, relative to the experiment's folder.
        touched: files and folders that a case may change.
        read: what it gives, comparable.
        same: whether it gave what it gives of the whole files.
        users: the files are the user's, who may write into them what he likes: whatever can be read is right.
    """

    name: str
    patterns: tuple[str, ...]
    touched: tuple[str, ...]
    read: Callable[[Finished], Any]
    same: Same = _equal
    users: bool = False

    def files(self, finished: Finished) -> list[Path]:
        """The files that are damaged, relative to the experiment's folder; empty ones have nothing to damage."""
        found = (path for pattern in self.patterns for path in sorted(finished.folder.glob(pattern)))
        return [path.relative_to(finished.folder) for path in found if path.is_file() and path.stat().st_size]


# Files of the run --------------------------------------------------------------------------------------------------


def _begin_all(finished: Finished) -> list[dict[str, str]]:
    """The fingerprints with which the stages would begin."""
    stages = [stage for stage in select_stages(finished.config) if stage.name != "report"]
    found = []
    for stage in stages:
        inputs = inputs_of(stage, finished.config, finished.done)
        check_inputs(stage, finished.config, finished.done, inputs)
        found.append(inputs)
    return found


def _states(finished: Finished) -> list[tuple[str, Manifest | None]]:
    """What a run would do with every stage."""
    config, run_dir = finished.config, finished.done
    stages = select_stages(config)
    return [
        (state_of(stage, config, run_dir, requested=True), Manifest.load(run_dir.manifest(stage.name)))
        for stage in stages
    ]


def _killed_states(finished: Finished) -> list[str]:
    config = finished.killed_config
    return [state_of(STAGES[name], config, finished.killed, requested=True) for name in ("generate", "sft")]


def _report(finished: Finished) -> Any:
    config = finished.done.load_config()
    return read_run(config, finished.done), finished.done.load_predictions()


def _settings(finished: Finished) -> Any:
    return finished.done.load_config()


def _log(finished: Finished) -> int:
    cut_unfinished_line(finished.done.log_file)
    finished.done.log("run")
    return 0


class _Again:
    """Stands for the teacher: gives its answers to the items that are not done yet."""

    def __init__(self, answers: dict[str, Completion]) -> None:
        self.answers = answers

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        return [list(requests)]

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        yield [self.answers[request.id] for request in requests if request.id not in done]


def _answers(finished: Finished) -> Any:
    """What `generate` makes of the answers and grades that a killed run left."""
    items: Any = load_jsonl(finished.killed.train_data)
    engine, renderer = _Again(finished.answers), finished.renderers.teacher
    asked_with = {item["id"]: item["messages"] for item in items}
    collected = collect(items, asked_with, engine, renderer, finished.killed_config, finished.killed)
    return dict(collected.answers), collected.tries


def _checkpoint(finished: Finished) -> str | None:
    found = last_whole_checkpoint(finished.killed.arm("sft").checkpoints)
    return fingerprint(found) if found else None


def _signals(finished: Finished) -> Any:
    sequences, _ = load_sequences(
        finished.done.responses, finished.renderers.student, finished.config, teacher=finished.renderers.teacher
    )
    return _tensors(open_training_signals(finished.config, finished.done, finished.renderers.teacher, sequences))


def _recording(finished: Finished) -> Any:
    """Signals of a recording that was killed before it wrote its index, once it was resumed."""
    run_dir, renderers = finished.done, finished.renderers
    (run_dir.evaluation_signals / SIGNAL_INDEX).unlink()
    rows = load_jsonl(run_dir.predictions("teacher"))
    sequences = [render_answer(row, renderers.student, renderers.teacher).for_teacher() for row in rows]
    source = _source(finished.config, renderers, sequences)
    record_signals(finished.teacher, sequences, run_dir.evaluation_signals, source)
    return _tensors(read_signals(run_dir.evaluation_signals))


def _tensors(store: SignalStore) -> Any:
    rows = {id_: {name: rows.tolist() for name, rows in store[id_].items()} for id_ in store}
    return rows, {name: tensor.tolist() for name, tensor in store.shared().items()}, store.index


# Files of the user ---------------------------------------------------------------------------------------------------


def _model(finished: Finished) -> Any:
    config = finished.config
    load_renderer(config, "student_model")
    return load_model(config.student_model, config).config.to_dict()


def _yaml(finished: Finished) -> Any:
    return resolve_config({}, file=finished.folder / "settings.yaml")


def _own(**settings: Any) -> Callable[[Finished], Any]:
    def read(finished: Finished) -> Any:
        places = {name: finished.folder / value for name, value in settings.items() if name == "train_file"}
        graders = {"own_grader": f"python:{finished.folder / 'grader.py'}:grade"} if "own_grader" in settings else {}
        config = finished.config.model_copy(update=places | graders)
        own.TASK.check(config, list(TASKS))
        return own.TASK.train_items(config)

    return read


def _data(finished: Finished) -> Any:
    config = finished.config.model_copy(update={"data_dir": finished.folder / "data", "math_train_size": 2})
    return math.train_items(config), mbpp.training_problems(config)


RUN = ("outputs",)
READERS = (
    Reader(
        "data, answers, models, predictions (a stage begins)",
        ("outputs/done/data/*.jsonl", "outputs/done/sft/sft_train_data.jsonl", "outputs/done/*/final_model/*",
         "outputs/done/evaluation/predictions/teacher.jsonl"),
        RUN, _begin_all,
    ),
    Reader("manifests", ("outputs/done/manifests/*.json", "outputs/done/*/manifest.json"), RUN, _states),
    Reader("notes of begun stages", ("outputs/killed/manifests/*.started.json",), RUN, _killed_states),
    Reader(
        "predictions, fidelity, curves, lm-eval, plan (report)",
        ("outputs/done/evaluation/predictions/*.jsonl", "outputs/done/evaluation/fidelity/*.jsonl",
         "outputs/done/evaluation/lm_eval/*.json", "outputs/done/*/*metrics.jsonl", "outputs/done/data/*.jsonl",
         "outputs/done/plan.json", "outputs/done/config.yaml", "outputs/done/*/manifest.json"),
        RUN, _report,
    ),
    Reader("settings of a run (config.yaml)", ("outputs/done/config.yaml",), RUN, _settings),
    Reader("log of a run (log.jsonl)", ("outputs/done/log.jsonl",), RUN, _log),
    Reader("answers and grades of a killed run", ("outputs/killed/sft/answers.partial/*",), RUN, _answers),
    Reader(
        "checkpoints", ("outputs/killed/sft/checkpoints/*/*",), RUN, _checkpoint,
        same=lambda found, whole, finished: found is None or found in finished.checkpoints,
    ),
    Reader("teacher signals (kd)", ("outputs/done/kd/teacher_signals/*.safetensors",
           "outputs/done/kd/teacher_signals/index.json"), RUN, _signals),
    Reader("teacher signals (a killed recording)", ("outputs/done/evaluation/teacher_signals/sh*",), RUN, _recording),
    Reader("models of the user", ("student/*",), ("student",), _model, users=True),
    Reader("settings of the user (--config)", ("settings.yaml",), ("settings.yaml",), _yaml, users=True),
    Reader("own data, JSONL", ("train.jsonl",), ("train.jsonl",), _own(train_file="train.jsonl"), users=True),
    Reader("own data, parquet", ("train.parquet",), ("train.parquet",), _own(train_file="train.parquet"), users=True),
    Reader("own grader", ("grader.py",), ("grader.py",), _own(own_grader=True), users=True),
    Reader("GSM8K and MBPP (--data_dir)", ("data/*/*.jsonl",), ("data",), _data, users=True),
)  # fmt: skip


def quietly(read: Callable[[Finished], Any], finished: Finished) -> Any:
    """What a reader gives; what it prints is thrown away."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return read(finished)
