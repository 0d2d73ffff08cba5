"""The distillation loss from hidden states; logits exist for one chunk of rows at a time.

Only rows with a counted label are projected. One student projection serves cross-entropy and divergence. The forward
pass also computes the gradient; the backward pass only scales it. A frozen head costs no weight gradient. The caller
divides once, by the number of tokens in the global batch.

Shapes: N rows, H hidden size (student Hs, teacher Ht), V vocabulary, C rows of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from l2s.loss.buffers import logits_buffer
from l2s.loss.chunk import chunk_loss
from l2s.loss.divergences import DIVERGENCES
from l2s.loss.logit_transform import IDENTITY, HeadTransforms, LogitTransform
from l2s.loss.objective import Objective
from l2s.loss.reference import DIVERGENCES as REFERENCE
from l2s.loss.reference import IGNORE_INDEX, DistillationLoss, check_labels, check_objective
from l2s.loss.targets import (
    HiddenTargets,
    Targets,
    TopkTargets,
    check_head,
    check_targets,
    common_vocabulary,
    select_rows,
    write_teacher_logits,
)

assert DIVERGENCES.keys() == REFERENCE.keys(), "a divergence needs a function and a line in both modules"

__all__ = ["HiddenTargets", "LogitTransform", "TopkTargets", "fused_distillation_loss"]

CHUNK_BYTES = 160 << 20  # bytes of student logits; each chunk reads all weights once, so few large chunks are faster


def fused_distillation_loss(
    student_hidden: Tensor,
    student_weight: Tensor,
    labels: Tensor,
    *,
    teacher_hidden: Tensor | None = None,
    teacher_weight: Tensor | None = None,
    targets: Targets | None = None,
    alpha: float,
    temperature: float,
    divergence: str = "forward_kl",
    beta: float = 0.5,
    student_transform: LogitTransform = IDENTITY,
    chunk_rows: int | None = None,
) -> DistillationLoss:
    """`l2s.loss.reference.distillation_loss` of two projections, without their logits in memory.

    Student rows above the teacher's vocabulary are padding: neither divergence nor cross-entropy counts them. With
    alpha = 1 no teacher separates padding from tokens, so all rows count.

    Call it inside the wrapped forward of DDP or FSDP2, where weights are whole. Under autocast the student's product
    runs in the autocast dtype. fp64 inputs are computed in fp64; all others are reduced in fp32.

    Args:
        student_hidden: [N, Hs] last hidden states after the final norm.
        student_weight: [V, Hs], the output head; its gradient is computed only if it requires one.
        labels: [N], already shifted; rows with IGNORE_INDEX are dropped before the projection.
        teacher_hidden, teacher_weight: [N, Ht] and [V, Ht]; short for targets=HiddenTargets(...).
        targets: teacher targets of N rows; with alpha = 1 they are ignored and may be None.
        alpha, temperature, divergence, beta: see `distillation_loss`.
        student_transform: softcap or scale of the student's head, from `l2s.models.head.logit_transform`.
        chunk_rows: rows projected at a time; None chooses by the size of the vocabulary.

    Raises:
        ValueError: a setting out of range, targets given twice or incompletely, shapes that disagree, a sharded or
            quantised weight, or a label outside the common vocabulary.
    """
    check_objective(alpha, temperature, divergence, beta)
    targets = _one_source(targets, teacher_hidden, teacher_weight, alpha)
    check_head("student_weight", student_weight, student_hidden)
    if labels.shape != student_hidden.shape[:1]:
        raise ValueError(f"labels {tuple(labels.shape)} do not fit student_hidden {tuple(student_hidden.shape)}")
    if targets is not None:
        check_targets(targets, len(labels))
    vocabulary = common_vocabulary(len(student_weight), targets)
    if vocabulary < len(student_weight):  # even a full slice would copy the gradient
        student_weight = student_weight[:vocabulary]
    if not torch.is_grad_enabled():
        student_hidden, student_weight = student_hidden.detach(), student_weight.detach()
    student_hidden, student_weight = _autocast(student_hidden, student_weight)
    kept = labels != IGNORE_INDEX
    labels = labels[kept].long()
    check_labels(labels, vocabulary)
    teacher_transform = targets.transform if isinstance(targets, HiddenTargets) else IDENTITY
    loss_sum, ce_sum, divergence_sum = _FusedHead.apply(  # type: ignore[no-untyped-call]
        student_hidden[kept],
        student_weight,
        labels,
        None if targets is None else select_rows(targets, kept),
        Objective(alpha, temperature, divergence, beta),
        HeadTransforms(student_transform, teacher_transform),
        chunk_rows or _chunk_rows(student_weight),
    )
    return DistillationLoss(loss_sum, ce_sum, divergence_sum, len(labels))


def _one_source(targets: Targets | None, hidden: Tensor | None, weight: Tensor | None, alpha: float) -> Targets | None:
    """The targets, however they were given; None with alpha = 1, which ignores them."""
    if hidden is not None or weight is not None:
        if targets is not None or hidden is None or weight is None:
            raise ValueError("give teacher_hidden and teacher_weight together, or targets, not both")
        targets = HiddenTargets(hidden, weight)
    if alpha < 1 and targets is None:
        raise ValueError(f"alpha={alpha}: below 1 a teacher is needed; give targets or set alpha to 1")
    return targets if alpha < 1 else None


class _FusedHead(torch.autograd.Function):
    """Loss of N counted rows; the forward pass computes the gradient for an upstream gradient of 1."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        labels_N: Tensor,
        targets: Targets | None,
        objective: Objective,
        transforms: HeadTransforms,
        chunk_rows: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = torch.promote_types(weight_VH.dtype, torch.float32)
        hidden_grad, weight_grad = ctx.needs_input_grad[:2]
        grad_NH = torch.zeros_like(hidden_NH) if hidden_grad else None
        grad_VH = torch.zeros_like(weight_VH, dtype=wide) if weight_grad else None
        ce_sum, divergence_sum = torch.zeros(2, dtype=wide, device=hidden_NH.device).unbind()
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for start in range(0, len(hidden_NH), chunk_rows):
                rows = slice(start, start + chunk_rows)
                student_CV, teacher_CV = _project(hidden_NH[rows], weight_VH, targets, rows, objective, transforms)
                grad_CV, ce, divergence = chunk_loss(student_CV, teacher_CV, labels_N[rows], objective, transforms)
                ce_sum += ce
                divergence_sum += divergence
                if grad_NH is not None:
                    torch.mm(grad_CV, weight_VH, out=grad_NH[rows])
                if grad_VH is not None:
                    grad_VH += grad_CV.t() @ hidden_NH[rows]
                del student_CV, teacher_CV, grad_CV  # frees them before those of the next chunk are made
        ctx.grads = grad_NH, grad_VH
        ctx.weight_dtype = weight_VH.dtype
        ctx.mark_non_differentiable(ce_sum, divergence_sum)
        scale = (1 - objective.alpha) * objective.temperature**2
        return objective.alpha * ce_sum + scale * divergence_sum, ce_sum, divergence_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        grad_NH, grad_VH = ctx.grads
        hidden = None if grad_NH is None else grad_NH * grad
        weight = None if grad_VH is None else (grad_VH * grad).to(ctx.weight_dtype)
        return hidden, weight, None, None, None, None, None


