"""The transform read from a configuration reproduces the logits of the model itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from l2s.errors import UserError
from l2s.training.logit_transform import IDENTITY, LogitTransform, logit_transform

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    ("model_type", "fields", "expected"),
    [
        ("qwen2", {}, IDENTITY),
        ("llama", {}, IDENTITY),
        ("gemma2", {"final_logit_softcapping": 3.0}, LogitTransform(cap=3.0)),
        ("cohere", {"logit_scale": 0.0625}, LogitTransform(scale=0.0625)),
        ("granite", {"logits_scaling": 8.0}, LogitTransform(scale=0.125)),
    ],
)
def test_projection_and_transform_are_the_logits_of_the_model(
    model_type: str, fields: dict[str, Any], expected: LogitTransform
) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **SIZES, **fields)
    model = AutoModelForCausalLM.from_config(config).double().eval()  # type: ignore[no-untyped-call]
    weight = model.get_output_embeddings().weight
    torch.nn.init.normal_(weight)
    with torch.no_grad():
        output = model(torch.arange(3, 9)[None], output_hidden_states=True)
        logits = logit_transform(config).apply(output.hidden_states[-1] @ weight.T)
    assert logit_transform(config) == expected
    torch.testing.assert_close(logits, output.logits)


def test_a_scale_of_unknown_meaning_is_refused_by_name() -> None:
    config = AutoConfig.for_model("qwen2", **SIZES)
    config.logits_mup_width_multiplier = 4.0
    with pytest.raises(UserError, match=r"logits_mup_width_multiplier=4\.0 of a qwen2 model"):
        logit_transform(config)


def test_slope_is_the_derivative_of_the_transform() -> None:
    transform = LogitTransform(scale=0.5, cap=3.0)
    projected = torch.linspace(-20, 20, 41, dtype=torch.float64, requires_grad=True)
    logits = transform.apply(projected)
    (derivative,) = torch.autograd.grad(logits.sum(), projected)
    torch.testing.assert_close(transform.slope(logits.detach()), derivative)
