"""Knowledge distillation: the student learns the teacher's distribution at every token of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l2s.chat import ChatRenderer, check_same_vocabulary, load_renderer
from l2s.config import ExperimentConfig
from l2s.models import load_model, load_student_for_training, pick_device
from l2s.run_dir import RunDir
from l2s.teacher.signals import OnlineTeacher, StoredTeacher, open_training_signals
from l2s.training.dataset import SequenceDataset, Signals, TrainingSequence, load_sequences
from l2s.training.trainer import Objective, Schedule, StudentWithLoss, TeacherSource, train_and_save


def run(config: ExperimentConfig, run_dir: RunDir) -> dict[str, Any]:
    """Train the student against the teacher's signals; leaves kd/adapter, kd/final_model and kd/metrics.jsonl.

    Raises:
        UserError: no usable answers, signals of other answers, another vocabulary, or a model that cannot be loaded.
    """
    renderer = load_renderer(config, "student_model")
    check_same_vocabulary(load_renderer(config, "teacher_model"), renderer)
    sequences, counts = load_sequences(run_dir.responses, renderer, config)
    teacher, signals = _teacher(config, run_dir, renderer, sequences)
    student = StudentWithLoss(load_student_for_training(initial_student(config, run_dir), config), Objective.of(config))
    schedule = Schedule(config.kd_epochs, config.kd_batch_size, config.kd_lr)
    dataset = SequenceDataset(sequences, signals)
    return train_and_save(student, dataset, counts, renderer, config, schedule, run_dir.kd, teacher=teacher)


def initial_student(config: ExperimentConfig, run_dir: RunDir) -> str:
    """The model that KD starts from: this experiment's SFT student, or config.student_model."""
    use_sft = config.kd_init == "sft" or (config.kd_init == "auto" and run_dir.sft_model.exists())
    return str(run_dir.sft_model) if use_sft else config.student_model


def _teacher(
    config: ExperimentConfig, run_dir: RunDir, renderer: ChatRenderer, sequences: list[TrainingSequence]
) -> tuple[TeacherSource, Mapping[str, Signals] | None]:
    """Who answers for the teacher, and what is read with each sequence for it."""
    if config.teacher_signal == "online":
        model = load_model(config.teacher_model, config, quantization=config.teacher_quantization)
        return OnlineTeacher(model), None
    signals = open_training_signals(config, run_dir, renderer, sequences)
    return StoredTeacher(signals, pick_device(config)), signals
