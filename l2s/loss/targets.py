"""Teacher targets for the fused head, and the logits that each kind gives for a chunk of rows.

Shapes: N response rows, H hidden size (student Hs, teacher Ht), V vocabulary, K kept teacher logits a row, F factors of
their tail, C rows of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from l2s.loss.chunk import row_blocks
from l2s.loss.logit_transform import IDENTITY, LogitTransform


@dataclass(frozen=True)
class HiddenTargets:
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
class LowRankTail:
    """T log q outside the K ids, as a product of small matrices that is never stored.

    Attributes:
        weights: [N, F].
        factors: [V, F]. weights @ factors.T is valid for ids outside the K; its softened sum is their mass.
    """

    weights: Tensor
    factors: Tensor


@dataclass(frozen=True)
class TopkTargets:
    """The teacher's K largest logits and the exact mass outside them.

    Attributes:
        ids: [N, K] vocabulary ids, distinct in a row.
        logits: [N, K], the teacher's logits at these ids, after any softcap or scaling, at T = 1.
        log_normalizer: [N], log sum_v exp(logits_v / T) over the whole vocabulary at the training temperature T.
        tail: how the mass outside the K ids is spread. None: the tail is one class, and only its total is compared.
        vocabulary: number of ids that the teacher has; rows of the student's head above it are padding. None: the
            number of rows of the tail's factors, or without a tail all rows of the student.
    """

    ids: Tensor
    logits: Tensor
    log_normalizer: Tensor
    tail: LowRankTail | None = None
    vocabulary: int | None = None

    @property
    def counted(self) -> int | None:
        """`vocabulary`, or the number that the tail implies."""
        return self.vocabulary if self.tail is None else len(self.tail.factors)


Targets = HiddenTargets | TopkTargets


def check_head(name: str, weight: Tensor, hidden: Tensor) -> None:
    """Refuse an output head [V, H] that cannot be multiplied with hidden states [N, H].

    Raises:
        ValueError: a weight that is sharded, quantised or of another size.
    """
    if type(weight).__name__ == "DTensor":
        raise ValueError(f"{name} is sharded; compute the loss inside the wrapped forward, where FSDP gathers it")
    if not weight.is_floating_point():
        raise ValueError(f"{name} has type {weight.dtype}: quantised; keep the output head in bf16")
    if weight.dim() != 2 or hidden.dim() != 2 or weight.shape[1] != hidden.shape[1]:
        raise ValueError(f"{name} {tuple(weight.shape)} does not fit hidden states {tuple(hidden.shape)}")


def check_targets(targets: Targets, rows: int) -> None:
    """Require `rows` rows of targets whose parts agree.

    Raises:
        ValueError: names the part.
    """
    if isinstance(targets, HiddenTargets):
        check_head("teacher_weight", targets.weight, targets.hidden)
        row_counts = {len(targets.hidden)}
    else:
        if targets.ids.shape != targets.logits.shape:
            raise ValueError(f"teacher ids {tuple(targets.ids.shape)}, but logits {tuple(targets.logits.shape)}")
        row_counts = {len(targets.ids), len(targets.log_normalizer)}
        if targets.tail is not None:
            row_counts.add(len(targets.tail.weights))
            if targets.vocabulary not in (None, len(targets.tail.factors)):
                raise ValueError(f"teacher vocabulary {targets.vocabulary}, its tail has {len(targets.tail.factors)}")
    if row_counts != {rows}:
        raise ValueError(f"the teacher has {max(row_counts - {rows})} rows, labels {rows}")


def common_vocabulary(student_rows: int, targets: Targets | None) -> int:
    """The number of rows that both output heads have. Rows above are padding and have no probability.

    Raises:
        ValueError: the top-K targets have ids or mass above them.
    """
    match targets:
        case HiddenTargets():
            return min(student_rows, len(targets.weight))
        case TopkTargets():
            shared = student_rows if targets.counted is None else targets.counted
            if student_rows < shared:
                raise ValueError(f"the teacher counts {shared} ids, the student's head only {student_rows}")
            if targets.ids.numel() and int(targets.ids.max()) >= shared:
                raise ValueError(f"teacher id {int(targets.ids.max())}: outside the vocabulary of {shared}")
            return shared
        case None:
            return student_rows


def select_rows(targets: Targets, kept: Tensor) -> Targets:
    """The targets of the rows that the mask `kept` [N] selects."""
    if isinstance(targets, HiddenTargets):
        return replace(targets, hidden=targets.hidden[kept])
    return replace(
        targets,
        ids=targets.ids[kept],
        logits=targets.logits[kept],
        log_normalizer=targets.log_normalizer[kept],
        tail=targets.tail and replace(targets.tail, weights=targets.tail.weights[kept]),
    )


def write_teacher_logits(
    out_CV: Tensor,
    targets: Targets,
    rows: slice,
    student_CV: Tensor,
    temperature: float,
    student_transform: LogitTransform,
) -> None:
    """Fill `out_CV` with z such that softmax(transform(z) / T) is the teacher's distribution for `rows`.

    Args:
        out_CV: output, any floating-point dtype.
        targets: targets of all rows.
        rows: rows of the chunk.
        student_CV: the student's projected hidden states for the chunk.
        temperature: T of the loss.
        student_transform: transform of the student's head; a tail without a model follows the student's logits.
    """
    if isinstance(targets, HiddenTargets):
        weight_VH = targets.weight[: out_CV.shape[1]]
        torch.mm(targets.hidden[rows].to(weight_VH.dtype), weight_VH.t(), out=out_CV)
        return
    write_topk_logits(out_CV, targets, rows, student_CV, temperature, student_transform)


def write_topk_logits(
    out_CV: Tensor,
    targets: TopkTargets,
    rows: slice,
    student_CV: Tensor,
    temperature: float,
    student_transform: LogitTransform,
) -> None:
    """`write_teacher_logits` of top-K targets: T log q, exact at the K ids.

    Outside the K ids, a row follows the teacher's tail. Without one it follows the student's own logits, scaled to the
    teacher's mass there. Then all tail ids have the same ratio q / p, so D and its gradient equal those of one tail
    class, because every divergence here is a sum of p f(q / p).
    """
    wide = torch.promote_types(out_CV.dtype, torch.float32)
    ids_CK = targets.ids[rows].long()
    log_q_CK = targets.logits[rows].to(wide) / temperature - targets.log_normalizer[rows, None].to(wide)
    if targets.tail is not None:
        weights_CF, factors_VF = targets.tail.weights[rows], targets.tail.factors
        torch.mm(weights_CF.to(out_CV.dtype), factors_VF.to(out_CV.dtype).t(), out=out_CV)
        rows_C1 = torch.arange(len(ids_CK), device=ids_CK.device)[:, None]
        out_CV[rows_C1, ids_CK] = (log_q_CK * temperature).to(out_CV.dtype)  # scatter_ would copy the whole buffer
        return
    for block in row_blocks(out_CV):
        ids, log_q = ids_CK[block], log_q_CK[block]
        tail = (student_transform.apply(student_CV[block]) / temperature).log_softmax(-1)
        joined = (tail + _tail_offset(log_q, tail.gather(1, ids))).scatter_(1, ids, log_q)
        out_CV[block] = joined.mul_(temperature)


def _tail_offset(log_q_CK: Tensor, log_tail_CK: Tensor) -> Tensor:
    """log of the factor [C, 1] that scales a distribution outside the K ids to the mass that q has there."""
    return (_mass_outside(log_q_CK) / _mass_outside(log_tail_CK)).log()


def _mass_outside(log_probs_CK: Tensor) -> Tensor:
    """1 minus the sum of a row's probabilities, [C, 1]; at least the rounding error of that difference."""
    mass = 1 - log_probs_CK.exp().sum(-1, keepdim=True)
    return mass.clamp_min(torch.finfo(mass.dtype).eps)
