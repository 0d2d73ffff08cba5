"""A tiny model that reads images beside text, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Gemma3Config

from l2s.models.tiny import build_tokenizer


def save_tiny_gemma(folder: Path) -> str:
    """A Gemma 3 with a vision tower, whose weights no text gives a gradient."""
    tokenizer = build_tokenizer()
    text = {
        "vocab_size": 304, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8,
        "num_attention_heads": 4, "num_key_value_heads": 2, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    pixels = {"image_size": 28, "patch_size": 14}
    settings = Gemma3Config(text_config=text, vision_config=vision | pixels, mm_tokens_per_image=4)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
