"""Where the files of an experiment are, under outputs/<experiment_name>/."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from l2s.arms import ARMS, BASE, COPY, TEACHER, copy_name, original
from l2s.config import ExperimentConfig

SIGNAL_INDEX = "index.json"  # index of a folder of teacher signals; written last
SIGNALS_SHARED = "shared.safetensors"  # of such a folder: tensors that all rows share


@dataclass(frozen=True)
class ArmDir:
    """Paths under outputs/<experiment_name>/<arm>/, the folder of one student's training."""

    root: Path

    @property
    def final_model(self) -> Path:
        return self.root / "final_model"

    @property
    def adapter(self) -> Path:
        return self.root / "adapter"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One row for each step."""
        return self.root / "metrics.jsonl"

    @property
    def heldout_metrics(self) -> Path:
        """The loss on held-out answers, one row for each measurement."""
        return self.root / "heldout_metrics.jsonl"


def replica_logs(log: Path) -> Path:
    """Folder beside an answer log, for the answers of replicas other than the first."""
    return log.with_suffix(".replicas")


@dataclass(frozen=True)
class RunPaths:
    """Paths under outputs/<experiment_name>/; those of the arms are of their copy with seed `copy`, if there is one."""

    root: Path
    copy: int | None = None

    @classmethod
    def of(cls, config: ExperimentConfig) -> Self:
        """The folder that `config` names; it is not created."""
        return cls(config.output_dir / config.experiment_name)

    def arm(self, name: str) -> ArmDir:
        """The folder of an arm."""
        return ArmDir(self.root / (name if self.copy is None else copy_name(name, self.copy)))

    def of_copy(self, seed: int | None) -> Self:
        """The same folder as the training of the copies with `seed` sees it: the same data, and arms of their own."""
        return replace(self, copy=seed)

    # Data and answers
    @property
    def train_data(self) -> Path:
        return self.root / "data" / "train_dataset.jsonl"

    @property
    def eval_data(self) -> Path:
        return self.root / "data" / "eval_dataset.jsonl"

    @property
    def sft(self) -> Path:
        return self.root / "sft"

    @property
    def responses(self) -> Path:
        return self.sft / "sft_train_data.jsonl"

    @property
    def answer_log(self) -> Path:
        """Folder of the teacher's answers so far, one file for each try; becomes `responses` when it is complete."""
        return self.sft / "answers.partial"

    def answers_of_try(self, attempt: int) -> Path:
        """The answers of a try, counted from 0."""
        return self.answer_log / f"try-{attempt + 1}.jsonl"

    def grades(self, attempt: int) -> Path:
        """The grades of the answers of a try."""
        return self.answer_log / f"grades-{attempt + 1}.jsonl"

    def asked(self, attempt: int) -> Path:
        """Which items a try asks again."""
        return self.answer_log / f"asked-{attempt + 1}.json"

    @property
    def rejected(self) -> Path:
        return self.sft / "rejected.jsonl"

    @property
    def never_right(self) -> Path:
        """The training items that no answer of the teacher gets right."""
        return self.sft / "never_right.jsonl"

    @property
    def sft_model(self) -> Path:
        return self.arm("sft").final_model

    @property
    def kd_model(self) -> Path:
        return self.arm("kd").final_model

    @property
    def kd(self) -> Path:
        return self.root / "kd"

    @property
    def opd(self) -> Path:
        return self.root / "opd"

    @property
    def teacher_signals(self) -> Path:
        return self.kd / "teacher_signals"

    # Evaluation
    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    def predictions(self, model: str) -> Path:
        return self.evaluation / "predictions" / f"{model}.jsonl"

    def prediction_log(self, model: str) -> Path:
        """A model's evaluation answers so far; becomes `predictions` when it is complete."""
        return self.evaluation / "predictions" / f"{model}.partial.jsonl"

    def fidelity(self, model: str) -> Path:
        return self.evaluation / "fidelity" / f"{model}.jsonl"

    def lm_eval(self, model: str) -> Path:
        """The results of lm-evaluation-harness for a model."""
        return self.evaluation / "lm_eval" / f"{model}.json"

    def lm_eval_answers(self, model: str) -> Path:
        """Folder of a model's answers to the harness so far."""
        return self.evaluation / "lm_eval" / f"{model}.partial"

    @property
    def evaluation_signals(self) -> Path:
        """The teacher's hidden states on its own evaluation answers, for fidelity."""
        return self.evaluation / "teacher_signals"

    @property
    def plots(self) -> Path:
        return self.evaluation / "plots"

    @property
    def comparison_report(self) -> Path:
        return self.evaluation / "comparison_report.md"

    @property
    def comparison_table(self) -> Path:
        return self.evaluation / "model_comparison.csv"

    @property
    def browser_report(self) -> Path:
        return self.evaluation / "report.html"

    @property
    def results(self) -> Path:
        return self.root / "results.json"

    def weights(self, model: str, config: ExperimentConfig) -> str:
        """Folder or hub name of an evaluated model: teacher, student_base, or the student of an arm."""
        named = {TEACHER: config.teacher_model, BASE: config.student_model}
        trained = {arm.model.name: str(self.arm(arm.name).final_model) for arm in ARMS.values()}
        if COPY in model:
            return self.of_copy(int(model.partition(COPY)[2])).weights(original(model), config)
        return (named | trained)[model]

    # The run itself
    @property
    def plan(self) -> Path:
        """The predicted time and memory of the run."""
        return self.root / "plan.json"

    @property
    def config_file(self) -> Path:
        return self.root / "config.yaml"

    @property
    def log_file(self) -> Path:
        return self.root / "log.jsonl"

    def stage_log(self, stage: str) -> Path:
        """The output of a stage that runs beside others."""
        return self.root / "logs" / f"{stage}.log"

    def manifest(self, stage: str) -> Path:
        """Path of a stage's manifest. Those of the arms and of their copies are beside their models."""
        if original(stage) in ARMS:
            return self.root / stage / "manifest.json"
        return self.root / "manifests" / f"{stage}.json"

    def has_finished(self, stage: str) -> bool:
        """Whether a stage has left its manifest, as far as this user can see: a run checks later what it may read."""
        try:
            return self.manifest(stage).exists()
        except OSError:
            return False

    def started(self, stage: str) -> Path:
        """The settings that an unfinished stage was started with; only a run with the same settings resumes it."""
        return self.root / "manifests" / f"{stage}.started.json"
