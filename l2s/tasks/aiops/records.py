"""What a fault family is made of. The tables in families/ are written with the short constructors below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
Split = Literal["train", "eval"]
Role = Literal["cause", "component", "evidence", "remediation"]


@dataclass(frozen=True)
class Phrases:
    """Ways to say one thing; the first of each language is the one a reference answer uses.

    May hold {slots}, and all but the first also `[a/b]`, `~`, `…` and `;`, to which matching.py gives a meaning.
    """

    en: tuple[str, ...]
    zh: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """The phrases of both languages: an answer may use either."""
        return self.en + self.zh

    def preferred(self, language: Language) -> str:
        """The wording of the reference answer."""
        return self.en[0] if language == "en" else self.zh[0]


def say(en: str, zh: str) -> Phrases:
    """Phrases from two lists separated by `|`."""
    return Phrases(tuple(en.split("|")), tuple(zh.split("|")))


@dataclass(frozen=True)
class Line:
    """A log entry before its time, host and numbers are filled in. `text` may span several lines (stack traces)."""

    level: Literal["info", "warn", "error"]
    source: str  # process, service, logger, object or client address, by style
    text: str
    after: str = ""  # "{minutes} min" or "{pause} s" that pass before the entry, which tells of a time that long


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
        cause: key into CAUSES. No phrase of it stands in any log.
        component: what is at fault, by a name drawn for each item.
        evidence: one or two things in the log that point to the cause.
        clues: entries that show the cause, all of them in every log, in this order.
        symptoms: entries that show its effects; a log has a choice of them.
        eval_only: in evaluation items alone, never in training.
        also: more wordings of the cause that blame nothing in logs of other styles: those with the component's name,
            and those that there may name an effect.
        may_mention: keys of CAUSES that a right answer may name as an effect, in other words for the cause, or as part
            of the remedy. Naming any other cause scores 0.
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
    """A warning that means no fault: the right answer to a healthy log names it."""

    name: Phrases
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class RedHerring:
    """The loudest entries of a misleading log: an unrelated trouble that its last entry shows to be over."""

    blames: str  # key of CAUSES that it suggests
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Style:
    """A kind of log: the format of its entries, the entries of a healthy system, and the faults that it can show."""

    name: str
    title: Phrases
    max_lines: int  # keeps prompts of wordy styles near 1,200 tokens
    background: tuple[Line, ...]
    harmless: tuple[Harmless, ...]
    red_herrings: tuple[RedHerring, ...]
    families: Sequence[Family]
