"""Asks the teacher as often as the settings say, and grades what it answers. Answers and grades stay on disk."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import replica
from l2s.generation.answers import POLL_S, Answers, answer_items
from l2s.generation.curation import different, usable
from l2s.generation.engines.endpoint_body import recorded
from l2s.generation.engines.protocol import Answering, Completion, Sampling
from l2s.jsonl import Row, append_jsonl, cut_unfinished_line, finite
from l2s.metrics import Try
from l2s.on_disk import Ids, Made, SealedLogs, chunks
from l2s.run_dir import RunDir
from l2s.sealed import read_sealed, seal, write_sealed
from l2s.tasks.table import grade_all
from l2s.tasks.task import NOT_GRADED
from l2s.tasks.types import Grade, Item, Message

GRADED_TOGETHER = 1024  # answers that are in memory while they are graded

Grades = SealedLogs[Grade | None]  # None: nobody can say whether the answer is right


class RowsOfItems(Mapping[str, list[Row]]):
    """The graded answers to each item by its id, in the order of the tries, read when they are asked for."""

    def __init__(self, items: Sequence[Item], asked_with: Mapping[str, list[Message]], teacher: str) -> None:
        self.rows, self.asked_with, self.teacher = items, asked_with, teacher
        self.ids = Ids(item["id"] for item in items)
        self.tried: list[tuple[dict[str, Any], Answers, Grades]] = []

    def __getitem__(self, id_: str) -> list[Row]:
        number = self.ids.find(id_)
        if number is None:
            raise KeyError(id_)
        item, asked_with = self.rows[number], self.asked_with[id_]
        return [
            row_of(item, asked_with, answers[id_], grades[id_], sampling, self.teacher)
            for sampling, answers, grades in self.tried
            if id_ in answers
        ]

    def __iter__(self) -> Iterator[str]:
        return (item["id"] for item in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class CollectedAnswers:
    """Graded answers by item id, and the counts of each try."""

    answers: RowsOfItems
    tries: list[Try] = field(default_factory=list)


def collect(
    items: Sequence[Item],
    asked_with: Mapping[str, list[Message]],
    engine: Answering,
    renderer: ChatRenderer,
    config: ExperimentConfig,
    run_dir: RunDir,
) -> CollectedAnswers:
    """Answer and grade `items`, as often as `generate.run` says; the teacher reads `asked_with`.

    The first replica grades, and says which items are asked again; it alone returns answers.
    """
    result = CollectedAnswers(RowsOfItems(items, asked_with, config.teacher_model))
    for attempt in range(config.most_tries):
        asked = _asked(attempt, items, result.answers, config, run_dir)
        if not asked:
            break
        sampling, log = _sampling(config, attempt), run_dir.answers_of_try(attempt)
        shown = Made(len(asked), lambda n, asked=asked: shown_item(items[asked[n]], asked_with))  # type: ignore[misc]
        answers = answer_items(shown, engine, renderer, sampling, log, label=f"generate, try {attempt + 1}")
        if replica()[0] != 0:
            continue
        asked_items = Made(len(asked), lambda n, asked=asked: items[asked[n]])  # type: ignore[misc]
        grades = _grade(asked_items, answers, config, run_dir.grades(attempt))
        result.answers.tried.append((recorded(sampling, config), answers, grades))
        scores = array("d", (grade.score for item in asked_items if (grade := grades[item["id"]]) is not None))
        if scores:
            result.tries.append({"try": attempt + 1, "asked": len(scores), "correct": scores.count(1)})
    return result


def shown_item(item: Item, asked_with: Mapping[str, list[Message]]) -> Item:
    """The item as the teacher sees it."""
    return {**item, "messages": asked_with[item["id"]]}


def _asked(
    attempt: int, items: Sequence[Item], answers: RowsOfItems, config: ExperimentConfig, run_dir: RunDir
) -> Sequence[int]:
    """The numbers of the items that a try asks: all, or with `keep_correct` those that still lack answers.

    The first replica writes them to a file, and the others wait for it; a resumed run reads it too.
    """
    if attempt == 0 or not config.keep_correct:
        return range(len(items))
    file = run_dir.asked(attempt)
    while (kept := _numbers_in(file)) is None:
        if replica()[0] == 0:
            lacking = [n for n, item in enumerate(items) if _wants_more(item, answers[item["id"]], config)]
            write_sealed(file, {"items": lacking})
        else:
            time.sleep(POLL_S)
    return kept


def _numbers_in(file: Path) -> array[int] | None:
    """What `_asked` left in `file`; None where it is missing or damaged."""
    try:
        return array("q", read_sealed(file)["items"])
    except (FileNotFoundError, ValueError, TypeError, KeyError, OverflowError):
        return None


def _wants_more(item: Item, rows: Sequence[Row], config: ExperimentConfig) -> bool:
    return len(different(item, usable(rows, config))) < config.answers_per_item


def _grade(asked: Sequence[Item], answers: Answers, config: ExperimentConfig, log: Path) -> Grades:
    """Grades of the answers to `asked`, which are appended to `log`.

    A resumed run reads those that are there: a program near its time limit is not run twice.
    """
    cut_unfinished_line(log)
    grades: Grades = SealedLogs(answers.ids, lambda: [log], _grade_in)
    grades.look()
    for numbers in chunks(range(len(asked)), GRADED_TOGETHER):
        left = [item for item in (asked[n] for n in numbers) if item["id"] not in grades]
        found = [answers[item["id"]] for item in left]
        triples = [(item, answer.text, answer.finish_reason) for item, answer in zip(left, found, strict=True)]
        graded = zip(left, grade_all(triples, config), strict=True)
        rows = [{"id": item["id"], "grade": asdict(grade) if grade else None} for item, grade in graded]
        append_jsonl(log, [seal(finite(row)) for row in rows])
    grades.look()
    return grades


def _grade_in(row: Row) -> Grade | None:
    return Grade(**row["grade"]) if row["grade"] else None


def _sampling(config: ExperimentConfig, attempt: int) -> Sampling:
    temperature = config.sampling_temperature if attempt == 0 else config.retry_temperature
    return Sampling(config.max_new_tokens, temperature, config.sampling_top_p, config.seed + attempt)


def row_of(
    item: Item,
    asked_with: list[Message],
    answer: Completion,
    grade: Grade | None,
    sampling: dict[str, Any] | None,
    teacher: str,
) -> Row:
    """The row that students learn from."""
    return {
        **item,
        **({} if asked_with == item["messages"] else {"teacher_messages": asked_with}),
        "response": answer.text,
        "finish_reason": answer.finish_reason,
        "num_tokens": answer.num_tokens,
        "token_ids": answer.token_ids,
        "teacher": teacher,
        "sampling": sampling,
        "graded": {"score": grade.score, "status": grade.status} if grade else {"score": None, "status": NOT_GRADED},
    }
