"""Scoring an answer: the share of required concepts that a short, delimited answer names in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from l2s.tasks.aiops.denials import Span
from l2s.tasks.aiops.matching import find, named_causes, normalise, words
from l2s.tasks.aiops.records import Language
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.types import Grade, Item

STATUSES = ("correct", "partial", "wrong", "wrong_cause", "no_answer", "too_long", "truncated")
METRIC = "concept rate"

MAX_WORDS = 60  # of an answer; a Chinese character counts as half a word
QUOTE_WORDS = 7  # a longer run of words from the log is an echo, not an answer
BLANK = "▮"  # neither a word nor a space, so the text on both sides does not join
MARKER = re.compile(r"(?:answer|答案)\s*:")
FORM: dict[Language, str] = {"en": "root cause; component; evidence; remedy", "zh": "根因；组件；证据；处置"}


def grade(item: Item, response: str, *, finish_reason: str = "stop") -> Grade:
    """Score the share of `item`'s concepts that `response` names; 0 if it names a wrong cause.

    The answer is the text after the last "Answer:" or "答案:" that is not empty; MAX_WORDS words of it count. Without
    a marker it is the whole response, if that is no longer. Passages copied from the log do not count. Nothing counts
    without the right cause: component, evidence and remedy would only list what logs and handbooks say. `details` tells
    which concepts were `matched`, whether `all_required` were, and which `wrong_cause` was named.
    """
    visible = without_thinking(response)
    if visible is None or finish_reason == "length":
        return _failed("truncated")
    text = normalise(visible)
    answer = _delimited_answer(text)
    if answer is None:
        return _failed("too_long")
    if not answer.strip():
        return _failed("no_answer")
    own_words = _without_quotes(answer.strip(), str(item["meta"]["problem"]))
    return _score(item["meta"], own_words, answer.strip())


def _failed(status: str) -> Grade:
    return Grade(0.0, status, None, {"matched": [], "all_required": False, "wrong_cause": None})


def _delimited_answer(text: str) -> str | None:
    """The bounded answer in `text`; None for a text without a marker that is too long to be an answer.

    If every marker is empty, the text before them is the answer if it is short enough.
    """
    markers = list(MARKER.finditer(text))
    is_marked = bool(markers)
    while markers and _is_empty(text[markers[-1].end() :]):
        text = text[: markers.pop().start()]
    answer = text[markers[-1].end() :] if markers else text
    length = 0.0
    for word in words(answer):
        length += 0.5 if "\u3400" <= word.group() <= "\u9fff" else 1
        if length > MAX_WORDS:
            return answer[: word.start()] if markers else "" if is_marked else None
    return answer


def _is_empty(answer: str) -> bool:
    """Whether the text is empty or repeats only the form in the prompt."""
    forms = {_letters(normalise(form)) for form in FORM.values()}
    return _letters(answer) in {"", *forms}


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def _without_quotes(answer: str, log: str) -> str:
    """`answer` with every run of more than QUOTE_WORDS words from `log` blanked."""
    spoken = words(answer)
    text = list(answer)
    for first, run in enumerate(_runs(spoken)):
        if run in _log_runs(log):
            start, end = spoken[first].start(), spoken[first + QUOTE_WORDS].end()
            text[start:end] = BLANK * (end - start)
    return "".join(text)


@lru_cache(maxsize=1024)
def _log_runs(log: str) -> frozenset[tuple[str, ...]]:
    return frozenset(_runs(words(normalise(log))))


def _runs(spoken: list[re.Match[str]]) -> Iterator[tuple[str, ...]]:
    """All runs of QUOTE_WORDS + 1 words, without the punctuation around them."""
    bare = [word.group().strip(".,;:!?'()[]{}。，；：") for word in spoken]
    return (tuple(bare[first : first + QUOTE_WORDS + 1]) for first in range(len(bare) - QUOTE_WORDS))


def _score(meta: dict[str, Any], answer: str, extracted: str) -> Grade:
    found = [find(concept["phrases"], answer) for concept in meta["concepts"]]
    blamed = _wrong_cause(meta["forbidden"], answer, [span for spans in found for span in spans])
    roles = [concept["role"] for concept in meta["concepts"]]
    is_diagnosis = any(spans for role, spans in zip(roles, found, strict=True) if role == "cause")
    hits = [is_diagnosis and bool(spans) for spans in found]
    details = {
        "matched": [role for role, hit in zip(roles, hits, strict=True) if hit],
        "all_required": all(hits) and blamed is None,
        "wrong_cause": blamed,
    }
    if blamed is not None:
        return Grade(0.0, "wrong_cause", extracted, details)
    status = "correct" if all(hits) else "partial" if any(hits) else "wrong"
    return Grade(sum(hits) / len(hits), status, extracted, details)


def _wrong_cause(forbidden: Sequence[dict[str, Any]], answer: str, right: Sequence[Span]) -> str | None:
    """The first forbidden cause in `answer`, except those inside the right statements at the spans `right`.

    If a right and a wrong phrase overlap, the longer one counts.
    """
    named = named_causes(answer)
    for wrong in forbidden:
        spans = named.get(wrong["cause"], []) + (find(wrong["phrases"], answer) if wrong["phrases"] else [])
        if any(not any(_means(other, span) for other in right) for span in spans):
            return str(wrong["cause"])
    return None


def _means(right: Span, wrong: Span) -> bool:
    overlaps = right[0] < wrong[1] and wrong[0] < right[1]
    return overlaps and right[1] - right[0] >= wrong[1] - wrong[0]
