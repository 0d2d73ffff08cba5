"""Finding a phrase in an answer: whole words, any case, and not where the answer denies it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

CJK = "[\u3400-\u9fff]"
WORD = re.compile(rf"{CJK}|[^\s\u3400-\u9fff]+")  # a Chinese character, or a run of others without spaces

# Words that may stand between a denial and what it denies: "not caused by the disk", "does not point to a deadlock".
EN_FILLER = (
    "a|an|the|any|some|this|that|by|due|to|because|from|of|for|in|with|about|at|on|caused|related|likely|probably|"
    "simply|just|really|actually|necessarily|evidence|sign|signs|indication|indications|hint|trace|symptom|case|"
    "problem|problems|issue|issues|fault|cause|real|actual|root|be|been|being|it|is|was|possible|possibility"
)
EN_SHOWS = "(?:show|indicate|suggest|imply|mean|reveal|support|confirm|prove|(?:look|seem|appear) like|point (?:to|at))"
EN_DENIAL = (
    r"(?:not|never|no|nor|neither|without|cannot|excludes?|excluded|excluding|unlikely|dismiss(?:es|ed)?|"
    r"(?<!cannot )(?<!n't )(?<!not )rul(?:e|es|ed|ing) out|rather than|instead of|as opposed to|\w+n't)"
)
# "not a deadlock or ...", "neither the disk nor ..."
EN_ALTERNATIVE = rf"(?:\s+[\w\-]+(?:\s+[\w\-]+){{0,3}}\s+(?:or|nor)(?:\s+(?:{EN_FILLER}))*)?"
EN_BEFORE = (
    rf"\b{EN_DENIAL}:?(?:\s+{EN_SHOWS}s?(?!\s+(?:because|due|by)\b))?(?:\s+(?:{EN_FILLER}))*{EN_ALTERNATIVE}\s+$"
)
ZH_DENIAL = (
    "不是|并非|而非|不像|不属于|不太?可能|不大可能|不应|看似|貌似|误报|误判|(?<!无法)(?<!不能)(?<!难以)排除了?:?|"
    "没有|不存在|未见|未发现|未出现|无|非"
)
ZH_FILLER = r"(?:因为|由于|由|因|任何|发生|出现|存在|证据|迹象|表明|显示|说明|证明|归咎于|归因于|为|了|是|的|到|\s)*"
ZH_BEFORE = rf"(?:{ZH_DENIAL}){ZH_FILLER}$|(?:不是|并非|排除了?){ZH_FILLER}[^,。;!?]{{1,10}}(?:或者?|、)$"
DENIED_BEFORE = re.compile(f"{EN_BEFORE}|{ZH_BEFORE}")

EN_INNOCENT = r"(?:not|n't)\s+(?:the|an?|to blame|responsible|involved|related|at fault|likely)\b"
EN_DISMISSED = (
    r"(?:ruled out|excluded|unlikely|innocent|unrelated|irrelevant|an? (?:red herring|distraction|false alarm))\b"
)
EN_AFTER = (
    rf"(?:\s+(?!but|because|and|so)[\w\-]+){{0,2}}\s+(?:(?:is|was|are|were|has been|have been|can be|could be)"
    rf"(?:\s*{EN_INNOCENT}|\s+{EN_DISMISSED})|(?:cannot|can't|could not|does not|doesn't)\s+(?:be the|explain)\b)"
    r"|\s*[?:]\s*no\b|,?\s+but\s+(?:it|this|that)\s+(?:is|was)\s*(?:not|n't)(?=\s*(?:[.,;!]|$))"
)
ZH_AFTER = (
    "(?:本身|问题|故障)?(?:的(?:可能性?|嫌疑|迹象|假设))?(?:与此)?"
    "(?:无关|没有关系|并?不是|并非|不成立|也?(?:已被|已经|可以|已|可|被)?排除)"
)
DENIED_AFTER = re.compile(rf"^(?:{EN_AFTER}|\s*{ZH_AFTER})")

PLURAL, UNIT = "(?:s|es)?", "(?:ms?|s|min|mi?b?|%)?"


def words(text: str) -> list[re.Match[str]]:
    """The units in which answers and quotations are measured."""
    return list(WORD.finditer(text))


def normalise(text: str) -> str:
    """Full-width forms, case, emphasis and runs of spaces made alike."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.sub(r"[ \t*`_\"]+", " ", text)


def find(phrases: Iterable[str], text: str) -> Iterator[re.Match[str]]:
    """Where normalised `text` says one of `phrases` and means it."""
    for match in _pattern(tuple(phrases)).finditer(text):
        if not (DENIED_BEFORE.search(text, 0, match.start()) or DENIED_AFTER.search(text[match.end() :])):
            yield match


@lru_cache(maxsize=4096)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the phrases, the longest first."""
    return re.compile("|".join(_whole_words(phrase) for phrase in sorted(phrases, key=len, reverse=True)))


def _whole_words(phrase: str) -> str:
    """A plural s or a unit may follow; hyphens count as spaces, of which Chinese characters need none."""
    pattern = re.escape(normalise(phrase)).replace(r"\ ", " ")
    pattern = re.sub(rf"(?<={CJK}) | (?={CJK})", r"\\s*", pattern).replace(" ", r"[\s\-]+")
    start = r"(?<![a-z0-9])" if phrase[0].isascii() and phrase[0].isalnum() else ""
    ending = UNIT if phrase[-1].isdigit() else PLURAL
    end = rf"{ending}(?![a-z0-9])" if phrase[-1].isascii() and phrase[-1].isalnum() else ""
    return start + pattern + end
