"""Prompts of different lengths in one batch: how much padding it has, and models that need their prompts alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedModel

from l2s.chat import ChatRenderer
from l2s.generation.engines.protocol import Request

PROBED = 8  # tokens of the shorter prompt; the longer has twice as many
STEPS = 3  # tokens written after them: the first comes from the prompt, the others from the cache

# Relative difference of logits that is not rounding: that is 1e-6 in float32, and a hundredth in bfloat16.
TOO_DIFFERENT, TOO_DIFFERENT_16 = 1e-3, 0.1


def cut_batches(requests: Sequence[Request], batch_size: int, padding: int) -> Iterator[list[Request]]:
    """Batches of at most `batch_size` prompts, longest first, each with at most `padding` tokens of padding.

    Padding is prefilled like any token, so one long prompt must not widen a batch of short ones. Each further batch
    costs decoding steps; `padding` is the number of prompt tokens that cost the same.
    """
    batch: list[Request] = []
    padded = 0
    for request in sorted(requests, key=lambda request: (-len(request.prompt_ids), request.id)):
        missing = len(batch[0].prompt_ids) - len(request.prompt_ids) if batch else 0
        if batch and (len(batch) == batch_size or padded + missing > padding):
            yield batch
            batch, padded, missing = [], 0, 0
        batch.append(request)
        padded += missing
    if batch:
        yield batch


def left_padded(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` [B, T] of sequences that end together."""
    ids = [torch.tensor(tokens) for tokens in sequences]
    masks = [torch.ones_like(row) for row in ids]
    return {
        name: pad_sequence(rows, batch_first=True, padding_value=value, padding_side="left").to(device)
        for name, rows, value in (("input_ids", ids, pad_id), ("attention_mask", masks, 0))
    }


def needs_to_be_alone(model: PreTrainedModel, renderer: ChatRenderer) -> bool:
    """Whether what the model writes after a prompt depends on a longer prompt beside it.

    It should not. But RWKV takes no mask, and RecurrentGemma's convolution none, so they read padding like text; RWKV
    also mixes the states of a batch. Other people's code may count positions from the first token of padding.
    """
    text = renderer.prompt_ids([{"role": "user", "content": "What is 1 + 1? Say it in one word, please."}])
    short, long = text[-PROBED:], text[-2 * PROBED :]
    alone_SV, tokens = _begin_answer(model, [short], renderer.pad_token_id)
    beside_SV, others = _begin_answer(model, [short, long], renderer.pad_token_id)
    agreed = next((step for step, (one, other) in enumerate(zip(tokens, others, strict=False)) if one != other), STEPS)
    one, other = alone_SV[: agreed + 1], beside_SV[: agreed + 1]
    limit = TOO_DIFFERENT if model.dtype == torch.float32 else TOO_DIFFERENT_16
    return not bool((one - other).norm() <= limit * one.norm())  # NaN is different too


@torch.inference_mode()
def _begin_answer(model: PreTrainedModel, prompts: Sequence[list[int]], pad_id: int) -> tuple[Tensor, list[int]]:
    """Logits [STEPS, V] in float32 behind the first prompt, and the likeliest tokens; fewer after an end token."""
    inputs = left_padded(prompts, pad_id, model.device)
    found = cast(Any, model).generate(
        **inputs,
        generation_config=GenerationConfig(
            max_new_tokens=STEPS,
            do_sample=False,
            pad_token_id=pad_id,
            return_dict_in_generate=True,
            output_logits=True,
        ),
    )
    written = found.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    return torch.stack([logits_BV[0].float() for logits_BV in found.logits]), written
