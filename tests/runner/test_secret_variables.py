"""Which process gets which secret of the environment; Ray's part is in test_ray_secrets.py."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.run_dir import RunDir
from l2s.runner import executors
from l2s.runner.executors import LocalExecutor
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices
from l2s.secret_variables import SECRETS
from l2s.tasks.own import user_code
from l2s.tasks.types import Item

Make = Callable[..., ExperimentConfig]
KEY, HUB = "L2S_ENDPOINT_KEY", {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """All secrets are set, and a variable of the user's own."""
    for name in (KEY, *HUB):
        monkeypatch.setenv(name, f"secret-{name}")
    monkeypatch.setenv("WANDB_API_KEY", "of a tracker")


def given(environment: dict[str, str]) -> set[str]:
    """The secrets in an environment, by name and by value."""
    return {name for name, value in environment.items() if name in SECRETS or value.startswith("secret-")}


@pytest.mark.parametrize("stage", ["prepare", "generate", "score", "sft", "kd", "opd", "evaluate_teacher", "report"])
@pytest.mark.parametrize(
    ("engine", "arms", "asking"),
    [
        ("transformers", "sft,kd", ()),
        ("endpoint", "sft,kd", ("generate",)),  # the teacher's weights are here and are evaluated
        ("endpoint", "sft", ("generate", "evaluate_teacher")),
    ],
)
def test_a_stage_gets_the_secrets_that_it_needs(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, stage: str, engine: str, arms: str, asking: tuple[str, ...]
) -> None:
    environments: list[dict[str, str]] = []

    def start(command: list[str], **options: Any) -> SimpleNamespace:
        environments.append(options["env"])
        return SimpleNamespace(poll=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", start)
    config = tiny_config(engine=engine, arms=arms, teacher_endpoint="https://host/v1")
    executor = LocalExecutor(Devices("cpu", ("0",)), 0, config)
    executor.start(STAGES[stage], RunDir.of(config), [(0,)], log=None)
    hub = set() if stage == "report" else HUB
    assert [given(found) for found in environments] == [hub | ({KEY} if stage in asking else set())]
    assert environments[0]["WANDB_API_KEY"] == "of a tracker"


def test_an_executor_that_knows_no_settings_gives_nobody_the_key() -> None:
    assert KEY not in executors.stage_environment(executors.hub_tokens_of("generate"))


def test_a_users_grader_sees_no_secret_of_l2s(tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    code = "import json, os, pathlib\ndef grade(response, reference):\n"
    code += f"    pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ)))\n    return 1\n"
    (tmp_path / "own.py").write_text(code)
    item = Item(
        id="a", domain="own", source="own", messages=[{"role": "user", "content": "?"}], reference="b", meta={"row": {}}
    )
    user_code.check(ExperimentConfig(own_grader=f"python:{tmp_path / 'own.py'}:grade"), item)
    environment = json.loads(seen.read_text())
    assert given(environment) == set()
    assert environment["WANDB_API_KEY"] == "of a tracker"
    assert os.environ[KEY] == f"secret-{KEY}"  # still there for whoever asks
