"""The graders of `--own_grader`: the references they take, and how they judge an answer."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.fences import split_fences
from l2s.tasks.final_number import final_number
from l2s.tasks.own import user_code
from l2s.tasks.own.choice import LETTERS, chosen_letter
from l2s.tasks.own.strict_json import json_in_lines, json_in_prose, parse_json
from l2s.tasks.task import NOT_GRADED
from l2s.tasks.types import Grade, Item

STATUSES = (
    "correct",
    "partial",  # a grader in Python returned a score between 0 and 1
    "wrong",
    "no_answer",  # the answer is empty, or holds no number, JSON or letter
    "truncated",  # the answer was cut, or its <think> never closed
    NOT_GRADED,  # own_grader=none, or training rows without references
    *user_code.FAULTS,
)
FENCE_ON_ONE_LINE = re.compile(r"(?<![`~])(`{3,}+|~{3,}+)[ \t]*(?:json\w*)?[ \t]*(\S.*?)\1", re.IGNORECASE)


class Verdict(NamedTuple):
    """A grader's verdict on the visible part of an answer."""

    score: float
    status: str
    extracted: str | None


@dataclass(frozen=True)
class Grader:
    """One way to grade.

    Attributes:
        spec: the value of `own_grader`.
        metric: what a mean score measures; a key of the report's names.
        reference: converts a reference from the file to the one that `judge` takes; raises ValueError with what is
            wrong.
        judge: (item, visible answer, configuration) -> verdict; None: nothing is graded.
    """

    spec: str
    metric: str
    reference: Callable[[Any], Any]
    judge: Callable[[Item, str, ExperimentConfig], Verdict] | None
    needs_reference: bool = True


def grader_of(spec: str) -> Grader:
    """The grader that this value of `own_grader` names.

    Raises:
        UserError: no grader has that name.
    """
    if spec in GRADERS:
        return GRADERS[spec]
    if user_code.parse_spec(spec) is None:
        names = ", ".join(GRADERS)
        raise UserError(
            f"own_grader={shown(spec)}: must be one of {names}, or python:FILE.py:function for your own code"
        )
    return Grader(spec, "own code", _anything, _judge_by_user_code, needs_reference=False)


def grade(item: Item, response: str, finish_reason: str, config: ExperimentConfig) -> Grade | None:
    """Grade the answer to a row of the user's; None if nothing is graded."""
    judge = grader_of(config.own_grader).judge
    if judge is None or not is_graded(item, config):
        return None
    visible = without_thinking(response)
    if visible is None or finish_reason == "length":
        return Grade(0.0, "truncated")
    if not visible.strip():
        return Grade(0.0, "no_answer")
    return Grade(*judge(item, visible, config))


def is_graded(item: Item, config: ExperimentConfig) -> bool:
    """Whether answers to an item get a score."""
    grader = grader_of(config.own_grader)
    return grader.judge is not None and (item["reference"] is not None or not grader.needs_reference)


def _right_or_wrong(right: bool, extracted: str) -> Verdict:
    return Verdict(float(right), "correct" if right else "wrong", extracted)


# Texts ---------------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected text, found {type(value).__name__}; write the text to be found")
    if not _plain(str(value)):
        raise ValueError("is blank; write the text to be found")
    return str(value)


def _plain(text: str) -> str:
    """Composed characters, and one space for every run of white space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _judge_exact(item: Item, visible: str, config: ExperimentConfig) -> Verdict:
    return _right_or_wrong(_plain(visible) == _plain(item["reference"]), visible.strip())


def _judge_contains(item: Item, visible: str, config: ExperimentConfig) -> Verdict:
    right = _plain(item["reference"]) in _plain(visible)
    return _right_or_wrong(right, item["reference"] if right else visible.strip())


# Numbers, JSON, letters ----------------------------------------------------------------------------------------------


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or final_number(str(value)) is None:
        raise ValueError("own_grader='number' needs a number; write one, such as 18 or \"1,234.5\"")
    return str(value)


def _judge_number(item: Item, visible: str, config: ExperimentConfig) -> Verdict:
    answer = final_number(visible)
    if answer is None:
        return Verdict(0.0, "no_answer", None)
    return _right_or_wrong(answer == final_number(item["reference"]), f"{answer:f}")


def _json(value: Any) -> str:
    """JSON as text; a value that is not text is written as JSON."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        parse_json(value)
        return value
    except ValueError as error:
        raise ValueError(f'own_grader=\'json\' needs JSON ({error}); write plain text as "\\"so\\""') from None


def _judge_json(item: Item, visible: str, config: ExperimentConfig) -> Verdict:
    """Judge the whole answer if it is JSON, else its last fenced block of JSON, else the last JSON in its text.

    In the text, objects count where the reference is one, and arrays elsewhere only if none stands on lines of its own:
    "[1]" may name a source.
    """
    reference = parse_json(item["reference"])
    visible = visible.lstrip("\ufeff\u200b")
    for text in chain([visible], _fenced(visible), _in_text(visible, type(reference))):
        try:
            right = equal_json(parse_json(text), reference)
        except (ValueError, RecursionError):
            continue
        return _right_or_wrong(right, text.strip())
    return Verdict(0.0, "no_answer", None)


def _in_text(visible: str, kind: type) -> Iterator[str]:
    anywhere = json_in_prose(visible, kind) if kind in (dict, list) else []
    if anywhere is None:
        return
    if kind is dict:
        yield from reversed(anywhere)
    yield from reversed(json_in_lines(visible))
    if kind is list:
        yield from reversed(anywhere)


def _fenced(visible: str) -> Iterator[str]:
    """The fenced blocks, the last one first; then those that an answer writes on one line."""
    lines = visible.replace("\r\n", "\n").replace("\r", "\n")
    for text in (lines, FENCE_ON_ONE_LINE.sub(r"\n\1\n\2\n\1\n", lines)):
        yield from (block.text for block in reversed(split_fences(text)[0]))


def equal_json(a: Any, b: Any) -> bool:
    """Whether two parsed values are equal; 1 equals 1.0 but not true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal_json(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal_json, a, b))
    return bool(a == b)


def _choice(value: Any) -> str:
    letter = chosen_letter(value) if isinstance(value, str) else None
    if letter is None:
        raise ValueError(f"own_grader='choice' needs a letter from {LETTERS[0]} to {LETTERS[-1]}; write it alone")
    return letter


def _judge_choice(item: Item, visible: str, config: ExperimentConfig) -> Verdict:
    letter = chosen_letter(visible)
    if letter is None:
        return Verdict(0.0, "no_answer", None)
    return _right_or_wrong(letter == item["reference"], letter)


# The user's own ------------------------------------------------------------------------------------------------------


def _anything(value: Any) -> Any:
    return value


def _judge_by_user_code(item: Item, visible: str, config: ExperimentConfig) -> Verdict:
    score, status = user_code.call(config, visible, item)
    return Verdict(score, status, None)


GRADERS = {
    grader.spec: grader
    for grader in (
        Grader("exact", "exact match", _text, _judge_exact),
        Grader("contains", "contains the reference", _text, _judge_contains),
        Grader("number", "right number", _number, _judge_number),
        Grader("json", "equal JSON", _json, _judge_json),
        Grader("choice", "right choice", _choice, _judge_choice),
        Grader("none", "not graded", _anything, None, needs_reference=False),
    )
}
