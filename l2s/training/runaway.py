"""What shows that on-policy distillation runs away: answers fill the token limit, or the student leaves its teacher.

The student is trained on what it wrote, so a mistake that it repeats becomes its data. Each rule compares the mean of
the last updates with the student before its first update. A rate that is too high can spoil a student in a few updates,
so the first ones are no measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import Row
from l2s.warning import Warned, warned

WINDOW = 10  # updates whose mean is taken: with 8 answers each, a share is known to 0.1 or so


class Rule(NamedTuple):
    """When the mean of a figure shows a training that runs away, given its mean at the start."""

    key: str
    figure: str  # column of metrics.jsonl
    broken: Callable[[float, float], bool]  # (at the start, now)


RULES = (
    Rule("opd_length", "truncated", lambda before, now: before <= 0.5 and now >= 0.9),
    Rule("opd_overlap", "top_k_overlap", lambda before, now: now < 0.5 * before),
    Rule("opd_kl", "reverse_kl", lambda before, now: now > 3 * before and now > before + 0.5),  # nats a token
)
MEANING = {
    "opd_length": "{now:.0%} of its answers are cut at opd_max_new_tokens, {before:.0%} at the start",
    "opd_overlap": "its likeliest tokens are the teacher's to {now:.0%}, to {before:.0%} at the start",
    "opd_kl": "its reverse KL to the teacher is {now:.2f} nats a token, {before:.2f} at the start",
}


@dataclass(frozen=True)
class Runaway:
    """The step at which a rule was first broken, and the means that it compared."""

    key: str
    step: int
    before: float
    now: float

    def warning(self) -> Warned:
        """The warning of the reports."""
        return warned(self.key, step=self.step, before=self.before, now=self.now)

    def __str__(self) -> str:
        meaning = MEANING[self.key].format(before=self.before, now=self.now)
        return f"step {self.step}: the student runs away: {meaning} (mean of {WINDOW} updates)"


def runaway_at_end(rows: Sequence[Row], cut_before: float | None) -> list[Runaway]:
    """The rules that the last rows of a metrics.jsonl break; none before a whole window.

    Args:
        rows: from the first step on, whose answers are those of the student before any update.
        cut_before: share of the answers sampled before the first step that were cut; None if it is not known.
    """
    if len(rows) < WINDOW:
        return []
    start = {**rows[0], "truncated": cut_before}
    found = []
    for key, figure, broken in RULES:
        before, last = start.get(figure), [float(row[figure]) for row in rows[-WINDOW:] if figure in row]
        if before is None or len(last) < WINDOW:  # an early version wrote some of these rows
            continue
        now = sum(last) / WINDOW
        if broken(before, now):
            found.append(Runaway(key, int(rows[-1]["step"]), before, now))
    return found


def all_runaways(rows: Sequence[Row], cut_before: float | None) -> list[Runaway]:
    """For each rule that was ever broken, the first time."""
    first: dict[str, Runaway] = {}
    for number in range(WINDOW, len(rows) + 1):
        for found in runaway_at_end([rows[0], *rows[1:number][-WINDOW:]], cut_before):
            first.setdefault(found.key, found)
    return list(first.values())


class Watch:
    """Looks at each update of a training, and ends it or warns as `opd_runaway` says."""

    def __init__(self, config: ExperimentConfig, cut_before: float | None) -> None:
        self.config = config
        self.cut_before = cut_before
        self.rows: list[Row] = []
        self.known: set[str] = set()

    def remember(self, rows: Sequence[Row]) -> None:
        """Take over the rows of the steps before a resumed training."""
        self.rows = list(rows)
        self.known = {found.key for found in all_runaways(rows, self.cut_before)}

    def look(self, row: Row) -> list[Runaway]:
        """What the next row of metrics.jsonl breaks for the first time.

        Raises:
            UserError: it breaks a rule, and `opd_runaway` is stop.
        """
        self.rows.append(row)
        found = [one for one in runaway_at_end(self.rows, self.cut_before) if one.key not in self.known]
        self.known |= {one.key for one in found}
        if found and self.config.opd_runaway == "stop":
            raise UserError(
                f"{found[0]}. Start again with a lower --opd_lr than {self.config.opd_lr:g}, a larger "
                f"--opd_max_new_tokens than {self.config.opd_max_new_tokens} or from an SFT student, with --force; or "
                "continue from the last checkpoint with --opd_runaway warn"
            )
        return found
