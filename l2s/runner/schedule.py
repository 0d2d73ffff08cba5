"""Runs the stage graph: each stage starts once its needs are done and devices are free; stages may run side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from l2s.config import ExperimentConfig
from l2s.durable import WriteError, make_folder
from l2s.interrupts import raise_if_lost, signals_raise
from l2s.report.text.strings import Text
from l2s.report.text.warnings import say
from l2s.run_dir import Manifest, RunDir
from l2s.runner.disk_space import explain, shortage
from l2s.runner.executors import NODE_LOST, USER_ERROR, Executor, Job
from l2s.runner.freshness import State, begin, clear_scratch
from l2s.runner.pipeline import Stage
from l2s.runner.placement import Devices, Placement, groups_of, place
from l2s.runner.selection import needs_of
from l2s.visible import in_one_line, visible

POLL_S = 0.1


@dataclass
class Outcome:
    """The end of a run's stages; `lost` were not run because a stage that they need failed."""

    finished: set[str] = field(default_factory=set)
    failed: dict[str, int] = field(default_factory=dict)  # stage -> exit status
    lost: list[str] = field(default_factory=list)


@dataclass
class Running:
    """A running stage with its devices; the console has shown its log up to `shown`."""

    stage: Stage
    job: Job
    placement: Placement
    log: Path | None
    shown: int


