"""A stage's warnings as keys and values. l2s.report.text.warnings puts them into words, in English or Chinese."""

from __future__ import annotations

from typing import TypedDict

Value = str | int | float | list[str] | list[dict[str, str | int]]


class Warned(TypedDict):
    """One warning. `key` names a sentence of the reports without its `warn_`; `values` are its blanks, unformatted."""

    key: str
    values: dict[str, Value]


def warned(key: str, **values: Value) -> Warned:
    """A warning for the `warnings` in a stage's metrics."""
    return {"key": key, "values": values}
