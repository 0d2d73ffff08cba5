"""When blows fall: while a certain stage is at work, at a random moment of it. So a busy machine does not move them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from faults.experiment import Experiment, events, stages_at_work
from faults.processes import Process
from l2s.run_dir import Manifest


def in_order(unbroken: Experiment) -> list[str]:
    """The stages in the order in which they began: blows that follow it find each stage before it is done."""
    return [str(event["stage"]) for event in events(unbroken.run_dir) if event["event"] == "stage_start"]


def spread(number: int, unbroken: Experiment) -> list[str]:
    """`number` of the stages, evenly over all and in their order; each as often as the others."""
    stages = in_order(unbroken)
    return [stages[place * len(stages) // number] for place in range(number)]


class Moments:
    """One moment after the other, each in one of `stages`; `unbroken` says how long they take."""

    def __init__(
        self,
        stages: Sequence[str],
        unbroken: Experiment,
        chance: random.Random,
        ready: Callable[[Process], bool] = lambda process: True,
    ) -> None:
        self._left = iter([(stage, chance.uniform(0.0, 0.8)) for stage in stages])
        self._unbroken = unbroken
        self._order = in_order(unbroken)
        self._ready = ready

    def wait(self, process: Process, experiment: Experiment) -> None:
        """Wait for the next moment: of its stage, or of the next one that is not done; less if that or the run ends."""
        wanted, share = next(self._left)
        later = self._order[self._order.index(wanted) :]
        stage = wanted
        while process.poll() is None and not self._has_come(stage, process, experiment):
            time.sleep(0.02)
            stage = next((one for one in later if not experiment.run_dir.manifest(one).exists()), stage)
        end = time.monotonic() + share * _seconds(stage, self._unbroken)
        while time.monotonic() < end and self._has_come(stage, process, experiment):
            time.sleep(0.02)

    def _has_come(self, stage: str, process: Process, experiment: Experiment) -> bool:
        return stage in stages_at_work(experiment.run_dir) and self._ready(process)


def _seconds(stage: str, unbroken: Experiment) -> float:
    manifest = Manifest.load(unbroken.run_dir.manifest(stage))
    return manifest.seconds if manifest else 0.0
