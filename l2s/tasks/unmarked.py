"""The number of an answer without a marker: in its last sentence with a number, outside of what only explains it.

"Janet makes **$18** from 9 eggs", "She makes $18 (9 eggs at $2)", "She makes $18 because she sells 9": people read 18.
"""

from __future__ import annotations

import re
from decimal import Decimal

from l2s.tasks.closing import without_closing
from l2s.tasks.numbers import NUMBER, numbers, value
from l2s.tasks.rivals import has_rival

SENTENCE_END = re.compile(r"\n|[.!?](?=\s|$)|[。！？]")
LINE_START = r"\n[ \t>*_(#-]*"
NOTE = re.compile(
    rf"{LINE_START}(?:note|n\.?b\.?|p\.?s\.?|remark|disclaimer|注意?|备注|说明)\b(?:[^\n:]{{0,20}}:| that\b)[^\n]*",
    re.IGNORECASE,
)
# A last paragraph that checks the result. A check of an intermediate result has the rest of the working below it.
CHECKS = r"(?:check|verify|verification|to (?:check|verify)|验算|检验|验证)\b"
CHECK = re.compile(
    rf"\n[ \t]*{LINE_START}{CHECKS}(?:[ \t:]*\n++|[ \t]*:)(?:[^\n]|\n(?![ \t]*\n[ \t]*\S))*\Z", re.IGNORECASE
)
# Below an answer that needs only one number
EXPLANATION = re.compile(
    rf"{LINE_START}(?:(?:[a-z-]+[ \t]+)?(?:explanation|reasoning|justification)\b|解析|解释|理由)[ \t*_)]*(?::|\n)",
    re.IGNORECASE,
)
# What follows these words is a result, and no explanation of one.
RESULT = re.compile(
    r"[=≈→⇒]|\b(?:so|thus|hence|therefore|total\w*|leav\w+|mak\w+|giv\w+|equals?|answer|result)\b"
    r"|所以|因此|共|剩|即|得|等于",
    re.IGNORECASE,
)
# "(9 eggs × $2)", "(at $2 each)", "(or 17 if it rains)"; but "(18 eggs)" and "(or 18)" may be the result.
BRACKET = re.compile(
    r"\((?:[^()]*?\d[^()\d]*(?:[+*×÷·]| [-/x] )"
    r"|\s*(?!(?:or(?![^()]*\b(?:if|when|without|excluding|including)\b)|i\.?e|"
    r"that is|which is|about|approx\w*)\b|或|约|也就是)[^\W\d])[^()]*\)",
    re.IGNORECASE,
)
BECAUSE = re.compile(r"\bbecause\b|, since\b|因为|由于", re.IGNORECASE)
# A whole reply such as "1234 in 5 days": the second number only measures the first.
NUMBER_WITH_MEASURE = re.compile(
    rf"\W*+{NUMBER.pattern}\W*+(?:[^\W\d]++\s++){{0,2}}?(?:in|per|for|over|within|every|each|after)\s+\d+\s+[^\W\d]+\W*"
)
# "4 * 9 = 36 eggs in 4 days": what follows the result of a calculation only says what it is, unless it is an operand,
# or a further clause may hold another result ("36 eggs, which is 3 dozen").
CALCULATED = re.compile(rf"[=≈][^\w.\-=≈]*+{NUMBER.pattern}", re.IGNORECASE)
FURTHER = (
    r"[,;，；]|\b(?:which|or|is|are|has|have|had|would|will|can|plus|minus|times|rounds?|rounded|and(?!\W*\d))\b|"
    + RESULT.pattern
)
GOES_ON = re.compile(rf"\s*(?:[-+*×÷^·]|/\s*\d|x\b)|.*?(?:{FURTHER})", re.IGNORECASE | re.DOTALL)

BOLD = re.compile(r"(?<!\d)\*\*([^*\n]+)\*\*(?!\d)")
STARTS_WITH_NUMBER = re.compile(r"[^\w(]*\d(?!\d*[.):](?:\s|$))")  # "**1.**" numbers a list
BOLD_MARK = "\ue000"  # no answer has this character of the private use area
BOLD_NUMBER = re.compile(rf"{BOLD_MARK}[^\w.\-]*+{NUMBER.pattern}", re.IGNORECASE)


def with_bold_marked(text: str) -> str:
    """`text` with a mark before every bold passage that begins with a number; `plain_numbers` keeps the mark."""
    return BOLD.sub(lambda bold: BOLD_MARK * bool(STARTS_WITH_NUMBER.match(bold[1])) + bold[0], text)


def unmarked_number(text: str) -> Decimal | None:
    """The number that a plain text without a marker gives; None where there is none, or two are offered.

    Of the last sentence with a number, it is the only bold one, else the result of the last calculation ("4 * 9 = 36.
    So she sells 36 eggs in 4 days"), else the last one that is no part of an explanation.
    """
    text = without_closing(_without_explanation(_without_check(_without_note(text))))
    if NUMBER_WITH_MEASURE.fullmatch(text):
        return next(numbers(text), None)
    sentence = next((said for said in reversed(SENTENCE_END.split(text)) if any(True for _ in numbers(said))), "")
    bold = list(BOLD_NUMBER.finditer(sentence))
    if len({value(number) for number in bold}) == 1 and not RESULT.search(sentence, bold[-1].end()):
        return value(bold[0])
    plain = _unexplained(sentence)
    found = [match for match in NUMBER.finditer(plain) if value(match) is not None]
    *_, calculated = [None, *map(value, CALCULATED.finditer(text))]
    *_, result = [None, *(match for match in found if value(match) == calculated)]
    if result and not GOES_ON.match(plain, result.end()):
        return calculated
    return None if not found or has_rival(plain, found[-1]) else value(found[-1])


def _without_note(text: str) -> str:
    """`text` without a final note that follows a number."""
    for note in NOTE.finditer(text):
        if NUMBER.search(text, 0, note.start()) and not RESULT.search(text, note.end()):
            return text[: note.start()]
    return text


def _without_explanation(text: str) -> str:
    """`text` without an explanation below its only number: "She makes $18.\n\nExplanation: 9 eggs at $2 each"."""
    explanation = EXPLANATION.search(text)
    above = text[: explanation.start()] if explanation else ""
    return above if len(list(numbers(above))) == 1 and "?" not in above else text


def _without_check(text: str) -> str:
    """`text` without a last paragraph that checks a result above it."""
    check = CHECK.search(text)
    return text[: check.start()] if check and NUMBER.search(text, 0, check.start()) else text


def _unexplained(sentence: str) -> str:
    """`sentence` without brackets and reasons that follow its first number, unless they lead to a result."""
    first = NUMBER.search(sentence)
    if not first:
        return sentence
    rest = BRACKET.sub(lambda bracket: bracket[0] if RESULT.search(bracket[0]) else " ", sentence[first.end() :])
    reason = BECAUSE.search(rest)
    if reason and not RESULT.search(rest, reason.end()):
        rest = rest[: reason.start()]
    return sentence[: first.end()] + rest
