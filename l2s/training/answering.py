"""Answers of a student between two updates: before on-policy distillation, and in each of its updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedModel

from l2s.chat import ChatRenderer, Renderers
from l2s.errors import UserError
from l2s.generation.engines.batches import needs_to_be_alone
from l2s.generation.engines.protocol import Completion, Request, Sampling, seed_of
from l2s.generation.engines.transformers import TransformersEngine
from l2s.models.load import causal_lm_of, without_dropout
from l2s.models.zero import is_zero

ANSWERS_HERE = frozenset({"cuda"})  # on a CPU TRL's `generate` serves


def check_batches(student: nn.Module, teacher: PreTrainedModel, renderers: Renderers) -> None:
    """Refuse models that cannot read prompts of different lengths in one batch, as TRL gives them in an update.

    Raises:
        UserError: one cannot.
    """
    if is_zero(student):  # its forward pass begins with the training
        return
    with without_dropout(student):
        for role, model in {"student": causal_lm_of(student), "teacher": teacher}.items():
            if needs_to_be_alone(model, renderers.of(role)):
                raise UserError(
                    f"{role}_model: {type(model).__name__} mixes up the prompts of a batch, so an update of on-policy "
                    "distillation would be wrong; leave opd out of --arms, or take another model"
                )


def answer_in_training(
    student: nn.Module,
    prompts: Sequence[Sequence[int]],
    renderer: ChatRenderer,
    sampling: Sampling,
    *,
    at_a_time: int,
) -> list[Completion]:
    """The answers of a student that is ready for training to prompts of token ids; it is left as it was."""
    causal_lm = causal_lm_of(student)
    declared = causal_lm.generation_config
    requests = [Request(str(number), list(prompt)) for number, prompt in enumerate(prompts)]
    with without_dropout(student):
        try:
            engine = TransformersEngine(causal_lm, renderer, batch_size=at_a_time)
            answers = {answer.id: answer for batch in engine.generate(requests, sampling) for answer in batch}
        finally:
            causal_lm.generation_config = declared  # the engine replaced it, and TRL reads its end tokens
    return [answers[request.id] for request in requests]


@contextmanager
def without_own_settings(causal_lm: PreTrainedModel) -> Iterator[None]:
    """In this block answers follow the caller's settings alone: what a model's file forbids is not its distribution."""
    declared = causal_lm.generation_config
    causal_lm.generation_config = GenerationConfig()
    try:
        yield
    finally:
        causal_lm.generation_config = declared


class AnswersInSteps:
    """Mixed into TRL's DistillationTrainer: an update's answers have no dropout; on a GPU they come from our engine.

    TRL's `generate` launches each kernel of each token from Python. The engine launches a token at once
    (static_decoding.py), and where memory runs out it takes fewer prompts. A student that DeepSpeed shards is left to
    TRL.
    """

    def __init__(self, *args: Any, renderer: ChatRenderer, **kwargs: Any) -> None:
        self._renderer = renderer
        super().__init__(*args, **kwargs)

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> list[list[int]]:
        trainer = cast(Any, self)
        student = trainer.accelerator.unwrap_model(trainer.model)
        device = trainer.accelerator.device
        if device.type not in ANSWERS_HERE or is_zero(student):
            # TRL answers with the model as it trains, and transformers adds what the model's file says of answers
            with without_dropout(student), without_own_settings(causal_lm_of(student)):
                return cast(list[list[int]], cast(Any, super())._generate_single_turn(prompt_ids, *args, **kwargs))
        settings = trainer.args
        seed = seed_of(settings.seed, (f"update {trainer.state.global_step}", f"rank {settings.process_index}"))
        sampling = Sampling(settings.max_completion_length, settings.temperature, seed=seed)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # the engine sets seeds
            answers = answer_in_training(student, prompt_ids, self._renderer, sampling, at_a_time=len(prompt_ids))
        return [answer.token_ids or [] for answer in answers]
