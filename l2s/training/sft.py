"""Supervised fine-tuning: the student learns the teacher's answers token by token."""

from __future__ import annotations

from l2s.chat import load_student_renderer
from l2s.config import ExperimentConfig
from l2s.metrics import SftMetrics
from l2s.models.load import load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import SequenceDataset, hold_out, load_sequences
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from l2s.training.trainer import Schedule, train_and_save


def run(config: ExperimentConfig, run_dir: RunDir) -> SftMetrics:
    """Train the student on the answers; leaves sft/adapter, sft/final_model and sft/*metrics.jsonl.

    Raises:
        UserError: no usable answers, or a student that cannot be loaded.
    """
    renderer = load_student_renderer(config)
    sequences, counts = load_sequences(run_dir.responses, renderer, config)
    trained, held_out, counts = hold_out(sequences, counts, config)
    student = StudentWithLoss(load_student_for_training(config.student_model, config), SFT_OBJECTIVE)
    schedule = Schedule(config.sft_epochs, config.sft_batch_size, config.sft_lr)
    datasets = SequenceDataset(trained), SequenceDataset(held_out)
    return train_and_save(student, *datasets, counts, renderer, config, schedule, run_dir.arm("sft").root)
