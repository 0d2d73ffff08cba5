"""The model of vLLM compared with published throughputs, and properties that hold for any model."""

from __future__ import annotations

import pytest

from l2s.config import ExperimentConfig
from l2s.plan.hardware import find_hardware
from l2s.plan.known_models import as_folders
from l2s.plan.model_size import ModelSize, size_of
from l2s.plan.parts import Texts
from l2s.plan.vllm import answer_seconds, prefill_seconds, vllm_memory

CONFIG = ExperimentConfig(dtype="bfloat16")
A100_80, A100_40 = (find_hardware(CONFIG, name).hardware for name in ("a100-80gb", "a100-40gb"))
SHARE_GPT = Texts("ShareGPT", 1000, 217.4, 1024, 200, 800)
LONG_PROMPTS = Texts("random", 500, 2000, 2000, 100, 100)


def size(name: str) -> ModelSize:
    with as_folders(CONFIG.model_copy(update={"teacher_model": f"Qwen/{name}"})) as (config, _):
        return size_of(config.teacher_model, config)


@pytest.mark.parametrize(
    ("name", "texts", "published"),
    [
        ("Qwen3-14B", SHARE_GPT, 3922), ("Qwen3-32B", SHARE_GPT, 1731),
        ("Qwen3-14B", LONG_PROMPTS, 5967), ("Qwen3-32B", LONG_PROMPTS, 2521),
    ],
)  # fmt: skip
def test_throughput_is_near_the_published_one(name: str, texts: Texts, published: float) -> None:
    seconds = answer_seconds(A100_80, size(name), [texts], "none", split=1)
    assert texts.number * (texts.prompt + texts.answer) / seconds == pytest.approx(published, rel=0.25)


def test_more_answers_longer_ones_and_larger_models_take_longer() -> None:
    from dataclasses import replace

    small, large = size("Qwen3-8B"), size("Qwen3-32B")
    base = answer_seconds(A100_80, small, [SHARE_GPT], "none", split=1)
    assert answer_seconds(A100_80, small, [replace(SHARE_GPT, number=2000)], "none", split=1) > 1.5 * base
    assert answer_seconds(A100_80, small, [replace(SHARE_GPT, answer=400)], "none", split=1) > base
    assert answer_seconds(A100_80, large, [SHARE_GPT], "none", split=1) > 2 * base
    assert answer_seconds(A100_80, small, [SHARE_GPT], "none", split=2) < base
    assert prefill_seconds(A100_80, small, tokens=1000, length=500, split=1) > 0


def test_a_mixture_answers_faster_than_a_dense_model_of_its_size() -> None:
    mixture, dense = (answer_seconds(A100_80, size(name), [SHARE_GPT], "none", split=1)
                      for name in ("Qwen3-30B-A3B", "Qwen3-32B"))  # fmt: skip
    assert mixture < dense


def test_the_teacher_fits_two_cards_of_40_gb_and_not_one() -> None:
    teacher = size("Qwen3-30B-A3B")
    one, two = (vllm_memory(A100_40, teacher, "none", split=split, runner="generate").total for split in (1, 2))
    assert two < 0.95 * A100_40.memory < one
    assert vllm_memory(A100_40, teacher, "fp8", split=1, runner="generate").total < one
