"""The letter, A to E, that an answer to a multiple-choice question chooses."""

from __future__ import annotations

import re

LETTERS = "ABCDE"
OPEN, CLOSE = r"[\s*_`\"'“‘(\[（【{$]*", r"[\s*_`\"'”’)\]）】}$]*"
WIDE = str.maketrans("ＡＢＣＤＥ（）：．", "ABCDE():.")
# A single letter: not the start of a word or of a list of letters.
LETTER = rf"{OPEN}([A-E])(?![\w'’]){CLOSE}"
SEVERAL = re.compile(rf"{CLOSE}(?:,|/|、|&|and\b|or\b|和|与|或|及)\s*{OPEN}[A-E](?!\w)")
MARKER = re.compile(
    r"(?:answer|choice|option|答案|选项)\s*(?:[:=]|is|are|was|would be|should be|应该是|应为|[是为选])+\s*"
    rf"(?:choice|option|选项)?\s*:?{LETTER}"
    rf"|(?:choose|pick|select|应选|故选|选择|选)\s*(?:option|choice|选项)?\s*:?{LETTER}"
    rf"|\\boxed\s*\{{\s*(?:\\text\w*\s*\{{)?{LETTER}"
    rf"|{LETTER}\s*(?:is|项?是?)\s*(?:the\s+)?(?:correct|right|best|正确)",
    re.IGNORECASE,
)
LINE_END = re.compile(r"[)\]\"'*`}]*[ .。]*(?:\n|$)")
ALONE = re.compile(rf"{LETTER}[.。]?\s*")
FIRST = re.compile(rf"{OPEN}([A-E])\s*(?:[.:、,，)\]】]|$)")
BRACKETED = re.compile(r"[(\[【]\s*([A-E])\s*[)\]】]|\*\*\s*([A-E])\s*\*\*")


def chosen_letter(text: str) -> str | None:
    """The one letter that `text` chooses; None if it names none, or several at a time.

    The last explicit statement counts ("the answer is B", "故选 B", a box). Without one: a last line that is only the
    letter, then the letter that begins lines or stands in brackets or bold, if there is only one.
    """
    text = text.translate(WIDE).strip()
    if len(text.strip(" .()[]*")) == 1:
        text = text.upper()
    stated = [match for match in MARKER.finditer(text) if _is_letter(match, text)]
    if stated:
        return None if SEVERAL.match(text, stated[-1].end()) else _letter(stated[-1])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and (alone := ALONE.fullmatch(lines[-1])):
        return alone.group(1)
    begun = [match for line in lines if (match := FIRST.match(line))]
    if any(SEVERAL.match(match.string, match.end(1)) for match in begun):
        return None
    for found in (begun, list(BRACKETED.finditer(text))):
        letters = {_letter(match) for match in found}
        if letters:
            return letters.pop() if len(letters) == 1 else None
    return None


def _is_letter(match: re.Match[str], text: str) -> bool:
    """A lower-case letter counts only at the end of a line: "the answer is a good one" names none."""
    place = next(group for group, found in enumerate(match.groups(), start=1) if found)
    return match.group(place).isupper() or LINE_END.match(text, match.end(place)) is not None


def _letter(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group).upper()
