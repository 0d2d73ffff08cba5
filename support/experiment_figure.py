"""The figure of docs/RESULTS.md, from the archived experiments alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2s.arms import BASE, MODELS, TEACHER
from l2s.report.page.plots import GRID, INK, MUTED, PAPER, STYLE
from support.experiment_kept import HALF, PROGRAMS, PROGRAMS_HALF, WHOLE, Kept, titled
from support.experiment_page import headline

Shown = Sequence[tuple[Kept, str]]  # models, each with its experiment


def panels(experiments: Mapping[str, Kept]) -> list[tuple[str, Shown]]:
    """The parts of the figure, with their titles: the pair on each domain if it is archived, and the expert of 135M."""
    expert = headline(experiments)
    found: list[tuple[str, Shown]] = [(f"Word problems: 135M and its pruned copy, n={expert[0][0].first['n']}", expert)]
    pairs: list[tuple[str, Shown]] = []
    for domain, test in (("math", "GSM8K"), ("code", "HumanEval")):
        chosen = [experiments[name] for name in (WHOLE, HALF, PROGRAMS, PROGRAMS_HALF) if name in experiments]
        both = [kept.only(domain) for kept in chosen if domain in kept.domains]
        pair = [
            (kept, model)
            for kept in both
            for model in kept.results["evaluation"]
            if model != BASE or kept is both[0]  # the base is the same in both
        ]
        if both:
            pairs.append((f"{test}: Qwen2.5-Coder 1.5B to 0.5B, n={both[0].first['n']:,}", pair))
    return pairs + found


def draw(parts: Sequence[tuple[str, Shown]]) -> Figure:
    """The scores of models with their intervals, a panel for each part; small dots below are further seeds."""
    rows = [len(shown) for _, shown in parts]
    figure = Figure(
        figsize=(7.2, 0.6 + sum(0.5 + 0.42 * number for number in rows)), layout="constrained", facecolor=PAPER
    )
    every = figure.subplots(len(parts), squeeze=False, sharex=True, height_ratios=[number + 0.4 for number in rows])
    for axes, (title, shown) in zip(every[:, 0], parts, strict=True):
        _draw_scores(axes, shown)
        axes.set_title(title, color=INK, loc="left")
    every[-1, 0].set_xlabel("right answers, %, with 95% intervals; small dots: the other seeds", color=MUTED)
    return figure


def _draw_scores(axes: Axes, shown: Shown) -> None:
    for place, (kept, model) in enumerate(shown):
        result = kept.result(model)
        assert result is not None
        value, (low, high) = 100 * (result["main_metric"] or 0.0), (100 * bound for bound in result["ci95"] or (0, 0))
        colour = MODELS[model].colour
        axes.plot([low, high], [place, place], color=colour, linewidth=2.5, alpha=0.45, solid_capstyle="round")
        axes.plot(value, place, "o", color=colour, markersize=8)
        names = [kept.of_seed(model, seed) for seed in kept.seeds] if model not in (TEACHER, BASE) else []
        others = [100 * sum(kept.scores(name)) / len(kept.scores(name)) for name in names if name != model]
        axes.plot(others, [place + 0.25] * len(others), "o", color=colour, markersize=4)
        axes.annotate(f"{value:.1f}%", (high, place), xytext=(8, -4), textcoords="offset points", color=INK)
    axes.set_yticks(range(len(shown)), [titled(kept, model) for kept, model in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def save_figure(parts: Sequence[tuple[str, Shown]], path: Path) -> None:
    """Write the figure as SVG; the same results give the same bytes."""
    with mpl.rc_context(STYLE):
        draw(parts).savefig(path, format="svg", metadata={"Date": None, "Creator": None})
