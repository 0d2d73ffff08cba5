"""The figures: one small panel in each file, so that a page can arrange them in rows or columns."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2s.arms import ARMS, BASE, MODELS, TEACHER
from l2s.report.numbers.results import shown_domains
from l2s.report.numbers.schema import Bounds, Contrast, DomainResult, Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.contrasts import contrast_name, is_detectable
from l2s.report.text.tables.scores import metric_label
from l2s.report.text.tables.table import domain_label
from l2s.report.text.tables.training import held_out_answers

INK, MUTED, GRID, PAPER = "#1c2430", "#5f6b7a", "#d9dee6", "#ffffff"
LINES = {"loss": "#1c2430", "ce": "#2f6fde", "divergence": "#d9730d"}
STYLE: dict[Any, Any] = {  # matplotlib declares the keys as literals
    "svg.fonttype": "none",  # text stays text: searchable, and drawn in the reader's font, also in Chinese
    "svg.hashsalt": "l2s",  # the same results give the same bytes
    "font.size": 11,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
WIDTH = 4.3  # inches; about the width of a phone, where text keeps its size


def draw_plots(results: Results, text: Text) -> dict[str, str]:
    """Name -> SVG of every figure that the results allow."""
    drawings: dict[str, Callable[[], Figure]] = {}
    for domain in shown_domains(results):
        if _graded(results, domain):
            drawings[f"scores_{domain}"] = partial(_scores, results, domain, text)
        if any(contrast["domain"] == domain for contrast in results["comparisons"]):
            drawings[f"contrasts_{domain}"] = partial(_contrasts, results, domain, text)
    if results["fidelity"].keys() - {"teacher"}:
        drawings["fidelity_kl"] = partial(_fidelity_kl, results, text)
        drawings["fidelity_top1"] = partial(_fidelity_top1, results, text)
    for arm, steps in results["curves"].items():
        drawings[f"curve_{arm}"] = partial(_curve, arm, steps, text("training_loss"), text)
        if arm in results["heldout_curves"]:
            held_out, number = results["heldout_curves"][arm], held_out_answers(results, arm)
            title = text("heldout_loss", n=formats.count(number))
            drawings[f"curve_{arm}_heldout"] = partial(_curve, arm, held_out, title, text, marker="o")
    with mpl.rc_context(STYLE):
        return {name: _svg(draw()) for name, draw in drawings.items()}


def _graded(results: Results, domain: str) -> dict[str, DomainResult]:
    """The results of each model on a domain, if it has scores."""
    found = {model: evaluation["domain_results"].get(domain) for model, evaluation in results["evaluation"].items()}
    return {model: result for model, result in found.items() if result and result["main_metric"] is not None}


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The bundled font has no Chinese glyphs; it only measures the text, which the reader's font draws.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _panel(title: str, subtitle: str, rows: int) -> tuple[Figure, Axes]:
    """A panel of horizontal rows under a title."""
    figure = Figure(figsize=(WIDTH, 0.95 + 0.36 * rows), layout="constrained", facecolor=PAPER)
    axes = figure.add_subplot()
    axes.set_facecolor(PAPER)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=12, pad=20 if subtitle else 6)
    axes.annotate(subtitle, (0, 1), (0, 6), "axes fraction", "offset points", color=MUTED)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _dots(
    axes: Axes, names: Sequence[str], values: Sequence[float], bounds: Sequence[Bounds], colours: Sequence[str]
) -> None:
    """A dot with its interval in each row, first row at the top; an interval may be empty."""
    for row, (value, interval, colour) in enumerate(zip(values, bounds, colours, strict=True)):
        axes.plot(interval, [row] * len(interval), color=colour, linewidth=3, alpha=0.4, solid_capstyle="round")
        axes.plot([value], [row], "o", color=colour, markersize=7, clip_on=False)  # whole at 0 and at 100 as well
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _labels(axes: Axes, labels: Sequence[str]) -> None:
    """The values in a column at the right edge."""
    for row, label in enumerate(labels):
        axes.text(1.02, row, label, transform=axes.get_yaxis_transform(), va="center", color=INK)


def _scores(results: Results, domain: str, text: Text) -> Figure:
    found = _graded(results, domain)
    first = next(iter(found.values()))
    subtitle = metric_label(first["metric"], first["n"], text)
    figure, axes = _panel(domain_label(results, domain, text), subtitle, len(found))
    values = [100 * (result["main_metric"] or 0.0) for result in found.values()]
    bounds = [[100 * bound for bound in result["ci95"] or ()] for result in found.values()]
    _dots(axes, [text(model) for model in found], values, bounds, [MODELS[model].colour for model in found])
    _labels(axes, [f"{value:.1f}%" for value in values])
    axes.set_xlim(0, 100)
    return figure


def _contrasts(results: Results, domain: str, text: Text) -> Figure:
    found = [contrast for contrast in results["comparisons"] if contrast["domain"] == domain]
    figure, axes = _panel(domain_label(results, domain, text), text("points_axis"), len(found))
    axes.axvline(0, color=MUTED, linewidth=1)
    values = [100 * contrast["difference"] for contrast in found]
    bounds = [[100 * bound for bound in contrast["ci95"] or ()] for contrast in found]
    colours = [_contrast_colour(contrast) for contrast in found]
    _dots(axes, [contrast_name(contrast, text) for contrast in found], values, bounds, colours)
    _labels(axes, [formats.signed(value) for value in values])
    reach = max([10.0, *(abs(bound) for low_high in bounds for bound in low_high)]) * 1.08
    axes.set_xlim(-reach, reach)
    return figure


def _contrast_colour(contrast: Contrast) -> str:
    """Grey if the difference is not detectable, else the model's colour."""
    return MODELS[contrast["model"]].colour if is_detectable(contrast) else MODELS[BASE].colour


