"""In on-policy distillation the teacher reads the student's answers after its own prompts.

TRL gives both models the student's prompt. A teacher with another chat template would read a conversation that it does
not know, and what only the teacher sees (`teacher_context`) would be lost: it would pull the student toward what it
says without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from l2s.chat import ChatRenderer
from l2s.generation.engines.batches import left_padded
from l2s.models.head import decoder_of
from l2s.models.load import causal_lm_of
from l2s.tasks.types import Message

TOKENS = "teacher_prompt"  # of an example: the teacher's prompt as token ids
IDS, MASK = "teacher_prompt_ids", "teacher_prompt_mask"  # of a micro-batch: [B, P], padded on the left


@dataclass(frozen=True)
class TeacherView:
    """How the teacher is asked: with its own template, and with messages that may hold more than the student's."""

    teacher: ChatRenderer
    student: ChatRenderer

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The prompt that the student's tokens follow; the tag that opens its thinking is one of these tokens."""
        return self.teacher.sequence(messages, self.student.opening_ids).input_ids


class TeacherReadsItsOwn:
    """Mixed into TRL's DistillationTrainer; examples hold `teacher_prompt` where the teacher's prompt differs.

    The hidden states of both models are at the positions of the answer, which come last, so the loss needs no change.
    """

    def __init__(self, *args: Any, teacher: nn.Module, pad_token_id: int, **kwargs: Any) -> None:
        self._teacher, self._pad = teacher, pad_token_id
        self._micro_batch: dict[str, Tensor] = {}
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = cast(Any, super())._generate_and_score_completions(inputs)
        if any(TOKENS in example for example in inputs):
            plain = zip(output["prompt_ids"], output["prompt_mask"], strict=True)
            students = [ids[mask.bool()].tolist() for ids, mask in plain]
            asked = zip(inputs, students, strict=True)
            prompts = [example.get(TOKENS, prompt) for example, prompt in asked]
            padded = left_padded(prompts, self._pad, output["prompt_ids"].device)
            output[IDS], output[MASK] = padded["input_ids"], padded["attention_mask"]
        return output

    def _compute_loss(self, student: nn.Module, inputs: dict[str, Tensor], *args: Any) -> Any:
        self._micro_batch = inputs
        try:
            return cast(Any, super())._compute_loss(student, inputs, *args)
        finally:
            self._micro_batch = {}

    def _get_last_hidden_state(
        self, model: nn.Module, input_ids: Tensor, attention_mask: Tensor, answer_tokens: int
    ) -> Tensor:
        """The hidden states that predict the last `answer_tokens` tokens.

        In place of TRL's, which leaves the positions to the model: most count the padding on the left, and learned
        positions (GPT-2) would be wrong.
        """
        own = self._micro_batch
        if model is self._teacher and IDS in own:
            input_ids = torch.cat([own[IDS], own["completion_ids"]], dim=1)
            attention_mask = torch.cat([own[MASK], own["completion_mask"]], dim=1)
        decoder = decoder_of(causal_lm_of(model))
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
        hidden: Tensor = decoder(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        return hidden[:, -answer_tokens - 1 : -1]
