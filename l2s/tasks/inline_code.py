"""Code that an answer writes between backticks inside a line, or whose fence opens or closes inside one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SPAN = re.compile(
    r"(?<!`)(?:(?P<fence>`{3,}+)(?P<block>[^`].*?)(?<!`)(?P=fence)|(?P<tick>``?)(?P<code>[^`\n][^\n]*?)(?<!`)(?P=tick))(?!`)",
    re.DOTALL,
)
LANGUAGE = re.compile(r"[ \t]*(?:\w*[ \t]*\n|(?:python|py)\d?[ \t]+(?![=(.,]))", re.IGNORECASE)
MOST_SPANS = 50  # of an answer, the last ones: each may be parsed


@dataclass(frozen=True)
class Span:
    """Code between backticks; `alone` if a fence marks it, or if it is the whole answer."""

    text: str
    alone: bool


def inline_code(answer: str) -> Iterator[Span]:
    """The code between backticks, the last one first."""
    for found in list(SPAN.finditer(answer))[: -MOST_SPANS - 1 : -1]:
        text = found["block"] or found["code"]
        alone = found["fence"] is not None or found[0] == answer.strip()
        language = LANGUAGE.match(text)
        yield Span(text[language.end() :] if language else text, alone)