def _fidelity_kl(results: Results, text: Text) -> Figure:
    """Mean KL of each student; the teacher is at 0 by definition and is left out."""
    found = {model: measured for model, measured in results["fidelity"].items() if model != TEACHER}
    figure, axes = _panel(text("mean_kl"), text("nats_axis"), len(found))
    values = [measured["mean_kl"] for measured in found.values()]
    bounds = [measured["ci95"]["mean_kl"] if measured["ci95"] else [] for measured in found.values()]
    _dots(axes, [text(model) for model in found], values, bounds, [MODELS[model].colour for model in found])
    _labels(axes, [formats.nats(value) for value in values])
    axes.set_xlim(left=0)
    return figure


def _fidelity_top1(results: Results, text: Text) -> Figure:
    found = {model: measured for model, measured in results["fidelity"].items() if model != TEACHER}
    figure, axes = _panel(text("top1_agreement"), text("percent_axis"), len(found))
    values = [100 * measured["top1_agreement"] for measured in found.values()]
    intervals = [measured["ci95"]["top1_agreement"] if measured["ci95"] else [] for measured in found.values()]
    bounds = [[100 * bound for bound in interval] for interval in intervals]
    _dots(axes, [text(model) for model in found], values, bounds, [MODELS[model].colour for model in found])
    _labels(axes, [f"{value:.1f}%" for value in values])
    axes.set_xlim(right=100)
    return figure


def _curve(arm: str, steps: list[dict[str, float]], subtitle: str, text: Text, *, marker: str = "") -> Figure:
    """Loss by step; for KD also its two terms. SFT and OPD have one term only."""
    figure, axes = _panel(ARMS[arm].title, subtitle, 5)
    names = [name for name in LINES if len({step.get(name) for step in steps} - {None, 0.0}) > 0]
    if not ARMS[arm].learns_from_teacher:
        names = [name for name in names if name == "loss"]
    for name in names:
        points = [(step["step"], step[name]) for step in steps if name in step]
        axes.plot(*zip(*points, strict=True), color=LINES[name], linewidth=1.8, label=text(name), marker=marker, ms=4)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(axis="y", labelcolor=MUTED)
    axes.set_xlabel(text("step"))
    axes.update_datalim([(steps[0]["step"], 0)])  # so that the margin above a flat curve is a share of its height
    axes.autoscale_view()
    axes.set_ylim(bottom=0)
    if len(names) > 1:
        # inside, it hides curves
        figure.legend(loc="outside lower center", ncols=len(names), frameon=False, fontsize=10)
    return figure
