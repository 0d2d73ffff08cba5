"""Where an answer corrects itself: "Wait, ...", "Correction: 18", "不对，应该是18"."""

from __future__ import annotations

import re
from collections.abc import Iterator

CORRECTION = re.compile(
    r"(?:^|(?<=[.!?。！？\n]))[ \t>*_#-]*+(?:but |oh,? |no,? |hmm,? )?(?:wait|hold on|actually|"
    r"correction|corrected|hmm|oops|sorry|apolog\w+|my mistake|i (?:made|see) (?:a|an|my) (?:\w+ )?(?:mistake|error)|"
    r"(?:let me|let's|i should) (?:re-?)?(?:check|do|verify|calculate|consider|think)|"
    r"that(?:'s| is) (?:not right|wrong)|on second thought|no\b|等等|等一下|不对|不(?=[,，])|错了|更正|抱歉|修正|重新)",
    re.IGNORECASE | re.MULTILINE,
)
WRONG = r"(?:that|it|this)(?:['’]s| is| was) (?:not (?:right|correct)|wrong|incorrect)"
WORDS = (
    r"(?:wait|hold on|actually|correction|corrected|edit|hmm+|oops|sorry|my (?:mistake|bad|apologies)|no(?:pe)?|"
    rf"scratch that|i mean|i meant|on second thought|{WRONG}|更正|修正|订正|勘误|不对|等等|等一下|等下|抱歉|错了|其实|"
    r"实际上|不(?=[,，]))"
)
ASIDE = (
    rf"(?:{WORDS}|so|but|oh|and|then|well|a (?:minute|second|moment)|"
    r"i (?:made|see|miscalculated|got)\b[^.\d\n:]{0,30}|所以|那么?|我?算错了|应?更正为|应)"
)
SUBJECT = (
    r"(?:it|that|this|(?:the|my) (?:\w+ ){0,2}(?:answer|total|result|number|amount|sum|value)|(?:正确)?(?:答案|结果))"
)
STATES = (
    r"(?:['’]s|(?:is|are|was|equals|becomes|makes|comes to|(?:should|must|would|will)(?: actually)? (?:have been|be))\b"
    r"|应该?是|应当?是|应该?为|应当?为|就是|是|为)"
)
GAP = r"[\s,，:：.!…*_-]*"
# A correction that goes on with a number; `states` is there where "it is" or the like stands before it.
RESTATED = re.compile(
    rf"(?:^|(?<=[.!?。！？\n…,，;；(（—]))[ \t>*_#(\[（-]*+(?P<word>{WORDS}){GAP}(?:{ASIDE}{GAP}){{0,4}}"
    rf"(?P<states>(?:{SUBJECT}\s*)?{STATES}\s*(?:actually|really|in fact)?)?\s*(?=[^\w.\s-]*-?[\d.])",
    re.IGNORECASE | re.MULTILINE,
)
# After its number: a unit, then the end of a clause. "Actually, 9 eggs are sold" and "it's 2 dollars each" go on.
UNIT = r"(?!(?:each|per|every|times|of|more|less|if|when|is|are|was)\b)(?:[^\W\d_\u3400-\u9fff]+|[\u3400-\u9fff]{1,2})"
END = r"[\s*_)\]}）%]*(?:[.!。！;；\n]|[,，](?![^.。\n]*\d)|$)(?!\d)"
AFTER_NUMBER = re.compile(rf"\s*%?(?:\s*{UNIT})?{END}", re.IGNORECASE)
AFTER_STATED = re.compile(rf"\s*%?(?:\s*{UNIT}){{0,2}}{END}", re.IGNORECASE)
# An error that is admitted, and a calculation that ends the text.
ADMITTED = re.compile(
    r"\b(?:forgot|forgotten|missed|overlooked|mistake|wrong|incorrect|not right|miscalculated)\b|错|忘|漏",
    re.IGNORECASE,
)
LAST_RESULT = re.compile(r"=\s*(?=-?[\d.]+(?:\s*[^\W\d_]+){0,2}[\s.!。！*]*\Z)")


def restatements(text: str) -> Iterator[tuple[int, int, re.Pattern[str]]]:
    """Where a correction may state another number: its start, that of the number, and what may follow the number."""
    for found in RESTATED.finditer(text):
        yield found.start("word"), found.end(), AFTER_STATED if found["states"] else AFTER_NUMBER


def last_result(text: str) -> tuple[int, int] | None:
    """The start of the last correction, and of the result that ends the text, where the correction admits an error."""
    result = LAST_RESULT.search(text)
    corrections = list(CORRECTION.finditer(text, 0, result.start())) if result else []
    if not result or not corrections or not ADMITTED.search(text, corrections[-1].start(), result.start()):
        return None
    return corrections[-1].start(), result.end()
