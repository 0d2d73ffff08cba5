"""What the fused head can learn from, and the logits that each kind of teacher gives for a chunk of rows.

Shapes: N response rows, H hidden size (student Hs, teacher Ht), V vocabulary, K kept teacher logits a row,
C rows of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from l2s.training.logit_transform import IDENTITY, LogitTransform


@dataclass(frozen=True)
class HiddenTeacher:
    """The teacher's last hidden states and its output head: exact over the whole vocabulary at any temperature.

    Attributes:
        hidden: [N, Ht], after the final norm.
        weight: [V, Ht].
        transform: softcap or scale of the teacher's head.
    """

    hidden: Tensor
    weight: Tensor
    transform: LogitTransform = IDENTITY


@dataclass(frozen=True)
class TopkTeacher:
    """The teacher's K largest logits and the exact mass outside them.

    Attributes:
        ids: [N, K] vocabulary ids, no two alike in a row.
        logits: [N, K], the teacher's logits there, after any softcap or scaling, at T = 1.
        log_normalizer: [N], log sum_v exp(logits_v / T) over the whole vocabulary at the training temperature T.
        tail_shape: [V], log of the mean distribution at T outside the top K; spreads a row's tail mass over the
            ids that the row did not keep. None: the tail is one class, of which only the total is compared.
    """

    ids: Tensor
    logits: Tensor
    log_normalizer: Tensor
    tail_shape: Tensor | None = None


Teacher = HiddenTeacher | TopkTeacher


def num_rows(teacher: Teacher) -> int:
    """Rows the teacher speaks about."""
    return len(teacher.hidden if isinstance(teacher, HiddenTeacher) else teacher.ids)


def select_rows(teacher: Teacher, kept: Tensor) -> Teacher:
    """The teacher on the rows that the mask `kept` [N] marks."""
    if isinstance(teacher, HiddenTeacher):
        return replace(teacher, hidden=teacher.hidden[kept])
    return replace(
        teacher,
        ids=teacher.ids[kept],
        logits=teacher.logits[kept],
        log_normalizer=teacher.log_normalizer[kept],
    )


def write_projection(out_CV: Tensor, teacher: HiddenTeacher, rows: slice) -> None:
    """Fill `out_CV` with the teacher's projected hidden states, before its LogitTransform."""
    weight_VH = teacher.weight[: out_CV.shape[1]]
    torch.mm(teacher.hidden[rows].to(weight_VH.dtype), weight_VH.t(), out=out_CV)


def write_topk_logits(
    out_CV: Tensor, teacher: TopkTeacher, rows: slice, student_logits_CV: Tensor, temperature: float
) -> None:
    """Fill `out_CV` with z such that softmax(z / T) is the teacher's K probabilities and a model of its tail.

    The tail follows `tail_shape` where there is one. Otherwise it follows the student's own tail: then every
    term of the tail has one and the same ratio p / q, and D and its gradient equal those of a single tail class
    (D(p, q) is a sum of p f(q / p) for every divergence here).

    Args:
        out_CV: what is written, in any floating type.
        teacher: K ids a row.
        rows: the chunk's rows of the teacher.
        student_logits_CV: the student's logits after its LogitTransform.
        temperature: T.
    """
    ids_CK = teacher.ids[rows].long()
    wide = torch.promote_types(student_logits_CV.dtype, torch.float32)
    log_q_CK = teacher.logits[rows].to(wide) / temperature - teacher.log_normalizer[rows, None].to(wide)
    if teacher.tail_shape is None:
        tail_CV = (student_logits_CV.to(wide) / temperature).log_softmax(-1)
    else:
        tail_CV = teacher.tail_shape.to(wide)[: out_CV.shape[1]].log_softmax(-1).expand(out_CV.shape)
    shape_outside_C1 = outside_mass(tail_CV.gather(1, ids_CK))
    log_scale_C1 = outside_mass(log_q_CK).log() - shape_outside_C1.log()
    torch.mul(tail_CV + log_scale_C1, temperature, out=out_CV)
    out_CV.scatter_(1, ids_CK, (log_q_CK * temperature).to(out_CV.dtype))


def outside_mass(log_probs_CK: Tensor) -> Tensor:
    """1 minus the probabilities of each row, [C, 1]; at least the rounding error of that difference."""
    mass = 1 - log_probs_CK.exp().sum(-1, keepdim=True)
    return mass.clamp_min(torch.finfo(mass.dtype).eps)
