"""What a Ray job is told of secrets: only the stages that ask an endpoint get its key, and nothing shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.run_dir import RunDir
from l2s.runner.cluster.executor import RayJob
from l2s.runner.cluster.nodes import Node
from l2s.runner.cluster.worker import Task
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices
from l2s.secret_variables import ENDPOINT_KEY

Make = Callable[..., ExperimentConfig]
KEY, TOKEN = "sk-not-to-be-seen", "hf_not-to-be-seen"


def task_of(stage: str, config: ExperimentConfig) -> Task:
    run_dir = RunDir.of(config)
    cluster = SimpleNamespace(devices=Devices("cpu", ("0",)), threads=lambda node: 1)
    job: Any = SimpleNamespace(
        config=config,
        stage=STAGES[stage],
        cluster=cluster,
        groups=[(0,)],
        run_dir=run_dir,
        log=run_dir.stage_log(stage),
    )
    return RayJob._task(job, Node("0", "here", 1, 0, root=str(Path("copy")), lock_file="copy.lock"))


@pytest.mark.parametrize("engine", ["endpoint", "transformers"])
@pytest.mark.parametrize(("arms", "asking"), [("sft,kd", ["generate"]), ("sft", ["generate", "evaluate_teacher"])])
@pytest.mark.parametrize("stage", ["generate", "evaluate_teacher", "score", "sft", "kd", "evaluate_student_kd"])
def test_a_key_goes_to_the_stages_that_ask_and_shows_nowhere(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, stage: str, engine: str, arms: str, asking: list[str]
) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    task = task_of(stage, tiny_config(arms=arms, engine=engine, teacher_endpoint="https://host/v1"))
    assert (task.environment.get(ENDPOINT_KEY) == KEY) == (engine == "endpoint" and stage in asking)
    assert TOKEN not in task.environment.values()
    assert KEY not in repr(task)
