"""A model whose answers depend on the prompts beside theirs answers one prompt at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    Mamba2Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    RecurrentGemmaConfig,
    RwkvConfig,
)

from l2s.chat import ChatRenderer, Renderers, load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines.batches import needs_to_be_alone
from l2s.generation.engines.protocol import Request, Sampling
from l2s.generation.engines.transformers import TransformersEngine
from l2s.training.answering import check_batches

SHAPE: dict[str, Any] = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2}
HEADS: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "head_dim": 8}
RWKV = RwkvConfig(**SHAPE, attention_hidden_size=32, intermediate_size=64)
RECURRENT_GEMMA = RecurrentGemmaConfig(
    **{**SHAPE, "num_hidden_layers": 3}, **HEADS, lru_width=32, attention_window_size=64
)
BLIND = [
    Qwen3Config(**SHAPE, **HEADS),
    GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4),  # positions learned
    BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4),  # positions as a bias
    Mamba2Config(**SHAPE, state_size=16, num_heads=8, head_dim=8, n_groups=1, expand=2),  # a recurrence with a mask
]


def model_of(config: PreTrainedConfig) -> PreTrainedModel:
    """Random weights, wide enough that answers depend on the prompt."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return model


def named(config: PreTrainedConfig) -> str:
    return str(config.model_type)


@pytest.fixture
def renderer(tiny_config: Callable[..., ExperimentConfig]) -> ChatRenderer:
    return load_renderer(tiny_config(), "student_model")


@pytest.mark.parametrize("config", [RWKV, RECURRENT_GEMMA], ids=named)
def test_a_model_that_mixes_up_its_prompts_answers_as_it_does_alone(
    config: PreTrainedConfig, renderer: ChatRenderer, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = ["a", "bb", "a much longer question", "c", "another question here"]
    requests = [Request(text, renderer.prompt_ids([{"role": "user", "content": text}])) for text in prompts]
    engine = TransformersEngine(model_of(config), renderer, batch_size=4)
    assert [len(batch) for batch in engine.batches(requests, Sampling(8))] == [1] * 5
    together = {answer.id: answer.token_ids for batch in engine.generate(requests, Sampling(8)) for answer in batch}
    alone = TransformersEngine(engine.model, renderer, batch_size=1)
    for request in requests:
        [[answer]] = alone.generate([request], Sampling(8))
        assert together[request.id] == answer.token_ids
    assert (
        capsys.readouterr().out
        == f"{type(engine.model).__name__} mixes up the prompts of a batch; answers one at a time\n"
    )


@pytest.mark.parametrize("config", BLIND, ids=named)
def test_other_models_take_whole_batches(config: PreTrainedConfig, renderer: ChatRenderer) -> None:
    assert not needs_to_be_alone(model_of(config), renderer)


def test_code_that_counts_positions_from_the_padding_does_so_too(renderer: ChatRenderer) -> None:
    """As other people's code may: a forward pass that does not know of `position_ids`."""
    model = model_of(BLIND[0])
    whole = model.forward

    def forward(input_ids: Any, **kwargs: Any) -> Any:
        return whole(input_ids=input_ids, use_cache=False)

    model.forward = forward
    assert needs_to_be_alone(model, renderer)


def test_a_model_whose_logits_are_not_numbers_is_not_called_safe(renderer: ChatRenderer) -> None:
    model = model_of(BLIND[0])
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))  # type: ignore[operator]
    assert needs_to_be_alone(model, renderer)


@pytest.mark.parametrize(("student", "teacher", "named"), [(RWKV, BLIND[0], "student"), (BLIND[0], RWKV, "teacher")])
def test_on_policy_distillation_refuses_them(
    student: PreTrainedConfig, teacher: PreTrainedConfig, named: str, renderer: ChatRenderer
) -> None:
    models = model_of(student).train(), model_of(teacher)
    with pytest.raises(
        UserError, match=f"{named}_model: RwkvForCausalLM mixes up the prompts .* leave opd out of --arms"
    ):
        check_batches(*models, Renderers(renderer, renderer))
    assert models[0].training
