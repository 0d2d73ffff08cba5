"""A disk without space: an error before a stage starts, and one with path and bytes when a write fails."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.durable import WriteError, remove, replacing_file, replacing_folder, writing
from l2s.jsonl import append_jsonl
from l2s.run_dir import RunDir
from l2s.runner import disk_space, executors
from l2s.runner.disk_space import explain, explain_run, shortage
from l2s.runner.executors import LocalJob
from l2s.runner.freshness import begin, clear_scratch
from l2s.runner.pipeline import STAGES

SFT = STAGES["sft"]


@pytest.fixture
def planned(tmp_path: Path) -> tuple[ExperimentConfig, RunDir]:
    """An experiment whose plan says that SFT writes 1,000,000 bytes and KD 500,000."""
    config = ExperimentConfig(output_dir=tmp_path)
    run_dir = RunDir.of(config)
    run_dir.create()
    stages = {"sft": {"disk_bytes": 1_000_000}, "kd": {"disk_bytes": 500_000}}
    run_dir.plan.write_text(json.dumps({"stages": stages}))
    return config, run_dir


def free(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(disk_space, "free_bytes", lambda path: number)


def test_a_stage_that_does_not_fit_by_the_plan_is_refused(
    planned: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 800_000)
    problem = shortage(SFT, *planned, running=[])
    assert problem is not None
    assert f"needs 1,000,000 bytes in {planned[1].root}" in problem
    assert "800,000 are free" in problem
    free(monkeypatch, 950_000)  # an estimate this close refuses nothing
    assert shortage(SFT, *planned, running=[]) is None
    assert shortage(SFT, *planned, running=[STAGES["kd"]]) is not None
    assert shortage(STAGES["prepare"], *planned, running=[]) is None  # the plan knows nothing of it


def test_what_a_killed_stage_has_written_is_not_needed_again(
    planned: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 300_000)
    checkpoints = planned[1].arm("sft").checkpoints
    checkpoints.mkdir(parents=True)
    (checkpoints / "weights").write_bytes(b"x" * 700_000)
    assert shortage(SFT, *planned, running=[]) is None


@pytest.mark.parametrize(
    ("disks", "free_in", "said"),
    [
        ((1, 2), (2_000_000, 4_000), "needs 7,000 bytes in TMPDIR by the plan, and 4,000 are free; free some space or"),
        ((1, 2), (2_000_000, 6_500), None),
        ((1, 2), (800_000, 6_500), "needs 1,000,000 bytes in ROOT by the plan, and 800,000 are free; free some space,"),
        ((1, 1), (1_000_000, 1_000_000), None),
        ((1, 1), (900_000, 900_000), "needs 1,007,000 bytes in ROOT by the plan, and 900,000 are free; free some"),
    ],
)
def test_the_tokens_of_training_sequences_need_room_in_tmpdir(
    disks: tuple[int, int],
    free_in: tuple[int, int],
    said: str | None,
    planned: tuple[ExperimentConfig, RunDir],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_dir, temporary = planned[1], tmp_path / "temporary"
    run_dir.plan.write_text(json.dumps({"stages": {"sft": {"disk_bytes": 1_000_000, "temporary_bytes": 7_000}}}))
    monkeypatch.setattr(disk_space, "gettempdir", lambda: str(temporary))
    monkeypatch.setattr(disk_space, "_disk_of", lambda path: disks[path == temporary])
    monkeypatch.setattr(disk_space, "free_bytes", lambda path: free_in[path == temporary])
    problem = shortage(SFT, *planned, running=[])
    found = problem and problem.replace(str(temporary), "TMPDIR").replace(str(run_dir.root), "ROOT")
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    ],
    ids=["python", "safetensors", "torch"],
)
def test_a_full_disk_is_recognised_in_the_words_of_every_library(
    error: Exception, planned: tuple[ExperimentConfig, RunDir]
) -> None:
    path = planned[1].root / "weights"
    with pytest.raises(WriteError) as caught, writing(path):
        raise error
    line = explain(caught.value, SFT, *planned)
    assert line.startswith(f"cannot write {path}: No space left on device; the stage needs 1,000,000 more bytes, ")
    assert "\n" not in line


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writing(tmp_path):
        raise KeyError("x")
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "missing").read_bytes()


def test_rows_that_do_not_fit_leave_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.jsonl"
    append_jsonl(log, [{"n": 1}])

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError) as caught:
        append_jsonl(log, [{"n": 2}])
    assert (caught.value.filename, caught.value.needed) == (str(log), 9)
    assert log.read_text() == '{"n": 1}\n'


def test_what_could_not_be_written_gives_its_room_back(tmp_path: Path) -> None:
    def write_half(partial: Path) -> None:
        (partial / "half" if partial.is_dir() else partial).write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError), replacing_file(tmp_path / "file") as partial:
        write_half(partial)
    with pytest.raises(WriteError), replacing_folder(tmp_path / "folder") as partial:  # noqa: PT012
        partial.mkdir()
        write_half(partial)
    assert list(tmp_path.iterdir()) == []


def test_a_stage_says_why_it_failed_although_its_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = LocalJob()
    with job.open_words(tmp_path / "sft.log") as pipe:
        monkeypatch.setenv(executors.LAST_WORDS, str(pipe.fileno()))
        executors._complain("l2s sft: the disk is full")
        capsys.readouterr()
    assert job.poll() == 0
    assert capsys.readouterr().err == "l2s sft: the disk is full\n"


def test_a_stage_killed_after_its_manifest_leaves_nothing_once_it_is_skipped(
    planned: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run_dir = planned
    stage = STAGES["prepare"]
    monkeypatch.setattr("l2s.runner.freshness.inputs_of", lambda *_: {})
    begin(stage, config, run_dir, "run")
    assert run_dir.started("prepare").exists()
    clear_scratch(stage, config, run_dir)
    assert not run_dir.started("prepare").exists()


def test_what_a_stage_removes_while_its_files_are_counted_is_no_error(
    planned: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training beside the next stage removes its checkpoints; a run must not end by that."""
    checkpoints = planned[1].arm("kd").checkpoints
    for name in ("checkpoint-1/weights", "checkpoint-2/weights", "kept"):
        (checkpoints / name).parent.mkdir(parents=True, exist_ok=True)
        (checkpoints / name).write_bytes(b"x" * 100_000)
    whole = os.walk

    def walk(folder: Path) -> Iterator[Any]:
        for found in whole(folder):
            remove(checkpoints / "checkpoint-1")  # it is in the list already
            yield found
            remove(checkpoints / "checkpoint-2")

    free(monkeypatch, 400_000)
    monkeypatch.setattr(os, "walk", walk)
    problem = shortage(STAGES["score"], *planned, running=[STAGES["kd"]])
    assert problem is None
    problem = shortage(SFT, *planned, running=[STAGES["kd"]])
    assert problem is not None
    assert "of which running stages need 400,000" in problem


@pytest.mark.parametrize(
    ("files", "left", "words"), [(100, 0, "no inode"), (100, 1, "free some space"), (0, 0, "free some space")]
)
def test_a_disk_that_takes_no_more_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, left: int, words: str
) -> None:
    """Free space says nothing then; a file system that counts no inodes says that it has none at all."""
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_files=files, f_favail=left))
    monkeypatch.setattr(disk_space, "free_bytes", lambda path: 5_000_000)
    said = explain_run(WriteError(errno.ENOSPC, tmp_path / "new"))
    assert words in said
    assert ("remove some files" in said) == (words == "no inode")
