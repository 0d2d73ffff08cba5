"""The rounds of `make faults`: each breaks an experiment in one way, with a seed from its name."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

from faults.broken_files import run as run_damages
from faults.disk import MountError, fill_in_each_stage, refuse_beforehand, small_disk
from faults.experiment import Experiment
from faults.forked import ForkServer
from faults.journal import NoCompilerError
from faults.kill import KILLS, REQUESTS, Blow, Tally, batter
from faults.moments import Moments, in_order, spread
from faults.power import check_promises, faults_of_recording, recording, resume_from_crashes
from faults.processes import Start, start_command, start_forked, wait
from faults.ranks import FLAGS, batter_ranks
from faults.twice import report_beside, run_twice

DAMAGED_FILES = 1000  # cases at least
CRASHES = 300  # moments of a recorded run at which promises are checked, each on two disks
RESUMED_CRASHES = 12
SIGNALS = {"hidden": ("--teacher_signal=hidden",), "topk": ("--teacher_signal=topk", "--topk=64")}


@dataclass
class Found:
    """The result of a round in one case."""

    case: str
    tried: int
    lost: list[str]
    stages: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """One round: `run(bench, folder)` breaks things in `folder` and returns the results."""

    name: str
    run: Callable[[Bench, Path], list[Found]]


class Bench:
    """What rounds share: the fork server, and uninterrupted runs to compare with."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.unbroken = cache(self._unbroken)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "server" in vars(self):
            self.server.close()

    @property
    def forked(self) -> Start:
        """Starts runs by forking."""
        if "server" not in vars(self):
            self.server = ForkServer()
        return start_forked(self.server)

    def _unbroken(self, flags: tuple[str, ...]) -> tuple[Experiment, float]:
        """An uninterrupted, forked experiment with `flags`, and its seconds."""
        folder = self.work / "unbroken" / ("_".join(flags).replace("--", "") or "plain")
        experiment = Experiment(folder, flags)
        took = folder / "seconds"
        if not took.exists():
            start = self.forked
            if folder.exists():
                import shutil

                shutil.rmtree(folder)
            begin = time.monotonic()
            code = wait(start(experiment.create()))
            if code != 0:
                raise RuntimeError(f"the unbroken run ended with status {code}: see {folder / 'output.txt'}")
            took.write_text(str(time.monotonic() - begin))
        return experiment, float(took.read_text())


def _battered(signal: str, blows: tuple[Blow, ...], number: int, *, real: bool, seed: str) -> Round:
    """A round with `number` of each of `blows` to the experiment with one kind of signals, spread over its stages."""
    name = f"{seed}-{signal}{'-command' if real else ''}"

    def run(bench: Bench, folder: Path) -> list[Found]:
        unbroken, _ = bench.unbroken(SIGNALS[signal])
        chance = random.Random(name)
        start: Start = start_command if real else bench.forked
        experiment = Experiment(folder, SIGNALS[signal]).create()
        order = [blow for _ in range(number) for blow in blows]
        chance.shuffle(order)
        tallies = {blow.name: Tally() for blow in blows}
        moments = Moments(spread(len(order), unbroken), unbroken, chance)
        batter(experiment, unbroken, start, order, 0.2, chance, tallies, until=moments.wait)
        return [
            Found(case, tally.tried, tally.lost, dict(tally.stages), tally.seconds) for case, tally in tallies.items()
        ]

    return Round(name, run)


def _ranked(arm: str, number: int, *, real: bool = False) -> Round:
    """A round with `number` blows of each kind to a training of two ranks."""
    name = f"ranks-{arm}{'-command' if real else ''}"

    def run(bench: Bench, folder: Path) -> list[Found]:
        unbroken, _ = bench.unbroken(FLAGS[arm])
        start: Start = start_command if real else bench.forked
        tallies = batter_ranks(arm, folder, unbroken, start, number, random.Random(name))
        return [
            Found(case, tally.tried, tally.lost, dict(tally.stages), tally.seconds) for case, tally in tallies.items()
        ]

    return Round(name, run)


def _without_power(name: str, flags: tuple[str, ...], kind: str = "crash") -> Round:
    def run(bench: Bench, folder: Path) -> list[Found]:
        tallies = {f"{kind}: promises": Tally(), f"{kind}: resumed": Tally()}
        promises, resumed = tallies.values()
        chance = random.Random(f"power-{name}")
        try:
            with recording(folder / "recorded", flags) as (recorded, start):
                promises.lost += faults_of_recording(recorded)
                check_promises(recorded, folder, CRASHES, promises, chance)
                resume_from_crashes(recorded, start, folder, RESUMED_CRASHES, resumed, chance)
        except NoCompilerError as reason:
            return [Found(f"crash (left out: {reason})", 0, [])]
        return [Found(case, tally.tried, tally.lost) for case, tally in tallies.items()]

    return Round(f"power-{name}", run)


def _filled(bench: Bench, folder: Path) -> list[Found]:
    unbroken, _ = bench.unbroken((*SIGNALS["hidden"], "--cpu_workers=1"))  # so that every stage has its turn
    tallies = {"disk fills up in a stage": Tally(), "disk too small for the plan": Tally()}
    filled, refused = tallies.values()
    try:
        with small_disk(folder / "disk") as disk:
            fill_in_each_stage(disk, unbroken, bench.forked, filled, tuple(in_order(unbroken)))
        with small_disk(folder / "small") as disk:
            refuse_beforehand(disk, bench.forked, refused, unbroken)
    except MountError as reason:
        return [Found(f"disk (left out: {reason})", 0, [])]
    return [Found(case, tally.tried, tally.lost) for case, tally in tallies.items()]


def _twice(bench: Bench, folder: Path) -> list[Found]:
    unbroken, _ = bench.unbroken(SIGNALS["hidden"])
    tallies = {"a second run": Tally(), "a report beside a run": Tally()}
    second, report = tallies.values()
    run_twice(Experiment(folder / "second", unbroken.flags).create(), unbroken, bench.forked, second)
    report_beside(Experiment(folder / "report", unbroken.flags).create(), unbroken, bench.forked, report)
    return [Found(case, tally.tried, tally.lost) for case, tally in tallies.items()]


def _damaged(bench: Bench, folder: Path) -> list[Found]:
    tallies = run_damages(folder, DAMAGED_FILES)
    return [Found(f"damaged: {reader}", tally.tried, tally.lost) for reader, tally in tallies.items()]


ROUNDS = (
    *(_battered(signal, KILLS, 4, real=False, seed=f"kill-{n}") for n in range(4) for signal in SIGNALS),
    *(_battered(signal, REQUESTS, 4, real=False, seed=f"ask-{n}") for n in range(2) for signal in SIGNALS),
    *(_battered(signal, (*KILLS, *REQUESTS), 1, real=True, seed="both") for signal in SIGNALS),
    *(_ranked(arm, 4) for arm in FLAGS),
    _ranked("kd", 1, real=True),
    *(_without_power(signal, flags) for signal, flags in SIGNALS.items()),
    *(_without_power(f"ranks-{arm}", flags, "crash of two ranks") for arm, flags in FLAGS.items()),
    Round("disk", _filled),
    Round("twice", _twice),
    Round("files", _damaged),
)
