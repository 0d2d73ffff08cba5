"""When each stage of a run starts and ends, and on which devices: the rules of the schedule with estimated times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from l2s.config import ExperimentConfig
from l2s.plan.estimates import ESTIMATES, estimate
from l2s.plan.hardware import Fleet
from l2s.plan.situation import Estimate, Situation
from l2s.runner.pipeline import Stage
from l2s.runner.placement import Devices, Placement, groups_of, place
from l2s.runner.selection import needs_of


@dataclass(frozen=True)
class Row:
    """A stage in the plan: its devices, its start and length in seconds, and its estimate for each device."""

    stage: Stage
    groups: tuple[Placement, ...]
    start: float
    estimate: Estimate

    @property
    def end(self) -> float:
        """Time at which the stage ends."""
        return self.start + self.estimate.seconds

    @property
    def devices(self) -> Placement:
        """All devices of the stage."""
        return tuple(number for group in self.groups for number in group)


@dataclass(frozen=True)
class Layout:
    """The rows of a plan, in the order in which they start."""

    rows: tuple[Row, ...]

    @property
    def wall_seconds(self) -> float:
        """Time from the first start to the last end."""
        return max((row.end for row in self.rows), default=0.0)

    def critical_path(self, config: ExperimentConfig) -> list[Row]:
        """The chain of rows up to the last end: each starts when the one before it ends."""
        path = [max(self.rows, key=lambda row: row.end)]
        while earlier := [row for row in self.rows if row is not path[-1] and abs(row.end - path[-1].start) < 1e-6]:
            needs = needs_of(path[-1].stage, config)
            path.append(max(earlier, key=lambda row: (row.stage.name in needs, row.estimate.seconds)))
            if path[-1].start == 0 and path[-1].end == 0:
                break
        return path[::-1]


def lay_out(stages: Sequence[Stage], situation: Situation, fleet: Fleet) -> Layout:
    """Place `stages` as a run does: ready stages start on free devices, and each end frees devices for the next."""
    config, devices = situation.config, fleet.devices
    waiting, names = list(stages), {stage.name for stage in stages}
    running: list[Row] = []
    rows: list[Row] = []
    done: set[str] = set()
    free, now = devices.numbers, 0.0
    while waiting or running:
        ready = [stage for stage in waiting if set(needs_of(stage, config)) & names <= done]
        if len(devices) == 1:  # one after another
            ready = [] if running else ready[:1]
        placed = place(ready, free, devices, config)
        for stage in ready:
            if stage.name in placed:
                row = _row(stage, placed[stage.name], now, situation, devices)
                waiting.remove(stage)
                running.append(row)
                rows.append(row)
                free = [number for number in free if number not in row.devices]
        if not running:
            raise RuntimeError(f"no device for {', '.join(stage.name for stage in waiting)}")
        first = min(running, key=lambda row: row.end)
        running.remove(first)
        done.add(first.stage.name)
        free = sorted([*free, *first.devices])
        now = first.end
    return Layout(tuple(rows))


def _row(stage: Stage, placement: Placement, now: float, situation: Situation, devices: Devices) -> Row:
    groups = tuple(groups_of(stage, placement, situation.config, devices))
    if stage.original not in ESTIMATES:
        return Row(stage, groups, now, Estimate(seconds=0, disk=0))
    return Row(stage, groups, now, estimate(stage.name, on_groups(situation, groups)))


def on_groups(situation: Situation, groups: Sequence[Placement]) -> Situation:
    """The situation of a stage that runs one process for each of `groups`."""
    return replace(situation, processes=len(groups), split=max(1, len(groups[0])))


def layout_name(row: Row) -> str:
    """How processes share the devices: `4 replicas x TP2`, `8 ranks`, `1 process`."""
    if row.estimate.of_server:
        return "the endpoint"
    spread, split, number = row.stage.resources.spread, len(row.groups[0]), len(row.groups)
    if not split:
        return "no device"
    kind = {"replicas": "replica", "ranks": "rank"}.get(spread, "process") if number > 1 else "process"
    plural = "es" if kind == "process" else "s"
    return f"{number} {kind}{plural if number > 1 else ''}" + (f" x TP{split}" if split > 1 else "")


def device_numbers(placement: Placement) -> str:
    """`0-7`, `0,2`, `0-3,6` or nothing."""
    runs: list[list[int]] = []
    for number in placement:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)
