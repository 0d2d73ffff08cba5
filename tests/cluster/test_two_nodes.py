"""An experiment on two Ray nodes that share no folder, on this machine, ends as a local run. CI runs this file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l2s.jsonl import load_jsonl
from l2s.run_dir import Manifest, RunDir
from support.ray_nodes import assert_same, command, of_ours, ray_cluster, run, wait_until

pytest.importorskip("ray", reason="Ray is not installed; `make test-cluster` runs these tests")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2) as made:
        yield made


@pytest.fixture(scope="module")
def finished(models: Path, cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("experiments")
    on_ray = {"executor": "ray", "address": cluster.address, "storage_path": "ray"}
    printed = run(command(folder, models, "ray", run_all="true", **on_ray))
    return folder / "outputs" / "ray", printed


@pytest.mark.timeout(1800)
def test_two_nodes_give_what_one_process_gives(finished: tuple[Path, str], local: Path) -> None:
    """Manifests name the same outputs, logs for the report too."""
    assert_same(finished[0], local)
    for stage in ("generate", "score", "sft", "kd", "evaluate_teacher"):
        ours, theirs = (Manifest.load(RunDir(root).manifest(stage)) for root in (finished[0], local))
        assert ours is not None
        assert theirs is not None
        assert ours.outputs.keys() == theirs.outputs.keys()


def test_the_console_says_which_node_runs_what_and_logs_of_all_processes_are_kept(finished: tuple[Path, str]) -> None:
    root, printed = finished
    assert re.search(r"Ray at \S+: 2 nodes, 2 CPU workers; files move by Ray's object store", printed)
    starts = dict(re.findall(r"^(\w+) starts on (.+)$", printed, flags=re.MULTILINE))
    assert starts["generate"].count("1 CPU worker of") == 2
    assert len(starts) == 8  # all but prepare and report, which need no device
    for stage, where in starts.items():
        for number in range(where.count("1 CPU worker of")):
            assert (root / "logs" / f"{stage}{f'.{number}' if number else ''}.log").exists()
    assert "generate, try 1" in (root / "logs" / "generate.1.log").read_text()


def test_nodes_keep_nothing_of_a_run(finished: tuple[Path, str]) -> None:
    copies = [Path(line.rpartition(" in ")[2]) for line in finished[1].splitlines() if "CPU worker, in " in line]
    assert len(copies) == 2
    assert not any(copy.exists() for copy in copies)
    wait_until(lambda: not of_ours())


@pytest.mark.timeout(900)
def test_nodes_agree_on_what_is_asked_again(models: Path, cluster: Any, tmp_path: Path) -> None:
    """The tiny teacher is never right. The node that does not grade learns from the other which items to ask again."""
    on_ray = {"executor": "ray", "address": cluster.address, "storage_path": "ray"}
    run(command(tmp_path, models, "again", run_generate="true", keep_correct="true", max_tries=2, **on_ray), 2)
    rejected = load_jsonl(tmp_path / "outputs" / "again" / "sft" / "rejected.jsonl")
    assert [row["sampling"]["seed"] for row in rejected] == [43] * 24
