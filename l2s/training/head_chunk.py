"""Loss and logit gradient of one chunk of rows, in closed form: no autograd graph over the vocabulary.

With u = logits / T, p = softmax(u) the student and q the teacher, a divergence D(p) has the gradient

    dD/du_i = p_i (g_i - sum_j p_j g_j),   g_i = dD/dp_i

so a divergence is two elementwise terms: the summands of D, and p_i g_i (up to a constant in g, which cancels). Then

    d(alpha CE + (1 - alpha) T**2 D) / dlogits = alpha (p_1 - onehot) + (1 - alpha) T (p g - p sum(p g))

with p_1 the student at T = 1; forward KL gives the familiar alpha (p_1 - onehot) + (1 - alpha) T (p - q).
`l2s.training.losses` states the same divergences for autograd; the tests hold the two together.

Shapes: C rows of a chunk, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from l2s.training.logit_transform import LogitTransform

BLOCK_ELEMENTS = 1 << 20  # logits widened at a time: a few MB of temporaries stay in the cache


@dataclass(frozen=True)
class Objective:
    """The settings of the loss that a chunk needs; see `l2s.training.losses.distillation_loss`."""

    alpha: float
    temperature: float
    divergence: str
    beta: float
    student_transform: LogitTransform
    teacher_transform: LogitTransform


@dataclass(frozen=True)
class Terms:
    """Elementwise parts of a divergence [C, V]: D is the sum of `value`; `p_g` is p dD/dp."""

    value: Tensor
    p_g: Tensor


def _forward_kl(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    return Terms(q * (log_q - log_p), -q)


def _reverse_kl(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    log_ratio = p * (log_p - log_q)
    return Terms(log_ratio, log_ratio)


def _jsd(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    log_m = (beta * q + (1 - beta) * p).clamp_min(torch.finfo(p.dtype).tiny).log()
    student_part = (1 - beta) * p * (log_p - log_m)
    return Terms(beta * q * (log_q - log_m) + student_part, student_part)


def _skew_kl(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    m = (beta * q + (1 - beta) * p).clamp_min(torch.finfo(p.dtype).tiny)
    return Terms(q * (log_q - m.log()), -(1 - beta) * p * q / m)


def _total_variation(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    difference = p - q
    return Terms(0.5 * difference.abs(), 0.5 * p * difference.sign())


DIVERGENCE_TERMS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, float], Terms]] = {
    "forward_kl": _forward_kl,
    "reverse_kl": _reverse_kl,
    "jsd": _jsd,
    "skew_kl": _skew_kl,
    "total_variation": _total_variation,
}


def chunk_loss(
    student_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, objective: Objective
) -> tuple[Tensor, Tensor]:
    """The sums of cross-entropy and divergence; the gradient of their weighted sum overwrites `student_CV`.

    Args:
        student_CV: projected hidden states of the student.
        teacher_CV: the teacher's, or None for the cross-entropy alone.
        labels_C: counted labels.
        objective: the settings.

    Returns:
        Two scalars in fp32, or fp64 for fp64 logits.
    """
    rows = max(1, BLOCK_ELEMENTS // student_CV.shape[1])
    parts = []
    for start in range(0, len(student_CV), rows):
        block = slice(start, start + rows)
        teacher = None if teacher_CV is None else teacher_CV[block]
        gradient, ce, divergence = block_loss(student_CV[block], teacher, labels_C[block], objective)
        student_CV[block] = gradient
        parts.append(torch.stack([ce.sum(), divergence.sum()]))
    ce_sum, divergence_sum = torch.stack(parts).sum(0).unbind()
    return ce_sum, divergence_sum


def block_loss(
    student_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, objective: Objective
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient [C, V], cross-entropy [C] and divergence [C] of a few rows."""
    alpha, temperature = objective.alpha, objective.temperature
    student = objective.student_transform.apply(student_CV)
    log_p1 = student.log_softmax(-1)
    label_column = labels_C[:, None]
    ce = -log_p1.gather(1, label_column)[:, 0]
    gradient = alpha * log_p1.exp()
    gradient.scatter_add_(1, label_column, gradient.new_full(label_column.shape, -alpha))
    divergence = torch.zeros_like(ce)
    if teacher_CV is not None:
        log_p = (student / temperature).log_softmax(-1)
        log_q = (objective.teacher_transform.apply(teacher_CV) / temperature).log_softmax(-1)
        p, q = log_p.exp(), log_q.exp()
        terms = DIVERGENCE_TERMS[objective.divergence](log_p, log_q, p, q, objective.beta)
        divergence = terms.value.sum(-1)
        gradient += (1 - alpha) * temperature * (terms.p_g - p * terms.p_g.sum(-1, keepdim=True))
    if not objective.student_transform.is_identity:
        gradient *= objective.student_transform.slope(student)
    return gradient.to(student_CV.dtype), ce, divergence
