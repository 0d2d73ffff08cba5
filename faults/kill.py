"""Kills runs at random moments, restarts the same command until it is done, and compares with an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from faults.compare import differences
from faults.experiment import Experiment, stages_at_work
from faults.processes import Process, Start, family, kill_groups, left_alive, output_of, wait

END_S = 10.0  # seconds for a run to end when asked, and for the stages of a killed run
RANKS_END_S = 60.0  # for a run to end whose ranks were killed; on a busy machine its own end takes most of that
AT_ONCE_S = 3.0  # after a second Ctrl-C
RESUMES = "the same command resumes here"


@dataclass
class Tally:
    """The result of all blows of one case."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)  # faults, one line each
    stages: Counter[str] = field(default_factory=Counter)  # stages that were running at the blow
    seconds: list[float] = field(default_factory=list)  # seconds until all processes had ended

    @property
    def survived(self) -> int:
        """Number of blows without a fault afterwards."""
        return self.tried - len(self.lost)


@dataclass(frozen=True)
class Blow:
    """A way to hit a run: it deals the blow and returns the faults in the run's reaction."""

    name: str
    deal: Callable[[Process, list[psutil.Process], random.Random, Path], list[str]]


def kill_all(process: Process, members: list[psutil.Process], chance: random.Random, output: Path) -> list[str]:
    """SIGKILL to the process groups of the run and its stages."""
    kill_groups(members)
    wait(process)
    return []


def kill_parent(process: Process, members: list[psutil.Process], chance: random.Random, output: Path) -> list[str]:
    """SIGKILL to the run only: its stages must end by themselves."""
    members[0].kill()
    wait(process)
    alive = left_alive(members[1:], END_S)
    kill_groups(member for member in members if member.pid in alive)
    return [f"processes {alive} outlived a killed run"] if alive else []


def kill_one(process: Process, members: list[psutil.Process], chance: random.Random, output: Path) -> list[str]:
    """SIGKILL to one process of a stage: the run must end, or finish what does not need that stage."""
    victim = chance.choice(members[1:] or members)
    try:
        victim.kill()
    except psutil.Error:
        return []
    code = wait(process)
    return [] if code is not None else ["the run did not end after a stage was killed"]


def ask(
    number: signal.Signals, status: int
) -> Callable[[Process, list[psutil.Process], random.Random, Path], list[str]]:
    """A signal that asks the run to end: in time, with its status, and with a line that says how to resume."""

    def deal(process: Process, members: list[psutil.Process], chance: random.Random, output: Path) -> list[str]:
        before = output.stat().st_size
        os.kill(process.pid, number)
        code = wait(process, END_S)
        found = [] if code == status else [f"{number.name}: status {code} instead of {status}"]
        if code is None:
            kill_groups(members)
        said = output.read_bytes()[before:].decode(errors="replace").count(RESUMES)
        if code == status and said != 1:
            found.append(f"{number.name}: says {said} times how to resume")
        if alive := left_alive(members, 0.5):
            found.append(f"{number.name}: processes {alive} were left")
            kill_groups(members)
        return found

    return deal


def interrupt_twice(process: Process, members: list[psutil.Process], chance: random.Random, output: Path) -> list[str]:
    """Ctrl-C twice: the run must end at once."""
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
    code = wait(process, AT_ONCE_S)
    alive = left_alive(members, 0.5)
    kill_groups(members)
    ended = code in (130, -signal.SIGINT)  # the latter while Python itself starts or ends; 130 in a shell
    return ([] if ended else [f"Ctrl-C twice: status {code} after {AT_ONCE_S:.0f} s"]) + (
        [f"Ctrl-C twice: processes {alive} were left"] if alive else []
    )


def kill_rank(process: Process, members: list[psutil.Process], chance: random.Random, output: Path) -> list[str]:
    """SIGKILL to one rank of a training: the run must end the other ranks, which wait for it, and itself."""
    return _killed(process, members, ranks_of(process)[chance.randrange(2) :][:1])


def kill_ranks(process: Process, members: list[psutil.Process], chance: random.Random, output: Path) -> list[str]:
    """SIGKILL to all ranks of a training."""
    return _killed(process, members, ranks_of(process))


def _killed(process: Process, members: list[psutil.Process], victims: list[psutil.Process]) -> list[str]:
    """Kill `victims`; return what is wrong with how the run ends. It may succeed if they had just done their work."""
    for victim in victims:
        with suppress(psutil.Error):
            victim.kill()
    code = wait(process, RANKS_END_S) if victims else None
    alive = left_alive(members, 0.5) if victims else []
    kill_groups(members)
    found = [f"the run had not ended {RANKS_END_S:.0f} s after ranks were killed"] if victims and code is None else []
    return found + ([f"processes {alive} were left"] if alive else [])


def ranks_of(process: Process) -> list[psutil.Process]:
    """The processes of the stage at work, where only one is: its ranks, or its replicas."""
    try:
        started = psutil.Process(process.pid).children()
        return [rank for child in started for rank in child.children()] or started  # of the fork server, or of the run
    except psutil.Error:
        return []


KILLS = (Blow("SIGKILL, all", kill_all), Blow("SIGKILL, the run", kill_parent), Blow("SIGKILL, a stage", kill_one))
RANK_KILLS = (
    Blow("SIGKILL, one of two ranks", kill_rank),
    Blow("SIGKILL, both ranks", kill_ranks),
    Blow("SIGKILL, the launcher of two ranks", kill_parent),
)
REQUESTS = (
    Blow("SIGTERM", ask(signal.SIGTERM, 143)),
    Blow("Ctrl-C", ask(signal.SIGINT, 130)),
    Blow("Ctrl-C twice", interrupt_twice),
)


def batter(
    experiment: Experiment,
    unbroken: Experiment,
    start: Start,
    blows: list[Blow],
    longest: float,
    chance: random.Random,
    tallies: dict[str, Tally],
    until: Callable[[Process, Experiment], None] = lambda process, experiment: None,
) -> int:
    """Run `experiment` to its end, with one of `blows` after each random time; return the number of blows.

    Each time is up to `longest` seconds after the start of a run; `until` then waits for the right moment. Differences
    from the uninterrupted run at the end count as losses of the last blow.
    """
    dealt = 0
    last = tallies[blows[0].name]
    while True:
        process = start(experiment)
        blow = blows[dealt % len(blows)] if dealt < len(blows) else None
        code = wait(process, chance.uniform(0.1, longest) if blow else 600.0)
        if blow and code is None:
            until(process, experiment)
            code = process.poll()
        if code is not None:
            if blow is None or code == 0:
                break
            last.lost.append(f"a run ended by itself with status {code}; see {output_of(experiment)}")
            break
        assert blow is not None
        last = tallies.setdefault(blow.name, Tally())
        deal(blow, process, experiment, chance, last)
        dealt += 1
    if code != 0:
        last.lost.append(f"the last run ended with status {code}; see {output_of(experiment)}")
    last.lost += differences(experiment.run_dir, unbroken.run_dir)
    return dealt


def deal(blow: Blow, process: Process, experiment: Experiment, chance: random.Random, tally: Tally) -> None:
    """Deal one blow and record the result."""
    members = family(process)
    stages = stages_at_work(experiment.run_dir) or ["start"]
    begin = time.monotonic()
    wrong = blow.deal(process, members, chance, output_of(experiment)) if members else []
    tally.tried += 1
    tally.seconds.append(time.monotonic() - begin)
    tally.stages.update(stages)
    tally.lost += [f"{line} (at {', '.join(stages)})" for line in wrong]
