"""Numbers in words, English and Chinese, as digits: "twenty-five", "one hundred and twenty", "二百零五"."""

from __future__ import annotations

import re

# English -------------------------------------------------------------------------------------------------------------

_WORDS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ONES = {word: number for number, word in enumerate(_WORDS[:9], 1)}
TEENS = {word: number for number, word in enumerate(_WORDS[9:], 10)}
TENS = {word: 10 * number for number, word in enumerate(_TENS, 2)}
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
WORTH = {"a": 1, "an": 1} | ONES | TEENS | TENS

_ONE = "|".join(ONES)
_BELOW_HUNDRED = rf"(?:(?:{'|'.join(TENS)})(?:[- ](?:{_ONE}))?|{'|'.join(TEENS)}|{_ONE})"
_GROUP = (
    rf"(?:(?:{_BELOW_HUNDRED}|an?)[- ]hundred(?:(?: and|,)? {_BELOW_HUNDRED}|-{_BELOW_HUNDRED})?"
    rf"|(?:{_BELOW_HUNDRED}|an?)[- ]dozen|{_BELOW_HUNDRED}|an?(?= (?:thousand|million|billion)))"
)
_SCALED = rf"{_GROUP}(?:[- ](?:thousand|million|billion))?"
# Of "one half", "two thirds", "two point five" and "twenty-first" the first word is not the number.
_FRACTION = (
    r"(?![- ](?:half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|first|second"
    r"|hundredths?|point|over|out of)\b)"
)
ENGLISH = re.compile(
    rf"\b(?<!\bpoint )(?!one (?:of|that|which|who|whose|where|with)\b)(?:zero|{_SCALED}(?:,? (?:and )?{_SCALED})*)"
    rf"\b{_FRACTION}(?!-[a-z])",
    re.IGNORECASE,
)
BETWEEN = re.compile(r"(,? and |, )", re.IGNORECASE)

# Chinese -------------------------------------------------------------------------------------------------------------

CHINESE_ONES = {character: number for number, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
CHINESE_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
# 一样 and 一定 hold no number, 三角形 and 两者 none that counts something; 三分之二 is a fraction
CHINESE = re.compile(
    r"(?<![十百千万亿\d])(?:(?!一[样致定般直起共些切旦种])[一二两三四五六七八九十][零〇一二两三四五六七八九十百千万亿]*|零)"
    r"(?![者号]|角形|边形|分之|千克|点[零一二三四五六七八九])"
)


def in_digits(text: str) -> str:
    """`text` with the numbers in words as digits; what is no number ("nineteen eighty-four", "one of them") stays."""
    return CHINESE.sub(_chinese, ENGLISH.sub(_english, text))


def _english(found: re.Match[str]) -> str:
    number = _value(re.split(r"[- ,]+", found[0].lower()))
    if number is not None:
        return str(number)
    parts = BETWEEN.split(found[0])  # "two and three" are two numbers
    return "".join(map(in_digits, parts)) if len(parts) > 1 else found[0]


def _value(words: list[str]) -> int | None:
    """What English words are worth; None if they are not one number: "twenty thirty", "two thousand five thousand"."""
    total, group, last_scale = 0, 0, 10**12
    for word in words:
        if word in ("hundred", "dozen"):
            group *= SCALES[word]
        elif word in SCALES:
            if SCALES[word] >= last_scale:
                return None
            total, group, last_scale = total + group * SCALES[word], 0, SCALES[word]
        elif word not in ("and", "zero"):
            after_tens = group % 100 >= 20 and group % 10 == 0 and word in ONES
            if group % 100 and not after_tens:
                return None
            group += WORTH[word]
    return total + group


def _chinese(found: re.Match[str]) -> str:
    total = section = digit = 0
    unit = 1  # of a last digit: 三百五 is 350, and 三百零五 is 305
    for character in found[0]:
        if character in CHINESE_ONES:
            if digit:  # 一二三 is a row of digits, or of numbers
                return found[0]
            digit = CHINESE_ONES[character]
            unit = 1 if not digit else unit
            continue
        scale = CHINESE_SCALES[character]
        if scale < 10**4:
            section, digit = section + (digit or 1) * scale, 0
        else:
            total, section, digit = (total + section + digit) * scale, 0, 0
        unit = scale // 10
    return str(total + section + digit * unit)
