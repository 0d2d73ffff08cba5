"""The table of an arm's scores over the seeds of its training."""

from __future__ import annotations

from l2s.report.numbers.schema import Results, SeedSpread
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cell, Cells, Table, bounds_text, domain_label, make_table

HEADER = ("domain", "model", "seeds_used", "seed_mean", "seed_sd", "seed_range", "item_ci95", "over_base")


def seed_table(results: Results, text: Text) -> Table:
    """Mean, standard deviation and range over seeds, the interval over items, and the difference from the base."""
    rows: list[Cells] = [
        [
            domain_label(results, spread["domain"], text),
            text(spread["model"]),
            ", ".join(map(str, spread["seeds"])),
            formats.percent(spread["mean"]),
            f"{spread['sd'] * 100:.1f}",
            formats.percent_bounds([spread["low"], spread["high"]]),
            formats.percent_bounds(spread["ci95"]),
            _over_base(spread, text),
        ]
        for spread in results["seeds"]
    ]
    return make_table([text(name) for name in HEADER], rows, is_grouped=True)


def _over_base(spread: SeedSpread, text: Text) -> Cell:
    if spread["difference"] is None or spread["difference_ci95"] is None:
        return Cell(formats.NONE)
    low, high = spread["difference_ci95"]
    bounds = bounds_text([100 * low, 100 * high], text)
    return Cell(formats.points(spread["difference"]), bounds, strong=low > 0 or high < 0)


def seed_lines(results: Results, text: Text) -> list[str]:
    """The same as one sentence for each domain and arm."""
    return [
        text.spaced(
            text(
                "say_seeds",
                domain=domain_label(results, spread["domain"], text),
                model=text(spread["model"]),
                seeds=", ".join(map(str, spread["seeds"])),
                mean=formats.percent(spread["mean"]),
                sd=f"{spread['sd'] * 100:.1f}",
                low=formats.percent(spread["low"]),
                high=formats.percent(spread["high"]),
            )
            + _sentence_of_difference(spread, text)
        )
        for spread in results["seeds"]
    ]


def _sentence_of_difference(spread: SeedSpread, text: Text) -> str:
    cell = _over_base(spread, text)
    return text("say_seeds_base", difference=cell.value, bounds=cell.detail) if cell.detail else ""
