"""Grouped attention, in its form for CPUs and for GPUs, gives the result of transformers' attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from l2s.models.attention import ATTENTION, use_grouped_attention


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / "teacher", dtype=torch.float64).requires_grad_(False)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])  # both run on the CPU here
def test_logits_and_generation_are_those_of_the_usual_attention(tiny_model_dir: Path, device_type: str) -> None:
    usual, grouped = load(tiny_model_dir), load(tiny_model_dir)
    use_grouped_attention(grouped, device_type)
    assert grouped.config._attn_implementation == ATTENTION[device_type][0]
    torch.manual_seed(0)
    tokens = torch.randint(0, 256, (3, 12))
    mask = torch.ones_like(tokens)
    mask[0, :5] = mask[1, :2] = 0  # left padding
    inputs = {"input_ids": tokens, "attention_mask": mask}
    real = mask.bool()
    torch.testing.assert_close(grouped(**inputs).logits[real], usual(**inputs).logits[real], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(grouped(tokens).logits, usual(tokens).logits, rtol=1e-9, atol=1e-9)  # without a mask
    last, usual_last = (model(**inputs, use_cache=True).past_key_values for model in (grouped, usual))
    longer = torch.cat([mask, torch.ones(3, 1, dtype=torch.long)], dim=1)  # one more token, as in decoding
    step = {"input_ids": tokens[:, :1], "attention_mask": longer}
    torch.testing.assert_close(
        grouped(**step, past_key_values=last).logits,
        usual(**step, past_key_values=usual_last).logits,
        rtol=1e-9,
        atol=1e-9,
    )
    options = {"max_new_tokens": 8, "do_sample": False}
    assert grouped.generate(**inputs, **options).equal(usual.generate(**inputs, **options))


def test_a_model_with_another_attention_keeps_it(tiny_model_dir: Path) -> None:
    model = load(tiny_model_dir)
    model.set_attn_implementation("eager")
    use_grouped_attention(model)
    assert model.config._attn_implementation == "eager"
    use_grouped_attention(model, "cuda")
    assert model.config._attn_implementation == "eager"
