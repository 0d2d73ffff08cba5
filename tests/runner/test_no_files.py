"""Pipes, sockets and devices where files of an experiment belong: refused, because who reads one may wait for ever."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.report.text.compare import compare_runs
from l2s.run_dir import Manifest, RunDir, fingerprint
from l2s.runner.executors import run_stage
from l2s.runner.experiment import dry_run, rebuild_report, run_experiment
from l2s.runner.pipeline import STAGES
from l2s.sealed import read_sealed
from support.synthetic_run import make_run

Make = Callable[..., ExperimentConfig]


def put_pipe(path: Path) -> None:
    """A named pipe that nobody writes to."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def put_socket(path: Path) -> None:
    """A socket that nobody listens to; its path may be longer than a socket's address."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def put_device(path: Path) -> None:
    """A device that gives zeros for ever."""
    path.unlink(missing_ok=True)
    try:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


KINDS = {"pipe": put_pipe, "socket": put_socket, "device": put_device}
PLACES = [
    "config.yaml", "log.jsonl", ".lock", "plan.json", "results.json", "data/train_dataset.jsonl", "sft/manifest.json",
    "manifests/prepare.json", "manifests/generate.started.json", "sft/sft_train_data.jsonl", "sft/metrics.jsonl",
    "sft/answers.partial/try-1.jsonl", "sft/checkpoints/checkpoint-2/complete.json", "sft/final_model/config.json",
    "sft/adapter/adapter_config.json", "kd/teacher_signals/index.json", "evaluation/predictions/teacher.jsonl",
    "evaluation/report.html", "logs/sft.log", "unknown",
]  # fmt: skip
NO_FILE = r"a pipe, a socket or a device.*remove it"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_by_a_run_and_by_a_stage(
    tiny_config: Make, kind: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(run_prepare=True, domains="math", math_source="one_step", dtype="auto")
    run_dir = RunDir.of(config)
    path = run_dir.root / place
    path.parent.mkdir(parents=True)
    monkeypatch.chdir(path.parent)
    KINDS[kind](path)
    with pytest.raises(UserError, match=NO_FILE) as of_run:
        run_experiment(config)
    with pytest.raises(UserError, match=NO_FILE) as of_stage:
        run_stage(STAGES["prepare"], config, run_dir, "run")
    assert str(path) in str(of_run.value)
    assert str(path) in str(of_stage.value)
    assert [file for file in run_dir.root.rglob("*") if not file.is_dir()] == [path]  # nothing was written


@pytest.mark.parametrize("place", [
    "config.yaml", "plan.json", "manifests/evaluate_teacher.json", "sft/manifest.json", "sft/metrics.jsonl",
    "data/eval_dataset.jsonl", "evaluation/predictions/teacher.jsonl", "evaluation/fidelity/teacher.jsonl",
])  # fmt: skip
def test_what_is_no_file_is_refused_by_commands_that_only_read(tmp_path: Path, place: str) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4}, models=("teacher", "student_sft"))
    put_pipe(run_dir.root / place)
    with pytest.raises(UserError, match="a pipe") as caught:
        rebuild_report(run_dir.root)
    assert str(run_dir.root / place) in str(caught.value)
    if place != "plan.json":  # which no comparison reads
        with pytest.raises(UserError, match="a pipe"):
            compare_runs(run_dir.root, run_dir.root)
    if "manifest" in place:
        with pytest.raises(UserError, match="a pipe"):
            dry_run(config)


def test_readers_of_one_file_do_not_wait_for_a_pipe(tmp_path: Path) -> None:
    put_pipe(tmp_path / "x.json")
    with pytest.raises(ValueError, match="a pipe"):
        read_sealed(tmp_path / "x.json")
    with pytest.raises(UserError, match="a pipe"):
        Manifest.load(tmp_path / "x.json")
    with pytest.raises(OSError, match="a pipe"):
        fingerprint(tmp_path / "x.json")
    nothing = fingerprint(tmp_path)  # the models of others may hold what they like, as long as nobody reads it
    (tmp_path / "x.json").unlink()
    assert fingerprint(tmp_path) == nothing
