"""A pair of two-layer Qwen3 models with random weights and a byte-level tokenizer, for checks and tests."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """256 byte tokens and three special tokens: it encodes any text, one token per byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([PAD, START, END])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=END, pad_token=PAD, chat_template=CHAT_TEMPLATE, padding_side="left"
    )


def save_tiny_model(folder: Path, *, seed: int, hidden_size: int, vocab_size: int, tied: bool) -> None:
    """Write a two-layer Qwen3 with random float32 weights and its tokenizer."""
    tokenizer = build_tokenizer()
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden_size // 4,
        max_position_embeddings=1 << 15,
        tie_word_embeddings=tied,
        initializer_range=0.2,  # wide enough that two models disagree
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_tiny_pair(folder: Path) -> None:
    """Write teacher/ (hidden size 64, 320 rows in its head) and student/ (32, 304 rows, tied); both know 259 tokens."""
    save_tiny_model(folder / "teacher", seed=1, hidden_size=64, vocab_size=320, tied=False)
    save_tiny_model(folder / "student", seed=2, hidden_size=32, vocab_size=304, tied=True)
