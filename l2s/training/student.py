"""The student in training: a causal LM whose forward pass ends in the loss.

The loss is computed inside the forward pass of the wrapped module, so that the output head is whole under FSDP2 and
ZeRO. It is divided once, by the number of response tokens in the global batch.

Shapes: B sequences, T positions, H hidden size, N response tokens of the batch.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from l2s.config import ExperimentConfig
from l2s.loss.fused_head import fused_distillation_loss
from l2s.loss.objective import Objective
from l2s.loss.reference import IGNORE_INDEX
from l2s.loss.targets import Targets
from l2s.models.head import decoder_of, logit_transform, output_head
from l2s.models.load import causal_lm_of
from l2s.run_dir import RunDir

SFT_OBJECTIVE = Objective(alpha=1.0)


def initial_student(config: ExperimentConfig, run_dir: RunDir) -> str:
    """The model that KD and OPD start from: this experiment's SFT student, or config.student_model."""
    use_sft = config.kd_init == "sft" or (config.kd_init == "auto" and run_dir.sft_model.exists())
    return str(run_dir.sft_model) if use_sft else config.student_model


class StudentWithLoss(nn.Module):
    """A causal LM whose forward pass ends in the distillation loss instead of logits."""

    accepts_loss_kwargs = True  # tells the trainer to pass num_items_in_batch, which forward divides by

    def __init__(self, student: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.config = student.config  # the trainer and accelerate read this
        self._no_split_modules = getattr(self.causal_lm, "_no_split_modules", None)  # modules that FSDP shards by
        self.transform = logit_transform(self.causal_lm)

    @property
    def causal_lm(self) -> Any:
        """The model without LoRA's wrapper; LoRA's layers are inside it."""
        return causal_lm_of(self.student)

    @property
    def loss_of_guessing(self) -> float:
        """The loss of a student to which all tokens are equally likely; the log of the vocabulary bounds both terms."""
        vocabulary = int(self.causal_lm.config.get_text_config().vocab_size)
        divergence = (1 - self.objective.alpha) * self.objective.temperature**2
        return math.log(vocabulary) * (self.objective.alpha + divergence)

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        targets: Targets | None = None,
        num_items_in_batch: Tensor | int = 1,
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            input_ids, position_ids, attention_mask: [B, T].
            labels: [B, T], shifted: labels[b, t] is what position t predicts; IGNORE_INDEX is not counted.
            targets: N rows, in the row-major order of the counted labels.
            num_items_in_batch: counted labels of the global batch.

        Returns:
            `loss`, `ce` and `divergence`: sums divided by num_items_in_batch; only `loss` has a gradient.
        """
        hidden_BTH = decoder_of(self.causal_lm)(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        counted_BT = labels != IGNORE_INDEX
        sums = fused_distillation_loss(
            hidden_BTH[counted_BT],
            output_head(self.causal_lm).weight,
            labels[counted_BT],
            targets=targets,
            alpha=self.objective.alpha,
            temperature=self.objective.temperature,
            divergence=self.objective.divergence,
            beta=self.objective.beta,
            student_transform=self.transform,
        )
        return {
            "loss": sums.loss_sum / num_items_in_batch,
            "ce": sums.ce_sum / num_items_in_batch,
            "divergence": sums.divergence_sum / num_items_in_batch,
        }
