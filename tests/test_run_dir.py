"""The run folder: lock, writability, the link to the last model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import RunDir

ROOT = Path(__file__).resolve().parent.parent


def test_the_configuration_is_read_back_as_it_was(tmp_path: Path) -> None:
    config = ExperimentConfig(output_dir=tmp_path, alpha=0.3, run_all=True)
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    assert run_dir.load_config() == config


def test_a_second_run_in_the_folder_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "x")
    run_dir.create()
    program = (
        "import sys; from pathlib import Path; from l2s.run_dir import RunDir\n"
        f"with RunDir(Path({str(run_dir.root)!r})).lock(): print('held', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True, cwd=ROOT)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"another run is working in .*/x \(process {first.pid} on "), run_dir.lock():
        pass
    first.kill()
    first.wait()
    with run_dir.lock():
        pass


def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"output_dir=.*cannot write there .*--output_dir"):
        RunDir(tmp_path / "file" / "x").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write there"):
        RunDir(tmp_path / "x").create()


def test_final_model_leads_to_the_model_trained_last(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "x")
    for model in (run_dir.sft_model, run_dir.kd_model):
        model.mkdir(parents=True)
        (model / "config.json").write_text(model.parent.name)
        run_dir.publish_model(model)
    assert (run_dir.root / "final_model" / "config.json").read_text() == "kd"
    assert not (run_dir.root / "final_model").readlink().is_absolute()
