"""A table as text, for every format, and the labels that tables share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from l2s.report.numbers.results import is_synthetic
from l2s.report.numbers.schema import Results
from l2s.report.text import formats
from l2s.report.text.strings import Text


class Cell(NamedTuple):
    """A value and, below it, its detail, such as an interval."""

    value: str
    detail: str = ""
    strong: bool = False


Cells = list[Cell | str]  # a row under construction; a bare string is a cell without detail


@dataclass(frozen=True)
class Table:
    """Rows of cells. The first column names the row, or the group of rows that share its value."""

    header: list[str]
    rows: list[list[Cell]]
    is_grouped: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there are no rows."""
        return not self.rows

    @property
    def groups(self) -> list[tuple[Cell, list[list[Cell]]]]:
        """First column -> rows without it."""
        return [
            (first, [row[1:] for row in rows]) for first, rows in itertools.groupby(self.rows, key=lambda row: row[0])
        ]


def make_table(header: Iterable[str], rows: Iterable[Cells], *, is_grouped: bool = False) -> Table:
    """A table whose bare strings become cells."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    return Table(list(header), cells, is_grouped)


def domain_label(results: Results, domain: str, text: Text) -> str:
    """The name of a domain, with its source if the meaning of a score depends on it."""
    name = text.domain(domain)
    return text("synthetic", domain=name) if is_synthetic(results["sources"], domain) else name


def bounds_text(bounds: list[float] | None, text: Text, digits: int = 1) -> str:
    """A signed interval in words; a dash where there is none."""
    if bounds is None:
        return formats.NONE
    return text("interval", low=formats.signed(bounds[0], digits), high=formats.signed(bounds[1], digits))
