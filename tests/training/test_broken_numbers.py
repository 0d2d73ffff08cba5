"""Losses, gradients and signals that are no numbers, or explode: the step is named, the stage is not called done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss.objective import Objective
from l2s.metrics import SftMetrics
from l2s.models.load import load_student_for_training
from l2s.run_dir import Manifest, RunDir
from l2s.runner.executors import run_stage
from l2s.runner.pipeline import STAGES
from l2s.sequences import load_sequences
from l2s.signals.store import SignalIndex
from l2s.training import run_trainer
from l2s.training.checkpoints import checkpoints_in
from l2s.training.student import StudentWithLoss
from l2s.training.trainer import DistillationTrainer

MakeConfig = Callable[..., ExperimentConfig]


@pytest.fixture
def ready(tiny_config: MakeConfig) -> Callable[..., tuple[ExperimentConfig, RunDir]]:
    """An experiment that has the teacher's answers."""

    def make(answers: int = 16, text: str = "It is so.", **fields: Any) -> tuple[ExperimentConfig, RunDir]:
        config = tiny_config(sft_batch_size=4, kd_batch_size=4, save_steps=1, kd_init="base", **fields)
        run_dir = RunDir.of(config)
        run_dir.responses.parent.mkdir(parents=True)
        run_dir.create()
        run_dir.save_config(config)
        messages = [{"role": "user", "content": "Is it so?"}]
        rows = [
            {"id": f"a{number}", "messages": messages, "response": text, "finish_reason": "stop"}
            for number in range(answers)
        ]
        write_jsonl(run_dir.responses, rows)
        write_jsonl(run_dir.rejected, [])
        return config, run_dir

    return make


def stopped(stage: str, config: ExperimentConfig, run_dir: RunDir) -> str:
    """The reason with which a stage stops; nothing then says that it is done."""
    with pytest.raises(UserError) as caught:
        run_stage(STAGES[stage], config, run_dir, "run")
    assert Manifest.load(run_dir.manifest(stage)) is None
    assert not (run_dir.root / stage / "final_model").exists()
    line = str(caught.value)
    assert line.isprintable()
    return line


def steps(run_dir: RunDir, arm: str) -> tuple[list[int], list[str]]:
    """The steps with a row of metrics, and the checkpoints."""
    file = run_dir.arm(arm).metrics
    rows = [row["step"] for row in load_jsonl(file)] if file.exists() else []
    return rows, sorted(path.name for path in checkpoints_in(run_dir.arm(arm).checkpoints))


