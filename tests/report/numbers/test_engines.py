"""Engines in the report: one engine for all compared models, and a note where the teacher is behind an endpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from l2s.errors import UserError
from l2s.jsonl import write_jsonl
from l2s.metrics import StageMetrics
from l2s.report import stage
from l2s.report.text.compare import compare_runs
from l2s.run_dir import Manifest, RunDir
from support.synthetic_run import MODELS, load_results, make_run


def ran_in(run_dir: RunDir, model: str, engine: str, **metrics: Any) -> None:
    path = run_dir.manifest(f"evaluate_{model}")
    manifest = Manifest.load(path)
    assert manifest is not None
    named = {"engine": {"name": engine, "version": "1", "reason": "test"}}
    replace(manifest, metrics=cast(StageMetrics, {**manifest.metrics, **named, **metrics})).save(path)


def test_a_report_of_two_engines_is_refused_with_the_way_to_one(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path)
    for model in MODELS:
        ran_in(run_dir, model, "vllm")
    stage.run(config, run_dir)
    assert {cost["engine"] for cost in load_results(run_dir)["models"].values()} == {"vllm"}
    ran_in(run_dir, "student_base", "transformers")
    with pytest.raises(UserError, match=r"evaluate_student_base ran in transformers.*--engine vllm --force"):
        stage.run(config, run_dir)


def test_runs_of_two_engines_are_not_compared(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "a")[1], make_run(tmp_path / "b")[1]
    compare_runs(first.root, second.root)
    for model in MODELS:
        ran_in(second, model, "vllm")
    with pytest.raises(UserError, match="ran in vllm"):
        compare_runs(first.root, second.root)


def test_a_teacher_behind_an_endpoint_has_no_size_and_the_report_says_so(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path)
    ran_in(run_dir, "teacher", "endpoint", parameters=None, weight_bytes=None, peak_memory_bytes=None)
    for model in MODELS:
        write_jsonl(run_dir.fidelity(model), [])
    for body, greedy in (("{}", True), ('{"temperature": null}', False)):
        stage.run(config.model_copy(update={"endpoint_body": body}), run_dir)
        report = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")
        assert "through an endpoint, the students in transformers" in report
        assert ("at the server's own temperature" in report) != greedy


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({model: [16] for model in MODELS}, None),
        ({model: [] for model in MODELS}, None),  # vLLM batches by itself
        ({model: [8] for model in MODELS}, "all models were evaluated with 8 prompts at a time instead of"),
        ({"teacher": [16, 8], "student_base": [8]}, "(Teacher 16, 8; Base 8)"),
        ({"teacher": [16], "student_base": [16], "student_sft": [4]}, "(Teacher 16; Base 16; SFT 4)"),
    ],
)
def test_batches_that_memory_made_smaller_are_said(
    tmp_path: Path, sizes: dict[str, list[int]], said: str | None
) -> None:
    config, run_dir = make_run(tmp_path, models=tuple(sizes), sizes={"math": 5})
    for model, found in sizes.items():
        ran_in(run_dir, model, "transformers", batch_sizes=found)
    stage.run(config, run_dir)
    warnings = [text for text in load_results(run_dir)["warnings"] if text.startswith("Memory ran out")]
    assert len(warnings) == (said is not None)
    assert all(said in text for text in warnings if said)
