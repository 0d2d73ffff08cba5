"""The records of a fault family. The tables in families/ are written with the short constructors below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
Split = Literal["train", "eval"]
Role = Literal["cause", "component", "evidence", "remediation"]


@dataclass(frozen=True)
class Phrases:
    """Ways to say one thing; the first of each language is used in the reference answer.

    They may hold {slots}. All but the first may also hold `[a/b]`, `~`, `…` and `;`, which matching.py explains.
    """

    en: tuple[str, ...]
    zh: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """The phrases of both languages; an answer may use either."""
        return self.en + self.zh

    def preferred(self, language: Language) -> str:
        """The wording of the reference answer."""
        return self.en[0] if language == "en" else self.zh[0]


def say(en: str, zh: str) -> Phrases:
    """Phrases from two lists separated by `|`."""
    return Phrases(tuple(en.split("|")), tuple(zh.split("|")))


@dataclass(frozen=True)
class Line:
    """A log entry without its time, host and numbers. `text` may span several lines (stack traces)."""

    level: Literal["info", "warn", "error"]
    source: str  # depends on the style: process, service, logger, object or client address
    text: str
    after: str = ""  # "{minutes} min" or "{pause} s": the time before the entry, if it states one


def info(source: str, text: str, *, after: str = "") -> Line:
    """An ordinary entry."""
    return Line("info", source, text, after)


def warn(source: str, text: str, *, after: str = "") -> Line:
    """An entry of level warning."""
    return Line("warn", source, text, after)


def error(source: str, text: str, *, after: str = "") -> Line:
    """An entry of level error."""
    return Line("error", source, text, after)


@dataclass(frozen=True)
class Family:
    """One kind of fault.

    Attributes:
        cause: key into CAUSES. No log holds a phrase of it.
        component: what is at fault, under a name drawn for each item.
        evidence: one or two things in the log that point to the cause.
        clues: entries that show the cause; every log has all of them, in this order.
        symptoms: entries that show its effects; a log has some of them.
        eval_only: occurs in evaluation items only.
        also: more wordings of the cause that blame nothing in logs of other styles: those with the component's name,
            and those that may name an effect there.
        may_mention: keys of CAUSES that a right answer may name as an effect, as other words for the cause, or in the
            remedy. Naming any other cause scores 0.
    """

    cause: str
    component: Phrases
    evidence: tuple[Phrases, ...]
    remediation: Phrases
    clues: tuple[Line, ...]
    symptoms: tuple[Line, ...]
    eval_only: bool = False
    also: Phrases = Phrases((), ())
    may_mention: tuple[str, ...] = ()


@dataclass(frozen=True)
class Harmless:
    """A warning without a fault; the right answer to a healthy log names it."""

    name: Phrases
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class RedHerring:
    """The most severe entries of a misleading log: an unrelated problem that is over, as its last entry shows."""

    blames: str  # key of the suggested cause in CAUSES
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Style:
    """A kind of log: the format of its entries, the entries of a healthy system, and its possible faults."""

    name: str
    title: Phrases
    max_lines: int  # keeps prompts of wordy styles near 1,200 tokens
    background: tuple[Line, ...]
    harmless: tuple[Harmless, ...]
    red_herrings: tuple[RedHerring, ...]
    families: Sequence[Family]
