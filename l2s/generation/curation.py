"""Chooses the teacher's answers that students learn from: right, different, and not unusually long."""

from __future__ import annotations

import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from itertools import count as counting

from l2s.config import ExperimentConfig
from l2s.generation.context import context_of
from l2s.generation.given_away import gives_context_away
from l2s.generation.kinds import Kinds
from l2s.jsonl import Row
from l2s.metrics import Curation
from l2s.on_disk import Ids
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.table import task_of
from l2s.tasks.types import Item

FENCE = 3.0  # a length is an outlier this many interquartile ranges above the third quartile (Tukey's outer fence)
LEAST = 1.5  # of the third quartile: where most answers have one length, a token more is none
FEWEST_FOR_FENCE = 8  # answers below which quartiles mean little


@dataclass(frozen=True)
class Choice:
    """The answers to an item.

    Attributes:
        asked: all of them, in the order of the tries.
        kept: those to learn from.
        rejected: the last one, where there is none to learn from.
        never_right: the item, where no answer is right.
    """

    asked: Sequence[Row]
    kept: Sequence[Row]
    rejected: Sequence[Row]
    never_right: Row | None = None

    def without_ids(self) -> Choice:
        """The same without token ids to learn from, which are of another vocabulary."""
        return replace(self, kept=[row | {"token_ids": None} for row in self.kept])


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
    rows = list(rows)
    if len(rows) < 2:  # a working takes milliseconds
        return rows
    working = task_of(item["domain"]).working
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(working(item, row["response"]), row)
    return list(first.values())


class Curator:
    """Chooses up to `answers_per_item` different usable answers of each item, in the order of the tries.

    If several are wanted, an answer longer than its domain's outer fence is left out, unless it is the item's only one.
    The second answer of an item gets the id `ITEM~2`, and so on; an id that an item has already is passed over.

    Attributes:
        counts: by domain, of the items so far.
        kinds: of the items so far.
    """

    def __init__(
        self,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[Row]],
        config: ExperimentConfig,
        *,
        others: Iterable[Item] = (),
    ) -> None:
        """Get ready to choose of the `answers` to `items`; `others` are items that are not asked, and have ids too."""
        self.config = config
        self.fences = _fences(items, answers, config) if config.answers_per_item > 1 else {}
        self.taken = Ids(item["id"] for item in chain(items, others))
        self.counts: dict[str, Curation] = {}
        self.kinds = Kinds()

    def choose(self, item: Item, rows: Sequence[Row]) -> Choice:
        """Choose of the answers to an item."""
        good = usable(rows, self.config)
        distinct = different(item, good)
        fence = self.fences.get(item["domain"], float("inf"))
        short = [row for row in distinct if row["num_tokens"] <= fence] or distinct[:1]
        chosen = short[: self.config.answers_per_item]
        count = self.counts.setdefault(
            item["domain"], Curation(items=0, answers=0, unusable=0, duplicates=0, outliers=0, difficulty=[0, 0, 0, 0])
        )
        count["items"] += 1
        count["answers"] += len(chosen)
        count["unusable"] += len(rows) - len(good)
        count["duplicates"] += len(good) - len(distinct)
        count["outliers"] += len(distinct) - len(short)
        _count_difficulty(count, rows)
        self.kinds.add(item, is_learned=bool(chosen))
        return Choice(rows, self._named(chosen), [] if chosen else rows[-1:], never_right(item, rows))

    def _named(self, rows: Sequence[Row]) -> list[Row]:
        """The answers to an item, each with an id of its own."""
        ids = (f"{rows[0]['id']}~{number}" for number in counting(2))
        free = (id_ for id_ in ids if self.taken.find(id_) is None)
        return [*rows[:1], *(row | {"id": id_, "item": row["id"]} for row, id_ in zip(rows[1:], free, strict=False))]


def never_right(item: Item, rows: Sequence[Row]) -> Row | None:
    """The item, if it is graded and no answer gets it right, whether an answer is learned from or not.

    It has the number of its answers, how often the grader gave each status, and the last answer.
    """
    graded = [row for row in rows if row["graded"]["score"] is not None]
    if not graded or any(row["graded"]["score"] == 1 for row in graded):
        return None
    statuses = dict(Counter(row["graded"]["status"] for row in graded))
    return {**item, "answers": len(graded), "statuses": statuses, "last_response": graded[-1]["response"]}


def _fences(items: Sequence[Item], answers: Mapping[str, Sequence[Row]], config: ExperimentConfig) -> dict[str, float]:
    """The length in tokens, by domain, above which an answer is an outlier."""
    lengths: dict[str, array[int]] = {}
    for item in items:
        found = lengths.setdefault(item["domain"], array("q"))
        found.extend(row["num_tokens"] for row in usable(answers[item["id"]], config))
    fences = {}
    for domain, found in lengths.items():
        if len(found) >= FEWEST_FOR_FENCE:
            first, _, third = statistics.quantiles(found, n=4)
            fences[domain] = max(third + FENCE * (third - first), LEAST * third)
    return fences


def _count_difficulty(count: Curation, rows: Sequence[Row]) -> None:
    """Count the item by its share of right answers: none, below half, half or more, all."""
    scores = [row["graded"]["score"] for row in rows if row["graded"]["score"] is not None]
    if scores:
        share = sum(score == 1 for score in scores) / len(scores)
        count["difficulty"][0 if share == 0 else 1 if share < 0.5 else 2 if share < 1 else 3] += 1
