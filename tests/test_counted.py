"""Numbers with their nouns."""

from __future__ import annotations

import re
from pathlib import Path

import l2s
from l2s.counted import counted


def test_one_has_the_singular_and_thousands_are_separated() -> None:
    assert [counted(number, "answer") for number in (0, 1, 2, 1000)] == [
        "0 answers", "1 answer", "2 answers", "1,000 answers",
    ]  # fmt: skip
    assert (counted(1, "query", "queries"), counted(2, "query", "queries")) == ("1 query", "2 queries")


def test_no_message_leaves_the_plural_to_the_reader() -> None:
    left = re.compile(r"\} \w+\(s\)")
    sources = Path(l2s.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if left.search(path.read_text(encoding="utf-8"))] == []
