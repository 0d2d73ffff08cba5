"""`l2s plan` and the executor agree: the same stages start at the same time, in the same order, on the same devices."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.plan.estimates import ESTIMATES, estimate
from l2s.plan.hardware import GIB, Fleet, Hardware
from l2s.plan.known_models import as_folders
from l2s.plan.layout import lay_out, on_groups
from l2s.plan.model_size import size_of
from l2s.plan.situation import Situation
from l2s.run_dir import Manifest, RunDir
from l2s.runner import schedule
from l2s.runner.pipeline import Stage
from l2s.runner.placement import Devices, Placement
from l2s.runner.selection import select_stages

Start = tuple[str, float, tuple[Placement, ...]]  # stage, time, devices of each process
GPU = Hardware("gpu", True, 40 * GIB, 187e12, 1.3e12, 1.3e12, 1.2e-3, "made up")
CASES = 60


class Clock:
    """A time that moves to the next end of a stage when the schedule waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ends: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now = min(end for end in self.ends if end > self.now)


class TimedJob:
    """A stage that takes its estimated time."""

    def __init__(self, clock: Clock, end: float) -> None:
        self.clock, self.end = clock, end

    def poll(self) -> int | None:
        return 0 if self.clock.now >= self.end else None

    def stop(self, *, at_once: bool = False) -> None:
        raise AssertionError


class TimedExecutor:
    """Notes what starts when and where; a stage takes what is estimated for the devices that it is given."""

    shares_console = True

    def __init__(self, situation: Situation) -> None:
        self.situation, self.clock = situation, Clock()
        self.starts: list[Start] = []

    def lost_devices(self) -> frozenset[int]:
        return frozenset()

    def start(self, stage: Stage, run_dir: RunDir, groups: Sequence[Placement], *, log: Path | None) -> TimedJob:
        known = stage.original in ESTIMATES
        seconds = estimate(stage.name, on_groups(self.situation, groups)).seconds if known else 0.0
        self.starts.append((stage.name, self.clock.now, tuple(groups)))
        self.clock.ends.append(self.clock.now + seconds)
        return TimedJob(self.clock, self.clock.now + seconds)


def random_devices(draw: random.Random) -> Devices:
    """One to sixteen GPUs or CPU workers; some GPUs are in two machines, which may differ in size."""
    count = draw.choice([1, 2, 3, 4, 5, 6, 7, 8, 8, 16])
    if draw.random() < 0.2:
        return Devices("cpu", tuple(map(str, range(count))))
    first = draw.choice([count, count // 2, draw.randint(1, count)]) or count
    machines = ("a",) * first + ("b",) * (count - first)
    return Devices("gpu", tuple(map(str, range(count))), 40 * GIB, machines if first < count else ())


def random_settings(draw: random.Random) -> dict[str, Any]:
    return {
        "run_all": True,
        "arms": draw.choice(["sft", "kd", "sft,kd", "sft,kd,opd", "opd,kd"]),
        "kd_init": draw.choice(["sft", "base"]),
        "teacher_signal": draw.choice(["hidden", "topk", "online"]),
        "engine": draw.choice(["transformers", "vllm", "vllm", "endpoint"]),
        "weights_engine": draw.choice(["transformers", "vllm"]),
        "teacher_gpus": draw.choice([None, None, 1, 2, 4]),
        "sft_batch_size": draw.choice([1, 2, 3, 4, 8]),
        "kd_batch_size": draw.choice([1, 2, 4]),
        "gradient_accumulation_steps": draw.choice([1, 2, 4, 5]),
        "tuning": draw.choice(["qlora", "lora", "full"]),
        "max_new_tokens": draw.choice([64, 512, 1024]),
        "math_train_size": draw.choice([20, 2000]),
        "math_eval_size": draw.choice([10, 200]),
        "keep_correct": draw.random() < 0.5,
        "fidelity_size": draw.choice([0, 50, 350]),
        "lm_eval_tasks": draw.choice(["", "", "gsm8k"]),
        "seeds": draw.choice(["", "", "1,2"]),
    }


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Situation]:
    """The situation of the recipe's pair, whose sizes are known without files."""
    base = ExperimentConfig(dtype="bfloat16", output_dir=tmp_path, experiment_name="x")
    with as_folders(base) as (config, _):
        yield Situation(
            config,
            GPU,
            size_of(config.teacher_model, config),
            size_of(config.student_model, config),
            lora_parameters=87_000_000,
        )


def test_plan_and_executor_start_the_same_at_the_same_time_on_the_same_devices(
    planned: Situation, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    seen: set[bool] = set()
    for case in range(CASES):
        devices, settings = random_devices(draw), random_settings(draw)
        fleet = Fleet(GPU, devices, devices.most_in_a_machine)
        config = planned.config.model_copy(update=settings)
        situation = replace(planned, config=config, fleet=fleet)
        stages = select_stages(config)
        try:
            layout = lay_out(stages, situation, fleet)
        except UserError:  # fewer GPUs than teacher_gpus: the executor refuses that too
            with pytest.raises(UserError, match="teacher_gpus"):
                executed(stages, situation, devices, monkeypatch)
            seen.add(False)
            continue
        foreseen = [(row.stage.name, row.start, row.groups) for row in layout.rows]
        assert foreseen == executed(stages, situation, devices, monkeypatch), (case, settings, devices)
        seen.add(True)
    assert seen == {True, False}


def executed(
    stages: Sequence[Stage], situation: Situation, devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> list[Start]:
    """What the schedule of a run starts, in this order."""
    executor, run_dir = TimedExecutor(situation), RunDir.of(situation.config)
    nothing: Callable[..., None] = lambda *_, **__: None  # noqa: E731  # the run writes no file, which would take time
    finished = Manifest("", {}, {}, {}, {}, None, 0, "cpu", "", 1.0)
    monkeypatch.setattr(RunDir, "log", nothing)
    monkeypatch.setattr(schedule, "make_folder", nothing)
    monkeypatch.setattr(schedule, "Manifest", SimpleNamespace(load=lambda path: finished))
    monkeypatch.setattr("l2s.runner.schedule.time.sleep", executor.clock.sleep)
    monkeypatch.setattr(schedule, "shortage", nothing)
    monkeypatch.setattr(schedule, "begin", nothing)
    console = Console(quiet=True)
    schedule.Schedule(stages, situation.config, run_dir, devices, executor, lambda stage: "run", console).run()
    return executor.starts
