"""Loss and logit gradient of one chunk of rows, in closed form: no autograd graph over the vocabulary.

With p the student at T, p_1 the student at T = 1 and p g the second term of a divergence (`l2s.loss.divergences`),

    d(alpha CE + (1 - alpha) T**2 D) / dlogits = alpha (p_1 - onehot) + (1 - alpha) T (p g - p sum(p g))

Forward KL gives the familiar alpha (p_1 - onehot) + (1 - alpha) T (p - q).

Shapes: C rows of a chunk, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from l2s.loss.divergences import DIVERGENCES
from l2s.loss.kernel import kernel_chunk_loss, load_kernel
from l2s.loss.logit_transform import IDENTITY, HeadTransforms
from l2s.loss.objective import Objective

CPU_BLOCK_ELEMENTS = 1 << 18  # logits widened at a time: temporaries of 1 MB fit the L2 cache
CUDA_BLOCK_ELEMENTS = 1 << 26


BlockLoss = Callable[[Tensor, Tensor | None, Tensor, Objective, HeadTransforms], tuple[Tensor, Tensor, Tensor]]


def chunk_loss(
    student_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, objective: Objective, transforms: HeadTransforms
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient [C, V] of the weighted sum, and the sums of cross-entropy and divergence.

    CUDA: one compiled function for the whole chunk. CPU: the C kernel for bf16 rows with forward KL; anything else is
    widened a few rows at a time, so that temporaries stay in the cache.

    Args:
        student_CV: projected hidden states of the student; the gradient may overwrite them.
        teacher_CV: projected hidden states of the teacher, or None for the cross-entropy alone.
        labels_C: counted labels.
        objective: settings of the loss.
        transforms: what each model does to its projection.

    Returns:
        The gradient in the dtype of the logits, and two scalars in fp32, or fp64 for fp64 logits.
    """
    if student_CV.is_cuda:
        gradient_CV, ce_C, divergence_C = compiled_block_loss()(student_CV, teacher_CV, labels_C, objective, transforms)
        return gradient_CV, ce_C.sum(), divergence_C.sum()
    kernel = load_kernel() if _suits_kernel(student_CV, teacher_CV, objective, transforms) else None
    if kernel is not None:
        sums = kernel_chunk_loss(
            kernel, student_CV, teacher_CV, labels_C, alpha=objective.alpha, temperature=objective.temperature
        )
        return student_CV, *sums
    return student_CV, *plain_chunk_loss(student_CV, teacher_CV, labels_C, objective, transforms)


def _suits_kernel(
    student_CV: Tensor, teacher_CV: Tensor | None, objective: Objective, transforms: HeadTransforms
) -> bool:
    plain_heads = transforms.student == transforms.teacher == IDENTITY
    return (
        student_CV.device.type == "cpu"
        and student_CV.dtype == torch.bfloat16
        and plain_heads
        and (teacher_CV is None or (teacher_CV.dtype == torch.bfloat16 and objective.divergence == "forward_kl"))
    )


@cache
def compiled_block_loss() -> BlockLoss:
    """`block_loss` through torch.compile; uncompiled, with a warning, if compilation fails."""
    compiled = torch.compile(block_loss)
    works = True

    def run(
        student_CV: Tensor,
        teacher_CV: Tensor | None,
        labels_C: Tensor,
        objective: Objective,
        transforms: HeadTransforms,
    ) -> tuple[Tensor, Tensor, Tensor]:
        nonlocal works
        if works:
            try:
                return compiled(student_CV, teacher_CV, labels_C, objective, transforms)
            except torch._dynamo.exc.TorchDynamoException as error:
                warnings.warn(f"torch.compile failed, so the loss runs uncompiled and slower: {error}", stacklevel=2)
                works = False
        return block_loss(student_CV, teacher_CV, labels_C, objective, transforms)

    return run


def row_blocks(logits_CV: Tensor) -> Iterator[slice]:
    """Slices of rows whose fp32 copies fit the cache (CPU) or take little memory (CUDA)."""
    elements = CUDA_BLOCK_ELEMENTS if logits_CV.is_cuda else CPU_BLOCK_ELEMENTS
    rows = max(torch.get_num_threads(), elements // logits_CV.shape[1])  # row-wise operations use one thread per row
    return (slice(start, start + rows) for start in range(0, len(logits_CV), rows))


def plain_chunk_loss(
    student_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, objective: Objective, transforms: HeadTransforms
) -> tuple[Tensor, Tensor]:
    """Sums of cross-entropy and divergence; the gradient overwrites `student_CV`."""
    wide = torch.promote_types(student_CV.dtype, torch.float32)
    ce_sum, divergence_sum = torch.zeros(2, dtype=wide, device=student_CV.device).unbind()
    for rows in row_blocks(student_CV):
        teacher = None if teacher_CV is None else teacher_CV[rows]
        student_CV[rows], ce_C, divergence_C = block_loss(
            student_CV[rows], teacher, labels_C[rows], objective, transforms
        )
        ce_sum += ce_C.sum()
        divergence_sum += divergence_C.sum()
    return ce_sum, divergence_sum


def block_loss(
    student_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, objective: Objective, transforms: HeadTransforms
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient [C, V], cross-entropy [C] and divergence [C] of a few rows."""
    alpha, temperature = objective.alpha, objective.temperature
    student = transforms.student.apply(student_CV)
    log_p1 = student.log_softmax(-1)
    label_C1 = labels_C[:, None]
    ce_C = -log_p1.gather(1, label_C1)[:, 0]
    gradient = log_p1.exp_().mul_(alpha)
    gradient.scatter_add_(1, label_C1, gradient.new_full(label_C1.shape, -alpha))
    divergence_C = torch.zeros_like(ce_C)
    if teacher_CV is not None:
        log_p = (student / temperature).log_softmax(-1)
        log_q = (transforms.teacher.apply(teacher_CV) / temperature).log_softmax(-1)
        p = log_p.exp()
        terms = DIVERGENCES[objective.divergence](log_p, log_q, p, log_q.exp(), objective.beta)
        divergence_C = terms.value.sum(-1)
        slope = p.mul_(terms.p_g.sum(-1, keepdim=True)).neg_().add_(terms.p_g)
        gradient += slope.mul_((1 - alpha) * temperature)
    if transforms.student != IDENTITY:
        gradient *= transforms.student.slope(student)
    return gradient.to(student_CV.dtype), ce_C, divergence_C
