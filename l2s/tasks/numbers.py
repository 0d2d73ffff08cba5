"""Numbers as people and models write them: signs, currencies, LaTeX, separators, fractions, scale words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Context, Decimal

from l2s.tasks.chat_answer import DASHES
from l2s.tasks.chinese import simplified

# Characters ----------------------------------------------------------------------------------------------------------

SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
FRACTIONS = {
    ord(character): " " + unicodedata.normalize("NFKC", character).replace("⁄", "/")  # "3½" is "3 1/2"
    for character in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
}
FULL_WIDTH = {
    code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "！？，"
}  # punctuation in Chinese
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufeff"), None)
PLAIN_CHARACTERS: dict[int, str | int | None] = {
    **FULL_WIDTH,
    **INVISIBLE,
    **FRACTIONS,
    **DASHES,
    **str.maketrans("⁄∕٫٬", "//.,"),
}

# Notation ------------------------------------------------------------------------------------------------------------

THIN_SPACES = "\u00a0\u2007\u2008\u2009\u202f"
SEPARATORS = rf",，'’_{THIN_SPACES}"
GROUPED = rf"\d{{1,3}}(?:[{SEPARATORS}]\d{{2,3}})*[{SEPARATORS}]\d{{3}}(?!\d)"  # 1,234 and the Indian 12,34,567
CONTINENTAL = (  # 1.234.567 or 1.234,56 or 12,50; not "1,2,3" and not "18,5元是运费"
    rf"(?:\d{{1,3}}(?:\.\d{{3}}){{2,}}(?![\d,])|\d{{1,3}}(?:[.'’{THIN_SPACES}]\d{{3}})+,\d{{1,2}}(?![\d,])"
    r"|(?<![\d,.])\d{1,3},\d{1,2}(?=[\s.;:%}]|$))"
)
DIGITS = rf"(?:{CONTINENTAL}|(?:{GROUPED}|\d+)(?:\.\d+)?|(?<!\w)\.\d+)"  # "Rs.18" is 18
SIGN = r"(?:(?<![\w.)\]}%°])(?<!\d[ ])-)?"  # after a word, a bracket or a number, a minus is a subtraction or a range
EXACT = Context(prec=10_000)  # digits of a sum or product; Python would round to 28
SCALES = {
    "": 1,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "bn": 10**9,
    "千": 10**3,
    "万": 10**4,
    "萬": 10**4,
    "百万": 10**6,
    "千万": 10**7,
    "亿": 10**8,
    "億": 10**8,
}
SCALE = "|".join(sorted(filter(None, SCALES), key=len, reverse=True))
NUMBER = re.compile(
    rf"(?P<sign>{SIGN})(?:(?P<whole>\d+)(?: and)? (?=\d+/))?(?P<top>{DIGITS})(?:\s?/\s?(?P<bottom>{DIGITS}))?"
    rf"(?:e(?P<exponent>[+-]?\d{{1,2}})(?!\w))?(?:\s?(?P<scale>{SCALE})(?!(?<=千)[克米瓦卡帕])s?(?![a-z]))?",
    re.IGNORECASE,
)
# 3亿5000万, 2万5000
COMPOUND = re.compile(r"(?<![\d.,])(\d+)([千万萬亿億])零?(\d+)(千万|[千万萬]?)(?![\d.千万萬亿億])")
# "18 dollars and 50 cents", "$18 and 50 cents", 18元5角: one amount in two units
DOLLARS_AND_CENTS = re.compile(
    r"(?:\$(\d[\d,]*)|(?<![\d.,])(\d[\d,]*)\s+dollars?)\s+and\s+(\d{1,2})\s+cents?\b", re.IGNORECASE
)
YUAN_AND_JIAO = re.compile(r"(?<![\d.,])(\d[\d,]*)[元块](\d)角(?:(\d)分)?")

HALF = re.compile(r"(?<![\d.,/])(\d+) and a half\b", re.IGNORECASE)
# "80 000" and "1 250 000"; after an equals sign, a colon or a currency also "12 500". Elsewhere there may be 12 of 500
# each; after a marker there are not.
LARGE_NUMBER = re.compile(
    r"(?<![\w.,/])(?<!\d )(?:[1-9]\d{0,2}(?:(?: \d{3}){2,}| 000)|(?:(?<=[=:≈] )|(?<=[=:≈$€£¥￥]))[1-9]\d{0,2} \d{3})"
    r"(?!\w)(?! \d)(?!,\d)(?!\s?[-*/×x]\s?\d)"
)

# "70k", "$3M": a letter glued to digits. Without a currency, M needs two digits or a point ("3M" is a company), K too
# ("4K" is a screen); "401k" is an account, "5k = 50" an equation, "10K run" a distance.
SHORT_SCALES = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}
SHORT_SCALE = re.compile(
    r"(?<![A-Za-z0-9_.,])((?<=[$€£¥￥₹₩])\d[\d.,]*(?=[kKMB])|(?!401k)(?:\d[\d,]*\.\d+|\d[\d,]+)(?=[kKM])|\d(?=k))"
    r"([kKMB])(?![A-Za-z0-9_])(?!\s*(?:(?:[=+^×÷·)]|\*(?!\*))|-\s|\\[a-z]))"
    r"(?!\s+(?:runs?|race|sprint|dash|marathon|resolution|screens?|displays?|monitors?|videos?|tvs?)\b)",
)

# Markup --------------------------------------------------------------------------------------------------------------

TEXT_MACRO = re.compile(r"\\(?:text\w*|math(?:rm|bf|it|sf|tt|normal)|mbox|operatorname|bf|rm)\s*\{([^{}]*)\}")
FRACTION_MACRO = re.compile(r"(\d?) ?\\[dtc]?frac\s*(?:\{\s*([^{}]*?)\s*\}|(\d))\s*(?:\{\s*([^{}]*?)\s*\}|(\d))")
THOUSANDS_MACRO = re.compile(r"(?:\\text)?\{,\}")
# LaTeX spacing and delimiters, currency, bold and underline; `**` between digits is a power.
DECORATION = re.compile(
    r"\\[,;:! ()\[\]]"
    r"|\\(?:textdollar|pounds|euro)\b|\\?\$|[€£¥￥₹₩`]|(?<!\d)\*\*|\*\*(?!\d)|(?<!\w)__(?=\S)|(?<=\S)__(?!\w)"
)
EMPHASIS = re.compile(r"(?<![\w*)\]}] )(?<![\w*)\]}])\*([^\s*][^*\n]*)\*(?![\w*(])")  # *18*, and not 2 * 3 * 4
STRUCK_OUT = re.compile(r"~~[^~\n]+~~")
TAG = re.compile(r"</?(?:b|i|u|em|strong|span|p|sub|sup|code|center|mark)(?:\s[^<>]*)?>", re.IGNORECASE)
LINE_SPACING = re.compile(r"\\\\\[[\d.]+ ?[a-z]{2}\]")  # \\[4pt] between lines of LaTeX
FULL_HOUR = re.compile(r"(?<![\d:.])(\d{1,2}):00(?![\d:])")  # 5:00 is 5 o'clock
UNIT_POWER = re.compile(r"(?<=[A-Za-z])\s*\^\s*\{?\d+\}?")  # m^2 holds no number
POWER_OF_TEN = re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|[x×*·])\s*10\s*(?:\^|\*\*)\s*\{?\s*([+-]?\d{1,2})\s*\}?")
SPACED_POWER = re.compile(r"(?<=\d) \*\* (?=\d)")  # bold has no space inside
NEGATIVE_WORD = re.compile(r"(?<![\d)%] )(?<![\d)%])(?:\b(?:negative|minus)\s+|负)(?=[\d.])", re.IGNORECASE)
# Statements of precision hold no number: "rounded to 2 decimal places", "to the nearest 10".
PRECISION = re.compile(
    r"\b\d{1,2}[\s-]*+(?:decimals?\b|decimal (?:places?|points?|digits?)|significant|sig\.? ?figs?|d\.?p\.?(?!\w))"
    r"|\d{1,2}\s*+位(?:小数|有效)|\bnearest\s++[\d.,]*\d",
    re.IGNORECASE,
)


def plain_numbers(text: str) -> str:
    """`text` with the same numbers, but without currency, emphasis and LaTeX around or inside them; boxes stay."""
    text = simplified(text.translate(PLAIN_CHARACTERS))
    text = re.sub(f"[{SUPERSCRIPTS}]+", lambda power: f"^{unicodedata.normalize('NFKC', power.group())}", text)
    text = SHORT_SCALE.sub(lambda found: f"{found[1]} {SHORT_SCALES[found[2]]}", text)
    text = FULL_HOUR.sub(r"\1", COMPOUND.sub(_compound, LINE_SPACING.sub(" ", text)))
    text = SPACED_POWER.sub("**", THOUSANDS_MACRO.sub(",", text).replace("\\%", "%"))
    while TEXT_MACRO.search(text):  # they may be nested
        text = TEXT_MACRO.sub(r" \1 ", text)
    text = amounts(LARGE_NUMBER.sub(joined, text))
    text = FRACTION_MACRO.sub(lambda found: _fraction(*found.groups(default="")), text)
    text = EMPHASIS.sub(r"\1", DECORATION.sub("", TAG.sub("", STRUCK_OUT.sub("", text))))
    text = POWER_OF_TEN.sub(r"e\1", UNIT_POWER.sub("", text))
    return with_minus(PRECISION.sub("", text)).replace("--", "-")


def amounts(text: str) -> str:
    """`text` with an amount in two units, or with a half, as one number."""
    text = DOLLARS_AND_CENTS.sub(lambda found: f"{found[1] or found[2]}.{found[3]:0>2} dollars", text)
    return HALF.sub(r"\1.5", YUAN_AND_JIAO.sub(r"\1.\2\3元", text))


def with_minus(text: str) -> str:
    """`text` with a minus for "negative"."""
    return NEGATIVE_WORD.sub("-", text)


def joined(found: re.Match[str]) -> str:
    """A number whose groups of digits stand apart, in one piece."""
    return found[0].replace(" ", "")


def _fraction(before: str, top: str, digit_on_top: str, bottom: str, digit_below: str) -> str:
    r"""3\frac{1}{2} as "3 1/2"."""
    return (
        f"{before} {top}{digit_on_top}/{bottom}{digit_below} "
        if before
        else f"{top}{digit_on_top}/{bottom}{digit_below} "
    )


def _compound(found: re.Match[str]) -> str:
    """3亿5000万 as 350000000; as it stands if the second part is no part of the first's unit."""
    high, unit, low, scale = found.groups()
    rest = int(low) * SCALES[scale]
    return str(int(high) * SCALES[unit] + rest) if SCALES[unit] // 100 <= rest < SCALES[unit] else found.group()


def first_number(text: str) -> Decimal | None:
    """The first number of `text`, in any notation that an answer may have."""
    return next(numbers(plain_numbers(text)), None)


def numbers(text: str) -> Iterator[Decimal]:
    """The numbers of a text that `plain_numbers` returned, in order."""
    values = (value(match) for match in NUMBER.finditer(text))
    return (number for number in values if number is not None)


def value(match: re.Match[str]) -> Decimal | None:
    """What a match of NUMBER is worth; None for a division by zero."""
    sign, whole, top, bottom, exponent, scale = match.group("sign", "whole", "top", "bottom", "exponent", "scale")
    number = _decimal(top)
    if bottom is not None:
        if not _decimal(bottom):
            return None
        number /= _decimal(bottom)
    number = EXACT.scaleb(EXACT.add(number, _decimal(whole or "0")), int(exponent or 0))
    number = EXACT.multiply(number, SCALES[(scale or "").lower()])
    return EXACT.minus(number) if sign else number


def _decimal(digits: str) -> Decimal:
    if re.fullmatch(CONTINENTAL, digits):
        digits = re.sub(rf"[.'’{THIN_SPACES}]", "", digits).replace(",", ".")
    return Decimal(re.sub(rf"[{SEPARATORS}]", "", digits))
