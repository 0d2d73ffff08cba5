"""When blows fall: while a certain stage is at work, at a random moment of it. So a busy machine does not move them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from faults.experiment import Experiment, stages_at_work
from faults.processes import Process
from l2s.run_dir import Manifest

# in the order in which they begin
STAGES = (
    "prepare", "generate", "score", "sft", "kd", "opd", "evaluate_teacher", "evaluate_student_base",
    "evaluate_student_sft", "evaluate_student_kd", "evaluate_student_opd", "report",
)  # fmt: skip


def spread(number: int) -> list[str]:
    """`number` of the stages, evenly over all and in their order; each as often as the others."""
    return [STAGES[place * len(STAGES) // number] for place in range(number)]


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
        self._ready = ready

    def wait(self, process: Process, experiment: Experiment) -> None:
        """Wait for the next moment: of its stage, or of the next one that is not done; less if that or the run ends."""
        wanted, share = next(self._left)
        later = STAGES[STAGES.index(wanted) :]
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
