"""The stage graph, run by a fake executor: order, side by side, failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import pytest
from rich.console import Console

from l2s.config import ExperimentConfig
from l2s.run_dir import Manifest, RunDir
from l2s.runner.pipeline import Stage
from l2s.runner.placement import Devices, Placement
from l2s.runner.schedule import Outcome, Schedule
from l2s.runner.selection import select_stages, settle

Make = Callable[..., ExperimentConfig]
SECONDS = {"generate": 4, "score": 4, "sft": 6, "kd": 4}  # polls that a stage takes; others take 2


class FakeJob:
    """A stage that ends after some polls, with its manifest or with a failure."""

    def __init__(self, executor: FakeExecutor, stage: Stage, run_dir: RunDir, log: Path | None) -> None:
        self.executor, self.stage, self.run_dir, self.log = executor, stage, run_dir, log
        self.left = SECONDS.get(stage.name, 2)
        self.stopped = False

    def poll(self) -> int | None:
        self.left -= 1
        if self.stopped:
            return 130
        if self.stage.name == self.executor.interrupted:
            self.executor.interrupted = None
            raise KeyboardInterrupt
        if self.left > 0:
            return None
        self.executor.running.discard(self.stage.name)
        if self.stage.name in self.executor.failing:
            return self.executor.failing[self.stage.name]
        Manifest(self.stage.name, {}, {}, {}, {}, None, 0, "cpu", "", 1.0).save(self.run_dir.manifest(self.stage.name))
        return 0

    def stop(self, *, at_once: bool = False) -> None:
        self.stopped = True
        self.executor.stopped.append(self.stage.name)


class FakeExecutor:
    """Records which stages started on which devices, and which ran at the same time."""

    shares_console = True

    def lost_devices(self) -> frozenset[int]:
        return frozenset()

    def __init__(self, failing: dict[str, int], interrupted: str | None = None) -> None:
        self.failing, self.interrupted = failing, interrupted
        self.started: dict[str, Placement] = {}
        self.running: set[str] = set()
        self.together: set[frozenset[str]] = set()
        self.stopped: list[str] = []

    def start(self, stage: Stage, run_dir: RunDir, groups: Sequence[Placement], *, log: Path | None) -> FakeJob:
        self.started[stage.name] = tuple(chain.from_iterable(groups))
        self.together |= {frozenset({stage.name, other}) for other in self.running}
        self.running.add(stage.name)
        if log:
            log.write_text(f"hello from {stage.name}\nunfinished")
        return FakeJob(self, stage, run_dir, log)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A factory of configurations whose experiment folder is in tmp_path; waiting takes no time."""
    monkeypatch.setattr("l2s.runner.schedule.POLL_S", 0)

    def build(**fields: object) -> ExperimentConfig:
        return settle(ExperimentConfig(experiment_name="x", output_dir=tmp_path, **({"run_all": True} | fields)))

    return build


def run(config: ExperimentConfig, executor: FakeExecutor, count: int, *, done: frozenset[str] = frozenset()) -> Outcome:
    run_dir = RunDir.of(config)
    run_dir.create()
    devices = Devices("cpu", tuple(map(str, range(count))))
    stages = select_stages(config)
    return Schedule(
        stages,
        config,
        run_dir,
        devices,
        executor,
        lambda stage: "skip" if stage.name in done else "run",
        Console(soft_wrap=True),
    ).run()


def test_on_one_device_stages_run_one_after_another(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    executor = FakeExecutor({})
    outcome = run(make(), executor, 1)
    assert list(executor.started) == [stage.name for stage in select_stages(make())]
    assert executor.together == set()
    assert outcome.finished == set(executor.started)
    assert "kd ──" in capsys.readouterr().out
    assert not (RunDir.of(make()).root / "logs").exists()


def test_independent_stages_run_side_by_side_on_different_devices(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = FakeExecutor({})
    run(make(), executor, 8)
    assert {"score", "sft"} in executor.together
    assert {"evaluate_teacher", "sft"} in executor.together
    assert {"evaluate_student_base", "sft"} in executor.together or {"evaluate_student_base", "kd"} in executor.together
    assert not {pair for pair in executor.together if "generate" in pair}
    assert not set(executor.started["score"]) & set(executor.started["sft"])
    shown = capsys.readouterr().out.splitlines()
    assert "sft starts on CPU worker 2, 3, 4, 5" in shown
    assert [line for line in shown if line.startswith("kd | ")] == ["kd | hello from kd", "kd | unfinished"]


def test_every_need_is_done_before_a_stage_starts(make: Make) -> None:
    executor = FakeExecutor({})
    run(make(arms="sft,kd,opd"), executor, 3)
    order = list(executor.started)
    for stage in select_stages(make(arms="sft,kd,opd")):
        assert all(order.index(need) < order.index(stage.name) for need in stage.needs if need in order)
        assert not {frozenset({stage.name, need}) for need in stage.needs} & executor.together


def test_a_failure_costs_only_what_needs_it(make: Make) -> None:
    executor = FakeExecutor({"score": 1})
    outcome = run(make(), executor, 4)
    assert outcome.failed == {"score": 1}
    assert outcome.lost == ["kd", "evaluate_student_kd", "report"]
    assert {"sft", "evaluate_student_sft", "evaluate_student_base"} <= outcome.finished


def test_on_one_device_a_failure_ends_the_run(make: Make) -> None:
    outcome = run(make(), FakeExecutor({"score": 2}), 1)
    assert outcome.finished == {"prepare", "generate"}
    assert outcome.lost[:2] == ["sft", "kd"]


def test_what_is_done_is_skipped_and_takes_no_device(make: Make) -> None:
    done = frozenset({"prepare", "generate", "score"})
    executor = FakeExecutor({})
    outcome = run(make(), executor, 2, done=done)
    assert not done & set(executor.started)
    assert done <= outcome.finished


def test_an_interrupt_ends_all_that_runs(make: Make) -> None:
    executor = FakeExecutor({}, interrupted="sft")
    with pytest.raises(KeyboardInterrupt):
        run(make(), executor, 4)
    assert set(executor.stopped) == {"score", "sft", "evaluate_teacher"}
