"""What the seed of a training decides: the first weights of LoRA, the order of the answers, and dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.jsonl import Row, load_jsonl, write_jsonl
from l2s.models.load import load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import Collator, SequenceDataset, load_sequences
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from l2s.training.trainer import Schedule, train

MakeConfig = Callable[..., ExperimentConfig]


def steps(config: ExperimentConfig, student: Any, *, answers: int) -> list[Row]:
    """The log of an epoch over so many answers of different lengths, four in an update."""
    run_dir = RunDir.of(config)
    run_dir.responses.parent.mkdir(parents=True, exist_ok=True)
    question = [{"role": "user", "content": "Count."}]
    rows = [
        {"id": f"{number}", "messages": question, "response": "one " * (number + 1), "finish_reason": "stop"}
        for number in range(answers)
    ]
    write_jsonl(run_dir.responses, rows)
    renderer = load_renderer(config, "student_model")
    sequences, _ = load_sequences(run_dir.responses, renderer, config)
    model = StudentWithLoss(student, SFT_OBJECTIVE)
    collator, schedule = Collator(renderer.pad_token_id), Schedule(1, batch_size=4, learning_rate=1e-2)
    train(model, SequenceDataset(sequences), collator, config, schedule, run_dir.sft)
    return load_jsonl(run_dir.sft / "metrics.jsonl")


def first_weights(config: ExperimentConfig) -> dict[str, torch.Tensor]:
    student = load_student_for_training(config.student_model, config)
    return {name: weight.detach() for name, weight in student.named_parameters() if "lora_A" in name}


def test_the_seed_decides_the_first_weights_of_lora(tiny_config: MakeConfig) -> None:
    one, again, other = (first_weights(tiny_config(seed=seed)) for seed in (1, 1, 2))
    assert one
    assert all(one[name].equal(again[name]) for name in one)
    assert not any(one[name].equal(other[name]) for name in one)


def test_the_seed_decides_the_order_of_the_answers(tiny_config: MakeConfig) -> None:
    """All weights are trained, from the same ones, so only the order can differ."""
    found = []
    for number, seed in enumerate((1, 1, 2)):
        config = tiny_config(experiment_name=f"order{number}", tuning="full", seed=seed)
        found.append(steps(config, load_student_for_training(config.student_model, config), answers=16))
    tokens = [[row["num_tokens"] for row in rows] for rows in found]
    assert tokens[0] == tokens[1] != tokens[2]
    assert sum(tokens[0]) == sum(tokens[2])
    assert found[0][-1]["loss"] == pytest.approx(found[1][-1]["loss"], rel=1e-6)
    assert found[0][-1]["loss"] != pytest.approx(found[2][-1]["loss"], rel=1e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_seed_decides_dropout(tiny_config: MakeConfig, dropout: float) -> None:
    """One update of all answers from the same weights: without dropout nothing is left that could differ."""
    norms = []
    for seed in (1, 2):
        config = tiny_config(experiment_name=f"dropout{seed}", lora_dropout=dropout, seed=1)
        student = load_student_for_training(config.student_model, config)
        [step] = steps(config.model_copy(update={"seed": seed}), student, answers=4)
        norms.append(step["grad_norm"])
    assert (norms[0] == pytest.approx(norms[1], rel=1e-5)) == (dropout == 0)
