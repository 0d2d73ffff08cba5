"""The tables of fidelity to the teacher."""

from __future__ import annotations

from l2s.report.numbers.results import shown_domains
from l2s.report.numbers.schema import Contrast, Fidelity, Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.contrasts import contrast_name, is_detectable
from l2s.report.text.tables.table import Cell, Cells, Table, bounds_text, domain_label, make_table

FIDELITY_HEADER = ("model", "mean_kl", "top1_agreement", "perplexity", "answers", "tokens")


def fidelity_table(results: Results, text: Text) -> Table:
    """Mean KL, top-1 agreement and perplexity over all domains."""
    rows: list[Cells] = [[text(model), *_fidelity_cells(found)] for model, found in results["fidelity"].items()]
    return make_table([text(name) for name in FIDELITY_HEADER], rows)


def domain_fidelity_table(results: Results, text: Text) -> Table:
    """The same by domain."""
    rows: list[Cells] = [
        [domain_label(results, domain, text), text(model), *_fidelity_cells(overall["domains"][domain])]
        for domain in shown_domains(results)
        for model, overall in results["fidelity"].items()
        if domain in overall.get("domains", {})
    ]
    return make_table([text(name) for name in ("domain", *FIDELITY_HEADER)], rows, is_grouped=True)


def kl_cell(measured: Fidelity | None) -> Cell:
    """Mean KL with its interval; the teacher's own is 0 by definition and has none."""
    if measured is None:
        return Cell(formats.NONE)
    bounds = measured["ci95"]
    return Cell(formats.nats(measured["mean_kl"]), _plain_bounds(bounds and bounds["mean_kl"]))


def _fidelity_cells(measured: Fidelity) -> list[Cell]:
    bounds = measured["ci95"]
    return [
        kl_cell(measured),
        Cell(formats.percent(measured["top1_agreement"]), _percent_bounds(bounds and bounds["top1_agreement"])),
        Cell(formats.nats(measured["perplexity"]), _plain_bounds(bounds and bounds["perplexity"])),
        Cell(formats.count(measured["n"])),
        Cell(formats.count(measured["num_tokens"])),
    ]


def _percent_bounds(bounds: list[float] | None) -> str:
    return formats.percent_bounds(bounds) if bounds and bounds[0] < bounds[1] else ""


def _plain_bounds(bounds: list[float] | None) -> str:
    return f"{formats.nats(bounds[0])}–{formats.nats(bounds[1])}" if bounds and bounds[0] < bounds[1] else ""


def fidelity_contrast_table(results: Results, text: Text) -> Table:
    """Differences of mean KL in nats a token."""
    rows: list[Cells] = [
        [
            contrast_name(contrast, text),
            Cell(formats.signed(contrast["difference"], 4), strong=is_detectable(contrast)),
            bounds_text(contrast["ci95"], text, 4),
            formats.p_value(contrast["p_holm"]),
            formats.count(contrast["n"]),
            formats.NONE if (least := contrast["minimum_detectable_difference"]) is None else f"±{least:.4f}",
            _closeness(contrast, text),
        ]
        for contrast in results["fidelity_comparisons"]
    ]
    header = ("contrast", "difference", "ci95", "p_holm", "answers", "detectable", "conclusion")
    return make_table([text(name) for name in header], rows)


def _closeness(contrast: Contrast, text: Text) -> str:
    return text({"lower": "closer", "higher": "farther"}.get(contrast["verdict"], contrast["verdict"]))
