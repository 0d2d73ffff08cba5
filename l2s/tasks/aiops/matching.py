"""Finding a phrase in an answer: whole words, any case, and not where the answer denies it (denials.py)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

from l2s.tasks.aiops.causes import CAUSES, NO_FAULT
from l2s.tasks.aiops.denials import Span, is_denied, is_harmless, is_not_seen
from l2s.tasks.aiops.suppositions import is_supposed
from l2s.tasks.chat_answer import DASHES
from l2s.tasks.chinese import simplified

CJK = "[\u3400-\u9fff]"
WORD = re.compile(rf"{CJK}|[^\s\u3400-\u9fff]+")  # a Chinese character, or a run of others without spaces
PLURAL, UNIT = "(?:s|es)?", "(?:ms?|s|min|mi?b?|%)?"
# A choice of a part takes other endings: "fill", "fill up", "old version".
PARTICLE = "up|out|down|off|over|away"
INFLECTED = re.compile(rf"((?:.*[ -])?(?!(?:{PARTICLE})$)[a-z]{{3,}}(?<!ing)(?<![a-df-z]ed))( (?:{PARTICLE}))?")
FORMS = {"e": "(?:e[sd]?|ing)", "y": "(?:y|ies|ied|ying)"}

# "[full/failing] disk" stands for "full disk" and "failing disk".
CHOICE = re.compile(r"\[(.*?)\]")
# `~` stands for the words that may separate a thing from its state: "disk /data1 on web-1 is full".
NAME = r"(?=[^\s,;!?]*[0-9/._\-])[^\s,;:!?.]+(?:[.:][^\s,;:!?.]+)*"
COPULA = (
    "is|are|was|were|has|have|had|be|been|being|became|gets?|got|now|already|almost|nearly|completely|fully|entirely|"
    "totally|currently|just|too|very|itself|all|its|their|any|available|on|of|at|in|for|to|by|from|the|an?|this|that|"
    "server|service|host|node|process|resolver|named|called|mounted|volume"
)
ZH_NAME = r"\s*(?<![a-z0-9/.:\-])[a-z0-9/](?:[a-z0-9/.:\-]*[a-z0-9])?(?![a-z0-9/\-])\s*"
ZH_COPULA = "的|已经?|了|发生|出现|上|被|将|即|在|中|完全|全部|快|要|达到|到|服务器?|解析器?|查询|本身|数|表"
# `…` stands for up to three words that neither deny nor begin a new clause: "raise the nofile limit".
TURN = r"not|never|no|nor|neither|without|cannot|\w+n't|but|because|and|or|so|while|which"
GAPS = {
    "~": (rf"(?:\s+(?:(?:{COPULA})(?![^\s])|{NAME})){{0,5}}[\s\-]+", rf"(?:{ZH_NAME}|{ZH_COPULA}|\s){{0,6}}"),
    "…": (
        rf"(?:\s+(?!(?:{TURN})\b)[^\s.,;:!?。、]+){{0,3}}[\s\-]+",
        rf"(?:{ZH_NAME}|(?![不未没无非勿]){CJK}|\s){{0,6}}",
    ),
}
GAP = re.compile(r"\s*([~…])\s*")
# `;` at an end of a phrase: a clause begins or ends there.
CLAUSE_START = r"(?:(?<=^)|(?<=[.,;!?。(\n])|(?<=[.,;!?。(\n]\s))"
CLAUSE_END = r"(?=\s*(?:[.,;:!?。()]|$|and\b|but\b))"
# `&` stands between parts that occur in one clause, in any order, no further apart than this many words: a Chinese
# character counts as half a word. What stands between them must not deny one of them.
TOGETHER = " & "
REACH = 14
CLAUSE = re.compile(r"(?:[^.,;!?。\n]|\.(?=\S)|,(?=\d))+")
DENIES = re.compile(r"\b(?:not|never|no|nor|neither|without|cannot)\b|n't\b|不是|并非|[不没未无]")


@dataclass(frozen=True)
class Phrase:
    """A phrase of a key, ready to be looked for.

    Most are not there, which `parts` tell without the pattern: of each, one choice must be part of the text without
    spaces and hyphens. A phrase of parts that stand `together` has no pattern of its own.
    """

    pattern: str
    parts: tuple[tuple[str, ...], ...]
    together: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Part:
    """One of several parts that must occur together: the patterns of its choices, by what a text must hold for them."""

    choices: tuple[tuple[str, str], ...]

    def places(self, text: str) -> list[Span]:
        """The places where `text` has one of the choices."""
        squeezed = _squeezed(text)
        held = [pattern for needed, pattern in self.choices if needed in squeezed]
        return [span for pattern in held for span in _spans(pattern, text)]


def words(text: str) -> list[re.Match[str]]:
    """The units in which answers and quotations are measured."""
    return list(WORD.finditer(text))


def normalise(text: str) -> str:
    """`text` with full-width forms, case, dashes, short forms of "not", emphasis, runs of spaces and "5 %" unified.

    Chinese is in simplified characters.
    """
    text = simplified(unicodedata.normalize("NFKC", text)).casefold().replace("’", "'").translate(DASHES)
    text = re.sub(r"n't\b", " not", text.replace("can't", "cannot").replace("won't", "will not"))
    return re.sub(r"[ \t*`_\"]+", " ", text).replace(" %", "%")


def find(phrases: Iterable[str], text: str) -> list[Span]:
    """The places where normalised `text` says one of `phrases` without denying it."""
    spans = occurrences(phrases, text)
    listed = _listed(text) if spans else []
    return [span for span in spans if not is_denied(text, span, listed)]


@lru_cache(maxsize=256)
def named_causes(text: str) -> dict[str, list[Span]]:
    """Every cause that normalised `text` names without denying it or calling it harmless, and where."""
    listed = _listed(text)
    means = {
        cause: stated(text, [span for span in spans if not is_denied(text, span, listed)])
        for cause, spans in _mentions(text).items()
    }
    harmful = {cause: [span for span in spans if not is_harmless(text, span)] for cause, spans in means.items()}
    return {cause: spans for cause, spans in harmful.items() if spans}


def stated(text: str, spans: Iterable[Span]) -> list[Span]:
    """Of the places where normalised `text` mentions a cause, those that neither suppose it nor say it is not there."""
    return [span for span in spans if not is_not_seen(text, span) and not is_supposed(text, span)]


def _listed(text: str) -> list[Span]:
    """The places where `text` mentions causes, denied ones included: a list of causes is denied as a whole."""
    return [span for cause, spans in _mentions(text).items() if cause != NO_FAULT for span in spans]


@lru_cache(maxsize=256)
def _mentions(text: str) -> dict[str, list[Span]]:
    found = {cause: occurrences(phrases.all, text) for cause, phrases in CAUSES.items()}
    return {cause: spans for cause, spans in found.items() if spans}


def occurrences(phrases: Iterable[str], text: str) -> list[Span]:
    """The places where normalised `text` holds one of `phrases`, denied or not; the longest at each place."""
    squeezed = _squeezed(text)
    found: list[Span] = []
    for phrase in map(_prepared, phrases):
        if _may_stand_in(squeezed, phrase):
            found += _together(phrase.together, text) if phrase.together else _spans(phrase.pattern, text)
    spans: list[Span] = []
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if not spans or start >= spans[-1][1]:
            spans.append((start, end))
    return spans


def _may_stand_in(squeezed: str, phrase: Phrase) -> bool:
    """Whether each part of the phrase has a choice in the text without spaces and hyphens."""
    for part in phrase.parts:  # loops, because the controls took twice as long with any and all
        for choice in part:
            if choice in squeezed:
                break
        else:
            return False
    return True


@lru_cache(maxsize=2**14)
def _spans(pattern: str, text: str) -> list[Span]:
    return [match.span() for match in _compiled(pattern).finditer(text)]


def _together(parts: tuple[Part, ...], text: str) -> list[Span]:
    """The places where a clause of `text` has all `parts`, from the start of the first to the end of the last."""
    places = []
    for part in parts:
        places.append(part.places(text))
        if not places[-1]:
            return []
    found = []
    for start, end in _clauses(text):
        inside = [[span for span in spans if start <= span[0] and span[1] <= end] for spans in places]
        found += [(min(spans)[0], max(spans)[1]) for spans in product(*inside) if _belong_together(sorted(spans), text)]
    return found


@lru_cache(maxsize=256)
def _clauses(text: str) -> list[Span]:
    return [match.span() for match in CLAUSE.finditer(text)]


def _belong_together(spans: list[Span], text: str) -> bool:
    """Whether parts, in order, neither overlap nor are far apart, and nothing between them denies one."""
    gaps = [(before[1], after[0]) for before, after in pairwise(spans)]
    if any(start > end or DENIES.search(text, start, end) for start, end in gaps):
        return False
    return length(text[spans[0][0] : spans[-1][1]]) <= REACH


def length(text: str) -> float:
    """Number of words; a Chinese character counts as half a word."""
    return sum(0.5 if "\u3400" <= word.group() <= "\u9fff" else 1 for word in words(text))


@lru_cache(maxsize=256)
def _squeezed(text: str) -> str:
    return re.sub(r"[\s\-]+", "", text)


@lru_cache(maxsize=2**16)
def _prepared(phrase: str) -> Phrase:
    if TOGETHER in phrase:
        together = tuple(_part(piece) for piece in phrase.split(TOGETHER))
        return Phrase("", tuple(tuple(needed for needed, _ in part.choices) for part in together), together)
    pieces = GAP.split(phrase.strip(";"))
    is_chinese = re.search(CJK, phrase) is not None
    pattern = "".join(GAPS[piece][is_chinese] if index % 2 else _any_of(piece) for index, piece in enumerate(pieces))
    parts = [choices for piece in pieces[::2] for choices in _choices(normalise(piece))]
    start = CLAUSE_START if phrase.startswith(";") else ""
    end = CLAUSE_END if phrase.endswith(";") else ""
    return Phrase(start + pattern + end, tuple(tuple(map(_squeezed, choices)) for choices in parts))


def _part(text: str) -> Part:
    """A part from one choice of words, or from a pattern with gaps, for which a text need not hold anything."""
    if GAP.search(text):
        return Part((("", _prepared(text).pattern),))
    said = ["".join(pieces) for pieces in product(*_choices(normalise(text)))]
    return Part(tuple(_inflected(one) for one in said))


def _inflected(text: str) -> tuple[str, str]:
    """The stem that a text must hold, and a pattern for any form: "fill up", "fills up", "filled up", "filling up"."""
    match = INFLECTED.fullmatch(text)
    if match is None:
        return _squeezed(text), _whole_words(text)
    verb, particle = match[1], match[2] or ""
    stem, forms = (verb[:-1], FORMS[verb[-1]]) if verb[-1] in FORMS else (verb, f"(?:e?s|{verb[-1]}?(?:ed|ing))?")
    return _squeezed(stem), _whole_words(stem, forms) + particle.replace(" ", r"[\s\-]+")


def _choices(text: str) -> list[list[str]]:
    """The parts of `text` in order, each with its choices."""
    pieces = enumerate(CHOICE.split(text))
    return [piece.split("/") if index % 2 else [piece] for index, piece in pieces if piece]


def _any_of(text: str) -> str:
    """A pattern for every reading of `text`, the longest first."""
    said = sorted(("".join(parts) for parts in product(*_choices(normalise(text)))), key=len, reverse=True)
    return f"(?:{'|'.join(map(_whole_words, said))})"


@lru_cache(maxsize=2**14)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _whole_words(text: str, ending: str = "") -> str:
    """A pattern of whole words. Hyphens count as spaces; Chinese needs no spaces.

    `ending` may follow, or a plural s or a unit without it.
    """
    pattern = re.escape(text).replace(r"\ ", " ")
    pattern = re.sub(rf"(?<={CJK}) | (?={CJK})", r"\\s*", pattern).replace(" ", r"[\s\-]+")
    start = r"(?<![a-z0-9])" if text[0].isascii() and text[0].isalnum() else ""
    ending = ending or (UNIT if text[-1].isdigit() else PLURAL)
    end = rf"{ending}(?![a-z0-9])" if text[-1].isascii() and text[-1].isalnum() else ""
    return start + pattern + end
