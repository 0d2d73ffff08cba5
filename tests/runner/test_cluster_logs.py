"""What a node writes into the log of a stage: the log may be no link to another file."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l2s.durable import WriteError
from l2s.runner.cluster.executor import RayJob
from l2s.runner.cluster.worker import Task, Worker, _output_to


def worker(root: Path) -> Worker:
    return Worker(Task("sft", str(root), str(root.with_suffix(".lock")), "logs/sft.log", {}, None), 0)


def of_actor(log: Path) -> None:
    worker(log.parents[1]).start({})


def of_rank(log: Path) -> None:
    with _output_to(log):
        os.write(1, b"spilt")


def of_driver(log: Path) -> None:
    job: Any = SimpleNamespace(log=log)
    RayJob._note(job, "spilt")


@pytest.mark.parametrize("write", [of_actor, of_rank, of_driver])
def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path, write: Any) -> None:
    log, other = tmp_path / "run" / "logs" / "sft.log", tmp_path / "other"
    log.parent.mkdir(parents=True)
    other.write_text("kept")
    log.symlink_to(other)
    with pytest.raises(WriteError):
        write(log)
    assert other.read_text() == "kept"


def test_prints_and_descriptors_of_a_rank_go_to_its_log_in_order(tmp_path: Path) -> None:
    log = tmp_path / "sft.log"
    log.write_text("before\n")
    with _output_to(log):
        print("printed \u2713", flush=True)
        os.write(2, b"written\n")
        print("printed later")
    RayJob._note(SimpleNamespace(log=log), "noted \u2713\n")  # type: ignore[arg-type]
    assert log.read_text(encoding="utf-8").splitlines() == [
        "before", "printed \u2713", "written", "printed later", "noted \u2713",
    ]  # fmt: skip
