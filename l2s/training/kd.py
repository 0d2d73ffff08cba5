"""Knowledge distillation: the student learns the teacher's distribution at every token of the answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from l2s.chat import ChatRenderer, check_same_vocabulary, load_renderers
from l2s.config import ExperimentConfig
from l2s.devices import pick_device
from l2s.loss.objective import Objective
from l2s.metrics import KdMetrics, TopkMetrics
from l2s.models.head import output_head
from l2s.models.load import load_model, load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import SequenceDataset, TrainingSequence, hold_out, load_sequences
from l2s.signals.hidden import hidden_of
from l2s.signals.store import SignalStore, open_training_signals
from l2s.signals.tail import TailModel
from l2s.signals.teachers import OnlineTeacher, StoredTeacher, Teacher
from l2s.signals.topk import TopkCheck, check_topk, decode
from l2s.training.student import StudentWithLoss, initial_student
from l2s.training.trainer import Schedule, train_and_save


def run(config: ExperimentConfig, run_dir: RunDir) -> KdMetrics:
    """Train the student against the teacher's signals; leaves kd/adapter, kd/final_model and kd/*metrics.jsonl.

    Raises:
        UserError: no usable answers, signals of other answers, another vocabulary, or a model that cannot be loaded.
    """
    renderers = load_renderers(config)
    renderer = renderers.student
    check_same_vocabulary(renderers.teacher, renderer)
    sequences, counts = load_sequences(run_dir.responses, renderer, config, teacher=renderers.teacher)
    trained, held_out, counts = hold_out(sequences, counts, config)
    causal_lm = load_student_for_training(initial_student(config, run_dir), config)
    student = StudentWithLoss(causal_lm, kd_objective(config))
    teacher, store = _teacher(config, run_dir, renderers.teacher, sequences)
    checked: TopkMetrics = {}
    if store and config.teacher_signal == "topk":
        checked = _check_topk(student, sequences, store, config)
    datasets = SequenceDataset(trained, store), SequenceDataset(held_out, store)
    schedule = Schedule(config.kd_epochs, config.kd_batch_size, config.kd_lr)
    folder = run_dir.arm("kd").root
    metrics = train_and_save(student, *datasets, counts, renderer, config, schedule, folder, teacher=teacher)
    return {**metrics, **checked, "warnings": [*metrics["warnings"], *checked.get("warnings", [])]}


def kd_objective(config: ExperimentConfig) -> Objective:
    """The settings of the KD loss."""
    return Objective(config.alpha, config.temperature, config.divergence, config.divergence_beta)


def _teacher(
    config: ExperimentConfig, run_dir: RunDir, renderer: ChatRenderer, sequences: Sequence[TrainingSequence]
) -> tuple[Teacher, SignalStore | None]:
    """The teacher of `config.teacher_signal`, and the store of its signals; no store for an online teacher."""
    if config.teacher_signal == "online":
        model = load_model(config.teacher_model, config, quantization=config.teacher_quantization)
        return OnlineTeacher(model), None
    store = open_training_signals(config, run_dir, renderer, sequences)
    return StoredTeacher(store, pick_device(config)), store


def _check_topk(
    student: StudentWithLoss, sequences: Sequence[TrainingSequence], store: SignalStore, config: ExperimentConfig
) -> TopkMetrics:
    """Compare sampled signals, which the tail was not fitted to, with exact logits before training.

    Raises:
        UserError: the signals would mislead the student.
    """
    check = _topk_of_sample(student, sequences, store, config)
    print(
        f"topk: {check.tail_mass:.1%} of the mass outside the top {config.topk} at T={config.temperature:g}, "
        f"divergence off by {check.divergence_error:.1%} a token ({check.divergence_bias:+.1%} over all), "
        f"gradient cosine {check.gradient_cosine:.4f}",
        flush=True,
    )
    check.require_usable(config)
    return {
        "topk_tail_mass": check.tail_mass,
        "topk_divergence_error": check.divergence_error,
        "topk_divergence_bias": check.divergence_bias,
        "topk_gradient_cosine": check.gradient_cosine,
        "topk_gradient_cosine_p5": check.gradient_cosine_p5,
        "warnings": check.warnings(),
    }


def _topk_of_sample(
    student: StudentWithLoss, sequences: Sequence[TrainingSequence], store: SignalStore, config: ExperimentConfig
) -> TopkCheck:
    """S sampled rows in three forms: the student's logits, the teacher's exact logits, and the stored signals."""
    device = next(student.parameters()).device
    shared = {name: tensor.to(device) for name, tensor in store.shared().items()}
    exact_SV, rows_S = shared["sample_logits"], shared["sample_rows"]
    wanted = set(store.index.sample_ids)
    by_id = {sequence.id: sequence for sequence in sequences if sequence.id in wanted}
    sample = [by_id[id_] for id_ in store.index.sample_ids]
    hidden_SH = torch.cat([hidden_of(student.causal_lm, [sequence]) for sequence in sample])[rows_S]
    weight_VH = output_head(student.causal_lm).weight[: exact_SV.shape[1]]
    student_SV = student.transform.apply(hidden_SH.to(weight_VH.dtype) @ weight_VH.T).to(weight_VH.dtype)
    parts = [store[sequence.id] for sequence in sample]
    signals = {name: torch.cat([part[name] for part in parts]).to(device)[rows_S] for name in parts[0]}
    return check_topk(student_SV, exact_SV, decode(signals, config.topk, TailModel.of(shared).factors()), config)