class Schedule:
    """The stages of one run.

    With one device they run one after another, each prints to the console, and the first failure ends the run. With
    several devices, independent stages run side by side. Each writes its own log, which the console repeats line by
    line. If one fails, stages that do not need it still run.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        config: ExperimentConfig,
        run_dir: RunDir,
        devices: Devices,
        executor: Executor,
        state_now: Callable[[Stage], State],
        console: Console,
    ) -> None:
        self.waiting = list(stages)
        self.config, self.run_dir, self.devices, self.executor = config, run_dir, devices, executor
        self.state_now, self.console = state_now, console
        self.free = devices.numbers
        self.running: list[Running] = []
        self.states: dict[str, State] = {}
        self.outcome = Outcome()
        self.names = {stage.name for stage in stages}

    def run(self) -> Outcome:
        """Run the stages to their end. An interrupt or a signal first ends all of them."""
        with signals_raise():
            try:
                while self._start_what_can() or self.running:
                    self._wait_for_one()
            except BaseException:
                self._stop_all()
                raise
        return self.outcome

    def _start_what_can(self) -> bool:
        """Skip finished stages, start those that fit on the free devices, and drop those that wait for a failed one."""
        one_by_one = len(self.devices) == 1
        if one_by_one and (self.running or self.outcome.failed):
            self.outcome.lost = [] if self.running else [stage.name for stage in self.waiting]
            return False
        self._give_up()
        while skipped := [stage for stage in self._ready() if self._state(stage) == "skip"]:
            for stage in skipped[:1] if one_by_one else skipped:
                self.console.print(f"[dim]{stage.name}: done before, skipped[/dim]")
                self._leave_queue(stage)
                clear_scratch(stage, self.config, self.run_dir)  # a run that was killed at its end has left it
                self.outcome.finished.add(stage.name)
        ready = self._ready()[:1] if one_by_one else self._ready()
        placed = place(ready, self.free, self.devices, self.config)
        for stage in ready:
            if stage.name in placed:
                self._start(stage, placed[stage.name])
        return bool(placed)

    def _ready(self) -> list[Stage]:
        """Stages whose needs are done, in pipeline order."""
        return [stage for stage in self.waiting if self._needs(stage) <= self.outcome.finished]

    def _needs(self, stage: Stage) -> set[str]:
        return set(needs_of(stage, self.config)) & self.names

    def _state(self, stage: Stage) -> State:
        """What to do with a stage that is ready; computed once, because it hashes inputs."""
        if stage.name not in self.states:
            self.states[stage.name] = self.state_now(stage)
        return self.states[stage.name]

    def _give_up(self) -> None:
        gone = {*self.outcome.failed, *self.outcome.lost}
        for stage in list(self.waiting):
            if self._needs(stage) & gone:
                self._leave_queue(stage)
                self.outcome.lost.append(stage.name)
                gone.add(stage.name)

    def _leave_queue(self, stage: Stage) -> None:
        self.waiting = [other for other in self.waiting if other.name != stage.name]

    def _start(self, stage: Stage, placement: Placement) -> None:
        state = self._state(stage)
        if problem := shortage(stage, self.config, self.run_dir, [running.stage for running in self.running]):
            self._refuse(stage, problem)
            return
        has_console = self.executor.shares_console and len(self.devices) == 1
        log = None if has_console else self.run_dir.stage_log(stage.name)
        title = f"{stage.name}{' (resumed)' if state == 'resume' else ''}"
        if log is None:
            self.console.rule(title, align="left")
        else:
            make_folder(log.parent)
            where = self.devices.label(placement)
            self.console.print(f"[bold]{title}[/bold] starts{f' on {escape(where)}' if where else ''}")
        self.run_dir.log("stage_start", stage=stage.name, state=state, devices=list(placement))
        try:
            begin(stage, self.config, self.run_dir, state)
        except WriteError as error:
            self._refuse(stage, explain(error, stage, self.config, self.run_dir))
            return
        shown = log.stat().st_size if log and log.exists() else 0
        groups = groups_of(stage, placement, self.config, self.devices)
        job = self.executor.start(stage, self.run_dir, groups, log=log)
        self._leave_queue(stage)
        self.free = [number for number in self.free if number not in placement]
        self.running.append(Running(stage, job, placement, log, shown))

    def _refuse(self, stage: Stage, problem: str) -> None:
        """Let a stage fail that cannot start; those that do not need it run all the same."""
        self._leave_queue(stage)
        self.outcome.failed[stage.name] = USER_ERROR
        print(f"l2s {stage.name}: {visible(problem)}", file=sys.stderr, flush=True)

    def _wait_for_one(self) -> None:
        """Return when a stage has ended; show new lines of the logs meanwhile."""
        while self.running:
            raise_if_lost()
            for running in self.running:
                code = running.job.poll()
                self._show_log(running, whole=code is not None)
                if code is not None:
                    self._end(running, code)
                    return
            time.sleep(POLL_S)

    def _show_log(self, running: Running, *, whole: bool = False) -> None:
        """Print the new lines of a log, each after its stage's name; with `whole` also an unfinished last line."""
        if running.log is None or not running.log.exists():
            return
        with running.log.open("rb") as file:
            file.seek(running.shown)
            new = file.read()
        if not whole:
            new = new[: new.rfind(b"\n") + 1]
        running.shown += len(new)
        for line in new.decode(errors="replace").splitlines():
            self.console.print(f"{running.stage.name} | {visible(line)}", markup=False)

    def _end(self, running: Running, code: int) -> None:
        self.running = [other for other in self.running if other is not running]
        self.free = sorted([*self.free, *running.placement])
        name = running.stage.name
        if code == NODE_LOST and self._goes_on_without_lost(running.stage):
            return
        if code != 0:
            self.run_dir.log("stage_failed", stage=name, status=code)
            self.outcome.failed[name] = code
            self.console.print(f"[red]{name} failed with status {code}[/red]")
            return
        manifest = Manifest.load(self.run_dir.manifest(name))
        if manifest is None:
            raise RuntimeError(f"stage {name} ended well but left no manifest")
        self.outcome.finished.add(name)
        self.run_dir.log("stage_end", stage=name, seconds=manifest.seconds)
        for warning in manifest.metrics.get("warnings", []):
            self.console.print(f"[yellow]warning:[/yellow] {escape(in_one_line(say(warning, Text(self.config.lang))))}")
        self.console.print(f"[dim]{name}: {manifest.seconds:.0f} s[/dim]")

    def _goes_on_without_lost(self, stage: Stage) -> bool:
        """Put a stage that lost a machine back into the queue, to be resumed on what is left; False if nothing is."""
        lost = self.executor.lost_devices()
        where = self.devices.label(tuple(sorted(lost - self.devices.lost)))
        self.devices = replace(self.devices, lost=lost)
        self.free = [number for number in self.free if number not in lost]
        left = f"{stage.name} resumes on what is left" if len(self.devices) else "nothing is left to run on"
        self.console.print(f"[yellow]lost:[/yellow] {escape(where) or 'a machine'}; {left}")
        self.run_dir.log("node_lost", stage=stage.name, devices=sorted(lost))
        if not len(self.devices):
            return False
        self.states[stage.name] = "resume"
        self.waiting.insert(0, stage)
        return True

    def _stop_all(self) -> None:
        """End all running stages: each is asked, then killed after its grace period or at a second signal."""
        at_once, left = False, self.running
        while left:
            try:
                ended = [running for running in left if running.job.poll() is not None]
                left = [running for running in left if running not in ended]
                for running in ended:
                    self._show_log(running, whole=True)
                for running in left:
                    running.job.stop(at_once=at_once)
                time.sleep(POLL_S)
            except (KeyboardInterrupt, SystemExit):
                at_once = True
