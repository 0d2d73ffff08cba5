"""The letter, A to E, that an answer to a multiple-choice question chooses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from l2s.tasks.chat_answer import DASHES
from l2s.tasks.chinese import simplified
from l2s.tasks.corrections import CORRECTION
from l2s.tasks.numbers import TAG, TEXT_MACRO
from l2s.tasks.own.choice_table import without_tables

LETTERS = "ABCDE"
WIDE: dict[int, int | str] = {**str.maketrans("ＡＢＣＤＥ（）：．", "ABCDE():."), **DASHES}
# "b) Paris", "(b)", "b. Paris": an option in lower case; "f(a)" and "i.e. " are none.
LOWER_CASE_OPTION = re.compile(r"(?<![\w'’.(])\(?[a-e](?=\)|\.\s)")
LETTER_IN_ANGLES = re.compile(r"<([A-E])>(?![^\n]*</\1>)")  # "Answer: <B>"; <B>...</B> is bold
MARKUP = re.compile(r"[*`$]|__|\\[()\[\]]")

# Letters -------------------------------------------------------------------------------------------------------------

OPEN, CLOSE = r"[\s\"'“‘(\[（【{]*+", r"[\s\"'”’)\]）】}]*"
# A single letter: not the start of a word or of a list of letters, and not of "选A的同学" (those who chose A).
SINGLE = r"([A-E])(?:(?!\w|['’]\w)|(?=选项|项|选|是|为|对|正确|而|符合|最))"
LETTER = rf"{OPEN}{SINGLE}{CLOSE}"
OPTION = r"\s*+(?:(?:option|choice|statement|letter)\b|选项)?\s*+:?"
# A letter that ends its clause, or stands in brackets; in capitals, for "it is a" goes on.
CLAUSE_END = r"(?=\s*(?:[.。!！;；,，:\n]|$|\b(?:because|since|rather|not)\b|[而选]))"
ENDING = rf"{OPTION}{OPEN}(?-i:([A-E]))(?:[)\]]|{CLAUSE_END}){CLOSE}"
# "B or C", "B (or C)", "B, maybe C", "B, but C is also possible", "B C"; not "B and C is wrong"
JOIN = r"(?:[,，]|/|、|&|and\b|or\b|和|与|或者?|及)"
PERHAPS = r"(?:(?:maybe|perhaps|possibly|also|even|(?:it )?(?:could|might|may)(?: also| well)? be)\b\s*|也?可能是?)"
SEVERAL = re.compile(
    rf"{CLOSE}[,，(]?\s*(?:{JOIN}\s*{PERHAPS}?|(?:but\s+)?{PERHAPS}){OPEN}[A-E](?!\w|\s+(?:is|was|would|isn|wasn)\b)"
    rf"|{CLOSE}[,，]?\s*(?:but|though|although)\s*{OPEN}[A-E]{CLOSE}\s*(?:(?:is|are) also|"
    r"(?:could|might|may|can) (?:also|work|fit|be (?:right|correct|possible|true|the answer)))\b"
    rf"|{CLOSE}[,，]?\s*(?:但|不过)?\s*{OPEN}[A-E]{CLOSE}\s*也(?!不|错)"
    rf"|(?:\.?\s+{OPEN}[A-E]{CLOSE})+[.。]?[ \t]*(?:\n|$)"
)
# "B) Rome and C) Oslo", or all options on one line: "A) Paris. B) Rome"
TWO_OPTIONS = re.compile(
    r"(?P<open>\(?)(?:(?P<a>A)|[B-E])(?P<close>[).])\s[^\n]*?(?:\band|\bor|&|和|与|或|、|(?(a)[.;,\s]|(?!)))\s*"
    r"(?P=open)[A-E](?P=close)\s(?!(?:is|was|are|isn|would)\b)"
)
SEVERAL_BEFORE = re.compile(r"(?<!\w)[A-E]\s*(?:,|/|、|&|and|or|和|与|或|及)\s*$")
LINE_END = re.compile(r"[)\]\"'}]*[ .。]*(?:\n|$)")
# "A city" is an article; "A because", "A is" are not.
ARTICLE = re.compile(
    r"[ \t]+(?!(?:the|because|since|as|for|and|or|is|was|in|which|with|rather|not|over|instead|but|if|would|only|when"
    r"|seems|looks|appears)\b)[a-z]"
)

# What states a choice ------------------------------------------------------------------------------------------------

ADVERB = (
    r"(?:\b[a-z]+ly\b|most|very|thus|therefore|hence|indeed|then|just|still|option|choice|"
    r"毫无疑问|显然|必定|必然|一定|肯定|应该|应当|应|就|便|只能|可能|最终|最后)"
)
VERB = (
    r"(?:[:=|→]|[-=]>|-(?=\s)|is\b|are\b|was\b|(?:must|should|would|will|has to|can only|could only|to) be\b|"
    rf"turns out\b|{ADVERB}|[是为选])"
)
OTHER_LABEL = r"(?<!\w)(?:solution|correct|final|selection|result|response|output)"
# A label, a box, a tag, `####`, "the answer is".
LABELLED = re.compile(
    rf"#{{4,}}{LETTER}|<(?:final_)?answer>{OPTION}{LETTER}|\\(?:boxed|fbox)\s*\{{{OPTION}{LETTER}"
    rf"|(?:(?:\b|_)(?:answer|choice|option)|\bans\b\.?|{OTHER_LABEL}(?=\s*:)|(?<!\w)答(?=:)|答案|选项)[\"'”】\])]*"
    rf"(?:\s+(?:here|(?:to|for)\s[^.:=\n]{{1,60}}?)(?=\s+(?:is|was|must|should|would)\b))?(?:\s*{VERB})+{OPTION}{LETTER}"
    rf"|(?:\banswer\s*(?=\()|答案[】\]]?){LETTER}|\bans\.\s*{LETTER}"
    rf"|^[ \t>#]*(?:the )?(?:(?:final|correct) )?(?:answer|(?:最终|正确)?答案)[ \t]*\n{LETTER}",
    re.IGNORECASE | re.MULTILINE,
)
# "Choose B", "B is right", "B (Rome) is right", "so B", "it is B", "not A, but B".
PROSE = re.compile(
    r"(?:\b(?:cho(?:ose|osing|se)|(?:pick|select|opt)(?:ing|ed)?(?: for)?|go(?:ing)? (?:with|for)"
    rf"|I(?:['’]d| would) (?:say|guess))\b|选择|选){OPTION}{LETTER}"
    rf"|(?<![a-z0-9_])(?<![a-z]['’]){SINGLE}{CLOSE}(?:\([^()\n]{{1,60}}\)\s*)?"
    r"(?:(?:is|must be|would be|(?:seems|looks|appears)(?: to be)?|选?项?[是为]?)\s*(?:the\s+)?(?:only\s+|most\s+)?"
    r"(?:correct|right|best|answer|suitable|appropriate|accurate|正确|对|答案|符合(?:题意|题目|要求|条件)))"
    rf"|\bmakes\s{OPTION}{LETTER}(?=the\b)|\bleaves\s{ENDING}"
    rf"|\b(?:correct|right|true|best)\s(?:\w+\s)?is\s{ENDING}|不?正确的(?:选项|说法|答案|一项)?[是为]{ENDING}"
    rf"|(?:\b(?:so|thus|hence|therefore)\b|所以|因此|由此可知|=>|[⇒∴])[,，:]?\s*(?:it(?:'s| is)\b|是)?{ENDING}"
    rf"|(?:\b(?:wait|no|correction|actually|sorry|rather|i mean)\b|更正|不对|等等|等一下|不(?=[,，]))[\s,:.…!，。]*"
    rf"(?:no\b[\s,:]*)?(?:so\s+)?(?:(?:it(?:'s|’s| is| should be)|应?该?是|应为|选)\s*)?{ENDING}"
    rf"|\b(?:it(?:'s|’s| is| must be| should be| has to be)|but|i think|must be|definitely|probably)\s{ENDING}"
    rf"|(?:认为|而|应该?|就)是{ENDING}",
    re.IGNORECASE,
)
DENIED = re.compile(r"(?:\bnot|n['’]t|\bnever|不|不能|不会|不应该?|不该|不可以?|不要|勿|别)\s*$", re.IGNORECASE)
# Of the sentence before a letter, and after it: what would be right elsewhere, or what others say.
SUPPOSED = re.compile(
    r"\b(?:if|unless|suppose|some|many|though|although)\b|如果|若|假如|要是|除非|有人|有些人|虽然|尽管", re.IGNORECASE
)
SUPPOSED_AFTER = re.compile(r"[ \t,]*(?:\w+[ \t]+)?(?:only|if|unless|when)\b", re.IGNORECASE)
SENTENCE_START = re.compile(r"[.!?。！？\n;；(（](?!.*[.!?。！？\n;；(（])", re.DOTALL)
LONGEST_SENTENCE = 200  # characters looked at before a letter

# Without a statement -------------------------------------------------------------------------------------------------

ALONE = re.compile(rf"{LETTER}[.。!！]?\s*")
LONE = re.compile(r"(?<!\w)[A-E](?!\w)")
# The mark of an entry of a list ("- B", "2. Option B", "[x] B"), or an emoji.
LIST_MARK = r"(?:\[[ xX]\][ \t]|\d{1,2}[.)][ \t]|[^\w\s\"'“‘(\[（【{][ \t]*)*+"
FIRST = re.compile(
    rf"{LIST_MARK}{OPTION}{OPEN}([A-E])(?:选?项)?\s*(?:[.:、,，。)\]】✅✔✓☑❌✗✘]|-\s"
    r"|(?:because|rather than|instead of|not|over)\b|因为|而不是|而非|不是|$)",
    re.IGNORECASE,
)
# The verdict that an option is right: a tick in its line (√ may be a root), or a word at the end of it.
TICKED = re.compile(
    r"[✅✔✓☑]|^[^\w\[]*\[x\]|(?:√|(?:[-:(,，.。;；]|\b(?:this|that|it|which)(?: is|['’]s))\s*"
    r"(?:correct|right|yes|true|正确|对|是)\s*[).。!！]*)\s*$",
    re.IGNORECASE,
)
# "each option:" above a list of all of them; "correct option:" above A names it.
HEADING_OF_OPTIONS = re.compile(
    r"(?<!correct )(?<!right )(?<!best )(?<!正确)(?:choice|option|选项)\W*\n\W*A", re.IGNORECASE
)
OPTION_B = re.compile(rf"^{LIST_MARK}{OPTION}{OPEN}B(?:选?项)?\s*[.:、)\]】-]", re.IGNORECASE | re.MULTILINE)
# A letter that is the last sentence, after another: "A is wrong. B."
LAST_SENTENCE = re.compile(rf"[^\n]*\w\w[^\n]*[.!?。！？;；]\s*{LETTER}[.。!！]?\s*")
BRACKETED = re.compile(r"[(\[【]\s*(?:[Oo]ption\s|[Cc]hoice\s|选项)?\s*([A-E])\s*[)\]】]|\*\*\s*([A-E])\s*\*\*")


@dataclass(frozen=True, order=True)
class Statement:
    """A place where an answer states its choice; the largest one counts.

    Attributes:
        part: number of corrections ("Wait, ...") before it.
        labelled: whether a label, a box, a tag, `####` or "the answer is" names it; a first line of one letter is so.
        asserted: whether it is said of this question, and not of another case ("if ..., A is right").
        position: position of its end in the text.
    """

    part: int
    labelled: bool
    asserted: bool
    position: int
    letter: str


def chosen_letter(text: str) -> str | None:
    """The one letter that `text` chooses; None if it names none, or several at a time.

    Labelled statements ("Answer: B", a box, "the answer is B") count before prose ("choose B", "B is right"), and the
    last of equal ones counts. Without any: a last line that is only the letter, then the letter of the only option that
    is marked as right, then the letter that begins lines or stands in brackets or bold, if there is only one.
    """
    marked = without_tables(simplified(text.translate(WIDE)).strip())
    marked = LOWER_CASE_OPTION.sub(lambda option: option[0].upper(), marked)
    text = _plain(marked)
    if len(text.strip(" .()[]")) == 1:
        text = text.upper()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if statements := list(_statements(text)):
        last = max(statements)
        several = SEVERAL.match(text, last.position)
        return None if several and set(LONE.findall(several[0])) != {last.letter} else last.letter
    if lines and (alone := ALONE.fullmatch(lines[-1]) or LAST_SENTENCE.fullmatch(lines[-1])):
        return alone.group(1)
    begun = [match for line in lines if (match := FIRST.match(line)) and match.group(1).isupper()]
    if any(SEVERAL.match(match.string, match.end(1)) or TWO_OPTIONS.match(match.string) for match in begun):
        return None
    ticked = [match for match in begun if TICKED.search(match.string)]
    if len(ticked) == 1:
        return ticked[0].group(1)
    if len(begun) > 1 and begun[0].string is lines[0] and begun[0].group(1) > begun[1].group(1):
        return begun[0].group(1)  # "C. Rome", and then A and B are discussed: no list in its order
    for found in (begun, list(BRACKETED.finditer(marked))):
        letters = {_letter(match) for match in found}
        if letters:
            return letters.pop() if len(letters) == 1 else None
    return None


def _plain(text: str) -> str:
    """`text` without bold, code marks, dollar signs, tags and LaTeX fonts."""
    text = LETTER_IN_ANGLES.sub(r"(\1)", text)
    while TEXT_MACRO.search(text):
        text = TEXT_MACRO.sub(r" \1 ", text)
    return MARKUP.sub("", TAG.sub("", text)).strip()


def _statements(text: str) -> Iterator[Statement]:
    corrections = [found.end() for found in CORRECTION.finditer(text)]
    first, _, rest = text.partition("\n")
    if rest and (alone := ALONE.fullmatch(first)):
        yield Statement(0, True, True, alone.end(1), alone.group(1))
    for labelled, pattern in ((True, LABELLED), (False, PROSE)):
        for match in pattern.finditer(text):
            place = next(group for group, found in enumerate(match.groups(), start=1) if found)
            if _is_letter(match, place) and not _is_excluded(match, place):
                part = sum(correction <= match.start(place) for correction in corrections)
                yield Statement(part, labelled, _is_asserted(match), match.end(place), _letter(match))


def _is_letter(match: re.Match[str], place: int) -> bool:
    """A lower-case letter counts only at the end of a line, and "A" not as an article: "a good one", "A city"."""
    if match.group(place).islower():
        return LINE_END.match(match.string, match.end(place)) is not None
    return match.group(place) != "A" or ARTICLE.match(match.string, match.end(place)) is None


def _is_excluded(match: re.Match[str], place: int) -> bool:
    """Whether it is denied ("do not choose A"), ends a list ("A and B正确"), or begins that of all options."""
    text, start, end = match.string, match.start(), match.end(place)
    if HEADING_OF_OPTIONS.search(text, start, end) and OPTION_B.search(text, end):
        return True
    before = text[max(0, start - 12) : start]
    in_list = start == match.start(place) and SEVERAL_BEFORE.search(before) is not None
    return in_list or DENIED.search(before) is not None


def _is_asserted(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - LONGEST_SENTENCE) : match.start()]
    start = SENTENCE_START.search(before)
    sentence = before[start.end() :] if start else before
    return SUPPOSED.search(sentence) is None and SUPPOSED_AFTER.match(match.string, match.end()) is None


def _letter(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group).upper()
