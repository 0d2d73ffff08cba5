"""The tables of differences between models, and of the share of the gap to the teacher that was recovered."""

from __future__ import annotations

from l2s.report.numbers.schema import Contrast, Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cell, Cells, Table, bounds_text, domain_label, make_table

CONTRAST_HEADER = ("domain", "contrast", "difference", "ci95", "p_holm", "wins_losses", "detectable", "conclusion")


def contrast_table(results: Results, text: Text) -> Table:
    """Differences of scores in percentage points."""
    rows: list[Cells] = [
        [
            domain_label(results, contrast["domain"], text),
            contrast_name(contrast, text),
            *contrast_cells(contrast, text),
        ]
        for contrast in results["comparisons"]
    ]
    return make_table([text(name) for name in CONTRAST_HEADER], rows, is_grouped=True)


def contrast_cells(contrast: Contrast, text: Text) -> list[Cell]:
    """Difference, interval, p-value, wins and losses, smallest detectable difference, conclusion."""
    least, bounds = contrast["minimum_detectable_difference"], contrast["ci95"]
    return [
        Cell(formats.points(contrast["difference"]), strong=is_detectable(contrast)),
        Cell(bounds_text(bounds and [bound * 100 for bound in bounds], text)),
        Cell(formats.p_value(contrast["p_holm"])),
        Cell(f"{contrast['wins']} / {contrast['losses']}"),
        Cell(formats.NONE if least is None else f"±{least * 100:.1f}"),
        Cell(text(contrast["verdict"])),
    ]


def is_detectable(contrast: Contrast) -> bool:
    """Whether the difference may be called one."""
    return contrast["verdict"] != "no detectable difference"


def contrast_name(contrast: Contrast, text: Text) -> str:
    """Such as `KD − SFT`."""
    return f"{text(contrast['model'])} {formats.MINUS} {text(contrast['reference'])}"


def gap_table(results: Results, text: Text) -> Table:
    """Share of the teacher's lead that each student recovered."""
    rows: list[Cells] = [
        [
            domain_label(results, gap["domain"], text),
            text(gap["model"]),
            text("withheld") if gap["recovered"] is None else formats.percent(gap["recovered"], 0),
            formats.NONE if gap["ci95"] is None else f"{bounds_text([100 * b for b in gap['ci95']], text, 0)} %",
            Cell(formats.points(gap["teacher_lead"]), bounds_text([100 * b for b in gap["teacher_lead_ci95"]], text)),
        ]
        for gap in results["gap_recovered"]
    ]
    header = ("domain", "model", "recovered", "ci95", "teacher_lead")
    return make_table([text(name) for name in header], rows, is_grouped=True)
