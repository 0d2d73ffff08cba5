"""How far a student agrees with its teacher at the student's own tokens, measured in each update of on-policy training.

Shapes: B answers, K positions of the longest answer, H hidden size (each model's own), N tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from l2s.loss.logit_transform import declared_transform
from l2s.models.head import Head, output_head
from l2s.models.zero import gathered

OVERLAP_K = 16  # as in "Rethinking On-Policy Distillation" (arXiv 2604.13016)
MEASURED_TOKENS = 128  # of a micro-batch on a rank: logits of all tokens would cost as much as the loss


def top_k_overlap(student_logits_NV: Tensor, teacher_logits_NV: Tensor, k: int = OVERLAP_K) -> Tensor:
    """[N] share of the student's k likeliest next tokens that are among the teacher's k likeliest.

    overlap(t) = |top_k(q_t) & top_k(p_t)| / k, with q_t and p_t the distributions of student and teacher after the same
    prefix, which the student wrote. This is the overlap ratio of arXiv 2604.13016: it rises where on-policy
    distillation works, and stays low or falls where it fails.
    """
    k = min(k, student_logits_NV.shape[-1])
    student_NK, teacher_NK = (logits.topk(k).indices for logits in (student_logits_NV, teacher_logits_NV))
    return (student_NK[:, :, None] == teacher_NK[:, None, :]).any(-1).float().mean(-1)


def reverse_kl(student_logits_NV: Tensor, teacher_logits_NV: Tensor) -> Tensor:
    """[N] KL(student || teacher) = sum_v q(v) (log q(v) - log p(v)) at temperature 1, in nats."""
    student_NV, teacher_NV = student_logits_NV.log_softmax(-1), teacher_logits_NV.log_softmax(-1)
    return (student_NV.exp() * (student_NV - teacher_NV)).sum(-1)


class MeasuresAgreement:
    """Mixed into TRL's DistillationTrainer: the log of a step also has `top_k_overlap`, `reverse_kl` and `ended`.

    TRL computes the hidden states of the student and then of the teacher; both are caught on their way, and logits are
    computed for a sample of tokens. `ended` is the share of answers that close with the template's end of turn.
    """

    def __init__(self, *args: Any, student: nn.Module, teacher: nn.Module, end_id: int, **kwargs: Any) -> None:
        # no check of the transforms on the models: TRL computes the loss, with its own
        self._heads = [
            Head(output_head(model).weight, declared_transform(cast(PreTrainedModel, model).config))
            for model in (student, teacher)
        ]
        self._end_id = end_id
        self._hidden: list[Tensor] = []
        self._sums: dict[str, Tensor] = {}
        cast(Any, super()).__init__(*args, teacher=teacher, **kwargs)

    def _get_last_hidden_state(self, *args: Any, **kwargs: Any) -> Tensor:
        hidden_BKH: Tensor = cast(Any, super())._get_last_hidden_state(*args, **kwargs)
        self._hidden.append(hidden_BKH.detach())
        return hidden_BKH

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss of a micro-batch; adds up what `log` reports."""
        self._hidden = []
        loss = cast(Any, super()).compute_loss(model, inputs, return_outputs, num_items_in_batch)
        student_BKH, teacher_BKH = self._hidden
        self._hidden = []
        self._add(student_BKH, teacher_BKH, inputs["completion_ids"], inputs["completion_mask"].bool())
        return loss

    @torch.no_grad()
    def _add(self, student_BKH: Tensor, teacher_BKH: Tensor, ids_BK: Tensor, written_BK: Tensor) -> None:
        last_B = ids_BK.gather(1, written_BK.sum(1, keepdim=True) - 1)
        chosen_N = evenly(int(written_BK.sum()), MEASURED_TOKENS).to(ids_BK.device)
        with gathered([head.weight for head in self._heads]):
            student_NV, teacher_NV = (
                head.logits(hidden_BKH[written_BK][chosen_N].to(head.weight.dtype), len(head.weight))
                for head, hidden_BKH in zip(self._heads, (student_BKH, teacher_BKH), strict=True)
            )
        found = {
            "answers": torch.tensor(float(len(ids_BK))),
            "ended": (last_B == self._end_id).sum(),
            "tokens": torch.tensor(float(len(chosen_N))),
            "top_k_overlap": top_k_overlap(student_NV, teacher_NV).sum(),
            "reverse_kl": reverse_kl(student_NV, teacher_NV).sum(),
        }
        for name, value in found.items():
            self._sums[name] = self._sums.get(name, 0) + value.to(ids_BK.device, torch.float32)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means over all micro-batches and ranks to the log of a step."""
        if "loss" in logs and self._sums:
            reduce = cast(Any, self).accelerator.reduce
            total = {name: float(reduce(value, reduction="sum")) for name, value in self._sums.items()}
            self._sums = {}
            logs["ended"] = total["ended"] / total["answers"]
            for name in ("top_k_overlap", "reverse_kl"):
                logs[name] = total[name] / total["tokens"]
        cast(Any, super()).log(logs, start_time)


def evenly(number: int, most: int) -> Tensor:
    """At most `most` of the places 0 to number - 1, at equal distances, so that early and late tokens count alike."""
    return torch.linspace(0, number - 1, min(number, most)).round().long()
