"""Scoring an answer: the share of required concepts that a short, delimited answer names in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from l2s.tasks.aiops.denials import Span, is_harmless
from l2s.tasks.aiops.matching import find, named_causes, normalise, stated, words
from l2s.tasks.aiops.records import Language
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.types import Grade, Item

STATUSES = ("correct", "partial", "wrong", "wrong_cause", "no_answer", "too_long", "truncated")
METRIC = "concept rate"

MAX_WORDS = 60  # of an answer; a Chinese character counts as half a word
QUOTE_WORDS = 7  # of a longer run of words from the log, the rest is an echo, not an answer
BLANK = "▮"  # neither a word nor a space, so the text on both sides does not join
SENTENCE_END = re.compile(r"[;!?。\n]|\.(?=\s|$)")
LEADS_TO = re.compile(
    r"\b(?:so|thus|hence|therefore|causes|causing|makes|making|leaves|leaving|drags|dragging|leads to|leading to|"
    r"results in|resulting in|forces|forcing)\b|导致|致使|造成|于是|因此|因而|从而|使|引发|拖|所以|进而"
)
# "Answer:" anywhere, though not in "it does not answer: ...", or a heading
MARKER = re.compile(
    r"(?<!\bno )(?<!not )(?<!\bto )(?<!never )(?:answer|答案)\s*:|答案】|"
    r"^[^\w\n]*(?:final |最终)?(?:answer|答案)[^\w\n]*$",
    re.MULTILINE,
)
GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)")
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
    log = str(item["meta"]["problem"])
    answer = _delimited_answer(_ungrouped(normalise(visible), log))
    if answer is None:
        return _failed("too_long")
    if not answer.strip():
        return _failed("no_answer")
    own_words = _without_quotes(answer.strip(), log)
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


def _ungrouped(text: str, log: str) -> str:
    """`text` with "12,034" as "12034" if the log writes it so; in "502,504" it lists numbers."""

    def written(found: re.Match[str]) -> str:
        number = found.group().replace(",", "")
        return number if number in log else found.group()

    return GROUPED.sub(written, text)


def _is_empty(answer: str) -> bool:
    """Whether the text is empty or repeats only the form in the prompt."""
    forms = {_letters(normalise(form)) for form in FORM.values()}
    return _letters(answer) in {"", *forms}


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def _without_quotes(answer: str, log: str) -> str:
    """`answer` with every run of more than QUOTE_WORDS words from `log` blanked, except its first QUOTE_WORDS."""
    spoken = words(answer)
    text = list(answer)
    for first, run in enumerate(_runs(spoken)):
        if run in _log_runs(log):
            start, end = spoken[first + QUOTE_WORDS].span()
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
    roles = [concept["role"] for concept in meta["concepts"]]
    found = [stated(answer, found[n]) if role == "cause" else found[n] for n, role in enumerate(roles)]
    diagnosis = [span for role, spans in zip(roles, found, strict=True) if role == "cause" for span in spans]
    blamed = _wrong_cause(meta["forbidden"], answer, diagnosis, [span for spans in found for span in spans])
    if diagnosis:  # a remedy must be told beside the cause: "the connection limit is reached" limits no connections
        first, last = min(diagnosis)
        beside = [[span for span in spans if span[0] < first or last < span[1]] for spans in found]
        found = [beside[n] if role == "remediation" else found[n] for n, role in enumerate(roles)]
    hits = [bool(diagnosis and spans) for spans in found]
    details = {
        "matched": [role for role, hit in zip(roles, hits, strict=True) if hit],
        "all_required": all(hits) and blamed is None,
        "wrong_cause": blamed,
    }
    if blamed is not None:
        return Grade(0.0, "wrong_cause", extracted, details)
    status = "correct" if all(hits) else "partial" if any(hits) else "wrong"
    return Grade(sum(hits) / len(hits), status, extracted, details)


def _wrong_cause(
    forbidden: Sequence[dict[str, Any]], answer: str, diagnosis: Sequence[Span], right: Sequence[Span]
) -> str | None:
    """The first forbidden cause that `answer` blames, given where it names the right one and all that it says rightly.

    If a right and a wrong phrase overlap, the longer one counts. What the right cause leads to is an effect. Wordings
    that blame only in logs of one style are loose: they blame nothing where they share words with the right cause.
    """
    named = named_causes(answer)
    for wrong in forbidden:
        spans = named.get(wrong["cause"], [])
        loose = find(wrong["phrases"], answer) if wrong["phrases"] else []
        loose = [span for span in stated(answer, loose) if not is_harmless(answer, span)]
        spans = spans + [span for span in loose if not any(_overlap(other, span) for other in diagnosis)]
        if any(not _is_meant(span, right) and not _is_effect(answer, span, diagnosis) for span in spans):
            return str(wrong["cause"])
    return None


def _is_meant(wrong: Span, right: Sequence[Span]) -> bool:
    """Whether a right phrase stands where `wrong` does and is as long."""
    return any(_overlap(span, wrong) and span[1] - span[0] >= wrong[1] - wrong[0] for span in right)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _is_effect(answer: str, wrong: Span, diagnosis: Sequence[Span]) -> bool:
    """Whether one sentence says that the right cause leads to `wrong`: "the pool is exhausted, so the app is down"."""
    before = [end for _, end in diagnosis if end <= wrong[0] and not SENTENCE_END.search(answer, end, wrong[0])]
    return bool(before and LEADS_TO.search(answer, min(before), wrong[0]))
