"""The distillation loss on whole logits: the reference that every faster path is tested against.

    loss = alpha * CE(student, labels) + (1 - alpha) * T**2 * D(teacher_T, student_T)

summed over the counted tokens. p is the student and q the teacher, both softened by the temperature T; the
cross-entropy is at T = 1. The gradient of D falls as 1 / T**2; the factor T**2 keeps it comparable to that of the
cross-entropy (Hinton, Vinyals and Dean, 2015).

Shapes: V vocabulary; logits [..., V], labels [...], already shifted: labels[i] is what logits[i] should predict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE_INDEX = -100  # label of a token that is not counted; torch's convention


class DistillationLoss(NamedTuple):
    """Sums over the counted tokens, in nats; a tuple, so that DDP and FSDP find the tensor to differentiate.

    Attributes:
        loss_sum: alpha * ce_sum + (1 - alpha) * T**2 * divergence_sum; the only field with a gradient.
        ce_sum: cross-entropy at T = 1.
        divergence_sum: D at T, without T**2 and without its weight; 0 with alpha = 1, where it is not computed.
        num_tokens: number of counted tokens on this device.
    """

    loss_sum: Tensor
    ce_sum: Tensor
    divergence_sum: Tensor
    num_tokens: int


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor | None,
    labels: Tensor,
    *,
    alpha: float,
    temperature: float,
    divergence: str = "forward_kl",
    beta: float = 0.5,
) -> DistillationLoss:
    """Cross-entropy with the labels and divergence from the teacher, summed over the tokens.

    With alpha = 1 the teacher is ignored and may be None. Otherwise both vocabularies are cut to the smaller one,
    because padding rows of an embedding matrix have no probability.

    Args:
        student_logits: [..., Vs].
        teacher_logits: [..., Vt], or None with alpha = 1.
        labels: [...], integers; IGNORE_INDEX is not counted.
        alpha: weight of the cross-entropy, 0..1.
        temperature: T > 0.
        divergence: a key of DIVERGENCES.
        beta: mixture weight of jsd and skew_kl, inside (0, 1).

    Raises:
        ValueError: a setting out of range, shapes that disagree, or a label outside the common vocabulary.
    """
    check_objective(alpha, temperature, divergence, beta)
    if student_logits.shape[:-1] != labels.shape:
        raise ValueError(f"labels {tuple(labels.shape)} do not fit student_logits {tuple(student_logits.shape)}")
    counted = labels != IGNORE_INDEX
    student, counted_labels = _widen(student_logits[counted]), labels[counted]
    if alpha == 1:
        ce_sum = _cross_entropy_sum(student, counted_labels)
        return DistillationLoss(ce_sum, ce_sum.detach(), torch.zeros_like(ce_sum), len(counted_labels))
    if teacher_logits is None:
        raise ValueError(f"alpha={alpha}: below 1 a teacher is needed; give teacher_logits or set alpha to 1")
    if teacher_logits.shape[:-1] != labels.shape:
        raise ValueError(f"labels {tuple(labels.shape)} do not fit teacher_logits {tuple(teacher_logits.shape)}")
    vocabulary = min(student_logits.shape[-1], teacher_logits.shape[-1])
    student, teacher = student[:, :vocabulary], _widen(teacher_logits[counted])[:, :vocabulary]
    ce_sum = _cross_entropy_sum(student, counted_labels)
    log_p, log_q = (student / temperature).log_softmax(-1), (teacher / temperature).log_softmax(-1)
    divergence_sum = DIVERGENCES[divergence](log_p, log_q, beta).sum()
    loss_sum = alpha * ce_sum + (1 - alpha) * temperature**2 * divergence_sum
    return DistillationLoss(loss_sum, ce_sum.detach(), divergence_sum.detach(), len(counted_labels))


def check_objective(alpha: float, temperature: float, divergence: str, beta: float) -> None:
    """Refuse settings for which the loss is not defined.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}: must be from 0 to 1")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature={temperature}: must be positive and finite")
    if divergence not in DIVERGENCES:
        raise ValueError(f"divergence={divergence!r}: must be one of {', '.join(DIVERGENCES)}")
    if not 0 < beta < 1:
        raise ValueError(f"beta={beta}: must lie between 0 and 1, both excluded")


def check_labels(labels: Tensor, vocabulary: int) -> None:
    """Refuse labels (without IGNORE_INDEX) that are not rows of the common vocabulary.

    Raises:
        ValueError: names the first such label.
    """
    outside = labels[(labels < 0) | (labels >= vocabulary)]
    if len(outside):
        raise ValueError(f"label {int(outside[0])}: outside the vocabulary of {vocabulary} that both models share")


def _widen(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    check_labels(labels, logits.shape[-1])
    return F.cross_entropy(logits, labels.long(), reduction="sum")


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """sum_v a (log a - log b), with 0 log 0 = 0; over the last dimension."""
    return (log_a.exp() * (log_a - log_b)).where(log_a > -torch.inf, 0).sum(-1)


def forward_kl(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """KL(q || p): the student must cover what the teacher finds likely."""
    return _kl(log_q, log_p)


def reverse_kl(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """KL(p || q): the student must avoid what the teacher finds unlikely."""
    return _kl(log_p, log_q)


def jsd(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """beta KL(q || m) + (1 - beta) KL(p || m) with m = beta q + (1 - beta) p (Agarwal et al., 2024)."""
    log_m = _log_mixture(log_p, log_q, beta)
    return beta * _kl(log_q, log_m) + (1 - beta) * _kl(log_p, log_m)


def skew_kl(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """KL(q || beta q + (1 - beta) p) (Ko et al., 2024)."""
    return _kl(log_q, _log_mixture(log_p, log_q, beta))


def total_variation(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """Half the L1 distance of p and q."""
    return 0.5 * (log_p.exp() - log_q.exp()).abs().sum(-1)


def _log_mixture(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    weight = torch.tensor(beta, dtype=log_p.dtype, device=log_p.device)
    return torch.logaddexp(log_q + weight.log(), log_p + (1 - weight).log())


DIVERGENCES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jsd": jsd,
    "skew_kl": skew_kl,
    "total_variation": total_variation,
}
