"""`l2s plan` for several machines, the schedule of a run on them, and what it asks Ray for: the same layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.plan.hardware import find_hardware
from l2s.plan.known_models import as_folders
from l2s.plan.prediction import Plan, make_plan
from l2s.run_dir import Manifest, RunDir
from l2s.runner.cluster.checks import check_devices
from l2s.runner.cluster.nodes import Cluster, Node
from l2s.runner.pipeline import STAGES, Stage
from l2s.runner.placement import Devices, Placement
from l2s.runner.schedule import Schedule
from l2s.runner.selection import select_stages, settle

Planned = tuple[Plan, list[Stage]]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("p4d.24xlarge:2", {}),
    ("p4d.24xlarge:2", {"teacher_gpus": 4}),
    ("p4d.24xlarge:2", {"teacher_gpus": 8, "arms": "sft,kd,opd"}),
    ("p4d.24xlarge:13", {"seeds": "1,2"}),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]} {','.join(case[1])}")
def planned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    hardware, fields = request.param
    folder = tmp_path_factory.mktemp("outputs")
    config = ExperimentConfig(engine="vllm", dtype="bfloat16", run_all=True, output_dir=folder, **fields)
    with as_folders(config) as (known, _):
        known = settle(known)
        stages = select_stages(known)
        yield make_plan(known, stages, find_hardware(known, hardware)), stages


class PlannedJob:
    """A stage that takes the time of the plan, on the clock of its executor."""

    def __init__(self, executor: PlannedExecutor, stage: Stage, run_dir: RunDir) -> None:
        self.executor, self.stage, self.run_dir = executor, stage, run_dir
        self.end = executor.now + executor.seconds[stage.name]

    def poll(self) -> int | None:
        if self.end > min(job.end for job in self.executor.running):
            return None
        self.executor.now = self.end
        self.executor.running.remove(self)
        Manifest(self.stage.name, {}, {}, {}, {}, None, 0, "cpu", "", 1.0).save(self.run_dir.manifest(self.stage.name))
        return 0

    def stop(self, *, at_once: bool = False) -> None:
        raise AssertionError


class PlannedExecutor:
    """Records the devices of each process of each stage."""

    shares_console = False

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.now = seconds, 0.0
        self.running: list[PlannedJob] = []
        self.groups: dict[str, tuple[Placement, ...]] = {}

    def lost_devices(self) -> frozenset[int]:
        return frozenset()

    def start(self, stage: Stage, run_dir: RunDir, groups: Sequence[Placement], *, log: Path | None) -> PlannedJob:
        self.groups[stage.name] = tuple(groups)
        self.running.append(PlannedJob(self, stage, run_dir))
        return self.running[-1]


def cluster_of(devices: Devices) -> Cluster:
    """A cluster of the plan's machines."""
    nodes = [Node(f"id of {name}", name, 96, gpus) for name, gpus in Counter(devices.machines).items()]
    return Cluster("10.0.0.1:6379", "none", nodes, devices)


def test_a_run_places_its_stages_as_the_plan_says(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.runner.schedule.POLL_S", 0)
    monkeypatch.setattr("l2s.runner.schedule.shortage", lambda *given: None)
    plan, stages = planned
    rows = plan.layout.rows
    executor = PlannedExecutor({row.stage.name: row.estimate.seconds for row in rows})
    config, run_dir = plan.situation.config, RunDir.of(plan.situation.config)
    run_dir.create()
    Schedule(stages, config, run_dir, plan.fleet.devices, executor, lambda stage: "run", Console(quiet=True)).run()
    assert executor.groups == {row.stage.name: row.groups for row in rows}


def test_ray_is_asked_for_what_the_plan_shows(planned: Planned) -> None:
    """A bundle for each process with all its GPUs, so each process is on one node; no node gives more than it has."""
    plan, _ = planned
    cluster = cluster_of(plan.fleet.devices)
    rows = [row for row in plan.layout.rows if row.devices]
    assert any(len(row.groups[0]) > 1 for row in rows)  # a teacher is split
    for row in rows:
        bundles = cluster.bundles(row.groups)
        assert [bundle["GPU"] for bundle in bundles] == [len(group) for group in row.groups]
        for group in row.groups:
            assert {cluster.node_of(device).name for device in group} == {cluster.node_of(group[0]).name}
    for moment in {row.start for row in rows}:
        taken: Counter[str] = Counter()
        for row in rows:
            if row.start <= moment < row.end:
                for group, bundle in zip(row.groups, cluster.bundles(row.groups), strict=True):
                    taken[cluster.node_of(group[0]).name] += int(bundle["GPU"])
        assert max(taken.values()) <= 8


def test_a_process_on_gpus_gets_its_part_of_the_cores() -> None:
    devices = Devices("gpu", tuple("0123"), machines=("a", "a", "b", "b"))
    cluster = Cluster("", "", [Node("1", "a", 96, 2), Node("2", "b", 0, 2)], devices)
    assert cluster.bundles([(0, 1), (2, 3)]) == [{"GPU": 2, "CPU": 2}, {"GPU": 2, "CPU": 0}]


def test_a_cpu_worker_is_its_part_of_the_cores() -> None:
    devices = Devices("cpu", tuple("0123"), machines=("a", "a", "b", "b"))
    cluster = Cluster("", "", [Node("1", "a", 8, 0), Node("2", "b", 5, 0)], devices)
    assert cluster.bundles([(0,), (2,)]) == [{"CPU": 4}, {"CPU": 2}]


def test_a_teacher_that_no_node_can_hold_is_refused_before_anything_starts() -> None:
    devices = Devices("gpu", tuple("0123"), machines=("a", "a", "b", "b"))
    cluster, config = cluster_of(devices), ExperimentConfig(engine="vllm", teacher_gpus=4)
    with pytest.raises(UserError, match="teacher_gpus=4: this run has 2 GPUs in its largest machine"):
        check_devices(cluster, config, [STAGES["prepare"], STAGES["generate"]])
    check_devices(cluster, config, [STAGES["prepare"], STAGES["sft"]])
