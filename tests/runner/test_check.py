"""`l2s check` says 5/5 if all is well, and names what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from l2s.config import ExperimentConfig
from l2s.generation.engines import table
from l2s.runner.check import CHECKS, check_pair, run_checks, tiny_experiment

MakeConfig = Callable[..., ExperimentConfig]
NO_HUB = {"math_source": "synthetic", "code_train_source": "humaneval", "math_train_size": 4, "aiops_train_size": 4}


def test_a_machine_that_is_ready_passes_all_five(tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_checks(tiny_config(**NO_HUB)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "5/5 passed"


def test_what_is_missing_is_named_and_the_other_checks_run(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2s.runner.check.PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setitem(CHECKS, "pipeline", lambda config: "ran in the test above")
    assert run_checks(tiny_config(teacher_model="/no/such/model", **NO_HUB)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "1/5 packages: failed" in lines
    assert any("no-such-package" in line and "pip install" in line for line in lines)
    assert any("teacher_model='/no/such/model'" in line for line in lines)
    assert lines[-1] == "3/5 passed"


def test_the_tiny_run_does_not_wait_for_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a GPU it would be started six times, for models whose heads it may not take."""
    monkeypatch.setattr(table, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert table.choose_engine(ExperimentConfig()).name == "vllm"
    assert table.choose_engine(tiny_experiment(tmp_path)).name == "transformers"


def test_a_template_that_opens_the_thinking_gives_the_text_back(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model_dir / "student", tmp_path / "model")
    with (folder / "chat_template.jinja").open("a") as template:
        template.write("{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}")
    said = check_pair(tiny_config(teacher_model=str(folder), student_model=str(folder), thinking="on"))
    assert "chat template present" in said
