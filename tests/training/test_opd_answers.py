"""The answers of an update of on-policy distillation, where our engine gives them in place of TRL's `generate`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from l2s.chat import load_renderer
from l2s.generation.engines.protocol import Sampling
from l2s.models.attention import use_grouped_attention
from l2s.models.load import causal_lm_of, load_student_for_training
from l2s.run_dir import RunDir
from l2s.training import answering, on_policy
from l2s.training.answering import answer_in_training
from support.kills import killed_after
from support.on_policy import PROMPTS, MakeConfig, likeliest_tokens, metrics, run, short_trainings

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")


@pytest.fixture
def make(tiny_config: MakeConfig) -> MakeConfig:
    return short_trainings(tiny_config, opd_steps=4)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come from the engine, in steps of one shape as on a GPU, but without graphs."""
    monkeypatch.setattr(answering, "ANSWERS_HERE", {"cpu"})

    class StaticEngine(answering.TransformersEngine):
        def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
            use_grouped_attention(model, "cuda")
            super().__init__(model, *args, **kwargs)
            self.static = True

    monkeypatch.setattr(answering, "TransformersEngine", StaticEngine)


@pytest.mark.parametrize("tuning", ["full", "lora", "qlora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_is_the_one_with_answers_of_generate(
    make: MakeConfig, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tuning: str, checkpointing: bool
) -> None:
    """With the likeliest tokens, which are the same either way."""
    fields = {"tuning": tuning, "gradient_accumulation_steps": 2, "gradient_checkpointing": checkpointing}
    with likeliest_tokens():
        by_generate = make(experiment_name="generate", **fields)
        run(by_generate)
        request.getfixturevalue("as_on_a_gpu")
        monkeypatch.setattr(answering, "Sampling", lambda tokens, temperature, seed: Sampling(tokens, seed=seed))
        by_engine = make(experiment_name="engine", **fields)
        run(by_engine)
    rows, expected = metrics(by_engine), metrics(by_generate)
    assert len(rows) == 4
    for row, other in zip(rows, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-6)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_killed_training_draws_the_answers_of_an_unbroken_one(make: MakeConfig) -> None:
    batches = {"opd_batch_size": 2, "gradient_accumulation_steps": 2, "save_steps": 2}
    unbroken, killed = (make(experiment_name=name, opd_steps=5, **batches) for name in ("unbroken", "killed"))
    run(unbroken)
    with killed_after(3):
        run(killed)
    run(killed)
    assert [row["step"] for row in metrics(killed)] == [1, 2, 3, 4, 5]
    for left, right in zip(metrics(killed), metrics(unbroken), strict=True):
        assert left == pytest.approx(right, rel=1e-5)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_each_update_draws_other_answers_and_leaves_the_random_state(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    original = answering.answer_in_training

    def noting(*args: Any, **kwargs: Any) -> Any:
        seeds.append(args[3].seed)
        before = torch.random.get_rng_state()
        found = original(*args, **kwargs)
        assert not torch.random.get_rng_state().equal(before)  # the engine sets it; its caller puts it back
        return found

    monkeypatch.setattr(answering, "answer_in_training", noting)
    config = make()
    before = torch.random.get_rng_state()
    fork = torch.random.fork_rng
    states: list[bool] = []

    def checking(devices: Any) -> Any:
        states.append(True)
        return fork(devices)

    monkeypatch.setattr(torch.random, "fork_rng", checking)
    run(config)
    assert len(set(seeds)) == len(seeds) == 4 == len(states)
    assert before is not None


def test_a_student_answers_and_stays_ready_for_training(make: MakeConfig) -> None:
    config = make(tuning="lora", lora_dropout=0.1)
    student = load_student_for_training(config.student_model, config)
    renderer = load_renderer(config, "student_model")
    declared = causal_lm_of(student).generation_config
    prompts = [renderer.prompt_ids(prompt) for prompt in PROMPTS]
    answers = [
        answer_in_training(student, prompts, renderer, Sampling(6, 1.0, seed=3), at_a_time=size) for size in (6, 6)
    ]
    assert answers[0] == answers[1] or [a.token_ids for a in answers[0]] == [a.token_ids for a in answers[1]]
    assert [answer.id for answer in answers[0]] == [str(number) for number in range(6)]
    assert all(module.training for module in student.modules())
    assert causal_lm_of(student).generation_config is declared
    assert RunDir.of(config) is not None
    assert on_policy.TEMPERATURE == 1.0