def _project(
    hidden_CH: Tensor,
    weight_VH: Tensor,
    targets: Targets | None,
    rows: slice,
    objective: Objective,
    transforms: HeadTransforms,
) -> tuple[Tensor, Tensor | None]:
    """The projections of a chunk: the student's, and the teacher's if there is a teacher."""
    size, device = (len(hidden_CH), len(weight_VH)), hidden_CH.device
    student_CV = logits_buffer("student", *size, weight_VH.dtype, device)
    torch.mm(hidden_CH, weight_VH.t(), out=student_CV)
    if targets is None:
        return student_CV, None
    dtype = targets.weight.dtype if isinstance(targets, HiddenTargets) else weight_VH.dtype
    teacher_CV = logits_buffer("teacher", *size, dtype, device)
    write_teacher_logits(teacher_CV, targets, rows, student_CV, objective.temperature, transforms.student)
    return student_CV, teacher_CV


def _chunk_rows(weight_VH: Tensor) -> int:
    rows = CHUNK_BYTES // (len(weight_VH) * weight_VH.element_size())
    return max(1, rows if rows < 128 else rows // 128 * 128)  # a multiple of the tile size of matrix products


def _autocast(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the dtype that a linear layer would multiply in here: autocast's if it is on, else the weight's."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and weight.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        return hidden.to(dtype), weight.to(dtype)
    return hidden.to(weight.dtype), weight
