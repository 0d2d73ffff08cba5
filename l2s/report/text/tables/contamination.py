"""The tables of evaluation items that occur in the training data."""

from __future__ import annotations

from l2s.report.numbers.schema import Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cells, Table, domain_label, make_table

SHOWN_LEAKS = 20


def contamination_table(results: Results, text: Text) -> Table:
    """Evaluation items found again in the training data."""
    rows: list[Cells] = [
        [
            domain_label(results, domain, text),
            formats.count(found["train_items"]),
            formats.count(found["eval_items"]),
            formats.count(len(found["duplicates"])),
            formats.count(len(found["ngram_overlaps"])),
        ]
        for domain, found in results["contamination"].items()
    ]
    header = ("domain", "train_items", "eval_items", "duplicates", "ngram_overlaps")
    return make_table([text(name) for name in header], rows)


def leak_table(results: Results, text: Text) -> Table:
    """The affected items, most affected first; results.json has all of them."""
    leaks = [leak for found in results["contamination"].values() for leak in found["duplicates"]]
    leaks += [leak for found in results["contamination"].values() for leak in found["ngram_overlaps"]]
    leaks.sort(key=lambda leak: -leak["share"])
    rows: list[Cells] = [
        [leak["eval_id"], leak["train_id"], formats.percent(leak["share"], 0), leak["ngram"] or text("whole_problem")]
        for leak in leaks[:SHOWN_LEAKS]
    ]
    return make_table([text(name) for name in ("eval_item", "train_item", "share", "shared_text")], rows)
