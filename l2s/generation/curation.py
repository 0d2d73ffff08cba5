"""Chooses the teacher's answers that students learn from: right, different, and not unusually long."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from l2s.config import ExperimentConfig
from l2s.generation.context import context_of
from l2s.generation.given_away import gives_context_away
from l2s.jsonl import Row
from l2s.metrics import Curation
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.table import task_of
from l2s.tasks.types import Item

FENCE = 3.0  # a length is an outlier this many interquartile ranges above the third quartile (Tukey's outer fence)
FEWEST_FOR_FENCE = 8  # answers below which quartiles mean little


@dataclass(frozen=True)
class Curated:
    """The result of the choice.

    Attributes:
        kept: rows to learn from, item by item.
        rejected: the last answer of each item that gave none.
        counts: counts by domain.
    """

    kept: list[Row]
    rejected: list[Row]
    counts: dict[str, Curation]


def usable(rows: Iterable[Row], config: ExperimentConfig) -> list[Row]:
    """The answers of one item that students may learn from.

    With `keep_correct` these are the answers that the grader found right; answers without a grade are all usable. An
    answer that gives away what only the teacher was shown is never usable, nor is an empty one, such as an endpoint's
    filter leaves.
    """
    return [
        row
        for row in rows
        if not is_empty(row["response"])
        and (not config.keep_correct or row["graded"]["score"] in (None, 1))
        and not gives_context_away(row["response"], context_of(row["domain"], config))
    ]


def is_empty(response: str) -> bool:
    """Whether an answer says nothing: there is no text, or none after its thinking."""
    visible = without_thinking(response)
    return visible is not None and not visible.strip()


def different(item: Item, rows: Iterable[Row]) -> list[Row]:
    """The first answer of each working."""
    working = task_of(item["domain"]).working
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(working(item, row["response"]), row)
    return list(first.values())


def curate(items: Sequence[Item], answers: Mapping[str, Sequence[Row]], config: ExperimentConfig) -> Curated:
    """Choose up to `answers_per_item` different usable answers of each item, in the order of the tries.

    If several are wanted, an answer longer than its domain's outer fence is left out, unless it is the item's only one.
    The second answer of an item gets the id `ITEM~2`, and so on.
    """
    good = {item["id"]: usable(answers[item["id"]], config) for item in items}
    fences = _fences(items, good) if config.answers_per_item > 1 else {}
    kept: list[Row] = []
    rejected: list[Row] = []
    counts: dict[str, Curation] = {}
    for item in items:
        count = counts.setdefault(
            item["domain"], Curation(items=0, answers=0, unusable=0, duplicates=0, outliers=0, difficulty=[0, 0, 0, 0])
        )
        distinct = different(item, good[item["id"]])
        fence = fences.get(item["domain"], float("inf"))
        short = [row for row in distinct if row["num_tokens"] <= fence] or distinct[:1]
        chosen = short[: config.answers_per_item]
        kept += [_numbered(row, number) for number, row in enumerate(chosen, start=1)]
        rejected += [] if chosen else answers[item["id"]][-1:]
        count["items"] += 1
        count["answers"] += len(chosen)
        count["unusable"] += len(answers[item["id"]]) - len(good[item["id"]])
        count["duplicates"] += len(good[item["id"]]) - len(distinct)
        count["outliers"] += len(distinct) - len(short)
        _count_difficulty(count, answers[item["id"]])
    return Curated(kept, rejected, counts)


def never_right(items: Sequence[Item], answers: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The graded items that no answer gets right, whether an answer is learned from or not.

    Each has the number of its answers, how often the grader gave each status, and the last answer.
    """
    graded = {id_: [row for row in rows if row["graded"]["score"] is not None] for id_, rows in answers.items()}
    return [
        {
            **item,
            "answers": len(rows),
            "statuses": dict(Counter(row["graded"]["status"] for row in rows)),
            "last_response": rows[-1]["response"],
        }
        for item in items
        if (rows := graded[item["id"]]) and not any(row["graded"]["score"] == 1 for row in rows)
    ]


def _fences(items: Sequence[Item], answers: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    """The length in tokens, by domain, above which an answer is an outlier."""
    lengths: dict[str, list[int]] = {}
    for item in items:
        lengths.setdefault(item["domain"], []).extend(row["num_tokens"] for row in answers[item["id"]])
    fences = {}
    for domain, found in lengths.items():
        if len(found) >= FEWEST_FOR_FENCE:
            first, _, third = statistics.quantiles(found, n=4)
            fences[domain] = third + FENCE * (third - first)
    return fences


def _numbered(row: Row, number: int) -> Row:
    return row if number == 1 else row | {"id": f"{row['id']}~{number}", "item": row["id"]}


def _count_difficulty(count: Curation, rows: Sequence[Row]) -> None:
    """Count the item by its share of right answers: none, below half, half or more, all."""
    scores = [row["graded"]["score"] for row in rows if row["graded"]["score"] is not None]
    if scores:
        share = sum(score == 1 for score in scores) / len(scores)
        count["difficulty"][0 if share == 0 else 1 if share < 0.5 else 2 if share < 1 else 3] += 1
