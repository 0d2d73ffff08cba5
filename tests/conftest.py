"""Shared fixtures: a tiny teacher and student of the Qwen3 architecture with one byte-level tokenizer."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that uses the network must fail, not wait

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.models.tiny import save_tiny_pair


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """teacher/ (hidden size 64, 320 rows in its head) and student/ (32, 304 rows, tied); both know 259 tokens."""
    folder = tmp_path_factory.mktemp("models")
    save_tiny_pair(folder)
    return folder


@pytest.fixture
def tiny_config(tiny_model_dir: Path, tmp_path: Path) -> Callable[..., ExperimentConfig]:
    """A factory of configurations that train the tiny pair in float32 on the CPU; keywords override fields."""

    def make(**fields: Any) -> ExperimentConfig:
        defaults: dict[str, Any] = {
            "experiment_name": "tiny",
            "teacher_model": str(tiny_model_dir / "teacher"),
            "student_model": str(tiny_model_dir / "student"),
            "output_dir": tmp_path / "outputs",
            "processed_dir": tmp_path / "processed",
            "dtype": "float32",
            "device": "cpu",
            "tuning": "lora",
            "lora_r": 4,
            "lora_alpha": 8,
            "gradient_checkpointing": False,
            "gradient_accumulation_steps": 1,
            "max_new_tokens": 16,
            "max_length": 512,
            "heldout_answers": 0,  # tests of training rely on every answer
        }
        return ExperimentConfig(**(defaults | fields))

    return make