def changes_step(monkeypatch: pytest.MonkeyPatch, step: int, change: Callable[[Any, Any], Any]) -> None:
    """Let `change` see loss and model of one step, after its gradient was computed; it returns the loss."""
    whole = DistillationTrainer.training_step

    def training_step(self: DistillationTrainer, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        loss = whole(self, model, *args, **kwargs)
        return change(loss, model) if self.state.global_step + 1 == step else loss

    monkeypatch.setattr(DistillationTrainer, "training_step", training_step)


@pytest.mark.parametrize("arm", ["sft", "kd"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_at_its_step(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], monkeypatch: pytest.MonkeyPatch, arm: str, value: float
) -> None:
    config, run_dir = ready(teacher_signal="online")
    changes_step(monkeypatch, 3, lambda loss, model: loss * 0 + value)
    assert f"the loss of step 3 is {value} (cross-entropy" in (line := stopped(arm, config, run_dir))
    assert f"--{arm}_lr" in line
    assert steps(run_dir, arm) == ([1, 2], ["checkpoint-1", "checkpoint-2"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_stops_at_its_step(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    config, run_dir = ready()

    def spoil(loss: Any, model: nn.Module) -> Any:
        weight = next(weight for weight in model.parameters() if weight.grad is not None)
        assert weight.grad is not None
        weight.grad.view(-1)[0] = value
        return loss

    changes_step(monkeypatch, 4, spoil)  # the last step: no later loss would show it
    assert f"the gradient norm of step 4 is {value}" in stopped("sft", config, run_dir)
    assert steps(run_dir, "sft")[0] == [1, 2, 3]


def test_a_loss_that_explodes_stops_and_one_of_a_bad_student_does_not(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run_dir = ready()
    changes_step(monkeypatch, 2, lambda loss, model: loss * 0 + 9 * model.loss_of_guessing)
    run_stage(STAGES["sft"], config, run_dir, "run")

    config, run_dir = ready(experiment_name="second")
    changes_step(monkeypatch, 2, lambda loss, model: loss * 0 + 11 * model.loss_of_guessing)
    line = stopped("sft", config, run_dir)
    assert "the loss of step 2 is 62.8" in line
    assert "more than 10 times that of a student that guesses, 5.7" in line
    assert "lower the learning rate" in line


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_damaged_student_is_not_blamed_on_the_learning_rate(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], tmp_path: Path, dtype: str
) -> None:
    config, run_dir = ready(dtype=dtype)
    spoil_model(config.student_model, tmp_path / "damaged", "norm")
    line = stopped("sft", config.model_copy(update={"student_model": str(tmp_path / "damaged")}), run_dir)
    assert "the loss of step 1 is nan (cross-entropy nan" in line
    assert "no update came before" in line
    assert "learning rate" not in line


def spoil_model(folder: str, copy: Path, part: str) -> None:
    """Save a copy of a model with one NaN in a weight whose name holds `part`."""
    shutil.copytree(folder, copy)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weight = next(weight for name, weight in model.named_parameters() if part in name)
    with torch.no_grad():
        weight.view(-1)[0] = float("nan")
    model.save_pretrained(copy)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("signal", ["hidden", "topk"])
def test_signals_that_are_no_numbers_are_not_recorded(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], tmp_path: Path, signal: str, dtype: str
) -> None:
    config, run_dir = ready(teacher_signal=signal, topk=8, dtype=dtype)
    spoil_model(config.teacher_model, tmp_path / "nan-teacher", "norm")
    config = config.model_copy(update={"teacher_model": str(tmp_path / "nan-teacher")})
    with pytest.raises(UserError, match=r"the teacher's hidden states on the answer 'a[0-9]+' are NaN or infinite"):
        run_stage(STAGES["score"], config, run_dir, "run")
    assert Manifest.load(run_dir.manifest("score")) is None
    with pytest.raises(UserError, match="holds no finished teacher signals"):
        SignalIndex.load(run_dir.teacher_signals)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_teacher_in_memory_that_computes_nan_stops_at_the_first_step(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], tmp_path: Path, dtype: str
) -> None:
    config, run_dir = ready(teacher_signal="online", dtype=dtype)
    spoil_model(config.teacher_model, tmp_path / "nan-teacher", "norm")
    config = config.model_copy(update={"teacher_model": str(tmp_path / "nan-teacher")})
    line = stopped("kd", config, run_dir)
    assert "the loss of step 1 is nan" in line
    assert "divergence nan)" in line


def test_weights_that_are_no_numbers_after_the_last_step_are_not_saved(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run_dir = ready(tuning="full")
    whole = run_trainer.run_trainer

    def then_spoil(trainer: Any, *args: Any) -> Any:
        result = whole(trainer, *args)
        with torch.no_grad():
            next(trainer.model.parameters()).view(-1)[0] = float("inf")
        return result

    monkeypatch.setattr("l2s.training.trainer.run_trainer", then_spoil)
    assert "holds NaN or infinity" in stopped("sft", config, run_dir)


def test_a_shard_of_zero3_that_is_no_number_is_not_saved() -> None:
    student = torch.nn.Linear(2, 1)
    weight: Any = student.weight
    weight.data, weight.ds_tensor = torch.empty(0), torch.tensor([1.0])  # as DeepSpeed leaves a weight between updates
    run_trainer._check_weights(student)
    weight.ds_tensor = torch.tensor([float("nan")])
    with pytest.raises(UserError, match="the weight weight holds NaN or infinity"):
        run_trainer._check_weights(student)


def losses(values: list[float], tokens: Sequence[int] = ()) -> list[dict[str, Any]]:
    numbers = tokens or [100] * len(values)
    return [
        {"step": step, "loss": value, "num_tokens": number}
        for step, (value, number) in enumerate(zip(values, numbers, strict=True), start=1)
    ]


def test_a_loss_that_rose_is_a_warning() -> None:
    assert run_trainer._warnings(losses([1.0] * 10 + [5.0] * 9)) == []  # too few steps to say so
    assert run_trainer._warnings(losses([1.0] * 10 + [1.4] * 10)) == []
    (found,) = run_trainer._warnings(losses([1.0] * 10 + [9.0] + [1.6] * 10))
    assert found["key"] == "loss_rose"
    assert found["values"] == {"before": 1.0, "after": pytest.approx(1.6)}


def test_a_step_of_few_tokens_at_the_end_is_no_rise() -> None:
    """As where the last updates hold short answers of a domain whose loss is higher."""
    values = [0.2] * 38 + [1.3, 1.3]
    assert run_trainer._warnings(losses(values, [10_000] * 38 + [1_000] * 2)) == []
    assert run_trainer._warnings(losses(values, [10_000] * 40)) != []


@pytest.mark.parametrize("signal", ["hidden", "topk", "online"])
def test_answers_of_one_token_are_learned_from(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]], signal: str
) -> None:
    config, run_dir = ready(teacher_signal=signal, topk=8, temperature=1.0)
    rows = [row | {"response": "", "token_ids": [65]} for row in load_jsonl(run_dir.responses)]
    write_jsonl(run_dir.responses, rows)
    for stage in ("sft", "score", "kd") if signal != "online" else ("kd",):
        run_stage(STAGES[stage], config, run_dir, "run")
    trained = [row["num_tokens"] for row in load_jsonl(run_dir.arm("kd").metrics)]
    assert trained == [4, 4, 4, 4]


def test_answers_without_a_token_are_left_out_and_counted(
    ready: Callable[..., tuple[ExperimentConfig, RunDir]],
) -> None:
    config, run_dir = ready()
    rows = load_jsonl(run_dir.responses)
    rows[0] |= {"token_ids": []}
    write_jsonl(run_dir.responses, rows)
    renderer = load_renderer(config, "student_model")
    sequences, counts = load_sequences(run_dir.responses, renderer, config)
    assert (len(sequences), counts.dropped_empty) == (15, 1)
    run_stage(STAGES["sft"], config, run_dir, "run")
    manifest = Manifest.load(run_dir.manifest("sft"))
    assert manifest is not None
    metrics: SftMetrics = manifest.metrics
    assert metrics["dropped_empty"] == 1

    write_jsonl(run_dir.responses, [row | {"token_ids": []} for row in rows])
    assert "none of 16 answers" in stopped_again(config, run_dir)


def stopped_again(config: ExperimentConfig, run_dir: RunDir) -> str:
    with pytest.raises(UserError) as caught:
        load_sequences(run_dir.responses, load_renderer(config, "student_model"), config)
    return str(caught.value)


def test_the_loss_of_guessing_counts_both_terms(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    causal_lm: Any = load_student_for_training(config.student_model, config)
    vocabulary = torch.tensor(float(causal_lm.config.get_text_config().vocab_size))
    student = StudentWithLoss(causal_lm, Objective(alpha=0.25, temperature=2.0))
    assert student.loss_of_guessing == pytest.approx(float(vocabulary.log()) * (0.25 + 0.75 * 4))
