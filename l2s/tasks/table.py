"""The domains of the experiment. A new domain is a module with a `TASK` and a line here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown
from l2s.tasks import aiops, code, math, own
from l2s.tasks.task import Names, Task
from l2s.tasks.types import Grade, Item

TASKS: dict[str, Task] = {
    "math": math.TASK,
    "code": code.TASK,
    "aiops": aiops.TASK,
    "own": own.TASK,
}


def tasks_of(config: ExperimentConfig) -> dict[str, Task]:
    """The domains that the configuration asks for, in the order of the table.

    Raises:
        UserError: it names one that does not exist.
    """
    if config.domains == "auto":
        return {name: task for name, task in TASKS.items() if task.by_default(config)}
    named = [name.strip() for name in config.domains.split(",")]
    for name in named:
        if name not in TASKS:
            raise UserError(
                f"domains={shown(config.domains)}: {shown(name)} is not a domain; name some of {', '.join(TASKS)}, "
                "separated by commas"
            )
    return {name: task for name, task in TASKS.items() if name in named}


def without_training_items(domains: Iterable[str], config: ExperimentConfig) -> list[str]:
    """Those of the domains that this run has no training items of, sorted."""
    tasks = tasks_of(config)
    return sorted(name for name in domains if not (name in tasks and tasks[name].size("train", config)))


def task_of(domain: str) -> Task:
    """The task of an item's domain; rows of the user's own data may name domains of their own."""
    return TASKS.get(domain, own.TASK)


def in_order(domains: Iterable[str]) -> list[str]:
    """Each domain once, in the order of the table."""
    order = {name: place for place, name in enumerate(TASKS)}
    return sorted(dict.fromkeys(domains), key=lambda domain: order.get(domain, len(order)))


def names_of(key: str) -> Names:
    """The report's names of a metric, status, detail or control of any domain; the key itself if it has no name."""
    return next((task.names[key] for task in TASKS.values() if key in task.names), Names(key, key))


def grade_all(answered: Sequence[tuple[Item, str, str]], config: ExperimentConfig) -> list[Grade | None]:
    """Grade (item, response, finish_reason) triples, in order; programs run side by side, one for each core.

    None means that nobody can say whether the answer is right.
    """

    def grade(answer: tuple[Item, str, str]) -> Grade | None:
        item, response, finish_reason = answer
        return task_of(item["domain"]).grade(item, response, finish_reason, config)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(grade, answered))
