"""Reading the number that a chat answer gives: markers, currencies, LaTeX, thousands, fractions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain

THIN_SPACES = "\u00a0\u2009\u202f"
DIGITS = rf"(?:\d{{1,3}}(?:[,{THIN_SPACES}]\d{{2,3}})*[,{THIN_SPACES}]\d{{3}}(?!\d)|\d+)(?:\.\d+)?|\.\d+"
SIGN = r"(?:(?<![\w.)\]}])-)?"  # a minus after a word or a bracket is a subtraction or a range
NUMBER = re.compile(
    rf"(?P<sign>{SIGN})(?:(?P<whole>\d+) (?=\d+/))?(?P<top>{DIGITS})(?:\s?/\s?(?P<bottom>{DIGITS}))?"
    r"(?:e(?P<exponent>[+-]?\d{1,2})(?!\w))?(?:\s?(?P<scale>[万亿]))?",
    re.IGNORECASE,
)

PLAIN_CHARACTERS = str.maketrans("０１２３４５６７８９．，：＝－−％／⁄", "0123456789.,:=--%//")
TEXT_MACRO = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
FRACTION_MACRO = re.compile(r"\\[dtc]?frac\s*(?:\{\s*([^{}]*?)\s*\}|(\d))\s*(?:\{\s*([^{}]*?)\s*\}|(\d))")
# LaTeX spacing and delimiters, currency, bold; `**` between digits is a power.
DECORATION = re.compile(r"\\[,;:! ()\[\]]|\\?\$|[€£¥￥`]|(?<!\d)\*\*|\*\*(?!\d)")

SCALES = {"万": 10**4, "亿": 10**8, None: 1}
UNIT_POWER = re.compile(r"(?<=[A-Za-z])\s*\^\s*\{?\d+\}?")  # m^2 holds no number

LABEL = re.compile(r"####|answer\s*[:=]|答案?\s*[:=]", re.IGNORECASE)
STATEMENT = re.compile(r"answer\s+is(?!\s+not\b)|答案[是为]", re.IGNORECASE)
BOX = re.compile(r"\\boxed\s*\{")
# "#### - 5" is negative; on a line of its own "- 5" is an entry of a list.
LOOSE_MINUS = re.compile(
    rf"((?:{LABEL.pattern}|{STATEMENT.pattern}|{BOX.pattern})[ \t:]*)-[ \t]+(?=[\d.])", re.IGNORECASE
)
# Between a label and its number: symbols, a currency code, an unknown. With other words `####` is a heading.
LEAD = r"[^\w.\-]*(?:(?:US|USD|EUR|GBP|CNY|RMB|Rs\.?|[a-z]\s*=)[^\w.\-]*)?"
LABELLED_NUMBER = re.compile(rf"{LEAD}(?={NUMBER.pattern})", re.IGNORECASE)
# "#### 2. Add them" with numbers in the lines below it
NUMBERED_HEADING = re.compile(r"####\s*\d+[.)]\s+[^\W\d][^\n]*\n(?=.*\d)", re.DOTALL)
BARE_NUMBER = re.compile(
    rf"{LEAD}(?:(?:therefore|thus|simply|clearly|exactly|equal to|indeed|about|一共|总共|共|约)[^\w.\-]*)?"
    rf"(?!-?[\d.,]+[a-z]\s*=){NUMBER.pattern}",  # "2x = 36" begins an equation
    re.IGNORECASE,
)
# Behind a number, and perhaps its unit: the number is an operand, "12 eggs + 6 eggs = 18 eggs".
OPERATION = re.compile(
    r"\s*%?\s*(?:[^\W\d_]+\s*){0,2}(?:\\times|\\cdot|\\div|[+*/×÷^·x-]|plus|minus|times|of|(?:divided|multiplied) by|"
    r"[乘除]以?|加上?|减去?)\s*[\d.(\\]",
    re.IGNORECASE,
)
THOUSANDS_SPACE = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
SENTENCE_END = re.compile(r"\n|[.!?](?=\s|$)|[。！？]")
# A whole reply such as "1234 in 5 days": the second number only measures the first.
NUMBER_WITH_MEASURE = re.compile(
    rf"\W*{NUMBER.pattern}\W*(?:[^\W\d]+\s+){{0,2}}(?:in|per|for|over|within|every|each|after)\s+\d+\s+[^\W\d]+\W*"
)


def extract_number(text: str) -> Decimal | None:
    r"""The number behind the last explicit marker, else the last number of `text`; None where there is no number.

    Markers: `#### 5`, `\boxed{5}`, "answer is ... 5", "Answer: 5", "答案是 5", "答：5". Without a number: none.
    Of "18, since 9 * 2 = 18" behind a marker 18 is the number; of working, "x = 9 * 2 = 18", its result.
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
    text = FRACTION_MACRO.sub(r" \1\2/\3\4 ", TEXT_MACRO.sub(r" \1 ", text))
    return LOOSE_MINUS.sub(r"\1-", UNIT_POWER.sub("", DECORATION.sub("", text)))


def _claims(text: str) -> Iterator[tuple[int, Decimal]]:
    """Where a marker names a number, and which."""
    for marker, claim in (*_labels(text), *_statements(text), *_boxes(text)):
        number = _bare_number(claim)
        if number is None:
            before, _, result = claim.rpartition("=")  # "3 + 4 = 7" claims its result
            number = next(chain(_numbers(result), _numbers(before)), None)
        if number is not None:
            yield marker, number


def _bare_number(claim: str) -> Decimal | None:
    """The number that `claim` begins with, whatever explains it, unless it is the first operand of working."""
    match = BARE_NUMBER.match(claim)
    return _value(match) if match and not OPERATION.match(claim, match.end()) else None


def _labels(text: str) -> Iterator[tuple[int, str]]:
    for marker in LABEL.finditer(text):
        line = text[marker.end() :].lstrip().partition("\n")[0]
        if LABELLED_NUMBER.match(line) and not NUMBERED_HEADING.match(text, marker.start()):
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
    values = (_value(match) for match in NUMBER.finditer(text))
    return (value for value in values if value is not None)


def _value(match: re.Match[str]) -> Decimal | None:
    """What a match of NUMBER is worth; None for a division by zero."""
    sign, whole, top, bottom, exponent, scale = match.group("sign", "whole", "top", "bottom", "exponent", "scale")
    value = _decimal(top)
    if bottom is not None:
        if not _decimal(bottom):
            return None
        value /= _decimal(bottom)
    value = (value + _decimal(whole or "0")).scaleb(int(exponent or 0)) * SCALES[scale]
    return -value if sign else value


def _decimal(digits: str) -> Decimal:
    return Decimal(re.sub(rf"[,{THIN_SPACES}]", "", digits))
