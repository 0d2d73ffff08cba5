"""The sentences of the reports in the language of the run."""

from __future__ import annotations

import re
import string
from typing import Any, Literal

from l2s.arms import MODELS
from l2s.report.text.chinese import CHINESE
from l2s.report.text.english import ENGLISH
from l2s.tasks.table import TASKS, names_of
from l2s.tasks.task import Names

Lang = Literal["en", "zh"]

BORDER = r"(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9%])(?=[\u4e00-\u9fff])"

TABLES: dict[Lang, dict[str, str]] = {
    "en": ENGLISH | {model.name: model.title for model in MODELS.values()},
    "zh": CHINESE | {model.name: model.title_zh for model in MODELS.values()},
}


class Sentence(string.Formatter):
    """Fills the blanks of a sentence; `{n:item|items}` is the word that goes with the number `n`."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        """The first of two words for 1, else the second; any other format as usual."""
        if "|" not in format_spec:
            return super().format_field(value, format_spec)
        one, many = format_spec.split("|")
        return one if str(value) == "1" else many


class Text:
    """The sentences of one language; call it with a key and the values of the blanks."""

    def __init__(self, lang: Lang) -> None:
        self.lang = lang
        self._table = TABLES[lang]

    def __call__(self, key: str, **values: object) -> str:
        """The sentence with its blanks filled."""
        return Sentence().vformat(self._table[key], (), values)

    def domain(self, domain: str) -> str:
        """The title of a domain."""
        return self.of(TASKS[domain].title) if domain in TASKS else domain

    def named(self, key: str) -> str:
        """What the domains call this metric, grader status, detail of a grade or control."""
        return self.of(names_of(key))

    def of(self, names: Names) -> str:
        """The one of two names that is in this language."""
        return names.zh if self.lang == "zh" else names.en

    def spaced(self, sentence: str) -> str:
        """`sentence` with the spaces that Chinese typography wants between Chinese and Latin characters."""
        return re.sub(BORDER, " ", sentence)
