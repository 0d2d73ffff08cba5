"""A small teacher and student, to compare the fused loss with the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l2s.loss.fused_head import TopkTargets, fused_distillation_loss
from l2s.loss.reference import IGNORE_INDEX, DistillationLoss, distillation_loss
from l2s.loss.targets import LowRankTail

ROWS, STUDENT_SIZE, TEACHER_SIZE, VOCABULARY = 9, 5, 7, 37
BETA = 0.3
Array = NDArray[np.float64]


class Pair:
    """Hidden states, heads and labels of a small teacher and student; row 2 is not counted."""

    def __init__(self, dtype: torch.dtype = torch.float64, *, teacher_vocabulary: int = VOCABULARY) -> None:
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.hidden = draw(ROWS, STUDENT_SIZE).to(dtype).requires_grad_()
        self.weight = draw(VOCABULARY, STUDENT_SIZE).to(dtype).requires_grad_()
        self.teacher_hidden = draw(ROWS, TEACHER_SIZE).to(dtype)
        self.teacher_weight = draw(teacher_vocabulary, TEACHER_SIZE).to(dtype)
        self.labels = torch.randint(VOCABULARY, (ROWS,), generator=generator)
        self.labels[2] = IGNORE_INDEX

    @property
    def teacher_logits(self) -> Tensor:
        return self.teacher_hidden @ self.teacher_weight.T

    def topk(self, k: int, temperature: float, *, with_tail: bool) -> TopkTargets:
        values, ids = self.teacher_logits.topk(k)
        log_normalizer = (self.teacher_logits / temperature).logsumexp(-1)
        tail = self.tail(ids, temperature) if with_tail else None
        return TopkTargets(ids, values, log_normalizer, tail)

    def tail(self, ids: Tensor, temperature: float) -> LowRankTail:
        """Two components of the teacher's hidden states, and an offset that gives each tail its true mass."""
        codes_NR, basis_VR = self.teacher_hidden[:, :2], self.teacher_weight[:, :2]
        true, model = self.teacher_logits / temperature, codes_NR @ basis_VR.T / temperature
        log_masses = [x.scatter(1, ids, -1e9).logsumexp(-1, keepdim=True) for x in (true, model)]
        offset_N1 = log_masses[0] - log_masses[1] - true.logsumexp(-1, keepdim=True)
        ones_V1 = torch.ones(VOCABULARY, 1, dtype=torch.float64)
        return LowRankTail(torch.cat([codes_NR, temperature * offset_N1], 1), torch.cat([basis_VR, ones_V1], 1))

    def fused(self, **settings: Any) -> DistillationLoss:
        if "targets" not in settings:
            settings |= {"teacher_hidden": self.teacher_hidden, "teacher_weight": self.teacher_weight}
        return fused_distillation_loss(
            self.hidden, self.weight, self.labels, **({"alpha": 0.5, "temperature": 2.0, "beta": BETA} | settings)
        )

    def reference(self, **settings: Any) -> DistillationLoss:
        return distillation_loss(
            self.hidden @ self.weight.T,
            self.teacher_logits,
            self.labels,
            **({"alpha": 0.5, "temperature": 2.0, "beta": BETA} | settings),
        )

    def gradients(self, loss: DistillationLoss) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss.loss_sum, (self.hidden, self.weight))


def assert_agree(pair: Pair, one: DistillationLoss, other: DistillationLoss, rel: float = 1e-10) -> None:
    """Check that loss, both parts, count and both gradients agree."""
    torch.testing.assert_close(one[:3], other[:3], rtol=rel, atol=rel)
    assert one.num_tokens == other.num_tokens
    for a, b in zip(pair.gradients(one), pair.gradients(other), strict=True):
        assert (a - b).norm() <= rel * b.norm() + 1e-14
