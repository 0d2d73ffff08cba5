"""The domains of the experiment. A new one is a module with the same functions and a line in TASKS."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from l2s.config import ExperimentConfig
from l2s.tasks import aiops, code, math
from l2s.tasks.types import Grade, Item


class Task(Protocol):
    """What a domain's module offers."""

    @property
    def METRIC(self) -> str:  # noqa: N802 (a constant of the module)
        """Name of what a mean score measures."""

    @property
    def STATUSES(self) -> tuple[str, ...]:  # noqa: N802
        """All that a grade's status can be."""

    def train_items(self, config: ExperimentConfig) -> list[Item]:
        """The training items; deterministic in the seed."""

    def eval_items(self, config: ExperimentConfig) -> list[Item]:
        """The evaluation items; deterministic in the seed."""

    def grade_item(self, item: Item, response: str, *, finish_reason: str = "stop") -> Grade:
        """Grade the answer to an item of this domain."""


TASKS: dict[str, Task] = {"math": math, "code": code, "aiops": aiops}


def grade_all(answered: Sequence[tuple[Item, str, str]], *, timeout_s: float) -> list[Grade]:
    """Grade (item, response, finish_reason) triples, in order; programs run side by side, one for each core."""

    def grade(answer: tuple[Item, str, str]) -> Grade:
        item, response, finish_reason = answer
        if item["domain"] == "code":
            return code.grade_item(item, response, finish_reason=finish_reason, timeout_s=timeout_s)
        return TASKS[item["domain"]].grade_item(item, response, finish_reason=finish_reason)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(grade, answered))
