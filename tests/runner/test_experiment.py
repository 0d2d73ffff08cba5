"""An experiment from the first check to the last report, with its stages as processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import RunDir
from l2s.runner import experiment
from l2s.runner.experiment import dry_run, run_experiment
from l2s.runner.placement import Devices

Make = Callable[..., ExperimentConfig]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A factory of configurations that need no model and no network."""

    def build(**fields: object) -> ExperimentConfig:
        sources = {"math_source": "synthetic", "code_train_source": "humaneval"}
        sizes = {"math_train_size": 4, "code_train_size": 0, "aiops_train_size": 0, "code_eval_size": 0}
        folders = {"output_dir": tmp_path / "outputs", "processed_dir": tmp_path / "processed"}
        return ExperimentConfig(**(sources | sizes | folders | fields))

    return build


def planned(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Stage -> what a dry run says about it."""
    words = capsys.readouterr().out.split("Stages")[1].split()
    return dict(zip(words[::2], words[1::2], strict=True))


def test_force_makes_again_what_other_settings_would_be_refused_for(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = make(run_prepare=True, seed=1), make(run_prepare=True, seed=2)
    run_experiment(first)
    data = RunDir.of(first).train_data
    before = data.read_bytes()
    with pytest.raises(UserError, match=r"seed=2: stage prepare .* add --force"):
        run_experiment(other)
    assert data.read_bytes() == before
    capsys.readouterr()
    dry_run(other, force=True)
    assert planned(capsys) == {"prepare": "run"}
    run_experiment(other, force=True)
    assert data.read_bytes() != before
    run_experiment(other)
    assert "prepare: done before, skipped" in capsys.readouterr().out


def test_force_says_that_it_leaves_alone_what_was_not_asked_for(make: Make) -> None:
    run_experiment(make(run_prepare=True, seed=1))
    with pytest.raises(UserError, match=r"seed=2: stage prepare .* ask for that stage too, with --force"):
        dry_run(make(run_generate=True, seed=2), force=True)


@pytest.mark.parametrize(
    ("kind", "names", "shared", "said"),
    [("gpu", "01", False, True), ("gpu", "01", True, False), ("gpu", "0", False, False), ("cpu", "01", False, False)],
)
def test_several_gpus_in_a_container_without_shared_memory_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: Any, names: str, shared: bool, said: bool
) -> None:
    monkeypatch.setattr(experiment, "has_shared_memory", lambda: shared)
    experiment._warn_of_shared_memory(Devices(kind, tuple(names)))
    assert ("--shm-size" in capsys.readouterr().out) == said
