"""Reading the number that a chat answer gives: markers, currencies, LaTeX, thousands, fractions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

THIN_SPACES = "\u00a0\u2009\u202f"
DIGITS = rf"(?:\d{{1,3}}(?:[,{THIN_SPACES}]\d{{2,3}})*[,{THIN_SPACES}]\d{{3}}(?!\d)|\d+)(?:\.\d+)?|\.\d+"
SIGN = r"(?:(?<![\w.)\]}])-)?"  # a minus after a word or a bracket is a subtraction or a range
NUMBER = re.compile(
    rf"(?P<sign>{SIGN})(?:(?P<whole>\d+) (?=\d+/))?(?P<top>{DIGITS})(?:\s?/\s?(?P<bottom>{DIGITS}))?"
    r"(?:\s?(?P<scale>[万亿]))?"
)

PLAIN_CHARACTERS = str.maketrans("０１２３４５６７８９．，：＝－−％／⁄", "0123456789.,:=--%//")
TEXT_MACRO = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
FRACTION_MACRO = re.compile(r"\\[dt]?frac\s*\{\s*([^{}]*?)\s*\}\s*\{\s*([^{}]*?)\s*\}")
# LaTeX spacing and delimiters, currency, bold; `**` between digits is a power.
DECORATION = re.compile(r"\\[,;:! ()\[\]]|\\?\$|[€£¥￥`]|(?<!\d)\*\*|\*\*(?!\d)")

SCALES = {"万": 10**4, "亿": 10**8, None: 1}
UNIT_POWER = re.compile(r"(?<=[A-Za-z])\s*\^\s*\{?\d+\}?")  # m^2 holds no number

LABEL = re.compile(r"####|answer\s*[:=]|答案?\s*[:=]", re.IGNORECASE)
STATEMENT = re.compile(r"answer\s+is(?!\s+not\b)|答案[是为]", re.IGNORECASE)
BOX = re.compile(r"\\boxed\s*\{")
# Between a label and its number: symbols, a currency code, an unknown. With other words `####` is a heading.
LABELLED_NUMBER = re.compile(
    rf"[^\w.\-]*(?:(?:US|USD|EUR|GBP|CNY|RMB|Rs\.?|[a-z]\s*=)[^\w.\-]*)?(?={NUMBER.pattern})", re.IGNORECASE
)
NUMBERED_HEADING = re.compile(r"\d+[.)]\s+[^\W\d]")
THOUSANDS_SPACE = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
SENTENCE_END = re.compile(r"\n|[.!?](?=\s|$)|[。！？]")
# A whole reply such as "1234 in 5 days": the second number only measures the first.
NUMBER_WITH_MEASURE = re.compile(
    rf"\W*{NUMBER.pattern}\W*(?:[^\W\d]+\s+){{0,2}}(?:in|per|for|over|within|every|each|after)\s+\d+\s+[^\W\d]+\W*"
)


def extract_number(text: str) -> Decimal | None:
    r"""The number behind the last explicit marker, else the last number of `text`; None where there is no number.

    Markers: `#### 5`, `\boxed{5}`, "answer is ... 5", "Answer: 5", "答案是 5", "答：5". Without a number: none.
    """
    text = _plain(text)
    claims = list(_claims(text))
    if claims:
        return max(claims)[1]
    numbers = list(_numbers(text))
    if not numbers:
        return None
    return numbers[0] if NUMBER_WITH_MEASURE.fullmatch(text) else numbers[-1]


def first_number(text: str) -> Decimal | None:
    """The first number of `text`, in any notation that an answer may have."""
    return next(_numbers(_plain(text)), None)


def _plain(text: str) -> str:
    """The same numbers without currency, bold and LaTeX around or inside them; boxes stay."""
    text = text.translate(PLAIN_CHARACTERS).replace("{,}", ",").replace("\\%", "%")
    text = FRACTION_MACRO.sub(r" \1/\2 ", TEXT_MACRO.sub(r" \1 ", text))
    return UNIT_POWER.sub("", DECORATION.sub("", text))


def _claims(text: str) -> Iterator[tuple[int, Decimal]]:
    """Where a marker names a number, and which."""
    for marker, claim in (*_labels(text), *_statements(text), *_boxes(text)):
        before, _, result = claim.rpartition("=")  # "3 + 4 = 7" claims its result
        numbers = [*_numbers(result), *_numbers(before)]
        if numbers:
            yield marker, numbers[0]


def _labels(text: str) -> Iterator[tuple[int, str]]:
    for marker in LABEL.finditer(text):
        line = text[marker.end() :].lstrip().partition("\n")[0]
        if LABELLED_NUMBER.match(line) and not NUMBERED_HEADING.match(line):
            yield marker.start(), THOUSANDS_SPACE.sub("", line)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    for marker in STATEMENT.finditer(text):
        yield marker.start(), SENTENCE_END.split(text[marker.end() :].lstrip(" \t\n:"), maxsplit=1)[0]


def _boxes(text: str) -> Iterator[tuple[int, str]]:
    """The content of every box up to its own closing brace, or to the end of the line where that is missing."""
    for marker in BOX.finditer(text):
        depth, end = 1, marker.end()
        while depth and end < len(text) and text[end] != "\n":
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield marker.start(), THOUSANDS_SPACE.sub("", text[marker.end() : end])


def _numbers(text: str) -> Iterator[Decimal]:
    for match in NUMBER.finditer(text):
        sign, whole, top, bottom, scale = match.group("sign", "whole", "top", "bottom", "scale")
        value = _decimal(top)
        if bottom is not None:
            if not _decimal(bottom):
                continue  # a division by zero is no number
            value /= _decimal(bottom)
        value = (value + _decimal(whole or "0")) * SCALES[scale]
        yield -value if sign else value


def _decimal(digits: str) -> Decimal:
    return Decimal(re.sub(rf"[,{THIN_SPACES}]", "", digits))
