"""Grouped attention, in its form for CPUs and for GPUs, gives the result of transformers' attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from l2s.config import ExperimentConfig
from l2s.models.attention import ATTENTION, use_grouped_attention
from l2s.models.load import load_model, load_student_for_training


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


SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.5, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
SPARSE: dict[str, Any] = {
    "num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 1, "index_topk": 4, "index_head_dim": 16, "index_n_heads": 2,
}  # fmt: skip


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("model_type", "fields"),
    [("deepseek_v32", SPARSE), ("glm_moe_dsa", SPARSE), ("inkling_text", {}), ("gemma3_text", {"sliding_window": 4})],
)
def test_what_a_model_does_beside_plain_attention_stays(
    model_type: str, fields: dict[str, Any], device_type: str
) -> None:
    """Keys that an indexer leaves out, a bias of positions, a window."""
    torch.manual_seed(0)
    models = [
        AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SMALL | fields), attn_implementation=name)
        for name in ("eager", "sdpa")
    ]
    models[1].load_state_dict(models[0].state_dict())
    use_grouped_attention(models[1], device_type)
    tokens = torch.randint(3, 64, (2, 24))
    mask = torch.ones_like(tokens)
    mask[0, 16:] = 0
    with torch.no_grad():
        reference, ours = (
            model.eval()(tokens, attention_mask=mask, use_cache=False).logits[mask.bool()] for model in models
        )
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        answers = [model.generate(tokens[1:], max_new_tokens=4, min_new_tokens=4, do_sample=False) for model in models]
    assert answers[0].equal(answers[1])


def test_capped_scores_of_attention_are_capped_in_inference_and_training(tmp_path: Path) -> None:
    """SDPA leaves the cap out without a word."""
    torch.manual_seed(0)
    settings = Gemma2Config(**SMALL, attn_logit_softcapping=1.0)
    model = Gemma2ForCausalLM._from_config(settings, attn_implementation="eager")
    model.save_pretrained(tmp_path)
    config = ExperimentConfig(
        teacher_model=str(tmp_path), student_model=str(tmp_path), device="cpu", dtype="float32", tuning="full"
    )
    tokens = torch.arange(3, 19)[None]
    with torch.no_grad():
        expected = model.eval()(tokens).logits
        for found in (load_model(str(tmp_path), config), load_student_for_training(str(tmp_path), config)):
            torch.testing.assert_close(found(tokens).logits, expected, rtol=1e-4, atol=1e-4)
