"""Kills of trainings on two ranks, which meet through gloo on the CPU.

The stages run one after another, so that each training has both workers in every run, and its losses can be compared to
the bit: signals are `online`, and each experiment trains SFT and one more arm.
"""

from __future__ import annotations

import random
from pathlib import Path

from faults.experiment import Experiment
from faults.kill import RANK_KILLS, Blow, Tally, batter, ranks_of
from faults.moments import Moments
from faults.processes import Start
from l2s.jsonl import load_jsonl
from l2s.run_dir import Manifest

RANKS = 2
TRAININGS = ("sft", "kd", "opd")
FLAGS = {
    arm: (
        "--run_all=false", "--run_sft", f"--run_{arm}", "--teacher_signal=online", "--sft_batch_size=2",
        "--kd_batch_size=2", "--opd_batch_size=2", "--save_steps=2",
    )
    for arm in ("kd", "opd")
}  # fmt: skip


def batter_ranks(
    arm: str, folder: Path, unbroken: Experiment, start: Start, number: int, chance: random.Random
) -> dict[str, Tally]:
    """Deal each of RANK_KILLS `number` times while two ranks train, resume, and compare with the unbroken run.

    The first half of the blows comes while SFT trains, the other while `arm` does. Another experiment takes the blows
    that are left when one is done.
    """
    tallies = {blow.name: Tally() for blow in RANK_KILLS}
    first = tallies[RANK_KILLS[0].name]
    first.lost += _not_on_two_ranks(unbroken)
    order: list[Blow] = [blow for _ in range(number) for blow in RANK_KILLS]
    chance.shuffle(order)
    stages = ["sft" if place < len(order) / 2 else arm for place in range(len(order))]
    dealt = 0
    while dealt < len(order):
        moments = Moments(stages[dealt:], unbroken, chance, lambda process: len(ranks_of(process)) == RANKS)
        experiment = Experiment(folder / f"after-{dealt}", FLAGS[arm]).create()
        more = batter(experiment, unbroken, start, order[dealt:], 0.2, chance, tallies, until=moments.wait)
        first.lost += _not_on_two_ranks(experiment)
        if not more:
            first.lost.append(f"no blow fell in a whole run; see {experiment.folder}")
            break
        dealt += more
    return tallies


def _not_on_two_ranks(experiment: Experiment) -> list[str]:
    """Trainings of a finished experiment that did not have two ranks, or whose steps are not all there."""
    found = []
    for arm in TRAININGS:
        manifest = Manifest.load(experiment.run_dir.manifest(arm))
        if manifest is None:
            continue
        ranks, steps = manifest.metrics["ranks"], manifest.metrics["steps"]
        if ranks != RANKS:
            found.append(f"{arm} ran on {ranks} ranks")
        if [row["step"] for row in load_jsonl(experiment.run_dir.arm(arm).metrics)] != list(range(1, steps + 1)):
            found.append(f"{arm}: not one row for each step")
    return found
