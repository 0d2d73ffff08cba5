"""With several visible GPUs a training process uses one: no DataParallel. Emulated on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.models.load import load_student_for_training
from l2s.run_dir import RunDir
from l2s.runner.check import CHECKS
from l2s.sequences import Collator, SequenceDataset, load_sequences
from l2s.training import on_policy
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from l2s.training.trainer import Schedule, train

MakeConfig = Callable[..., ExperimentConfig]


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What transformers finds if eight GPUs are visible to one process."""
    after_init = TrainingArguments.__post_init__

    def find_eight(self: TrainingArguments) -> None:
        after_init(self)  # type: ignore[no-untyped-call]
        self._n_gpu = 8

    monkeypatch.setattr(TrainingArguments, "__post_init__", find_eight)
    monkeypatch.setattr(TrainingArguments, "_n_gpu", 8, raising=False)


def write_answers(config: ExperimentConfig) -> Path:
    rows = [
        {"id": f"n/{n}", "messages": [{"role": "user", "content": f"Say {n}."}], "response": str(n),
         "finish_reason": "stop"}
        for n in range(12)
    ]  # fmt: skip
    path = RunDir.of(config).responses
    path.parent.mkdir(parents=True)
    write_jsonl(path, rows)
    return path


def curve(config: ExperimentConfig) -> list[dict[str, Any]]:
    renderer = load_renderer(config, "student_model")
    sequences, _ = load_sequences(write_answers(config), renderer, config)
    student = StudentWithLoss(load_student_for_training(config.student_model, config), SFT_OBJECTIVE)
    folder = RunDir.of(config).sft
    train(student, SequenceDataset(sequences), Collator(renderer.pad_token_id), config, Schedule(1, 4, 1e-2), folder)
    return load_jsonl(folder / "metrics.jsonl")


def test_training_is_that_of_one_gpu(tiny_config: MakeConfig, request: pytest.FixtureRequest) -> None:
    fields = {"tuning": "full", "gradient_accumulation_steps": 2}
    expected = curve(tiny_config(experiment_name="one", **fields))
    request.getfixturevalue("eight_gpus")
    assert TrainingArguments(use_cpu=True).n_gpu == 8
    assert curve(tiny_config(experiment_name="eight", **fields)) == expected


@pytest.mark.usefixtures("eight_gpus")
def test_the_pipeline_of_check_runs(tiny_config: MakeConfig) -> None:
    assert "QLoRA SFT, KD and evaluation ran" in CHECKS["pipeline"](tiny_config())


@pytest.mark.usefixtures("eight_gpus")
def test_on_policy_distillation_runs(tiny_config: MakeConfig) -> None:
    pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")
    config = tiny_config(kd_init="base", opd_steps=1, opd_max_new_tokens=4)
    run_dir = RunDir.of(config)
    run_dir.train_data.parent.mkdir(parents=True)
    write_jsonl(run_dir.train_data, [{"messages": [{"role": "user", "content": "Say 1."}]}])
    assert on_policy.run(config, run_dir)["steps"] == 1
