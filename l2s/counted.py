"""A number with its noun, for messages."""

from __future__ import annotations


def counted(number: int, noun: str, many: str | None = None) -> str:
    """`1 answer`, `2 answers`, `1,000 answers`; `many` is the plural where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"
