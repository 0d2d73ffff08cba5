"""Fidelity: sums over the teacher's evaluation answers compared with a plain computation on whole logits in fp64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM

from l2s.chat import load_renderer, load_renderers
from l2s.config import ExperimentConfig
from l2s.evaluation.fidelity import measure
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.models.load import load_model
from l2s.run_dir import RunDir
from l2s.runner.pipeline import STAGES
from l2s.signals.hidden import ModelHidden

Make = Callable[..., ExperimentConfig]
ANSWERS = ["The answer is 4.", "#### 12", "def f(x):\n    return x + 1", "磁盘已满"]


def answer(number: int, text: str) -> dict[str, object]:
    return {
        "id": f"i{number}",
        "domain": "math",
        "messages": [{"role": "user", "content": f"Question {number}?"}],
        "response": text,
        "finish_reason": "stop",
        "num_tokens": len(text.encode()) + 1,
    }


@pytest.fixture
def evaluated(tiny_config: Make) -> tuple[ExperimentConfig, RunDir]:
    """A run folder in which the teacher has answered."""
    config = tiny_config()
    run_dir = RunDir.of(config)
    run_dir.predictions("teacher").parent.mkdir(parents=True)
    write_jsonl(run_dir.predictions("teacher"), [answer(number, text) for number, text in enumerate(ANSWERS)])
    return config, run_dir


def plain_log_probs(name: str, input_ids: list[int], vocabulary: int) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float64).requires_grad_(False)
    logits: torch.Tensor = model(torch.tensor([input_ids])).logits[0]
    return logits[:, :vocabulary].log_softmax(-1)


def measure_teacher(config: ExperimentConfig, run_dir: RunDir) -> None:
    hidden = ModelHidden(load_model(config.teacher_model, config))
    measure("teacher", hidden, load_renderers(config), config, run_dir)


def test_sums_equal_a_plain_computation_on_whole_logits(evaluated: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = evaluated
    renderer = load_renderer(config, "student_model")
    for model, name in (("teacher", config.teacher_model), ("student_base", config.student_model)):
        measure(model, ModelHidden(load_model(name, config)), load_renderers(config), config, run_dir)
    rows = load_jsonl(run_dir.fidelity("student_base"))
    assert len(rows) == len(ANSWERS)
    for row, text in zip(rows, ANSWERS, strict=True):
        question = load_jsonl(run_dir.predictions("teacher"))[int(row["id"][1:])]["messages"]
        rendered = renderer.render(question, text)
        first = len(rendered.input_ids) - rendered.num_response_tokens
        vocabulary = 304  # the smaller head
        log_q = plain_log_probs(config.teacher_model, rendered.input_ids, vocabulary)[first - 1 : -1]
        log_p = plain_log_probs(config.student_model, rendered.input_ids, vocabulary)[first - 1 : -1]
        answer_ids = torch.tensor(rendered.input_ids[first:])
        assert row["num_tokens"] == len(answer_ids)
        assert row["kl_sum"] == pytest.approx(float((log_q.exp() * (log_q - log_p)).sum()), rel=1e-4)
        assert row["nll_sum"] == pytest.approx(float(-log_p.gather(1, answer_ids[:, None]).sum()), rel=1e-4)
        assert row["top1_sum"] == int((log_q.argmax(-1) == log_p.argmax(-1)).sum())


def test_the_teacher_is_at_distance_zero_from_itself(evaluated: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = evaluated
    measure_teacher(config, run_dir)
    for row in load_jsonl(run_dir.fidelity("teacher")):
        assert row["kl_sum"] == pytest.approx(0, abs=1e-5)
        assert row["top1_sum"] == row["num_tokens"]


def test_fewer_answers_are_spread_over_the_file(evaluated: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = evaluated
    config = config.model_copy(update={"fidelity_size": 2})
    measure_teacher(config, run_dir)
    assert [row["id"] for row in load_jsonl(run_dir.fidelity("teacher"))] == ["i0", "i2"]


def test_no_answers_asked_for_leave_an_empty_file(evaluated: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = evaluated
    config = config.model_copy(update={"fidelity_size": 0})
    measure_teacher(config, run_dir)
    assert run_dir.fidelity("teacher").read_text() == ""


def test_a_teacher_without_fidelity_is_evaluated_once(evaluated: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = evaluated
    config = config.model_copy(update={"fidelity_size": 0})
    measure_teacher(config, run_dir)
    assert [path for path in STAGES["evaluate_teacher"].gives(run_dir, config) if not path.exists()] == []


def test_an_answer_of_tokens_that_no_text_stands_for_is_left_out(evaluated: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = evaluated
    rows = load_jsonl(run_dir.predictions("teacher"))
    unknown = {"response": "", "finish_reason": "length", "num_tokens": 2, "token_ids": [319, 319]}
    longest = rows[0]["messages"][0] | {"content": "x" * 200}  # it would begin the first shard
    write_jsonl(run_dir.predictions("teacher"), [rows[0] | unknown | {"messages": [longest]}, *rows[1:]])
    measure_teacher(config, run_dir)
    assert rows[0]["id"] not in {row["id"] for row in load_jsonl(run_dir.fidelity("teacher"))}
    assert load_jsonl(run_dir.fidelity("teacher"))
