"""Every summary of a run with several seeds says whose numbers it shows."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from l2s.report import stage
from l2s.report.text.compare import compare_runs
from l2s.report.text.console import print_summary
from l2s.run_dir import RunDir
from support.synthetic_run import _manifest, _model_metrics, make_run


def run_of_two_seeds(parent: Path, name: str, lang: str) -> RunDir:
    """A reported run whose KD student was trained with the seeds 7 and 8."""
    config, run_dir = make_run(parent, name=name, sizes={"math": 10}, seeds="7,8", lang=lang)
    shutil.copyfile(run_dir.predictions("student_kd"), run_dir.predictions("student_kd@8"))
    _manifest(run_dir, "evaluate_student_kd@8", **_model_metrics("student_kd"))
    stage.run(config, run_dir)
    return run_dir


@pytest.mark.parametrize(
    ("lang", "verdict", "compared"),
    [
        ("en", "about the students of seed 7. The spread over seeds 7, 8", "two: the students of seed 7."),
        ("zh", "以上均为种子 7 的学生；种子 7, 8", "two：种子 7 的学生"),
    ],
)
def test_verdict_and_comparison_name_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lang: str, verdict: str, compared: str
) -> None:
    monkeypatch.setattr(stage, "draw_plots", lambda results, text: {})  # figures take most of the time
    two = run_of_two_seeds(tmp_path, "two", lang)
    make_run(tmp_path, name="one", sizes={"math": 10}, lang=lang)
    console = Console(file=io.StringIO(), width=400)
    print_summary(two, console)
    assert verdict in two.comparison_report.read_text(encoding="utf-8")
    assert verdict in console.file.getvalue()  # type: ignore[attr-defined]
    text = compare_runs(tmp_path / "two", tmp_path / "one")
    assert compared in text
    assert text.count("7, 8") == 1


def test_no_seed_is_called_the_first_while_the_first_is_not_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation of its student has begun again; those of the other seeds are there."""
    monkeypatch.setattr(stage, "draw_plots", lambda results, text: {})
    config, run_dir = make_run(tmp_path, sizes={"math": 10}, seeds="7,8,9")
    for seed in (8, 9):
        shutil.copyfile(run_dir.predictions("student_kd"), run_dir.predictions(f"student_kd@{seed}"))
        _manifest(run_dir, f"evaluate_student_kd@{seed}", **_model_metrics("student_kd"))
    run_dir.started("evaluate_student_kd").touch()
    run_dir.manifest("evaluate_student_kd").unlink()
    stage.run(config, run_dir)
    report = run_dir.comparison_report.read_text(encoding="utf-8")
    assert "Not evaluated: KD." in report
    assert "seed 8" not in report


def test_a_run_without_evaluation_prints_no_empty_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "draw_plots", lambda results, text: {})
    config, run_dir = make_run(tmp_path, models=(), sizes={"math": 4})
    stage.run(config, run_dir)
    console = Console(file=io.StringIO(), width=80)
    print_summary(run_dir, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "No model was evaluated." in printed
    assert "─" not in printed
