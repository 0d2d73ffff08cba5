"""Which items students learn reference solutions of; the domains of `answers`, checked without the data."""

from __future__ import annotations

from l2s.config import ALL_DOMAINS, ExperimentConfig, answers_by_domain
from l2s.errors import UserError
from l2s.tasks.table import TASKS, task_of, without_training_items
from l2s.tasks.types import Item


def learns_reference(item: Item, config: ExperimentConfig) -> bool:
    """Whether students learn an item's reference solution; domains that the user's own rows name are of `own`."""
    return config.answers_in(task_of(item["domain"]).name) == "reference"


def check_answers(config: ExperimentConfig) -> None:
    """Check the domains that `answers` names.

    Raises:
        UserError: one does not exist.
    """
    for domain in answers_by_domain(config.answers):
        if domain not in (ALL_DOMAINS, *TASKS):
            raise UserError(f"answers={config.answers!r}: {domain!r} is not a domain; name some of {', '.join(TASKS)}")


def unused_references(config: ExperimentConfig) -> list[str]:
    """The domains that `answers` names and that this run has no training items of."""
    return without_training_items(answers_by_domain(config.answers).keys() - {ALL_DOMAINS}, config)
