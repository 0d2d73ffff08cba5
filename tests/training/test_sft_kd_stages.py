"""SFT and KD as stages: files in, a student and its metrics out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.teacher import score
from l2s.training import kd, sft

MakeConfig = Callable[..., ExperimentConfig]


def write_responses(run_dir: RunDir, count: int = 12) -> None:
    rows = [
        {
            "id": f"sum/{number}",
            "messages": [{"role": "user", "content": f"{number} plus {number % 5}?"}],
            "response": "It is " + "so " * (number % 4) + str(number + number % 5),
            "finish_reason": "length" if number == 3 else "stop",
        }
        for number in range(count)
    ]
    run_dir.responses.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(run_dir.responses, rows)


def test_stages_leave_loadable_students(tiny_config: MakeConfig) -> None:
    config = tiny_config(sft_batch_size=4, kd_batch_size=4, sft_lr=1e-2)
    run_dir = RunDir.of(config)
    write_responses(run_dir)

    sft_metrics = sft.run(config, run_dir)
    score_metrics = score.run(config, run_dir)
    kd_metrics = kd.run(config, run_dir)

    assert sft_metrics["steps"] == kd_metrics["steps"] == 3
    assert score_metrics["num_tokens"] == kd_metrics["num_tokens"] == sft_metrics["num_tokens"]
    for model in (run_dir.sft_model, run_dir.kd_model):
        AutoModelForCausalLM.from_pretrained(model)
    assert [row["step"] for row in load_jsonl(run_dir.kd / "metrics.jsonl")] == [1, 2, 3]


def test_kd_from_stored_hidden_states_equals_kd_from_the_teacher_in_memory(tiny_config: MakeConfig) -> None:
    losses = {}
    for signal in ("hidden", "online"):
        config = tiny_config(experiment_name=signal, teacher_signal=signal, kd_batch_size=4, kd_init="base")
        run_dir = RunDir.of(config)
        write_responses(run_dir)
        if signal == "hidden":
            score.run(config, run_dir)
        kd.run(config, run_dir)
        losses[signal] = torch.tensor([row["loss"] for row in load_jsonl(run_dir.kd / "metrics.jsonl")])

    torch.testing.assert_close(losses["hidden"], losses["online"], rtol=1e-5, atol=0)


def test_kd_from_topk_states_how_good_its_signals_are(tiny_config: MakeConfig) -> None:
    config = tiny_config(teacher_signal="topk", topk=64, kd_batch_size=4, kd_init="base")
    run_dir = RunDir.of(config)
    write_responses(run_dir)
    score.run(config, run_dir)

    metrics = kd.run(config, run_dir)

    assert 0 < metrics["topk_tail_mass"] < 1
    assert metrics["topk_gradient_cosine"] > 0.9
    assert bool(metrics["warnings"]) == (metrics["topk_divergence_error"] > 0.25)
    assert metrics["steps"] == 3


def test_topk_that_would_mislead_the_student_is_refused(tiny_config: MakeConfig) -> None:
    config = tiny_config(teacher_signal="topk", topk=1, temperature=10.0, kd_init="base")
    run_dir = RunDir.of(config)
    write_responses(run_dir)
    score.run(config, run_dir)

    with pytest.raises(UserError, match="teacher_signal hidden"):
        kd.run(config, run_dir)
