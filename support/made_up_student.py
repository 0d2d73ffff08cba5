"""A small Qwen3 that trains on made-up batches, for measurements of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from l2s.config import ExperimentConfig
from l2s.models.attention import use_grouped_attention
from l2s.models.load import prepare_for_training
from l2s.plan.hardware import GIB, Hardware
from l2s.plan.model_size import ModelSize, size_of
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss

CPU = Hardware("cpu", False, 16 * GIB, 1e12, 1e10, 3e9, 1e-3, "made up")
SHAPE: dict[str, Any] = {
    "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32,
    "num_hidden_layers": 4, "tie_word_embeddings": True,
}  # fmt: skip
SEQUENCES, LENGTH, ANSWER = 4, 128, 32


def made_up_student(config: ExperimentConfig, vocabulary: int) -> StudentWithLoss:
    """A student of SHAPE with random weights, ready for SFT."""
    model: Any = Qwen3ForCausalLM(Qwen3Config(vocab_size=vocabulary, **SHAPE))
    use_grouped_attention(model, "cpu")
    return StudentWithLoss(prepare_for_training(model, config), SFT_OBJECTIVE)


def made_up_batch() -> dict[str, Tensor]:
    """SEQUENCES of LENGTH tokens, the last ANSWER of which are learned."""
    ids = torch.ones(SEQUENCES, LENGTH, dtype=torch.long)
    labels = ids.clone()
    labels[:, :-ANSWER] = -100
    return {"input_ids": ids, "labels": labels}


def made_up_size(config: ExperimentConfig, vocabulary: int, folder: Path) -> ModelSize:
    """What the plan knows of such a student; its configuration is written to `folder`."""
    Qwen3Config(vocab_size=vocabulary, **SHAPE).save_pretrained(folder)
    return size_of(str(folder), config)
