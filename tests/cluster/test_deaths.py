"""A node or the driver dies in the middle of a stage: nothing is lost, doubled or mixed, and nothing keeps running.

The nodes are slow (support/paced), so that each stage has a middle.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.durable import remove
from l2s.run_dir import Manifest, RunDir, replica_logs
from l2s.runner.pipeline import STAGES
from support.ray_nodes import NODE, ROOT, assert_same, command, of_ours, ray_cluster, run, start, wait_until

pytest.importorskip("ray", reason="Ray is not installed; `make test-cluster` runs these tests")

FLAGS = {"generate": "run_generate", "score": "run_score", "sft": "run_sft", "kd": "run_kd"}
STAGES_TO_MEET = (*FLAGS, "evaluate_student_kd")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2, ROOT / "support" / "paced") as made:
        yield made


@pytest.fixture(scope="module")
def finished(models: Path, cluster: Any, local: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an experiment whose driver was killed or interrupted once in the middle of each stage."""
    folder = tmp_path_factory.mktemp("interrupted")
    arguments = command(folder, models, "ray", run_all="true", **on_ray(cluster))
    run_dir = RunDir(folder / "outputs" / "ray")
    ways = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    for number, stage in enumerate(STAGES_TO_MEET):
        how = ways[number % len(ways)]
        before = progress(run_dir, stage)
        process = start(arguments)
        wait_until(lambda stage=stage, before=before: progress(run_dir, stage) > before, process)  # type: ignore[misc]
        process.send_signal(how)
        printed = process.communicate(timeout=300)[0]
        expected = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how]
        assert process.returncode == expected, f"{stage}, {how.name}:\n{printed}"
        assert printed.count("the same command resumes here") == (how != signal.SIGKILL), printed
        wait_until(lambda: not of_ours())
        assert Manifest.load(run_dir.manifest(stage)) is None
    printed = run(arguments)
    assert "evaluate_student_kd (resumed) starts" in printed
    return run_dir.root


def on_ray(cluster: Any) -> dict[str, str]:
    return {"executor": "ray", "address": cluster.address, "storage_path": "ray"}


def progress(run_dir: RunDir, stage: str) -> int:
    """How much of what the stage writes the driver has: answers, shards, or the step of the last checkpoint."""
    if stage == "score":
        return len(list(run_dir.teacher_signals.glob("shard-*.json")))
    if stage in ("sft", "kd"):
        folders = run_dir.arm(stage).checkpoints.glob("checkpoint-*")
        return max((int(folder.name.rpartition("-")[2]) for folder in folders), default=0)
    log = run_dir.answers_of_try(0) if stage == "generate" else run_dir.prediction_log("student_kd")
    return sum(file.read_bytes().count(b"\n") for file in (log, *replica_logs(log).glob("*.jsonl")) if file.exists())


@pytest.mark.timeout(1800)
def test_a_driver_that_dies_in_every_stage_ends_as_a_local_run(finished: Path, local: Path) -> None:
    assert_same(finished, local)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("stage", "which"), [("generate", 1), ("score", 0), ("sft", 0), ("kd", 1), ("evaluate_student_kd", 0)]
)
def test_a_node_that_dies_in_the_middle_of_a_stage_costs_nothing_but_time(
    stage: str, which: int, local: Path, models: Path, cluster: Any, tmp_path: Path
) -> None:
    """A local run's stage begins again on both nodes; one is killed, and the other ends it. Number 0 has rank 0."""
    run_dir = RunDir(tmp_path / "outputs" / "ray")
    shutil.copytree(local, run_dir.root, symlinks=True)
    config = ExperimentConfig(tuning="lora")
    for path in (run_dir.manifest(stage), *STAGES[stage].gives(run_dir, config)):
        remove(path)
    settings = on_ray(cluster) | {FLAGS.get(stage, "run_eval"): "true"}
    process = start(command(tmp_path, models, "ray", **settings))
    assert process.stdout is not None
    lines, homes = [], {}
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"  (\S+): 1 CPU worker, in .*/(\w+)/[^/]+$", line):
            homes[found[1]] = found[2]
        if found := re.match(rf"{stage}.* starts on 1 CPU worker of ([^\s,]+), 1 CPU worker of ([^\s,]+)", line):
            break
    assert found, "".join(lines)
    wait_until(lambda: progress(run_dir, stage) > 0, process)
    victim = next(node for node in cluster.worker_nodes if node.node_id.startswith(homes[found[1 + which]]))
    cluster.remove_node(victim, allow_graceful=False)
    rest = process.communicate(timeout=600)[0]
    cluster.add_node(**NODE)
    assert process.returncode == 0, "".join(lines) + rest
    assert f"{stage} resumes on what is left" in rest
    assert_same(run_dir.root, local)
