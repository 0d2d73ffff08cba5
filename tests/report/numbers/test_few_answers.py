"""Numbers of few answers: of the items that models share, and within what a measure can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2s.jsonl import Row, load_jsonl, write_jsonl
from l2s.report import stage
from l2s.report.numbers.scores import measure_fidelity, recover_gaps
from support.synthetic_run import load_results, make_run


def rows(**scores: float) -> list[Row]:
    return [{"id": name, "domain": "math", "score": score, "meta": {}} for name, score in scores.items()]


def test_the_gap_is_that_of_the_items_that_all_three_models_answered() -> None:
    shared = {f"item{number}": number for number in range(20)}
    teacher = rows(**dict.fromkeys(shared, 1.0), teachers=0.0)
    base = rows(bases=1.0, **dict.fromkeys(shared, 0.0))  # as many, and others
    model = rows(bases=0.0, teachers=0.0, **{name: float(number < 10) for name, number in shared.items()})
    (gap,) = recover_gaps({"teacher": teacher, "student_base": base, "student_kd": model})
    assert (gap["recovered"], gap["teacher_lead"]) == (0.5, 1.0)


@pytest.mark.parametrize("model", ["teacher", "student_base", "student_kd"])
def test_answers_that_are_missing_break_no_report(tmp_path: Path, model: str) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 12}, models=("teacher", "student_base", "student_kd"))
    path = run_dir.predictions(model)
    write_jsonl(path, load_jsonl(path)[:6])
    stage.run(config, run_dir)
    assert "6 of 12" in " ".join(load_results(run_dir)["warnings"])


def fidelity_rows(number: int) -> list[Row]:
    """Answers whose KL is so uneven that its studentised interval reaches below 0."""
    rng = np.random.default_rng(0)
    tokens, nats = rng.integers(5, 200, number), rng.lognormal(-1, 1, number)
    return [
        {"id": str(place), "domain": "math", "num_tokens": n, "kl_sum": n * kl, "top1_sum": 0.9 * n,
         "nll_sum": 0.1 * n * kl}
        for place, (n, kl) in enumerate(zip(tokens.tolist(), nats.tolist(), strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize("number", [2, 3, 5])
def test_no_interval_holds_what_a_measure_cannot_be(number: int) -> None:
    bounds = measure_fidelity(fidelity_rows(number))["ci95"]
    assert bounds is not None
    assert bounds["mean_kl"][0] >= 0
    assert bounds["perplexity"][0] >= 1


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_single_answer_has_no_interval_of_its_kl(tmp_path: Path, lang: Any) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 1}, lang=lang)
    stage.run(config, run_dir)
    results = load_results(run_dir)
    assert [one["ci95"] for one in results["fidelity"].values()] == [None] * 5
    assert {one["ci95"] for one in results["fidelity_comparisons"]} == {None}
    assert all(one["ci95"][0] < one["ci95"][1] for one in results["comparisons"])
    page = run_dir.comparison_report.read_text(encoding="utf-8")
    assert "None" not in page
    assert "nan" not in page
