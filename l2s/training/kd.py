"""Knowledge distillation: the student learns the teacher's distribution at every token of the answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from l2s.chat import check_same_vocabulary, load_renderer
from l2s.config import ExperimentConfig
from l2s.devices import pick_device
from l2s.models.head import output_head
from l2s.models.load import load_model, load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import Collator, SequenceDataset, TrainingSequence, hold_out, load_sequences
from l2s.signals.store import OnlineTeacher, SignalStore, StoredTeacher, open_training_signals, response_hidden
from l2s.signals.tail import TailModel
from l2s.signals.topk import check_topk, decode
from l2s.training.trainer import Objective, Schedule, StudentWithLoss, TeacherSource, initial_student, train_and_save


def run(config: ExperimentConfig, run_dir: RunDir) -> dict[str, Any]:
    """Train the student against the teacher's signals; leaves kd/adapter, kd/final_model and kd/*metrics.jsonl.

    Raises:
        UserError: no usable answers, signals of other answers, another vocabulary, or a model that cannot be loaded.
    """
    renderer = load_renderer(config, "student_model")
    check_same_vocabulary(load_renderer(config, "teacher_model"), renderer)
    sequences, counts = load_sequences(run_dir.responses, renderer, config)
    trained, held_out, counts = hold_out(sequences, counts, config)
    student = StudentWithLoss(load_student_for_training(initial_student(config, run_dir), config), Objective.of(config))
    schedule = Schedule(config.kd_epochs, config.kd_batch_size, config.kd_lr)
    store: SignalStore | None
    checked: dict[str, Any]
    if config.teacher_signal == "online":
        model = load_model(config.teacher_model, config, quantization=config.teacher_quantization)
        teacher: TeacherSource = OnlineTeacher(model)
        store, checked = None, {}
    else:
        store = open_training_signals(config, run_dir, renderer, sequences)
        teacher = StoredTeacher(store, pick_device(config))
        checked = _check_topk(student, sequences, store, config) if config.teacher_signal == "topk" else {}
    datasets = SequenceDataset(trained, store), SequenceDataset(held_out, store)
    metrics = train_and_save(student, *datasets, counts, renderer, config, schedule, run_dir.kd, teacher=teacher)
    return metrics | checked


def _check_topk(
    student: StudentWithLoss, sequences: list[TrainingSequence], store: SignalStore, config: ExperimentConfig
) -> dict[str, Any]:
    """Hold a sample of the signals, to which the tail was not fitted, against exact logits before any training.

    Raises:
        UserError: they would lead the student elsewhere.
    """
    device = next(student.parameters()).device
    shared = {name: tensor.to(device) for name, tensor in store.shared().items()}
    exact_SV, rows_S = shared["sample_logits"], shared["sample_rows"]
    sample = {sequence.id: sequence for sequence in sequences}
    hidden_SH = torch.cat([_student_hidden(student, sample[id_], device) for id_ in store.index.sample_ids])[rows_S]
    weight_VH = output_head(student.causal_lm).weight[: exact_SV.shape[1]]
    student_SV = student.transform.apply(hidden_SH.to(weight_VH.dtype) @ weight_VH.T).to(weight_VH.dtype)
    parts = [store[id_] for id_ in store.index.sample_ids]
    signals = {name: torch.cat([part[name] for part in parts]).to(device)[rows_S] for name in parts[0]}
    teacher = decode(signals, config.topk, TailModel.of(shared).factors())
    check = check_topk(student_SV, exact_SV, teacher, config)
    print(
        f"topk: {check.tail_mass:.1%} of the mass outside the top {config.topk} at T={config.temperature:g}, "
        f"divergence off by {check.divergence_error:.1%} a token ({check.divergence_bias:+.1%} over all), "
        f"gradient cosine {check.gradient_cosine:.4f}",
        flush=True,
    )
    check.require_usable(config)
    return {f"topk_{name}": value for name, value in asdict(check).items()} | {"warnings": check.warnings()}


def _student_hidden(student: StudentWithLoss, sequence: TrainingSequence, device: torch.device) -> torch.Tensor:
    batch = Collator(pad_token_id=0)([{"input_ids": sequence.input_ids, "labels": sequence.labels}])
    return response_hidden(student.causal_lm, {name: tensor.to(device) for name, tensor in batch.items()})
