"""Whether a text offers a second number beside the one it gives: "17 or 18", "18, but it could be 17", "17, 18".

The same quantity in other words is no second one: "17 or 17.0", "18 hours or 1080 minutes", "18 (or 1.5 dozen)".
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise

from l2s.tasks.numbers import NUMBER, value

HAN = "\u3400-\u9fff"
UNIT = rf"(?P<unit>%|(?!(?:or|and|to|but|if|when|about)\b)[^\W\d_{HAN}]+\.?|[{HAN}]{{0,3}}?)"
MORE_UNIT = rf"(?:\s+(?!(?:or|and|to|but|though|although|maybe|perhaps|possibly)\b)[^\W\d_{HAN}]+){{0,2}}"
MAYBE = r"(?:maybe|perhaps|possibly|even|also|else|is|are|it is|it's|(?:it )?(?:could|might|may)(?: also)? be)"
OFFER = (
    r"(?:or\b|\b(?:maybe|perhaps|possibly|alternatively)\b|"
    r"(?:but|though|although)\s+(?:it|this|that)?\s*(?:(?:could|might|may)\s+(?:also\s+|well\s+)?be|maybe|perhaps|possibly)\b"
    r"|或者?|还是|抑或|也许是?|(?:也|也有|但也)?可能(?:是|为))"
)
# After a number: its unit, and words that offer another.
OR = re.compile(
    rf"\s*{UNIT}{MORE_UNIT}\s*[,，;]?\s*\(?\s*{OFFER}(?:\s*{MAYBE}\b|\s*(?:是|为|可能是?))*[^\w.\-]*(?:[a-z]\s*=\s*)?",
    re.IGNORECASE,
)
BETWEEN = re.compile(r"(?:\b(?:between|from)|介于|在)[^\w.\-]*$", re.IGNORECASE)
AND = re.compile(rf"\s*{UNIT}\s*(?:and\b|to\b|[和与至到~-])[^\w.\-]*", re.IGNORECASE)
# Inside a sentence only these: "rises from 12 to 18" has a result.
IN_SENTENCE = re.compile(r"(?:\bbetween|介于)[^\w.\-]*$", re.IGNORECASE)
AND_IN_SENTENCE = re.compile(rf"\s*{UNIT}\s*(?:and\b|[和与])[^\w.\-]*", re.IGNORECASE)
# Where a text is nothing but numbers
LIST = re.compile(rf"\s*{UNIT}\s*(?:,?\s*and\b|&|[,，;、/和与]|to\b|[-~至到])[^\w.\-]*", re.IGNORECASE)
ONLY = re.compile(r"[^\w.\-]*")
AFTER = re.compile(rf"\s*(?P<unit>%|(?!if\b|when\b)[^\W\d_{HAN}]+|[{HAN}]{{0,2}})", re.IGNORECASE)
# After the second number: it belongs to a longer quantity or a calculation, or holds in another case.
GOES_ON = re.compile(
    r"(?:\s*(?:and|,)?\s*\d|\s*=|\s*[-+*/×÷^x]\s*[\d(]|(?:\s+[a-z]+){0,2}\s*,?\s*\(?(?:if|when|with|without|excluding|including|"
    r"counting|before|after|rounded|in total if)\b|[^,，。]{0,4}(?:如果|若|不算|不含))",
    re.IGNORECASE,
)
OPERAND = re.compile(
    r"(?:[+*/×÷^]|\s-|\b(?:plus|minus|times))[^\w.\-]*$", re.IGNORECASE
)  # "30 + 160 or 190": its result
ABOUT = re.compile(r"\b(?:about|approximately|approx|roughly|around|rounded|nearly)\b|约", re.IGNORECASE)
# From one unit to another: dozens, hours, minutes, seconds, days, weeks, cents, thousands
RATIOS = frozenset(map(Decimal, (7, 10, 12, 24, 30, 36, 52, 60, 100, 365, 1000, 1440, 3600)))


def has_rival(text: str, number: re.Match[str]) -> bool:
    """Whether plain `text` offers another number beside this match of NUMBER: "17 or 18", "between 17 and 18"."""
    found = list(NUMBER.finditer(text))
    place = next(index for index, match in enumerate(found) if match.start() == number.start())
    around = found[max(0, place - 1) : place + 2]
    return any(
        _are_joined(OR, text, one, other)
        or (IN_SENTENCE.search(text, 0, one.start()) and _are_joined(AND_IN_SENTENCE, text, one, other))
        for one, other in pairwise(around)
    )


def is_list(text: str) -> bool:
    """Whether plain `text` is a list or range of numbers that differ, all in one unit: "17, 18", "from 17 to 18"."""
    found = list(NUMBER.finditer(text))
    if len(found) == 2 and BETWEEN.search(text, 0, found[0].start()):
        return _are_joined(AND, text, *found)
    if len(found) < 2 or not ONLY.fullmatch(text, 0, found[0].start()):
        return False
    last = AFTER.match(text, found[-1].end())
    if (
        last is None
        or last["unit"].casefold() in ("each", "apiece", "per")
        or not ONLY.fullmatch(text[last.end() :].replace(".", ""))
    ):
        return False
    for one, other in pairwise(found):
        join = LIST.fullmatch(text, one.end(), other.start())
        unit = AFTER.match(text, other.end())
        if not join or (join["unit"] and unit and join["unit"] != unit["unit"]):
            return False
    return len({value(match) for match in found}) > 1


def _are_joined(by: re.Pattern[str], text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    join = by.fullmatch(text, one.end(), other.start())
    if join is None or ABOUT.search(join[0]) or OPERAND.search(text, 0, one.start()):
        return False
    return _differ(text, one, other, join["unit"])


def _differ(text: str, one: re.Match[str], other: re.Match[str], unit: str) -> bool:
    """Whether two numbers, the first in `unit`, are different quantities."""
    a, b = value(one), value(other)
    after = AFTER.match(text, other.end())
    units = [_singular(unit), _singular(after["unit"] if after else "")]
    if a is None or b is None or a == b or (all(units) and units[0] != units[1]):
        return False
    if units[0] != units[1] and min(abs(a), abs(b)) and max(abs(a), abs(b)) / min(abs(a), abs(b)) in RATIOS:
        return False
    return not _is_rounded(a, b) and not GOES_ON.match(text, after.end() if after else other.end())


def _singular(unit: str) -> str:
    return unit.casefold().rstrip(".").removesuffix("s")


def _is_rounded(a: Decimal, b: Decimal) -> bool:
    """Whether the number with fewer decimals, but at least one, is the other one rounded: 2/3 and 0.67."""
    exponents = [int(number.as_tuple().exponent) for number in (a, b)]
    coarse = max(exponents)
    step = Decimal(1).scaleb(coarse)
    return coarse < 0 and abs(a - b) < step
