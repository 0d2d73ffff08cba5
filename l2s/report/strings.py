"""Looks up the sentences of the reports in the language of the run."""

from __future__ import annotations

from typing import Literal

from l2s.report.chinese import CHINESE
from l2s.report.english import ENGLISH

Lang = Literal["en", "zh"]

TABLES: dict[Lang, dict[str, str]] = {"en": ENGLISH, "zh": CHINESE}


class Text:
    """The sentences of one language; called with a key and the values of its blanks."""

    def __init__(self, lang: Lang) -> None:
        self.lang = lang
        self._table = TABLES[lang]

    def __call__(self, key: str, **values: object) -> str:
        """The sentence with its blanks filled."""
        return self._table[key].format(**values)

    def known(self, key: str) -> str:
        """The translation of a name that may have none, such as a status of a grader."""
        return self._table.get(key, key)
