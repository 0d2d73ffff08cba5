"""The table of what on-policy distillation showed over its updates."""

from __future__ import annotations

from collections.abc import Callable

from l2s.report.numbers.schema import Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cells, Table, make_table

FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {  # figure -> its name and format
    "truncated": ("opd_truncated", formats.percent),
    "mean_length": ("opd_mean_length", formats.count),
    "ended": ("opd_ended", formats.percent),
    "top_k_overlap": ("opd_top_k_overlap", formats.percent),
    "reverse_kl": ("opd_reverse_kl", formats.nats),
    "entropy": ("opd_entropy", formats.nats),
    "grad_norm": ("opd_grad_norm", formats.nats),
}
HEADER = ("opd_figure", "opd_sampled", "opd_first", "opd_last", "opd_low", "opd_high")


def opd_table(results: Results, text: Text) -> Table:
    """Each figure before training, in the first and last updates, and its extremes."""
    rows: list[Cells] = []
    for row in results["opd_health"]:
        name, show = FIGURES[row["figure"]]
        before = row["sampled_before"]
        values = [row["first"], row["last"], row["low"], row["high"]]
        rows.append([text(name), formats.NONE if before is None else show(before), *map(show, values)])
    return make_table([text(name) for name in HEADER], rows)
