"""The trainer: what it logs, that it learns, that a killed run resumes, and that its curve is the golden one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss.objective import Objective
from l2s.loss.reference import IGNORE_INDEX
from l2s.models.load import load_model, load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import Collator, SequenceDataset, load_sequences
from l2s.signals.teachers import OnlineTeacher
from l2s.training import run_trainer
from l2s.training.checkpoints import SEAL, last_whole_checkpoint, seal
from l2s.training.run_trainer import TrainingResult, training_settings
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from l2s.training.trainer import Schedule, train
from support.kills import killed_after
from support.payload import plant
from support.tiny_gemma import save_tiny_gemma

MakeConfig = Callable[..., ExperimentConfig]
GOLDEN = Path(__file__).parent / "golden_curves.json"
WORDS = ("one", "two", "three", "four", "five")


def write_responses(path: Path, count: int) -> None:
    rows = [
        {
            "id": f"word/{number}",
            "messages": [{"role": "user", "content": f"Write {WORDS[number % 5]}."}],
            "response": " ".join([WORDS[number % 5]] * (1 + number % 3)),
            "finish_reason": "stop",
        }
        for number in range(count)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)


def train_tiny(config: ExperimentConfig, objective: Objective, *, epochs: int, count: int = 12) -> TrainingResult:
    """Train on `count` answers in batches of 4; metrics.jsonl is in the kd folder."""
    run_dir = RunDir.of(config)
    write_responses(run_dir.responses, count)
    renderer = load_renderer(config, "student_model")
    sequences, _ = load_sequences(run_dir.responses, renderer, config)
    student = StudentWithLoss(load_student_for_training(config.student_model, config), objective)
    teacher = OnlineTeacher(load_model(config.teacher_model, config)) if objective.alpha < 1 else None
    schedule = Schedule(epochs, batch_size=4, learning_rate=1e-2)
    collator = Collator(renderer.pad_token_id)
    return train(student, SequenceDataset(sequences), collator, config, schedule, run_dir.kd, teacher=teacher)


def metrics(config: ExperimentConfig) -> list[dict[str, Any]]:
    return load_jsonl(RunDir.of(config).kd / "metrics.jsonl")


def test_each_step_leaves_a_line_of_metrics(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    result = train_tiny(config, Objective(alpha=0.3, temperature=2.0), epochs=1)

    rows = metrics(config)
    fields = ["step", "epoch", "loss", "ce", "divergence", "learning_rate", "grad_norm", "num_tokens"]
    assert [list(row) for row in rows] == [fields] * 3
    for row in rows:
        assert row["loss"] == pytest.approx(0.3 * row["ce"] + 0.7 * 4 * row["divergence"], rel=1e-5)
    assert result.steps == 3
    assert result.final_loss == rows[-1]["loss"]
    assert result.num_tokens == sum(row["num_tokens"] for row in rows)


def test_the_folder_of_an_arm_is_on_disk_before_its_first_row(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    run_dir, flush, on_disk, rows_on_disk = RunDir.of(config), os.fsync, set[Path](), list[bool]()

    def watched(descriptor: int) -> None:
        flush(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        on_disk.update(path.iterdir() if path.is_dir() else [])
        if path == run_dir.arm("kd").metrics.resolve():
            rows_on_disk.append({run_dir.kd.resolve(), path.parent / "checkpoints"} <= on_disk)

    monkeypatch.setattr(os, "fsync", watched)
    train_tiny(config, Objective(alpha=0.3, temperature=2.0), epochs=1)
    assert rows_on_disk == [True] * 3


@pytest.mark.parametrize("objective", [SFT_OBJECTIVE, Objective(alpha=0.0, temperature=2.0)])
def test_the_student_learns(tiny_config: MakeConfig, objective: Objective) -> None:
    config = tiny_config(tuning="full")
    train_tiny(config, objective, epochs=10)

    losses = [row["loss"] for row in metrics(config)]
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


@pytest.mark.parametrize("tuning", ["full", "qlora"])
@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
def test_a_training_of_one_update_learns(tiny_config: MakeConfig, tuning: str, scheduler: str) -> None:
    config = tiny_config(tuning=tuning, lr_scheduler=scheduler)
    train_tiny(config, SFT_OBJECTIVE, epochs=1, count=4)
    assert [row["learning_rate"] for row in metrics(config)] == [1e-2]


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
def test_every_schedule_warms_up(tiny_config: MakeConfig, scheduler: str) -> None:
    config = tiny_config(lr_scheduler=scheduler, warmup_ratio=0.5)
    train_tiny(config, SFT_OBJECTIVE, epochs=2, count=8)
    assert [row["learning_rate"] for row in metrics(config)][:3] == pytest.approx([0, 5e-3, 1e-2])


@pytest.mark.parametrize("tuning", ["full", "lora", "qlora"])
def test_a_killed_training_ends_as_an_unbroken_one(tiny_config: MakeConfig, tuning: str) -> None:
    unbroken = tiny_config(experiment_name="unbroken", tuning=tuning, save_steps=2)
    killed = tiny_config(experiment_name="killed", tuning=tuning, save_steps=2)
    objective = Objective(alpha=0.5, temperature=2.0)
    train_tiny(unbroken, objective, epochs=3)

    with killed_after(5):
        train_tiny(killed, objective, epochs=3)
    (RunDir.of(killed).kd / "checkpoints" / "checkpoint-6").mkdir()  # the kill came while this one was written
    train_tiny(killed, objective, epochs=3)

    assert [row["step"] for row in metrics(killed)] == list(range(1, 10))
    for left, right in zip(metrics(killed), metrics(unbroken), strict=True):
        assert left == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_student_with_weights_that_text_does_not_reach_resumes(
    tiny_config: MakeConfig, tmp_path: Path, tuning: str
) -> None:
    student = save_tiny_gemma(tmp_path / "gemma")
    unbroken, killed = (
        tiny_config(experiment_name=name, student_model=student, tuning=tuning, save_steps=2, weight_decay=0.1)
        for name in ("unbroken", "killed")
    )
    train_tiny(unbroken, SFT_OBJECTIVE, epochs=2)
    with killed_after(3):
        train_tiny(killed, SFT_OBJECTIVE, epochs=2)
    train_tiny(killed, SFT_OBJECTIVE, epochs=2)
    for left, right in zip(metrics(killed), metrics(unbroken), strict=True):
        assert left == pytest.approx(right, rel=1e-5)
    states = [
        torch.load(RunDir.of(config).kd / "checkpoints" / "checkpoint-6" / "optimizer.pt", weights_only=True)["state"]
        for config in (killed, unbroken)
    ]
    assert states[0].keys() == states[1].keys()
    assert not any("vision" in name for name in states[0])


def test_a_pickle_in_a_checkpoint_is_refused_and_never_runs(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(save_steps=2)
    checkpoint = RunDir.of(config).kd / "checkpoints" / "checkpoint-2"
    with killed_after(3):
        train_tiny(config, SFT_OBJECTIVE, epochs=2)
    pickles = sorted(file.name for file in checkpoint.iterdir() if file.suffix in (".pt", ".pth"))
    assert pickles == ["optimizer.pt", "rng_state.pth", "scheduler.pt"]
    for name in pickles:
        before = (checkpoint / name).read_bytes()
        plant(checkpoint, name, tmp_path / "ran")
        with pytest.raises(UserError, match=r"checkpoint-2: a file in it holds a pickle .*remove this folder"):
            train_tiny(config, SFT_OBJECTIVE, epochs=2)
        (checkpoint / name).write_bytes(before)
    assert not (tmp_path / "ran").exists()


def test_a_loss_that_is_not_a_number_ends_the_training(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    run_dir = RunDir.of(config)
    write_responses(run_dir.responses, 4)
    renderer = load_renderer(config, "student_model")
    sequences, _ = load_sequences(run_dir.responses, renderer, config)
    student = StudentWithLoss(load_student_for_training(config.student_model, config), SFT_OBJECTIVE)
    with torch.no_grad():
        student.causal_lm.get_decoder().norm.weight.fill_(float("nan"))

    with pytest.raises(UserError, match="loss of step 1 is nan"):
        train(student, SequenceDataset(sequences), Collator(0), config, Schedule(1, 4, 1e-2), run_dir.kd)


def test_a_checkpoint_holds_only_what_is_trained(tiny_config: MakeConfig) -> None:
    config = tiny_config(tuning="lora")
    train_tiny(config, SFT_OBJECTIVE, epochs=1)

    names = load_file(RunDir.of(config).kd / "checkpoints" / "checkpoint-3" / "model.safetensors").keys()
    assert names
    assert all("lora_" in name for name in names)


@pytest.mark.parametrize("arm", ["sft", "kd"])
def test_golden_curve(tiny_config: MakeConfig, arm: str) -> None:
    """30 steps compared with the stored curve; the tolerance covers float32 sums on different CPUs."""
    config = tiny_config(tuning="full", max_length=64)
    train_tiny(config, SFT_OBJECTIVE if arm == "sft" else Objective(alpha=0.5, temperature=2.0), epochs=10)

    losses = [row["loss"] for row in metrics(config)]
    assert losses == pytest.approx(json.loads(GOLDEN.read_text())[arm], rel=1e-4)


def test_labels_are_shifted_once() -> None:
    items = [{"input_ids": [1, 2, 3, 4], "labels": [-100, -100, 3, 4]}]

    batch = Collator(pad_token_id=0)(items)

    assert batch["labels"].tolist() == [[IGNORE_INDEX, 3, 4, IGNORE_INDEX]]


def test_padding_is_on_the_side_asked_for() -> None:
    items = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [4, 5], "labels": [-100, 5]}]

    right, left = Collator(0)(items), Collator(0, padding_side="left")(items)

    assert right["input_ids"].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert left["input_ids"].tolist() == [[1, 2, 3], [0, 4, 5]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert left["labels"].tolist() == [[2, 3, -100], [-100, 5, -100]]


def test_overlong_sequences_are_dropped_or_cut_and_counted(tiny_config: MakeConfig, tmp_path: Path) -> None:
    file = tmp_path / "responses.jsonl"
    short = {"id": "short", "messages": [{"role": "user", "content": "a"}], "response": "b", "finish_reason": "stop"}
    long_prompt = short | {"id": "long prompt", "messages": [{"role": "user", "content": "a" * 200}]}
    write_jsonl(file, [short, short | {"id": "long answer", "response": "b" * 200}, long_prompt])
    renderer = load_renderer(tiny_config(), "student_model")

    dropped, drop_counts = load_sequences(file, renderer, tiny_config(max_length=100))
    cut, cut_counts = load_sequences(file, renderer, tiny_config(max_length=100, overlong="cut"))

    assert [item.id for item in dropped] == ["short"]
    assert (drop_counts.num_sequences, drop_counts.dropped_overlong, drop_counts.cut_overlong) == (1, 2, 0)
    assert [item.id for item in cut] == ["short", "long answer"]
    assert len(cut[1].input_ids) == 100
    assert (cut_counts.num_sequences, cut_counts.dropped_overlong, cut_counts.cut_overlong) == (2, 1, 1)


def test_an_answer_that_was_cut_does_not_teach_to_stop(tiny_config: MakeConfig, tmp_path: Path) -> None:
    file = tmp_path / "responses.jsonl"
    row = {"id": "x", "messages": [{"role": "user", "content": "a"}], "response": "b", "finish_reason": "length"}
    write_jsonl(file, [row])
    renderer = load_renderer(tiny_config(), "student_model")

    sequences, _ = load_sequences(file, renderer, tiny_config())

    assert renderer.end_id not in [label for label in sequences[0].labels if label != IGNORE_INDEX]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\nnot json\n", "line 2"),
        ('{"id": "a", "response": "b", "finish_reason": "stop"}\n', "messages"),
    ],
)
def test_unusable_answers_are_named(tiny_config: MakeConfig, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "responses.jsonl"
    file.write_text(content)

    with pytest.raises(UserError, match=message):
        load_sequences(file, load_renderer(tiny_config(), "student_model"), tiny_config())


def test_sequences_that_all_exceed_max_length_are_an_error(tiny_config: MakeConfig, tmp_path: Path) -> None:
    file = tmp_path / "responses.jsonl"
    write_responses(file, 3)

    with pytest.raises(UserError, match="max_length=20"):
        load_sequences(file, load_renderer(tiny_config(), "student_model"), tiny_config(max_length=20))


def test_a_half_written_checkpoint_is_removed_and_a_damaged_one_too(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
        if step < 11:
            seal(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text("[]")

    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-9"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-8", "checkpoint-9"]


@pytest.mark.parametrize("seal_of_nothing", ["{}", "[]", "null", "7", '{"missing": "0"}', '["ab"]', "[" * 100_000])
def test_a_seal_that_vouches_for_nothing_makes_no_checkpoint_whole(tmp_path: Path, seal_of_nothing: str) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / SEAL).write_text(seal_of_nothing)
    (tmp_path / "checkpoint-\u00b2").mkdir()  # a digit that is no number
    assert last_whole_checkpoint(tmp_path) is None


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_no_process_reads_for_a_training(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: str
) -> None:
    """A signal to all processes of a run would end it, and the training before its checkpoint is saved."""
    monkeypatch.setattr(run_trainer, "pick_device", lambda config: torch.device(device))

    settings = training_settings(tiny_config(), 4, 1e-3, tmp_path)

    assert TrainingArguments(**(settings | {"use_cpu": True})).dataloader_num_workers == 0
    assert settings["use_cpu"] == (device == "cpu")


def test_gradients_of_a_frozen_head_are_not_made(tiny_config: MakeConfig) -> None:
    config = tiny_config(tuning="lora")
    student = StudentWithLoss(load_student_for_training(config.student_model, config), SFT_OBJECTIVE)
    tokens = torch.tensor([[1, 2, 3]])

    student(input_ids=tokens, labels=torch.tensor([[-100, 3, -100]]))["loss"].backward()

    trained = {name for name, weight in student.named_parameters() if weight.grad is not None}
    assert trained
    assert all("lora_" in name for name in trained)
