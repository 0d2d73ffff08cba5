"""Task: all that the rest of l2s knows about a domain. A domain's module ends with its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from l2s.config import ExperimentConfig
from l2s.tasks.types import Grade, Item
from l2s.tasks.working import text_working

Split = Literal["train", "eval"]


class Names(NamedTuple):
    """A word or sentence of the report in both languages."""

    en: str
    zh: str


class Lengths(NamedTuple):
    """Tokens of the items of one source: means, the longest prompt, and the mean longest answer of 16.

    A batch decodes until its last answer ends. The solution is the reference that an item may show to the teacher.
    `source` is the name of these items in plans.
    """

    source: str
    prompt: float
    longest_prompt: int
    answer: float
    longest_answer: float
    solution: float


# Tokens of a character, found with Qwen's tokenizer on the prompts and solutions of the built-in domains.
TOKENS_OF = (
    (re.compile(r"[\u3040-\u30ff\u3400-\u9fff]"), 0.75),
    (re.compile(r"\d"), 1),
    (re.compile(r"[^\w\s]|\n"), 0.7),
)
TOKENS_OF_OTHERS = 1 / 4.6


def rough_tokens(text: str) -> int:
    """The tokens of a text, roughly: a log is full of digits, and each digit is a token."""
    tokens = 0.0
    for pattern, each in TOKENS_OF:
        text, number = pattern.subn("", text)
        tokens += each * number
    return round(tokens + TOKENS_OF_OTHERS * len(text))


BLIND = "blind_"
NOT_GRADED = "not_graded"  # status of an answer without a grade, in files and reports

COMMON_NAMES = {  # statuses that graders share
    "correct": Names("correct", "正确"),
    "wrong": Names("wrong", "错误"),
    "no_answer": Names("no_answer", "无答案"),
    "truncated": Names("truncated", "被截断"),
}


@dataclass(frozen=True)
class Task:
    """One domain.

    Its sizes are the configuration fields `<name>_train_size` and `<name>_eval_size`, unless it counts its items.

    Attributes:
        name: name in items and results.
        title: name in reports.
        metric: what a mean score measures, given the configuration.
        statuses: every status of a grade.
        train_items: the training items that the configuration asks for; deterministic in the seed.
        eval_items: the evaluation items.
        grade: (item, response, finish reason, configuration) -> grade, or None if nothing is graded.
        lengths: the plan's assumptions about prompts and answers.
        trial: settings of a run of a few items that needs no network.
        names: names of the metric, statuses, details and controls in reports; without an entry, the key is the name.
        settings: further configuration fields that decide the items; all domains also read seed and data_dir.
        grading: configuration fields that decide grades.
        files: files and folders that the items are read from.
        grader_files: files that decide grades.
        by_default: whether `domains=auto` includes this domain.
        count: number of items, if no size field gives it.
        runs_programs: whether grading runs model-written code and so needs the sandbox.
        cluster_fields: fields of `meta` whose values together name groups of related items, which are resampled
            together; none if all items are independent.
        strict_detail: a yes-or-no detail of the grades whose share is shown below the score.
        controls: scores of answers without understanding on these items, by name; "gold" must score 1. Names that begin
            with BLIND are right answers in other words: their score is the metric's ceiling.
        check: checks the settings before anything is loaded, whether the domain is chosen or not; gets the names of all
            domains, and raises UserError.
        faults: statuses that mean a failure of the grader and not of the answer.
        note: a sentence about how the scores of this domain are made, given the configuration.
        stand_ins: source of items -> warning if the evaluation uses it.
        overlap_setting: a field and the value with which training items are evaluation items.
        solution: the reference solution of an item as an answer to its prompt, or None if it has none.
        kind: the class of an item, such as its label, if it has one; a filter of right answers can make a class rare.
        working: what two right answers to an item must differ in to be worth learning from both.
    """

    name: str
    title: Names
    metric: Callable[[ExperimentConfig], str]
    statuses: tuple[str, ...]
    train_items: Callable[[ExperimentConfig], Sequence[Item]]
    eval_items: Callable[[ExperimentConfig], Sequence[Item]]
    grade: Callable[[Item, str, str, ExperimentConfig], Grade | None]
    lengths: Callable[[Split, ExperimentConfig], Lengths]
    trial: Mapping[str, Any]
    names: Mapping[str, Names] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    grading: tuple[str, ...] = ()
    files: Callable[[ExperimentConfig], list[Path]] = lambda config: []
    grader_files: Callable[[ExperimentConfig], list[Path]] = lambda config: []
    by_default: Callable[[ExperimentConfig], bool] = lambda config: True
    count: Callable[[Split, ExperimentConfig], int] | None = None
    runs_programs: bool = False
    cluster_fields: tuple[str, ...] = ()
    strict_detail: str | None = None
    controls: Callable[[Sequence[Item]], dict[str, float]] | None = None
    check: Callable[[ExperimentConfig, Collection[str]], None] = lambda config, domains: None
    faults: tuple[str, ...] = ()
    note: Callable[[Mapping[str, Any]], Names] | None = None
    stand_ins: Mapping[str, Names] = field(default_factory=dict)
    overlap_setting: tuple[str, str] | None = None
    solution: Callable[[Item], str | None] = lambda item: item["reference"] or None
    kind: Callable[[Item], str | None] = lambda item: None
    working: Callable[[Item, str], str] = lambda item, response: text_working(response)

    def size_field(self, split: Split) -> str | None:
        """The configuration field that sets the number of items, or None if no field does."""
        return None if self.count else f"{self.name}_{split}_size"

    def size(self, split: Split, config: ExperimentConfig) -> int:
        """The number of items that the configuration asks for."""
        return self.count(split, config) if self.count else int(getattr(config, f"{self.name}_{split}_size"))

    def reads(self) -> tuple[str, ...]:
        """The configuration fields that decide the items, without those that all domains read."""
        sizes = () if self.count else (f"{self.name}_train_size", f"{self.name}_eval_size")
        return (*sizes, *self.settings)
