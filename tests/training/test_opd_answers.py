"""The answers of an update of on-policy distillation, where our engine gives them in place of TRL's `generate`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from l2s.chat import load_renderer
from l2s.generation.engines.protocol import Sampling
from l2s.generation.engines.transformers import TransformersEngine
from l2s.models.attention import use_grouped_attention
from l2s.models.load import causal_lm_of, load_model, load_student_for_training
from l2s.run_dir import RunDir
from l2s.training import answering, on_policy
from l2s.training.answering import answer_in_training
from l2s.training.teacher_prompts import TeacherView
from support.kills import killed_after
from support.on_policy import ASKED, PROMPTS, MakeConfig, likeliest_tokens, metrics, run, short_trainings

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")


@pytest.fixture
def make(tiny_config: MakeConfig) -> MakeConfig:
    return short_trainings(tiny_config, opd_steps=4)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come from the engine, in steps of one shape as on a GPU, but without graphs."""
    monkeypatch.setattr(answering, "ANSWERS_HERE", {"cpu"})

    class StaticEngine(TransformersEngine):
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
def test_each_update_draws_its_own_answers_and_leaves_the_random_state(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    in_training = answering.answer_in_training
    one_turn = answering.AnswersInSteps._generate_single_turn

    def noting(*args: Any, **kwargs: Any) -> Any:
        seeds.append(args[3].seed)
        return in_training(*args, **kwargs)

    def compared(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = torch.random.get_rng_state()
        answers = one_turn(self, *args, **kwargs)
        assert torch.random.get_rng_state().equal(before)  # the engine sets a seed, which training must not see
        return answers

    monkeypatch.setattr(answering, "answer_in_training", noting)
    monkeypatch.setattr(answering.AnswersInSteps, "_generate_single_turn", compared)
    run(make())
    assert len(set(seeds)) == len(seeds) == 4


def test_a_student_answers_and_stays_ready_for_training(make: MakeConfig) -> None:
    config = make(tuning="lora", lora_dropout=0.1)
    student = load_student_for_training(config.student_model, config)
    renderer = load_renderer(config, "student_model")
    declared = causal_lm_of(student).generation_config
    prompts = [renderer.prompt_ids(prompt) for prompt in PROMPTS]
    first, second = (
        [answer.token_ids for answer in answer_in_training(student, prompts, renderer, sampling, at_a_time=6)]
        for sampling in [Sampling(6, 1.0, seed=3)] * 2
    )
    assert first == second  # without dropout
    assert all(module.training for module in student.modules())
    assert causal_lm_of(student).generation_config is declared


def test_answers_come_in_the_order_of_their_prompts(make: MakeConfig) -> None:
    """The engine sorts prompts by length."""
    config = make(tuning="full")
    student = load_student_for_training(config.student_model, config)
    renderer = load_renderer(config, "student_model")
    prompts = [renderer.prompt_ids([{"role": "user", "content": "x" * length}]) for length in (1, 30, 4)]
    together = answer_in_training(student, prompts, renderer, Sampling(5), at_a_time=3)
    alone = [answer_in_training(student, [prompt], renderer, Sampling(5), at_a_time=1)[0] for prompt in prompts]
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]


@pytest.mark.parametrize("tuning", ["lora", "qlora"])
def test_generate_answers_without_dropout_and_leaves_the_student_in_training(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch, tuning: str
) -> None:
    config = make(tuning=tuning, lora_dropout=0.5, opd_steps=1)
    student: Any = load_student_for_training(config.student_model, config)
    dropouts = [module for module in student.modules() if isinstance(module, torch.nn.Dropout)]
    active: list[bool] = []

    def failing(**inputs: Any) -> Any:
        active.extend(module.training for module in dropouts)
        raise InterruptedError

    monkeypatch.setattr(student, "generate", failing)
    renderer, teacher = load_renderer(config, "student_model"), load_model(config.teacher_model, config)
    with pytest.raises(InterruptedError):
        on_policy.train(student, teacher, ASKED, TeacherView(renderer, renderer), config, RunDir.of(config).opd)
    assert active
    assert not any(active)
    assert all(module.training for module in student.modules())


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_what_a_students_file_says_of_its_answers_does_not_bend_its_distribution(
    make: MakeConfig, tmp_path: Path, tiny_model_dir: Path, tuning: str
) -> None:
    """The file forbids every token but the end; in the training the student draws from all of them."""
    shutil.copytree(tiny_model_dir / "student", tmp_path / "student")
    file = tmp_path / "student" / "generation_config.json"
    forbidden = {"suppress_tokens": [token for token in range(304) if token != 258]}
    file.write_text(json.dumps(json.loads(file.read_text()) | forbidden))
    config = make(student_model=str(tmp_path / "student"), opd_steps=1, tuning=tuning)
    run(config)
    assert metrics(config)[0]["mean_length"] > 1
    saved = json.loads((RunDir.of(config).opd / "final_model" / "generation_config.json").read_text())
    assert forbidden.items() <= saved.items()


@pytest.mark.parametrize("engine", ["generate", "ours"])
def test_an_answer_that_stops_where_the_teacher_stops_is_not_cut(
    make: MakeConfig, tmp_path: Path, tiny_model_dir: Path, request: pytest.FixtureRequest, engine: str
) -> None:
    """The teacher declares nearly every token as an end; the student's own files declare one."""
    if engine == "ours":
        request.getfixturevalue("as_on_a_gpu")
    shutil.copytree(tiny_model_dir / "teacher", tmp_path / "teacher")
    file = tmp_path / "teacher" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": [258, *range(256)]}))
    config = make(teacher_model=str(tmp_path / "teacher"), opd_steps=2, tuning="full")
    run(config)
    assert [row["truncated"] for row in metrics(config)] == [0, 0]
    assert all(row["mean_length"] < 4 for row in metrics(config))
    saved = json.loads((RunDir.of(config).opd / "final_model" / "generation_config.json").read_text())
    assert saved["eos_token_id"][0] == 258  # the student's own
    assert set(range(256)) < set(saved["eos_token_id"])
