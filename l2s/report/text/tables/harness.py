"""The table of lm-evaluation-harness."""

from __future__ import annotations

from l2s.report.numbers.schema import Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cells, Table, make_table

HARNESS_HEADER = ("Tasks", "Version", "Filter", "n-shot", "Metric", "Value", "Stderr")


DIRECTIONS = {True: " ↑", False: " ↓", None: ""}


def harness_table(results: Results, text: Text) -> Table:
    """The table of lm-evaluation-harness, with its columns and digits, one model after the other."""
    rows: list[Cells] = [
        [
            text(model),
            row["alias"],
            str(row["version"]),
            row["filter"],
            formats.NONE if row["num_fewshot"] is None else str(row["num_fewshot"]),
            row["metric"] + DIRECTIONS[row["higher_is_better"]],
            f"{row['value']:.4f}" if isinstance(row["value"], float) else str(row["value"]),
            formats.NONE if row["stderr"] is None else f"±{row['stderr']:.4f}",
        ]
        for model, found in results["lm_eval"].items()
        for row in found["rows"]
    ]
    return make_table([text("model"), *HARNESS_HEADER], rows, is_grouped=True)
