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


def given(stage: str, config: ExperimentConfig) -> tuple[Task, dict[str, str]]:
    """What Ray makes an actor of the stage with, and what its process gets besides."""
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
    task = RayJob._task(job, Node("0", "here", 1, 0, root=str(Path("copy")), lock_file="copy.lock"))
    return task, RayJob.secrets(job)


@pytest.mark.parametrize("engine", ["endpoint", "transformers"])
@pytest.mark.parametrize(("arms", "asking"), [("sft,kd", ["generate"]), ("sft", ["generate", "evaluate_teacher"])])
@pytest.mark.parametrize("stage", ["generate", "evaluate_teacher", "score", "sft", "kd", "evaluate_student_kd"])
def test_a_key_goes_to_the_stages_that_ask_and_shows_nowhere(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, stage: str, engine: str, arms: str, asking: list[str]
) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    task, secrets = given(stage, tiny_config(arms=arms, engine=engine, teacher_endpoint="https://host/v1"))
    assert secrets == ({ENDPOINT_KEY: KEY} if engine == "endpoint" and stage in asking else {})
    assert KEY not in repr(task)
    assert TOKEN not in repr(task)
