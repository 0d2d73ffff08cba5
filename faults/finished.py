"""A tiny finished experiment, and beside it one that was killed in the middle: every kind of file that l2s reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path

from l2s.chat import Renderers, load_renderers
from l2s.config import ExperimentConfig
from l2s.durable import remove
from l2s.generation import generate
from l2s.generation.engines.protocol import Completion
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.metrics import StageMetrics
from l2s.models.load import load_model
from l2s.models.tiny import save_tiny_pair
from l2s.run_dir import Manifest, RunDir, fingerprint
from l2s.runner.executors import run_stage
from l2s.runner.freshness import begin
from l2s.runner.pipeline import STAGES
from l2s.runner.selection import select_stages, settle
from l2s.sealed import write_sealed
from l2s.signals.hidden import ModelHidden
from l2s.terminal import quiet_libraries
from l2s.training import sft

SETTINGS = {
    "experiment_name": "done", "run_all": True, "domains": "own", "own_grader": "contains", "max_new_tokens": 8,
    "max_length": 512, "tuning": "lora", "lora_r": 4, "gradient_checkpointing": False, "save_steps": 2,
    "gradient_accumulation_steps": 1, "heldout_answers": 1, "dtype": "float32", "device": "cpu",
}  # fmt: skip
GSM8K = {"question": "2 + 3?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"}
MBPP = {
    "task_id": 601,
    "text": "Add.",
    "code": "def add(a, b):\n    return a + b",
    "test_list": ["assert add(1, 2) == 3"],
}
GRADER = "def grade(response, reference):\n    return 1.0 if reference in response else 0.0\n"


@dataclass(frozen=True)
class Finished:
    """The folder of both experiments, with their models and data, and a copy of it to mend the folder from.

    done/ is finished. killed/ has answers and grades of `generate`, checkpoints of `sft`, and notes of begun stages.
    """

    folder: Path
    spare: Path

    @cached_property
    def config(self) -> ExperimentConfig:
        """The settings of the finished experiment."""
        places = {
            "teacher_model": str(self.folder / "teacher"), "student_model": str(self.folder / "student"),
            "output_dir": self.folder / "outputs", "processed_dir": self.folder / "processed",
            "train_file": self.folder / "train.jsonl", "eval_file": self.folder / "eval.jsonl",
        }  # fmt: skip
        return settle(ExperimentConfig(**SETTINGS | places))

    @property
    def done(self) -> RunDir:
        """The run folder of the finished experiment."""
        return RunDir.of(self.config)

    @cached_property
    def killed_config(self) -> ExperimentConfig:
        """The settings of the killed experiment."""
        return self.config.model_copy(update={"experiment_name": "killed"})

    @property
    def killed(self) -> RunDir:
        """The run folder of the killed experiment."""
        return RunDir.of(self.killed_config)

    @cached_property
    def renderers(self) -> Renderers:
        """What both models read."""
        return load_renderers(self.config)

    @cached_property
    def teacher(self) -> ModelHidden:
        """The teacher, to record its signals once more."""
        return ModelHidden(load_model(self.config.teacher_model, self.config))

    @cached_property
    def answers(self) -> dict[str, Completion]:
        """What the teacher answered, by item id."""
        rows = load_jsonl(self.killed.answer_log / "try-1.jsonl")
        return {row["id"]: Completion(**{k: v for k, v in row.items() if k != "seal"}) for row in rows}

    @cached_property
    def checkpoints(self) -> set[str]:
        """Fingerprints of the whole checkpoints of the killed training."""
        root = self.spare / self.killed.arm("sft").checkpoints.relative_to(self.folder)
        return {fingerprint(path) for path in root.iterdir()}

    @contextmanager
    def mended_after(self, touched: Sequence[str]) -> Iterator[None]:
        """Put `touched` (paths in the folder) back as they were, whatever the block does to them."""
        try:
            yield
        finally:
            for name in touched:
                _mend(self.folder / name, self.spare / name)


def _mend(path: Path, spare: Path) -> None:
    """Make `path` what `spare` is; files of one size and time are taken to be the same."""
    if not spare.is_dir():
        if _stamp(path) != _stamp(spare):
            remove(path)
            shutil.copy2(spare, path)
        return
    if not path.is_dir():
        remove(path)
        path.mkdir()
    names = {entry.name for entry in spare.iterdir()}
    for entry in path.iterdir():
        if entry.name not in names:
            remove(entry)
    for name in names:
        _mend(path / name, spare / name)


def _stamp(path: Path) -> tuple[int, int] | None:
    found = path.stat() if path.is_file() else None
    return found and (found.st_size, found.st_mtime_ns)


def build(parent: Path) -> Finished:
    """Make both experiments in `parent`; every stage runs in this process."""
    finished = Finished(parent / "experiment", parent / "spare")
    quiet_libraries()
    _write_inputs(finished.folder)
    with redirect_stdout(StringIO()):
        _finish(finished)
        _begin_and_stop(finished)
    shutil.copytree(finished.folder, finished.spare)
    return finished


def _write_inputs(folder: Path) -> None:
    """Models, data and settings as a user would have them."""
    folder.mkdir(parents=True)
    save_tiny_pair(folder)
    rows = [{"id": f"row-{n}", "prompt": f"Say w{n}, and count to {n}.", "reference": f"w{n}"} for n in range(28)]
    write_jsonl(folder / "train.jsonl", rows[:24])
    write_jsonl(folder / "eval.jsonl", rows[24:])
    for name, row in (("gsm8k/train", GSM8K), ("gsm8k/test", GSM8K), ("mbpp/mbpp", MBPP)):
        (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / "data" / f"{name}.jsonl", [row | {"task_id": 601 + n} for n in range(9)])
    (folder / "settings.yaml").write_text("temperature: 1.5\nalpha: 0.25\nexperiment_name: mine\n# mine\nseed: 7\n")
    (folder / "grader.py").write_text(GRADER)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")


def _finish(finished: Finished) -> None:
    config, run_dir = finished.config, finished.done
    run_dir.create()
    run_dir.save_config(config)
    run_dir.log("run")
    for stage in select_stages(config):
        if stage.name != "report":
            run_stage(stage, config, run_dir, "run")
    write_sealed(run_dir.plan, {"stages": {"sft": {"seconds": 12.5}}})
    harness = run_dir.lm_eval("teacher")
    harness.parent.mkdir()
    harness.write_text(json.dumps({"results": {"arc": {"acc": 0.25}}}))
    made = {str(harness.relative_to(run_dir.root)): fingerprint(harness)}
    manifest = Manifest("lm_eval_teacher", {}, {}, made, {}, None, 0, "cpu", "", 1.0, metrics=StageMetrics())
    manifest.save(run_dir.manifest(manifest.stage))


def _begin_and_stop(finished: Finished) -> None:
    """The experiment again, with stages that leave what a kill would leave: no manifest, and their scratch."""
    config, run_dir = finished.killed_config, finished.killed
    shutil.copytree(finished.done.root / "data", run_dir.root / "data")
    run_dir.save_config(config)
    for name in ("generate", "sft"):
        begin(STAGES[name], config, run_dir, "run")
    generate.run(config, run_dir)
    sft.run(config, run_dir)
