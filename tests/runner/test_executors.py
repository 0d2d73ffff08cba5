"""Stages as processes: what they are started with."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from l2s.run_dir import RunDir
from l2s.runner.executors import LocalExecutor
from l2s.runner.pipeline import STAGES


class DoneAtOnce:
    """Takes the place of a process and notes its environment."""

    environment: dict[str, str]

    def __init__(self, command: list[str], **options: Any) -> None:
        type(self).environment = options["env"]

    def wait(self) -> int:
        return 0


def test_a_stage_reports_to_nobody_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subprocess, "Popen", DoneAtOnce)
    for given, expected in ((None, "1"), ("0", "0")):
        monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
        if given is not None:
            monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", given)
        LocalExecutor().run(STAGES["prepare"], RunDir(tmp_path), "run", lock_fd=0)
        assert DoneAtOnce.environment["HF_HUB_DISABLE_TELEMETRY"] == expected
