"""Decoding in steps of one shape gives the answers of transformers' `generate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.generation.engines import static_decoding
from l2s.generation.engines.protocol import Request, Sampling
from l2s.generation.engines.static_decoding import decode, has_static_steps, pick
from l2s.generation.engines.transformers import TransformersEngine
from l2s.models.attention import use_grouped_attention
from l2s.models.load import load_model
from l2s.tasks.types import Message

PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [70, 3], [9, 9, 200, 41], [17]]


@pytest.fixture
def model(tiny_model_dir: Path) -> PreTrainedModel:
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model_dir / "teacher", dtype=torch.float64).requires_grad_(False)
    use_grouped_attention(loaded, "cuda")
    return loaded


def by_generate(model: Any, prompt: list[int], steps: int) -> list[int]:
    """Alone and without padding, and without the end of the model's own config."""
    tokens = torch.tensor([prompt])
    options = {"max_new_tokens": steps, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    answer: list[int] = model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)[0].tolist()
    return answer[len(prompt) :]


@pytest.mark.parametrize("segment", [1, 3, 64])
@pytest.mark.parametrize("at_a_time", [1, 16, 1 << 16])
def test_greedy_answers_are_those_of_generate(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, segment: int, at_a_time: int
) -> None:
    monkeypatch.setitem(static_decoding.SEGMENT_STEPS, "cpu", segment)
    monkeypatch.setitem(static_decoding.PREFILL_TOKENS, "cpu", at_a_time)
    assert has_static_steps(model)
    expected = [by_generate(model, prompt, 11) for prompt in PROMPTS]
    assert decode(model, PROMPTS, Sampling(11), stop_ids={-1}, pad_id=0, seed=0) == expected
    assert decode(model, PROMPTS, Sampling(1), stop_ids={-1}, pad_id=0, seed=0) == [one[:1] for one in expected]


@pytest.mark.parametrize("segment", [1, 2, 64])
def test_an_answer_that_ends_leaves_the_batch_and_disturbs_no_other(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, segment: int
) -> None:
    monkeypatch.setitem(static_decoding.SEGMENT_STEPS, "cpu", segment)
    expected = [by_generate(model, prompt, 12) for prompt in PROMPTS]
    stop = expected[1][2]
    found = decode(model, PROMPTS, Sampling(12), stop_ids={stop}, pad_id=0, seed=0)

    def until_stop(answer: list[int]) -> list[int]:
        return answer[: answer.index(stop) + 1] if stop in answer else answer

    assert [until_stop(answer) for answer in found] == [until_stop(answer) for answer in expected]
    assert len(found[1]) < 12 or segment == 64


def test_drawn_answers_repeat_with_their_seed_and_differ_with_another(model: PreTrainedModel) -> None:
    def drawn(seed: int) -> list[list[int]]:
        return decode(model, PROMPTS, Sampling(12, temperature=1.0), stop_ids={-1}, pad_id=0, seed=seed)

    assert drawn(1) == drawn(1) != drawn(2)


def test_tokens_are_drawn_by_their_probability_and_from_the_nucleus_alone() -> None:
    torch.manual_seed(0)
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    for top_p, inside in ((1.0, 4), (0.81, 3), (0.8, 2), (0.79, 2), (0.5, 1), (0.4, 1)):
        sampling = Sampling(1, temperature=0.7, top_p=top_p)
        counts = pick((probabilities.log() * 0.7).expand(20_000, 4), sampling).bincount(minlength=4)
        nucleus = probabilities[:inside] / probabilities[:inside].sum()
        expected = torch.cat([nucleus, torch.zeros(4 - inside)])
        assert (counts / 20_000 - expected).abs().max() < 0.015
        assert not counts[inside:].any()
    assert pick(probabilities.log()[None], Sampling(1)).tolist() == [0]


def test_a_model_with_a_window_or_another_attention_has_no_static_steps(tiny_model_dir: Path) -> None:
    usual = AutoModelForCausalLM.from_pretrained(tiny_model_dir / "teacher")
    assert not has_static_steps(usual)  # its mask would not be ours
    use_grouped_attention(usual)
    assert has_static_steps(usual)
    usual.config.sliding_window = 4
    assert not has_static_steps(usual)


def test_the_engine_gives_the_same_answers_either_way(tiny_config: Callable[..., ExperimentConfig]) -> None:
    config = tiny_config()
    renderer = load_renderer(config, "teacher_model")
    engine = TransformersEngine(load_model(config.teacher_model, config), renderer, batch_size=3)
    assert engine.static
    messages: list[Message] = [{"role": "user", "content": f"What is {n} + 1?"} for n in range(7)]
    requests = [Request(str(number), renderer.prompt_ids([one])) for number, one in enumerate(messages)]

    def answers() -> list[tuple[str, str, list[int] | None, str, int | None]]:
        batches = engine.generate(requests, Sampling(9))
        return [(a.id, a.text, a.token_ids, a.finish_reason, a.batch_size) for batch in batches for a in batch]

    found = answers()
    engine.static = False
    assert answers() == found


def test_a_step_that_cannot_be_captured_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Graph:
        def __enter__(self) -> None:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

        def __exit__(self, *exception: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: Graph())
    assert static_decoding._capture(lambda: None) is None
    assert static_decoding._capture(lambda: None) is None
    shown = "decoding without a CUDA graph: operation not permitted when stream is capturing\n"
    assert capsys.readouterr().out == shown
