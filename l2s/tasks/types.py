"""The two records that all domains share: an item to answer and the grade of an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

FinishReason = Literal["stop", "length"]


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Item(TypedDict):
    """A row of train_dataset.jsonl or eval_dataset.jsonl.

    `reference` is the gold answer in the form that the domain's grader takes; `meta` holds what only that domain reads.
    """

    id: str
    domain: str  # a name in l2s.tasks.table.TASKS, or a name from the user's own rows
    source: str
    messages: list[Message]
    reference: Any
    meta: dict[str, Any]


@dataclass(frozen=True)
class Grade:
    """The verdict on one answer.

    Attributes:
        score: 0..1; the domain's main metric is its mean.
        status: one of the closed set in the domain's STATUSES; different failures never share a name.
        extracted: the answer as the grader understood it, or None if it found none.
        details: further JSON-able verdicts for the item (for example strict and flexible match of a math answer).
    """

    score: float
    status: str
    extracted: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
