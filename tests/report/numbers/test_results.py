"""results.json: its schema, its numbers, and its content for incomplete runs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2s.evaluation.stats import mean_interval, paired_comparison, wilson_interval
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.report import stage
from l2s.run_dir import Manifest, RunDir
from support.synthetic_run import MODELS, load_results, make_run

SNIPPET = """
import json
import pandas as pd

with open('results.json') as f:
    results = json.load(f)

for domain in ['math', 'code', 'aiops']:
    teacher_perf = results['evaluation']['teacher']['domain_results'][domain]
    student_perf = results['evaluation']['student_kd']['domain_results'][domain]
    print(f"{domain}: {student_perf['main_metric'] - teacher_perf['main_metric']:.1%} improvement")
"""


@pytest.fixture(scope="module")
def results(reported: RunDir) -> Any:
    return load_results(reported)


def test_the_snippet_of_the_manual_runs_on_results_json(reported: RunDir) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SNIPPET], cwd=reported.root, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["math", "code", "aiops"]
    assert all(line.endswith("% improvement") for line in lines)


def test_results_have_the_documented_parts(results: Any) -> None:
    assert list(results) == [
        "experiment_name", "evaluation", "sources", "controls", "comparisons", "gap_recovered", "seeds", "fidelity",
        "fidelity_comparisons", "lm_eval", "models", "ratios", "stages", "predicted", "disk_bytes", "curves",
        "heldout_curves", "never_right", "opd_health", "contamination", "warnings", "config", "environment",
    ]  # fmt: skip
    assert tuple(results["evaluation"]) == MODELS
    for model in MODELS:
        for domain in ("math", "code", "aiops"):
            found = results["evaluation"][model]["domain_results"][domain]
            assert {"main_metric", "metric", "n", "ci95", "statuses"} <= found.keys()
            assert found["ci95"][0] <= found["main_metric"] <= found["ci95"][1]
            assert sum(found["statuses"].values()) == found["n"]
    assert {"mean_kl", "top1_agreement", "perplexity", "ci95"} <= results["fidelity"]["student_kd"].keys()


def test_scores_are_the_means_of_the_predictions(reported: RunDir, results: Any) -> None:
    rows = [row for row in load_jsonl(reported.predictions("student_kd")) if row["domain"] == "math"]
    found = results["evaluation"]["student_kd"]["domain_results"]["math"]
    right = sum(row["score"] for row in rows)
    assert found["main_metric"] == pytest.approx(right / len(rows))
    assert found["ci95"] == pytest.approx(list(wilson_interval(right, len(rows))))
    by_limit = sum(row["finish_reason"] == "length" for row in rows)
    assert found["truncated"] == sum(row["finish_reason"] == "length" or row["status"] == "truncated" for row in rows)
    assert found["truncated"] > by_limit > 0
    assert found["no_answer"] == sum(row["status"] == "no_answer" for row in rows)
    assert found["also"]["strict_match"] == pytest.approx(np.mean([row["details"]["strict_match"] for row in rows]))


def test_aiops_is_compared_by_fault_family(reported: RunDir, results: Any) -> None:
    kd, sft = (
        {row["id"]: row for row in load_jsonl(reported.predictions(model)) if row["domain"] == "aiops"}
        for model in ("student_kd", "student_sft")
    )
    expected = paired_comparison(
        [row["score"] for row in kd.values()],
        [sft[key]["score"] for key in kd],
        clusters=[row["meta"]["family"] for row in kd.values()],
    )
    found = _contrast(results, "aiops", "student_kd", "student_sft")
    assert found["difference"] == pytest.approx(expected.difference)
    assert found["ci95"] == pytest.approx(list(expected.ci95))
    assert (found["n"], found["units"]) == (100, 25)


def test_the_rate_of_complete_aiops_answers_has_an_interval_that_resamples_families(
    reported: RunDir, results: Any
) -> None:
    rows = [row for row in load_jsonl(reported.predictions("student_kd")) if row["domain"] == "aiops"]
    held = [row["details"]["all_required"] for row in rows]
    found = results["evaluation"]["student_kd"]["domain_results"]["aiops"]
    assert found["also"]["all_required"] == np.mean(held)
    by_family = mean_interval(held, clusters=[row["meta"]["family"] for row in rows])
    assert found["also_ci95"]["all_required"] == pytest.approx(list(by_family))
    assert list(by_family) != pytest.approx(list(mean_interval(held)))


def test_an_answer_that_never_closed_its_think_counts_as_truncated_in_the_warning(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 10}, models=("teacher",))
    rows = load_jsonl(run_dir.predictions("teacher"))
    unclosed = {"finish_reason": "stop", "status": "truncated", "score": 0.0}
    write_jsonl(run_dir.predictions("teacher"), [row | unclosed for row in rows])
    stage.run(config, run_dir)
    assert any("<think>: Teacher on math 10 of 10" in warning for warning in load_results(run_dir)["warnings"])


def test_declared_contrasts_are_adjusted_within_a_domain(results: Any) -> None:
    in_math = [found for found in results["comparisons"] if found["domain"] == "math"]
    assert [(found["model"], found["reference"]) for found in in_math] == [
        ("student_sft", "student_base"),
        ("student_kd", "student_base"),
        ("student_kd", "student_sft"),
        ("student_opd", "student_base"),
        ("student_opd", "student_sft"),
        ("student_opd", "student_kd"),
    ]
    assert min(found["p_holm"] for found in in_math) == pytest.approx(6 * min(found["p_value"] for found in in_math))


def test_a_difference_counts_only_where_interval_and_test_agree(results: Any) -> None:
    for found in [*results["comparisons"], *results["fidelity_comparisons"]]:
        detectable = found["p_holm"] < 0.05 and (found["ci95"][0] > 0 or found["ci95"][1] < 0)
        words = {"higher"} if found["difference"] > 0 else {"lower"}
        assert found["verdict"] in (words if detectable else {"no detectable difference"})


def test_fidelity_is_a_ratio_of_sums_over_tokens(reported: RunDir, results: Any) -> None:
    rows = load_jsonl(reported.fidelity("student_sft"))
    tokens = sum(row["num_tokens"] for row in rows)
    found = results["fidelity"]["student_sft"]
    assert found["mean_kl"] == pytest.approx(sum(row["kl_sum"] for row in rows) / tokens)
    assert found["top1_agreement"] == pytest.approx(sum(row["top1_sum"] for row in rows) / tokens)
    assert found["perplexity"] == pytest.approx(np.exp(sum(row["nll_sum"] for row in rows) / tokens))
    assert found["ci95"]["mean_kl"][0] < found["mean_kl"] < found["ci95"]["mean_kl"][1]
    assert results["fidelity"]["teacher"]["mean_kl"] == 0


def test_ratios_say_how_much_smaller_and_faster_the_student_is(results: Any) -> None:
    found = results["ratios"]["student_kd"]
    assert found["parameters"] == pytest.approx(1_543_714_304 / 494_032_768)
    assert found["tokens_per_second"] == pytest.approx(103.2 / 41.5)


@pytest.mark.parametrize(
    "moved", [{"device": "Acme T1"}, {"machine": {"usable_threads": 1}}], ids=["another device", "fewer threads"]
)
def test_speed_and_memory_measured_elsewhere_are_not_compared_with_the_teachers(
    tmp_path: Path, moved: dict[str, Any]
) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 10})
    path = run_dir.manifest("evaluate_student_kd")
    found = Manifest.load(path)
    assert found is not None
    replace(found, **moved | {"machine": found.machine | moved.get("machine", {})}).save(path)
    stage.run(config, run_dir)
    results = load_results(run_dir)
    of_sft, of_kd = (results["ratios"][model] for model in ("student_sft", "student_kd"))
    assert (of_kd["tokens_per_second"], of_kd["peak_memory_bytes"]) == (None, None)
    assert of_kd["parameters"] == of_sft["parameters"]
    assert of_sft["tokens_per_second"] == pytest.approx(103.2 / 41.5)
    assert len([text for text in results["warnings"] if "usable threads: KD." in text]) == 1


def test_training_on_the_evaluation_problems_is_called_contamination(results: Any) -> None:
    assert len(results["contamination"]["code"]["duplicates"]) == 30
    assert results["contamination"]["math"]["duplicates"] == []
    assert any(
        "code score is contaminated" in warning and "30 of 50" in warning and "humaneval" in warning
        for warning in results["warnings"]
    )


def test_synthetic_math_and_stage_warnings_are_warned_of(results: Any) -> None:
    assert results["sources"]["math"] == ["synthetic"]
    assert any("synthetic" in warning for warning in results["warnings"])
    assert "sft: 4 of 3104 sequences were longer than max_length=2048 and were dropped" in results["warnings"]


@pytest.mark.parametrize(
    ("n", "controls", "failed"),
    [
        (200, {"gold": 0.9, "log_echo": 0.3}, "gold, log_echo"),
        (200, {"gold": 1.0, "log_echo": 0.1}, ""),
        (200, {"gold": 1.0, "blind_en": 0.8, "blind_zh": 0.9}, ""),  # right answers, however few of them are recognised
        (8, {"gold": 1.0, "log_echo": 0.3}, ""),  # on so few items 0.3 is chance
        (8, {"gold": 0.9, "log_echo": 0.1}, "gold"),  # a right answer is right on any set
    ],
)
def test_a_grader_that_fails_its_controls_is_warned_of_where_the_items_are_enough_to_tell(
    tmp_path: Path, n: int, controls: dict[str, float], failed: str
) -> None:
    config, run_dir = make_run(tmp_path, sizes={"aiops": n}, models=("teacher",))
    manifest = Manifest.load(run_dir.manifest("prepare"))
    assert manifest is not None
    replace(manifest, metrics={"controls": {"aiops": controls}}).save(run_dir.manifest("prepare"))
    stage.run(config, run_dir)
    found = [warning for warning in load_results(run_dir)["warnings"] if "fails its controls" in warning]
    expected = f"AIOps: the grader fails its controls ({failed}), so do not trust its scores."
    assert found == ([expected] if failed else [])


def test_environment_names_the_sandbox_and_the_versions(results: Any) -> None:
    assert results["environment"]["sandbox"] == "bubblewrap"
    assert results["environment"]["versions"]["torch"] == "2.13.0"


def test_environment_describes_the_machine_once_and_with_its_gpus(reported: RunDir, results: Any) -> None:
    (machine,) = results["environment"]["machines"]
    assert (machine["cpu"], len(machine["gpus"])) == ("Acme 9000 @ 2.70GHz", 2)
    markdown = (reported.evaluation / "comparison_report.md").read_text(encoding="utf-8")
    html = (reported.evaluation / "report.html").read_text(encoding="utf-8")
    for part in ("Acme 9000 @ 2.70GHz, 4 cores, 8 threads, 2 of them usable", "24.0 GiB", "2 × Acme T1, 80.0 GiB",
                 "Linux-6.18"):  # fmt: skip
        assert part in markdown
        assert part in html


def test_manifests_without_a_machine_are_reported(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, models=("teacher",), sizes={"math": 4})
    for path in run_dir.root.rglob("manifest*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        del record["machine"], record["seal"]  # as the first versions wrote it
        path.write_text(json.dumps(record), encoding="utf-8")
    stage.run(config, run_dir)
    assert load_results(run_dir)["environment"]["machines"] == []


def test_reporting_again_gives_the_same_bytes(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 20, "code": 5, "aiops": 20})
    outputs = []
    for _ in range(2):
        stage.run(config, run_dir)
        made = [run_dir.results, *run_dir.plots.iterdir(), *run_dir.evaluation.glob("*.*")]
        outputs.append({path.name: path.read_bytes() for path in made})
    assert {"results.json", "comparison_report.md", "model_comparison.csv", "report.html"} <= outputs[0].keys()
    assert outputs[0] == outputs[1]


def test_a_run_without_students_and_with_one_domain_is_reported(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, models=("teacher", "student_base"), sizes={"math": 8})
    stage.run(config, run_dir)
    results = load_results(run_dir)
    assert list(results["evaluation"]) == ["teacher", "student_base"]
    assert list(results["evaluation"]["teacher"]["domain_results"]) == ["math"]
    assert results["comparisons"] == []
    assert "Not evaluated: SFT, KD." in results["warnings"]


def test_one_item_is_enough_for_a_report_and_for_no_conclusion(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 1, "code": 1, "aiops": 1})
    stage.run(config, run_dir)
    results = load_results(run_dir)
    assert {found["verdict"] for found in results["comparisons"]} == {"no detectable difference"}
    assert {found["minimum_detectable_difference"] for found in results["comparisons"]} == {None}


def test_only_an_arm_that_was_asked_for_is_missed(tmp_path: Path) -> None:
    models = ("teacher", "student_base", "student_sft")
    for arms, missed in (("sft", []), ("sft,kd", ["Not evaluated: KD."]), ("sft,opd", ["Not evaluated: OPD."])):
        config, run_dir = make_run(tmp_path, models=models, name=arms.replace(",", "-"), arms=arms)
        stage.run(config, run_dir)
        assert [text for text in load_results(run_dir)["warnings"] if "Not evaluated" in text] == missed


def test_a_run_before_its_first_evaluation_is_reported(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, models=(), sizes={})
    stage.run(config, run_dir)
    assert load_results(run_dir)["evaluation"] == {}
    assert "No model was evaluated." in (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")


def test_a_model_with_missing_answers_is_named_and_paired_on_what_it_has(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 30})
    path = run_dir.predictions("student_kd")
    write_jsonl(path, load_jsonl(path)[:20])
    stage.run(config, run_dir)
    results = load_results(run_dir)
    assert any("KD: 20 of 30" in warning for warning in results["warnings"])
    assert _contrast(results, "math", "student_kd", "student_sft")["n"] == 20


def _contrast(results: Any, domain: str, model: str, reference: str) -> Any:
    (found,) = [
        contrast
        for contrast in results["comparisons"]
        if (contrast["domain"], contrast["model"], contrast["reference"]) == (domain, model, reference)
    ]
    return found


@pytest.mark.parametrize(("kd_init", "said"), [("sft", True), ("base", False)])
def test_what_else_is_in_the_difference_of_kd_and_sft_is_said(tmp_path: Path, kd_init: str, said: bool) -> None:
    config, run_dir = make_run(tmp_path, kd_init=kd_init, kd_epochs=3)
    stage.run(config, run_dir)
    markdown = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")
    assert ("epochs on the same answers (kd\\_epochs=3)" in markdown) == said
