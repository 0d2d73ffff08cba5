"""The dtype of an experiment: chosen once, kept by its later runs, and refused by name if another one is set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.devices import DtypeChoice
from l2s.errors import UserError
from l2s.run_dir import Manifest, RunDir
from l2s.runner import experiment
from l2s.runner.freshness import settings_of
from l2s.runner.pipeline import STAGES
from l2s.runner.selection import settle

MakeConfig = Callable[..., ExperimentConfig]


@pytest.fixture
def dry_run(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The output of a dry run on a machine for which `auto` means that dtype."""

    def run(machine: Any = "float32", **fields: Any) -> str:
        monkeypatch.setattr(experiment, "choose_dtype", lambda config: DtypeChoice(machine, "so it is"))
        experiment.dry_run(tiny_config(run_generate=True, math_source="synthetic", **fields))
        return capsys.readouterr().out

    return run


def finish_generate(config: ExperimentConfig) -> None:
    """Write what a finished `generate` with `config` leaves."""
    config = settle(config)
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    stage = STAGES["generate"]
    for path in stage.gives(run_dir, config):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    fields: dict[str, Any] = {"inputs": {}, "outputs": {}, "versions": {}, "git_commit": None, "seed": 0}
    settings = settings_of(stage, config)
    made = Manifest(stage="generate", config=settings, device="cpu", started_at="", seconds=0.0, **fields)
    made.save(run_dir.manifest("generate"))


@pytest.mark.parametrize("machine", ["float32", "bfloat16"])
def test_a_new_experiment_takes_what_the_machine_suits_and_says_why(dry_run: Callable[..., str], machine: str) -> None:
    shown = dry_run(machine, dtype="auto")
    assert f"dtype: {machine} (so it is)" in shown
    assert f"  dtype: {machine}\n" in shown


def test_an_experiment_keeps_its_dtype_on_another_kind_of_machine(
    dry_run: Callable[..., str], tiny_config: MakeConfig
) -> None:
    finish_generate(tiny_config(dtype="bfloat16"))
    shown = dry_run("float32", dtype="auto")
    assert "dtype: bfloat16 (as this experiment began; here auto alone would be float32: so it is)" in shown
    assert "  dtype: bfloat16\n" in shown


def test_another_dtype_that_is_set_is_refused_by_name(dry_run: Callable[..., str], tiny_config: MakeConfig) -> None:
    finish_generate(tiny_config(dtype="bfloat16"))
    with pytest.raises(UserError, match=r"dtype='float32': stage generate .* dtype='bfloat16'"):
        dry_run(dtype="float32")


@pytest.mark.parametrize("content", ["", "dtype: auto\n", "dtype: [1]\n", "- a\n", "dtype: {", "experiment_name: x\n"])
def test_a_configuration_that_names_no_dtype_decides_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    assert RunDir(tmp_path).begun_dtype() is None
