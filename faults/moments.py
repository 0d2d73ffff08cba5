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
    """One moment after the other, each in one of `stages`; `unbroken` says how long these take."""

    def __init__(
        self,
        stages: Sequence[str],
        unbroken: Experiment,
        chance: random.Random,
        ready: Callable[[Process], bool] = lambda process: True,
    ) -> None:
        self._left = iter([(stage, chance.uniform(0.0, 0.8 * _seconds(stage, unbroken))) for stage in stages])
        self._ready = ready

    def wait(self, process: Process, experiment: Experiment) -> None:
        """Wait for the next moment; less if its stage or the run ends before, and not at all if the stage is done."""
        stage, seconds = next(self._left)
        while process.poll() is None and not self._has_come(stage, process, experiment):
            if experiment.run_dir.manifest(stage).exists():
                return
            time.sleep(0.02)
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._has_come(stage, process, experiment):
            time.sleep(0.02)

    def _has_come(self, stage: str, process: Process, experiment: Experiment) -> bool:
        return stage in stages_at_work(experiment.run_dir) and self._ready(process)


def _seconds(stage: str, unbroken: Experiment) -> float:
    manifest = Manifest.load(unbroken.run_dir.manifest(stage))
    assert manifest is not None
    return manifest.seconds
