"""The transform read from a configuration reproduces the logits of the model itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from l2s.errors import UserError
from l2s.loss.logit_transform import IDENTITY, LogitTransform, declared_transform
from l2s.loss.objective import Objective
from l2s.loss.reference import IGNORE_INDEX, distillation_loss
from l2s.loss.targets import Targets, write_teacher_logits
from l2s.models.head import Head, output_head
from l2s.signals.hidden import response_hidden
from l2s.signals.recorders import TopkRecorder
from l2s.signals.tail import TailModel
from l2s.signals.teachers import OnlineTeacher
from l2s.signals.topk import decode
from l2s.training.student import StudentWithLoss

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
MINICPM3: dict[str, Any] = {"qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "q_lora_rank": 8, "kv_lora_rank": 8}
FALCON_H1: dict[str, Any] = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}


@pytest.mark.parametrize(
    ("model_type", "fields", "expected"),
    [
        ("qwen2", {}, IDENTITY),
        ("llama", {}, IDENTITY),
        ("gemma2", {"final_logit_softcapping": 3.0}, LogitTransform(cap=3.0)),
        ("cohere", {"logit_scale": 0.0625}, LogitTransform(scale=0.0625)),
        ("cohere2", {"logit_scale": 0.0625}, LogitTransform(scale=0.0625)),
        ("granite", {"logits_scaling": 8.0}, LogitTransform(scale=0.125)),
        ("minicpm3", {"dim_model_base": 2, **MINICPM3}, LogitTransform(scale=0.125)),
        ("hyperclovax", {"logits_scaling": 0.5}, LogitTransform(scale=0.5)),
        ("falcon_h1", {"lm_head_multiplier": 0.5, **FALCON_H1}, LogitTransform(scale=0.5)),
        ("recurrent_gemma", {"logits_soft_cap": 3.0, "num_hidden_layers": 3}, LogitTransform(cap=3.0)),
    ],
)
def test_projection_and_transform_are_the_logits_of_the_model(
    model_type: str, fields: dict[str, Any], expected: LogitTransform
) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **(SIZES | fields))
    model = AutoModelForCausalLM.from_config(config).double().eval()
    weight = model.get_output_embeddings().weight
    torch.nn.init.normal_(weight)
    with torch.no_grad():
        output = model(torch.arange(3, 9)[None], output_hidden_states=True, use_cache=False)
        logits = declared_transform(config).apply(output.hidden_states[-1] @ weight.T)
    assert declared_transform(config) == expected
    torch.testing.assert_close(logits, output.logits)


def test_a_scale_of_unknown_meaning_is_refused_by_name() -> None:
    config = AutoConfig.for_model("qwen2", **SIZES)
    config.logits_mup_width_multiplier = 4.0
    with pytest.raises(UserError, match=r"logits_mup_width_multiplier=4\.0 of a qwen2 model"):
        declared_transform(config)


def test_slope_is_the_derivative_of_the_transform() -> None:
    transform = LogitTransform(scale=0.5, cap=3.0)
    projected = torch.linspace(-20, 20, 41, dtype=torch.float64, requires_grad=True)
    logits = transform.apply(projected)
    (derivative,) = torch.autograd.grad(logits.sum(), projected)
    torch.testing.assert_close(transform.slope(logits.detach()), derivative)


def small_model(model_type: str, seed: int) -> PreTrainedModel:
    """One layer whose logits are scaled or capped so strongly that ignoring it changes the loss."""
    torch.manual_seed(seed)
    known: dict[str, dict[str, Any]] = {
        "gemma2": {"final_logit_softcapping": 3.0},
        "granite": {"logits_scaling": 0.4},
        "llama4_text": {"num_local_experts": 2, "intermediate_size_mlp": 32},
    }
    config = AutoConfig.for_model(model_type, **SIZES, **known[model_type], tie_word_embeddings=False)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    torch.nn.init.normal_(output_head(model).weight)
    model.train(False)
    return model


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two sequences; a label is at the position that predicts it."""
    tokens = torch.arange(3, 23).view(2, 10)
    labels = tokens.roll(-1, dims=1).index_fill(1, torch.tensor([0, 1, 9]), IGNORE_INDEX)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": labels}


def logits_of(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """The model's own logits, [N, V], at the counted labels."""
    logits: Tensor = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits[batch["labels"] != IGNORE_INDEX]


def assert_learns_from_its_own_logits(
    student: PreTrainedModel, targets: Targets, teacher_logits: Tensor, batch: dict[str, Tensor]
) -> None:
    """Check that loss and gradients in all weights are those of the student's own logits and `teacher_logits`."""
    loss = StudentWithLoss(student, Objective(0.3, 2.0))(**batch, targets=targets)["loss"]
    logits, labels = logits_of(student, batch), batch["labels"][batch["labels"] != IGNORE_INDEX]
    expected = distillation_loss(logits, teacher_logits, labels, alpha=0.3, temperature=2.0).loss_sum
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    gradients = [torch.autograd.grad(x, list(student.parameters())) for x in (loss, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize(
    "types",
    [("gemma2", "granite"), ("granite", "gemma2"), ("llama4_text", "llama4_text")],  # transformers finds no decoder
)
def test_student_and_teacher_in_memory_are_their_own_logits(types: tuple[str, str], batch: dict[str, Tensor]) -> None:
    student, teacher = small_model(types[0], seed=0), small_model(types[1], seed=1)
    taught = logits_of(teacher, batch).detach()

    assert_learns_from_its_own_logits(student, OnlineTeacher(teacher).targets(batch), taught, batch)


@pytest.mark.parametrize("types", [("gemma2", "granite"), ("granite", "gemma2")])
@pytest.mark.parametrize("topk", [10, 40])
def test_topk_signals_teach_a_student_by_its_own_logits(
    types: tuple[str, str], topk: int, batch: dict[str, Tensor]
) -> None:
    student, teacher = small_model(types[0], seed=0), small_model(types[1], seed=1)
    hidden = response_hidden(teacher, batch)
    recorder = TopkRecorder(Head.of(teacher), topk, temperature=2.0, vocabulary=40)
    shared = recorder.shared([hidden], [hidden])
    signals = decode(recorder.encoder(shared)(hidden), topk, TailModel.of(shared).factors())
    read = torch.empty(len(hidden), 40)
    write_teacher_logits(read, signals, slice(None), read, 2.0, IDENTITY)
    exact = (logits_of(teacher, batch).detach() / 2).log_softmax(-1)
    kept = exact.topk(topk, dim=-1)
    torch.testing.assert_close((read / 2).gather(1, kept.indices), kept.values, rtol=0, atol=5e-3)

    assert_learns_from_its_own_logits(student, signals, read, batch)
