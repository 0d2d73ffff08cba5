"""The plan of answers through transformers: the three ways of a GPU, and what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import MambaConfig, MistralConfig, PreTrainedConfig, Qwen2Config, Qwen3Config, Qwen3MoeConfig

from l2s.config import ExperimentConfig, Quantization
from l2s.generation.engines.protocol import Sampling
from l2s.generation.engines.static_decoding import StaticKeys, decode
from l2s.models.load import load_model
from l2s.plan import decoding
from l2s.plan.decoding import (
    GENERATE,
    GENERATE_ON_CPU,
    GRAPH,
    LAUNCHED,
    ON_CPU,
    Way,
    answer_memory,
    answer_seconds,
    way_of,
)
from l2s.plan.hardware import find_hardware
from l2s.plan.model_size import ModelSize, size_of
from l2s.plan.parts import Texts
from l2s.plan.vllm import answer_seconds as vllm_seconds

CONFIG = ExperimentConfig(dtype="bfloat16")
H100 = find_hardware(CONFIG, "h100-80gb").hardware
CPU = replace(H100, is_cuda=False)
QWEN_1_5B: dict[str, Any] = {
    "vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "num_hidden_layers": 2, "vocab_size": 304,
}  # fmt: skip


def size(config: PreTrainedConfig, folder: Path) -> ModelSize:
    config.save_pretrained(folder)
    return size_of(str(folder), CONFIG)


@pytest.mark.parametrize(("way", "steps", "measured_ms"), [(GRAPH, 192, 14), (LAUNCHED, 64, 31), (GENERATE, 64, 108)])
def test_a_step_takes_what_was_measured(way: Way, steps: int, measured_ms: float, tmp_path: Path) -> None:
    """docs/PERFORMANCE.md: 512 prompts of 150 tokens. The graph's row drew its tokens."""
    model, length = size(Qwen2Config(**QWEN_1_5B), tmp_path), 150 + steps / 2
    seconds = decoding._step_seconds(H100, model, way, 512, length, "none")
    if way is GRAPH:
        seconds += decoding.DRAWING_BYTES * 512 * model.vocabulary / H100.bandwidth
    assert 1000 * seconds == pytest.approx(measured_ms, rel=0.15)


@pytest.mark.parametrize(
    ("config", "quantization", "split", "way"),
    [
        (Qwen3Config(**SMALL), "none", 1, GRAPH),
        (Qwen3Config(**SMALL), "nf4", 1, LAUNCHED),
        (Qwen3Config(**SMALL), "int8", 1, LAUNCHED),
        (Qwen3Config(**SMALL), "none", 2, LAUNCHED),
        (Qwen3MoeConfig(**SMALL, num_experts=4, moe_intermediate_size=32), "none", 1, LAUNCHED),
        (Qwen3Config(**SMALL, use_sliding_window=True, sliding_window=8, max_window_layers=1), "none", 1, GENERATE),
        (MistralConfig(**SMALL, sliding_window=8), "none", 1, GENERATE),
    ],
)
def test_the_way_is_the_engines(
    config: PreTrainedConfig, quantization: Quantization, split: int, way: Way, tmp_path: Path
) -> None:
    model = size(config, tmp_path)
    assert way_of(H100, model, quantization, split) == way
    assert way_of(CPU, model, quantization, split) == (GENERATE_ON_CPU if way is GENERATE else ON_CPU)


def test_a_graph_is_fastest_and_drawing_costs_something(tmp_path: Path) -> None:
    dense = size(Qwen3Config(**SMALL), tmp_path)
    texts = [Texts("made up", 600, 100, 150, 100, 400)]
    graph = answer_seconds(H100, dense, texts, 64, "none")
    launched = answer_seconds(H100, dense, texts, 64, "none", split=2)
    generate = answer_seconds(H100, replace(dense, static_steps=False), texts, 64, "none")
    assert graph < launched < generate
    assert answer_seconds(H100, dense, texts, 64, "none", drawn=True) > graph


def test_finished_answers_leave_the_batch(tmp_path: Path) -> None:
    """So a mean far below the longest answer makes steps cheaper; with `generate` on a CPU all rows stay to the end."""
    dense = size(Qwen2Config(**QWEN_1_5B), tmp_path)
    short, long = ([Texts("made up", 512, 100, 150, mean, 512)] for mean in (60, 512))
    for hardware in (H100, CPU):
        assert answer_seconds(hardware, dense, short, 512, "none") < 0.9 * answer_seconds(
            hardware, dense, long, 512, "none"
        )
    stays = replace(dense, static_steps=False)
    assert answer_seconds(CPU, stays, short, 512, "none") == answer_seconds(CPU, stays, long, 512, "none")


def test_the_cache_of_static_steps_is_what_the_engine_allocates(
    tiny_config: Callable[..., ExperimentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    caches: list[StaticKeys] = []
    made = StaticKeys.__init__

    def note(self: StaticKeys, rows: int, slots: int) -> None:
        made(self, rows, slots)
        caches.append(self)

    monkeypatch.setattr(StaticKeys, "__init__", note)
    prompts = [[1] * length for length in (9, 21, 5)]
    decode(load_model(config.teacher_model, config), prompts, Sampling(6), stop_ids={-1}, pad_id=0, seed=0)
    (cache,) = caches
    texts = [Texts("made up", 3, 12, 21, 6, 6)]
    model = size_of(config.teacher_model, config)
    planned = answer_memory(H100, model, texts, 8, "none", max_new_tokens=6)
    assert planned.cache == sum(keys.nbytes + values.nbytes for keys, values in cache.stored)


@pytest.mark.parametrize("way", [GENERATE, GENERATE_ON_CPU])
def test_a_model_without_attention_keeps_no_cache(way: Way, tmp_path: Path) -> None:
    mamba = MambaConfig(vocab_size=304, hidden_size=32, num_hidden_layers=1)
    model = replace(size(mamba, tmp_path), static_steps=False)
    hardware = H100 if way is GENERATE else CPU
    assert way_of(hardware, model, "none") == way
    texts = [Texts("made up", 600, 100, 150, 100, 400)]
    assert answer_memory(hardware, model, texts, 64, "none", max_new_tokens=64).cache == 0
    assert answer_seconds(hardware, model, texts, 64, "none") > 0
    assert vllm_seconds(hardware, model, texts, "none", split=1) > 0
