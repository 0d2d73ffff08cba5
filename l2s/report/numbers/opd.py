"""Health of on-policy distillation over its updates: how each figure began and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from l2s.metrics import FirstTurns, StageMetrics
from l2s.report.numbers.schema import HealthFigure

FIGURES = ("truncated", "mean_length", "ended", "top_k_overlap", "reverse_kl", "entropy", "grad_norm")
WINDOW = 10  # updates whose mean stands for the beginning and the end


def opd_health(steps: Sequence[Mapping[str, float]], metrics: StageMetrics) -> list[HealthFigure]:
    """One row for each figure that the steps have; early versions logged fewer."""
    sampled = _sampled(metrics.get("first_turns"))
    return [
        {
            "figure": figure,
            "sampled_before": sampled.get(figure),
            "first": _mean(values[:WINDOW]),
            "last": _mean(values[-WINDOW:]),
            "low": min(values),
            "high": max(values),
        }
        for figure in FIGURES
        if (values := [step[figure] for step in steps if figure in step])
    ]


def _sampled(found: FirstTurns | None) -> dict[str, float]:
    """The figures of the answers that the student gave before its first update."""
    return {"truncated": found["cut"] / found["asked"], "mean_length": found["mean_length"]} if found else {}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
