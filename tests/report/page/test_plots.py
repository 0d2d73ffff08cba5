"""The figures: nothing hides what they show."""

from __future__ import annotations

import math

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from l2s.report.page.plots import STYLE, _curve, _dots, _panel
from l2s.report.text.strings import Lang, Text


def drawn(figure: Figure) -> Figure:
    figure.set_canvas(FigureCanvasAgg(figure))
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_the_legend_of_a_curve_lies_outside_of_it(language: Lang) -> None:
    steps = [
        {"step": float(step), "loss": 3 + math.sin(step), "ce": 4 + math.cos(9 * step), "divergence": 0.4 + step / 99}
        for step in range(1, 40)
    ]
    with mpl.rc_context(STYLE):
        figure = drawn(_curve("kd", steps, "loss", Text(language)))
    (axes,) = figure.axes
    assert axes.get_legend() is None
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 3
    found, panel = legend.get_window_extent(), axes.get_tightbbox()
    assert panel is not None
    assert not found.overlaps(panel)
    assert 0 <= found.x0 < found.x1 <= figure.bbox.width


def test_a_dot_at_the_edge_is_drawn_whole() -> None:
    _, axes = _panel("math", "n=20", 2)
    _dots(axes, ["Base", "KD"], [0.0, 100.0], [[0.0, 16.1], [83.9, 100.0]], ["#000000", "#ffffff"])
    axes.set_xlim(0, 100)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(dots) == 2
    assert not any(dot.get_clip_on() for dot in dots)


def test_a_flat_curve_is_drawn_below_the_edge() -> None:
    steps = [{"step": float(step), "loss": 6.0 + step / 1000} for step in range(5)]
    with mpl.rc_context(STYLE):
        (axes,) = _curve("sft", steps, "loss", Text("en"), marker="o").axes
    assert axes.get_ylim() == pytest.approx((0, 1.05 * 6.004), rel=0.01)
    assert axes.get_xlim()[0] > -1
