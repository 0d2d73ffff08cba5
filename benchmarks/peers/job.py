"""The job that every way does: its settings, its problems, and what a run of it is measured by."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2s.config import ExperimentConfig
from l2s.presets import DEMO_STUDENT, DEMO_TEACHER
from l2s.tasks.table import task_of

MODELS = ("teacher", "student_base", "student_sft", "student_kd")
STEPS = ("answer", "sft", "kd", "evaluate")
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "train": 8, "eval": 4, "max_new_tokens": 16, "batch_size": 2, "accumulation": 2, "rounds": 1,
        "math_source": "one_step", "max_length": 512,
    },
    "smollm": {
        "teacher": DEMO_TEACHER, "student": DEMO_STUDENT, "train": 64, "eval": 32, "max_new_tokens": 32,
        "batch_size": 4, "accumulation": 1, "rounds": 2, "math_source": "one_step", "max_length": 256,
        "dtype": "float32",  # as in the demo
    },
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One run of the whole job: seconds and peak bytes of its steps, training steps and scores of its models."""

    seconds: float
    step_seconds: dict[str, float]
    peak_bytes: dict[str, int]
    training_steps: dict[str, int]
    scores: dict[str, float]


def experiment(arguments: argparse.Namespace, folder: Path) -> ExperimentConfig:
    """The job as a configuration of l2s."""
    return ExperimentConfig(
        experiment_name="l2s",
        output_dir=folder,
        processed_dir=folder / "processed",
        run_all=True,
        teacher_model=arguments.teacher,
        student_model=arguments.student,
        data_dir=arguments.data_dir,
        domains="math",
        math_source=arguments.math_source,
        math_train_size=arguments.train,
        math_eval_size=arguments.eval,
        dtype=arguments.dtype,
        engine="transformers",
        max_new_tokens=arguments.max_new_tokens,
        max_length=arguments.max_length,
        generation_batch_size=arguments.generation_batch_size,
        eval_batch_size=arguments.generation_batch_size,
        tuning="lora",
        gradient_checkpointing=arguments.gradient_checkpointing,
        gradient_accumulation_steps=arguments.accumulation,
        sft_epochs=arguments.epochs,
        kd_epochs=arguments.epochs,
        sft_batch_size=arguments.batch_size,
        kd_batch_size=arguments.batch_size,
        sft_lr=arguments.lr,
        kd_lr=arguments.lr,
        temperature=1.0,
        alpha=0.0,
        heldout_answers=0,  # the script measures nothing while it trains
        fidelity_size=0,  # nor how close its students come to the teacher
    )


def write_items(config: ExperimentConfig, folder: Path) -> dict[str, Path]:
    """The problems that l2s prepares, for the script."""
    task = task_of("math")
    found = {"train": task.train_items(config), "eval": task.eval_items(config)}
    for split, rows in found.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {split: folder / f"{split}.jsonl" for split in found}
