"""Finds the number that a chat answer gives as its answer.

A marker names it. `####` and `\boxed` rank above looser ones such as "the answer is". Of equal markers the last one
counts, because models correct themselves, unless it belongs to a further question that the model invented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from l2s.tasks.corrections import CORRECTION, last_result, restatements
from l2s.tasks.number_words import CHINESE, ENGLISH, in_digits
from l2s.tasks.numbers import NUMBER, amounts, joined, numbers, plain_numbers, value, with_minus
from l2s.tasks.rivals import has_rival, is_list
from l2s.tasks.unmarked import SENTENCE_END, unmarked_number, with_bold_marked

# Markers -------------------------------------------------------------------------------------------------------------

LABEL = re.compile(
    r"####|<(?:final_?)?answer>|\b(?:(?:final_?)?answer|ans\.?)[\"'*_ \t]*[:=]|\banswer[ \t]+-[ \t]"
    r"|\bfinal answer[ \t]+(?=-?[\d.])"
    r"|^[ \t#*_]*+(?:the )?(?:final )?answer[ \t#*_]*\n+|答案?[ \t]*[:=]|答案】|^[ \t#*_]*+(?:最终)?答案[ \t#*_]*\n+",
    re.IGNORECASE | re.MULTILINE,
)
STATEMENT = re.compile(
    r"\banswer(?:[ \t]+(?:to|for)\b[^.:=\n\d]{0,80}?|[ \t]*\([^()\n]*\)|,[^,.\n\d]{0,30},)?[ \t\n]+"
    r"(?:is|was|(?:should|would|will|must|has to) be|equals|becomes|comes (?:out )?to)\b(?!\s+not\b)"
    r"|答案(?:应该|应当|应|就|便)?(?:是|为|等于)|(?:最终|最后)(?:的)?(?:结果|答案)(?:是|为|等于)",
    re.IGNORECASE,
)
BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?:\{|(?=-?[\d.]))")
MARKER = f"(?:{LABEL.pattern}|{STATEMENT.pattern}|{BOX.pattern})"
# "#### - 5" is negative; on a line of its own "- 5" is an entry of a list.
LOOSE_MINUS = re.compile(rf"({MARKER}[ \t:]*)-[ \t]+(?=[\d.])", re.IGNORECASE | re.MULTILINE)

# After a marker ------------------------------------------------------------------------------------------------------

# Between a marker and its number: symbols, a currency code, an unknown. With other words `####` is a heading.
LEAD = r"[^\w.\-]*+(?:(?:US|USD|EUR|GBP|CNY|RMB|INR|Rs\.?|[a-z]\s*+=)[^\w.\-]*+)?"
LABELLED_NUMBER = re.compile(rf"{LEAD}(?={NUMBER.pattern})", re.IGNORECASE)
# "#### 2. Add them" with numbers in the lines below it
NUMBERED_HEADING = re.compile(r"####\s*\d+[.):]\s+[^\W\d][^\n]*\n(?=.*\d)", re.DOTALL)
ADVERBS = (
    "therefore|thus|hence|then|simply|clearly|exactly|precisely|approximately|approx|about|around|roughly|nearly|only|"
    "just|indeed|actually|equal to|equals|a total of|in total|a|the number|一共|总共|共|约|大约|就是|等于"
)
BEFORE = rf"{LEAD}(?:(?:{ADVERBS})[^\w.\-]*+){{0,2}}"
BARE_NUMBER = re.compile(
    rf"{BEFORE}(?!-?[\d.,]+[a-z]\s*=){NUMBER.pattern}",  # "2x = 36" begins an equation
    re.IGNORECASE,
)
# "eighteen", "about twenty-five dollars": read where there are no digits
WORDED_NUMBER = re.compile(
    rf"{BEFORE}(?:(?:negative|minus) |负)?(?:{ENGLISH.pattern}(?: and a half\b)?|{CHINESE.pattern})",
    re.IGNORECASE,
)
# What may follow it: a unit and the end of the clause. "Answer: Two trains leave the station." begins a text, and
# "#### Two trains" is a heading. By the most words that the unit may have.
AFTER_WORDED = {
    words: re.compile(
        rf"(?:(?:\s+[^\W\d_]+){{0,{words}}}|[\u4e00-\u9fff]{{0,{words + 1}}})\s*(?:[^\w\s]|$)"
        r"|[^.\n]*=|\s+(?:or|to|because|since|as|dollars?\s+and)\b|或",
        re.IGNORECASE,
    )
    for words in (0, 1, 3)
}
# After a number, and perhaps its unit: the number is an operand, "12 eggs + 6 eggs = 18 eggs".
OPERATION = re.compile(
    r"\s*+%?\s*+(?:[^\W\d_]{1,20}?\s*+){0,2}(?:\\times|\\cdot|\\div|\*\*|[+*/×÷^·x-]|plus|minus|times|of|"
    r"(?:less|more|fewer) than|(?:divided|multiplied) by|[乘除]以?|加上?|减去?)\s*[\d.(\\]",
    re.IGNORECASE,
)
EQUALS = r"(?:=|≈|≅|\\approx|\\implies|\\Rightarrow|\b(?:equals|is|makes|gives)\b|[→⇒]|等于)"
# To the same quantity in another unit, "2 hours = 120 minutes", "1 hour and 30 minutes = 90 minutes", or rounded.
ROUNDED = (
    r"(?:,\s*)?(?:which\s+)?(?:(?:is|are|we)\s+)?\bround(?:ed|s)?\s+(?:(?:up|down|off)\s+)?to\b(?!\s*\d+\s+(?:places|digits)\b)"
    r"|[,，]?\s*四舍五入[^\d,，。\n]{0,6}[为是到得]"
)
SAME_AS = re.compile(
    r"(?:[\s%}\])]|\band\b|(?!(?:because|since|as|so|where|when|if|with|then|thus|hence)\b)[^\W\d_]++|\d++(?=\s?[^\W\d_]))"
    rf"{{0,16}}?(?:=|≈|≅|→|⇒|\\approx|{ROUNDED})",
    re.IGNORECASE,
)
EXPLANATION = re.compile(r"\b(?:because|since|as)\b|因为|由于", re.IGNORECASE)
# "3天一共吃了24个", "3 boxes hold a total of 24": the total of a clause that begins with a number
TOTAL = re.compile(
    r"[^,，。.;；(（\n]{0,20}?(?:一共|总共|总计|共计|共|\ba total of\b|\btotal(?:l?ing)?\b)"
    r"[^\d,，。;；(（\n]{0,12}(?=\d)",
    re.IGNORECASE,
)
CLAUSE_END = re.compile(r"[,，。;；(（\n](?!\d)|\.(?!\d)")
LONGEST_CLAIM = 500  # characters read after a marker; a response may repeat one word a thousand times
THOUSANDS_SPACE = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d-])")
BRACE = re.compile(r"[{}]")
# Between two boxes that offer one answer each
BOX_OR = re.compile(rf"{BOX.pattern}[^{{}}]*\}}\s*(?:or|and|或者?|和|[,;、/])+\s*", re.IGNORECASE)

# Around the answer ---------------------------------------------------------------------------------------------------

# A line that starts a question, or a whole conversation, that the model invented.
NEXT_QUESTION = re.compile(
    r"^[ \t>*_#\-\[(]*+(?:(?:next|new|another|follow-?up|similar)[ \t]+)?"
    r"(?:(?:question|q|problem|exercise|task|example|instruction|input|prompt|human|user|问题|题目|用户|例题?|题|问)"
    r"[ \t]*(?P<number>\#?\d+)?[ \t*_\])]*(?:[:.)]|$)|第\s*[\d一二三四五六七八九十]+\s*题|solve the following"
    r"|[^\n]*\b(?:another|next|similar|follow-?up)[ \t]+(?:\w+[ \t]+)?(?:question|problem|example|exercise)\b[^\n]*$)"
    r"|</s>|<\|\w+\|>|\[INST\]",
    re.IGNORECASE | re.MULTILINE,
)
# A question without such a line: a sentence that asks for a quantity, at the end of a line.
QUANTITY_ASKED = re.compile(
    r"(?:\bhow\s+\w+|\bwhat\s+(?:is|was|are|were|will|would|percent\w*|fraction|number|amount|total)\b|多少|几)"
    r"[^?？\n]*[?？][ \t*_]*$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, order=True)
class Claim:
    """A number that a marker names; the largest claim is the answer.

    Attributes:
        direct: whether the number, or the working that ends in it, directly follows the marker.
        part: number of corrections ("Wait, ...") before it.
        strong: whether the marker is `####` or a box.
        position: position of the marker in the text.
        number: the number; None where the words after the marker offer two ("17 or 18").
    """

    direct: bool
    part: int
    strong: bool
    position: int
    number: Decimal | None = field(compare=False)


def final_number(text: str) -> Decimal | None:
    r"""The number that `text` gives as its answer; None where there is no number, or where it offers two of them.

    Markers, by rank: `#### 5` and `\boxed{5}`; "answer is ... 5", "Answer: 5", "答案是 5", "答：5". A number in "18,
    since 9 * 2 = 18" is explained by what follows; of working, "x = 9 * 2 = 18", and of an equality, "2 hours = 120
    minutes", it is the last one that counts. Without a marker, see `unmarked_number`.
    """
    plain = LOOSE_MINUS.sub(r"\1-", plain_numbers(text))
    claims = list(_claims(plain))
    if claims:
        end = len(_without_next_question(plain, claims))
        *before, last = sorted(claim for claim in claims if claim.position < end)
        others = [claim for claim in before if claim.number != last.number]
        offered = any(BOX_OR.fullmatch(plain, other.position, last.position) for other in others)
        return None if offered else last.number
    return unmarked_number(_without_next_question(plain_numbers(with_bold_marked(text)), claims))


def _without_next_question(text: str, claims: list[Claim]) -> str:
    """`text` up to a question that follows the first claim, or the first number if there is no claim.

    Numbered headings before the first claim ("Question 1: ...") are the steps of one solution.
    """
    first = min((claim.position for claim in claims), default=None)
    headings = list(NEXT_QUESTION.finditer(text))
    if any(found["number"] and (first is None or found.start() < first) for found in headings):
        return text
    if first is None and (number := NUMBER.search(text)):
        first = number.start()
    ends = [found.start() for found in headings if first is not None and first < found.start()]
    strong = sorted(claim.position for claim in claims if claim.strong)
    for here, there in pairwise(strong):
        between = text[here:there]
        asked = QUANTITY_ASKED.search(between)
        if asked and not CORRECTION.search(between):
            ends.append(here + asked.start())
    return text[: min(ends)] if ends else text


def _claims(text: str) -> Iterator[Claim]:
    marked = [*_labels(text), *_statements(text), *_boxes(text)]
    first = min((position for _, position, _ in marked), default=len(text))
    restated = [(start, number) for start, number in _restated(text) if start > first]
    corrections = [found.end() for found in CORRECTION.finditer(text)] + [start for start, _ in restated]
    for strong, position, said in marked:
        number = _claimed(said)
        if number is not None:
            part = sum(correction <= position for correction in corrections)
            direct = strong or LABELLED_NUMBER.match(said) is not None or BARE_NUMBER.match(said) is not None
            yield Claim(direct, part, strong, position, None if _offers_another(said, number) else number)
    for position, number in restated:
        yield Claim(True, sum(correction <= position for correction in corrections), False, position, number)


def _restated(text: str) -> Iterator[tuple[int, Decimal]]:
    """Corrections without a marker that state a number, and nothing else: "Wait, so it's 18.", "更正：18"."""
    for start, place, may_follow in restatements(text):
        end = SENTENCE_END.search(text, place)
        said = text[place : end.start() if end else len(text)]
        bare = BARE_NUMBER.match(said)
        if not bare or (end and end.group() in "?？"):
            continue
        if OPERATION.match(said, bare.end()) and "=" in said:
            number = _claimed(said)
        else:
            number = value(bare) if may_follow.match(said, bare.end()) else None
        if number is not None and not _offers_another(said, number):
            yield start, number
    if admitted := last_result(text):
        start, place = admitted
        yield start, next(numbers(text[place:]))


def _offers_another(said: str, number: Decimal) -> bool:
    """Whether the words after a marker offer a second number beside `number`: "17 or 18"."""
    said = _unexplained(said)
    return is_list(said) or any(value(match) == number and has_rival(said, match) for match in NUMBER.finditer(said))


def _claimed(said: str) -> Decimal | None:
    """The number that the words after a marker state."""
    said = _unexplained(said)
    bare = BARE_NUMBER.match(said)
    if bare and (total := TOTAL.match(said, bare.end())):
        clause = CLAUSE_END.split(said[total.end() :], maxsplit=1)[0]
        return _claimed(clause)
    if bare and not OPERATION.match(said, bare.end()):
        return _last_of_equal(said, bare)
    results = (BARE_NUMBER.match(side) for side in reversed(re.split(EQUALS, said, flags=re.IGNORECASE)[1:]))
    for result in results:
        if result and not OPERATION.match(result.string, result.end()):
            return value(result)
    return next(numbers(said), None)


def _unexplained(said: str) -> str:
    """`said` up to the word that begins the explanation of a number."""
    digit = re.search(r"\d", said)
    reason = EXPLANATION.search(said, digit.end()) if digit else None
    return said[: reason.start()] if reason else said


def _last_of_equal(said: str, match: re.Match[str]) -> Decimal | None:
    """The last number of an equality: 120 of "2 hours = 120 minutes"; but 18 of "18 = 9 * 2"."""
    while same := SAME_AS.match(said, match.end()):
        further = BARE_NUMBER.match(said, same.end())
        if not further or OPERATION.match(said, further.end()):
            break
        match = further
    return value(match)


def _labels(text: str) -> Iterator[tuple[bool, int, str]]:
    for marker in LABEL.finditer(text):
        line = text[marker.end() : marker.end() + LONGEST_CLAIM].lstrip().partition("\n")[0]
        strong = marker.group() == "####"
        line = _plain_claim(line, 0 if strong else 1)
        named = LABELLED_NUMBER.match(line) or (not strong and BARE_NUMBER.match(line))
        if named and not NUMBERED_HEADING.match(text, marker.start()):
            yield strong, marker.start(), line


def _statements(text: str) -> Iterator[tuple[bool, int, str]]:
    for marker in STATEMENT.finditer(text):
        said = text[marker.end() : marker.end() + LONGEST_CLAIM].lstrip(" \t\n:")
        sentence = SENTENCE_END.split(said, maxsplit=1)[0]
        yield False, marker.start(), _plain_claim(sentence, 3)


def _boxes(text: str) -> Iterator[tuple[bool, int, str]]:
    for marker in BOX.finditer(text):
        content = text[marker.end() : _box_end(text, marker.end())]
        yield True, marker.start(), _plain_claim(content.replace("~", " "), 3)


def _box_end(text: str, start: int) -> int:
    """Where the box with its content at `start` ends: at its closing brace, or with the line if that is missing."""
    depth, end = 1, min(len(text), start + LONGEST_CLAIM)
    for brace in BRACE.finditer(text, start, end):
        depth += 1 if brace.group() == "{" else -1
        if not depth:
            return brace.start()
    line_end = text.find("\n", start, end)
    return end if line_end < 0 else line_end


def _plain_claim(said: str, words: int) -> str:
    """The words after a marker, with "1 234" as one number, or with digits for numbers in words if they have none.

    A number in words may be followed by as many `words` as are given.
    """
    if not any(map(str.isdigit, said)) and (worded := WORDED_NUMBER.match(said)):
        ends = AFTER_WORDED[words].match(said, worded.end())
        return with_minus(amounts(in_digits(said))) if ends else said
    return THOUSANDS_SPACE.sub(joined, said)
