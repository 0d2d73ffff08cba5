"""Answers held out of training: which ones, what the report says about them, and that they do not affect training."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss.reference import distillation_loss
from l2s.models.load import load_model, load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import (
    Collator,
    SequenceCounts,
    SequenceDataset,
    TrainingSequence,
    hold_out,
    load_sequences,
)
from l2s.signals import score
from l2s.training import kd, sft
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from l2s.training.trainer import Schedule, train
from support.kills import killed_after

MakeConfig = Callable[..., ExperimentConfig]


def answers(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"sum/{number}",
            "messages": [{"role": "user", "content": f"{number} plus {number % 5}?"}],
            "response": "It is " + "so " * (number % 4) + str(number + number % 5),
            "finish_reason": "stop",
        }
        for number in range(count)
    ]


def prepare(config: ExperimentConfig, rows: list[dict[str, Any]]) -> RunDir:
    run_dir = RunDir.of(config)
    run_dir.sft.mkdir(parents=True)
    write_jsonl(run_dir.responses, rows)
    return run_dir


@pytest.mark.parametrize(
    ("wanted", "count", "held"), [(16, 400, 16), (16, 100, 5), (16, 19, 0), (0, 400, 0), (1, 20, 1)]
)
def test_at_most_one_answer_in_20_is_held_out_from_all_over_the_file(
    tiny_config: MakeConfig, wanted: int, count: int, held: int
) -> None:
    sequences = [TrainingSequence(str(i), [1, 2, 3], [-100, 2, 3]) for i in range(count)]
    trained, held_out, counts = hold_out(sequences, SequenceCounts(), tiny_config(heldout_answers=wanted))

    assert {item.id for item in trained} | {item.id for item in held_out} == {str(i) for i in range(count)}
    assert (len(trained), len(held_out)) == (count - held, held)
    assert (counts.num_sequences, counts.held_out, counts.num_tokens) == (count - held, held, 2 * (count - held))
    places = [-count // (2 * held), *(int(item.id) for item in held_out)] if held else []
    assert all(abs(after - before - count / held) <= 1 for before, after in pairwise(places))


def test_the_curve_is_the_loss_on_answers_that_no_step_saw(tiny_config: MakeConfig) -> None:
    """KD's rows compared with the logits of both models; signals of held-out answers are stored with the others."""
    settings: dict[str, Any] = {"alpha": 0.3, "temperature": 3.0, "divergence": "reverse_kl"}
    config = tiny_config(kd_batch_size=4, kd_init="base", save_steps=3, heldout_answers=16, **settings)
    run_dir = prepare(config, answers(42))
    score.run(config, run_dir)
    metrics = kd.run(config, run_dir)

    rows = load_jsonl(run_dir.kd / "heldout_metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 3, 6, 9, 10]
    steps = load_jsonl(run_dir.kd / "metrics.jsonl")
    assert sum(row["num_tokens"] for row in steps) == metrics["num_tokens"]
    assert (metrics["num_sequences"], metrics["held_out"]) == (40, 2)

    sequences, counts = load_sequences(run_dir.responses, load_renderer(config, "student_model"), config)
    _, held_out, _ = hold_out(sequences, counts, config)
    teacher = load_model(config.teacher_model, config).double()
    for row, model in ((rows[0], config.student_model), (rows[-1], str(run_dir.kd_model))):
        student = load_model(model, config).double()
        losses = []
        for sequence in held_out:
            tokens, labels = torch.tensor([sequence.input_ids]), torch.tensor([sequence.labels])[:, 1:]
            ours, theirs = (network(input_ids=tokens).logits[:, :-1] for network in (student, teacher))
            losses.append(distillation_loss(ours, theirs, labels, **settings))
        for name in ("loss", "ce", "divergence"):
            expected = sum(float(getattr(loss, f"{name}_sum")) for loss in losses) / sum(s.num_tokens for s in losses)
            assert row[name] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_answers_have_the_loss_that_training_sees(tiny_config: MakeConfig, dtype: str) -> None:
    """The first step's loss is that of its batch before any update, in the same dtypes."""
    config = tiny_config(tuning="full", dtype=dtype)
    run_dir = prepare(config, answers(4))
    renderer = load_renderer(config, "student_model")
    sequences, _ = load_sequences(run_dir.responses, renderer, config)
    dataset = SequenceDataset(sequences)
    student = StudentWithLoss(load_student_for_training(config.student_model, config), SFT_OBJECTIVE)
    collator = Collator(renderer.pad_token_id)
    train(student, dataset, collator, config, Schedule(1, 4, 1e-3), run_dir.sft, held_out=dataset)

    (step,), (before, _) = (load_jsonl(run_dir.sft / name) for name in ("metrics.jsonl", "heldout_metrics.jsonl"))
    assert before["loss"] == pytest.approx(step["loss"], rel=1e-6)


@pytest.mark.parametrize("tuning", ["lora", "qlora"])
def test_looking_does_not_change_the_training(tiny_config: MakeConfig, tuning: str) -> None:
    """To the bit, dropout included: as if the held-out answers had never been in the file."""
    common: dict[str, Any] = {
        "tuning": tuning,
        "sft_batch_size": 4,
        "save_steps": 2,
        "lora_dropout": 0.3,
        "sft_lr": 1e-2,
    }
    looking = tiny_config(experiment_name="looking", heldout_answers=16, **common)
    without = tiny_config(experiment_name="without", **common)
    rows = answers(40)
    run_dirs = prepare(looking, rows), prepare(without, [row for i, row in enumerate(rows) if i not in (10, 30)])
    for config, run_dir in zip((looking, without), run_dirs, strict=True):
        sft.run(config, run_dir)

    curves = [(run_dir.sft / "metrics.jsonl").read_bytes() for run_dir in run_dirs]
    assert curves[0] == curves[1]
    weights = [AutoModelForCausalLM.from_pretrained(run_dir.sft_model).state_dict() for run_dir in run_dirs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert len(load_jsonl(run_dirs[0].sft / "heldout_metrics.jsonl")) == 6
    assert not (run_dirs[1].sft / "heldout_metrics.jsonl").exists()


@pytest.mark.parametrize("last_step", [1, 5])
def test_a_killed_training_leaves_the_curve_of_an_unbroken_one(tiny_config: MakeConfig, last_step: int) -> None:
    configs = [
        tiny_config(experiment_name=name, sft_batch_size=4, save_steps=2, heldout_answers=2)
        for name in ("unbroken", "killed")
    ]
    unbroken, killed = (prepare(config, answers(40)) for config in configs)
    sft.run(configs[0], unbroken)

    with killed_after(last_step):
        sft.run(configs[1], killed)
    with heldout(killed).open("a") as file:
        file.write('{"step": 6, "lo')  # the kill came while this row was written
    sft.run(configs[1], killed)

    assert heldout(killed).read_bytes() == heldout(unbroken).read_bytes()


def heldout(run_dir: RunDir) -> Path:
    return run_dir.sft / "heldout_metrics.jsonl"
