"""Fidelity: how close a model is to the teacher on the teacher's evaluation answers, token by token, at T = 1.

Every token is a measurement. So tens of answers show differences that hundreds of task scores do not show.

Shapes: N response tokens of one answer, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from l2s.chat import Renderers
from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype
from l2s.durable import make_folder
from l2s.jsonl import Row, load_jsonl, write_jsonl
from l2s.loss.logit_transform import IDENTITY
from l2s.loss.reference import IGNORE_INDEX, distillation_loss
from l2s.models.head import Head
from l2s.run_dir import RunDir
from l2s.sequences import TrainingSequence, render_answer
from l2s.signals.hidden import HiddenStates
from l2s.signals.record import record_signals
from l2s.signals.store import SignalIndex, SignalSource, hash_sequences, read_signals

CHUNK_ROWS = 128  # two fp32 logit tensors of a chunk take 160 MB at V = 152k


def measure(model: str, hidden: HiddenStates, renderers: Renderers, config: ExperimentConfig, run_dir: RunDir) -> None:
    """Write fidelity/<model>.jsonl: one row of sums over tokens for each teacher answer to an evaluation item.

    The teacher must be measured first: its hidden states on these answers are recorded for the students. Each model
    reads the answers after its own prompts.
    Fields of a row: id, domain, num_tokens; kl_sum, the sum of KL(teacher || model) in nats; top1_sum, the number of
    tokens on which both models have the same most likely next token; nll_sum, the negative log-likelihood of the answer
    in nats.
    """
    answers = _spread(load_jsonl(run_dir.predictions("teacher")), config.fidelity_size)
    domains = {row["id"]: row["domain"] for row in answers}
    sequences = [render_answer(row, renderers.student, renderers.teacher) for row in answers]
    if model == "teacher":
        sequences = [sequence.for_teacher() for sequence in sequences]
    sequences = [sequence for sequence in sequences if sequence.num_response_tokens]  # no tokens, no KL
    make_folder(run_dir.evaluation_signals)
    make_folder(run_dir.fidelity(model).parent)
    if not sequences:
        leave_out(model, run_dir)
        if model == "teacher":  # without an index the evaluation would count as unfinished
            SignalIndex(_source(config, renderers, []), [], "", IDENTITY, [], None).save(run_dir.evaluation_signals)
        return
    if model == "teacher":
        record_signals(hidden, sequences, run_dir.evaluation_signals, _source(config, renderers, sequences))
    store = read_signals(run_dir.evaluation_signals)
    device = hidden.head.weight.device
    teacher = Head(store.shared()["head"].to(device), store.index.transform)
    student = teacher if model == "teacher" else hidden.head
    of_teacher = (store[sequence.id]["hidden"] for sequence in sequences)
    of_model = of_teacher if model == "teacher" else hidden.of([sequence] for sequence in sequences)
    rows = []
    for sequence, hidden_NH in zip(sequences, of_model, strict=True):
        teacher_NH = store[sequence.id]["hidden"].to(device)
        labels_N = torch.tensor([label for label in sequence.labels if label != IGNORE_INDEX], device=device)
        sums = _compare(student, hidden_NH.to(device), teacher, teacher_NH, labels_N)
        rows.append({"id": sequence.id, "domain": domains[sequence.id], **sums})
    write_jsonl(run_dir.fidelity(model), rows)


def leave_out(model: str, run_dir: RunDir) -> None:
    """Write an empty fidelity/<model>.jsonl."""
    make_folder(run_dir.fidelity(model).parent)
    write_jsonl(run_dir.fidelity(model), [])


def _spread(rows: list[Row], size: int) -> list[Row]:
    """At most `size` answers that are not empty, evenly spaced over the file so that every domain is represented."""
    answered = [row for row in rows if row["num_tokens"]]
    number = min(size, len(answered))
    return [answered[index * len(answered) // number] for index in range(number)]


def _source(config: ExperimentConfig, renderers: Renderers, sequences: Sequence[TrainingSequence]) -> SignalSource:
    return SignalSource(
        kind="hidden",
        teacher=config.teacher_model,
        quantization=config.teacher_quantization,
        render_hash=renderers.teacher.hash(),
        sequences_hash=hash_sequences(sequences),
        dtype=choose_dtype(config).name,
    )


@torch.inference_mode()
def _compare(student: Head, hidden_NH: Tensor, teacher: Head, teacher_NH: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Sums over the tokens of one answer."""
    vocabulary = min(len(student.weight), len(teacher.weight))  # rows above it are padding
    kl_sum = top1_sum = nll_sum = 0.0
    for start in range(0, len(labels_N), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        teacher_NV = teacher.logits(teacher_NH[rows], vocabulary)
        # The same product at another address can differ in its last bit, and no model is at a distance from itself.
        student_NV = teacher_NV if student is teacher else student.logits(hidden_NH[rows], vocabulary)
        loss = distillation_loss(student_NV, teacher_NV, labels_N[rows], alpha=0, temperature=1)
        kl_sum += float(loss.divergence_sum)
        nll_sum += float(loss.ce_sum)
        top1_sum += float((student_NV.argmax(-1) == teacher_NV.argmax(-1)).sum())
    return {"num_tokens": len(labels_N), "kl_sum": kl_sum, "top1_sum": top1_sum, "nll_sum": nll_sum}
