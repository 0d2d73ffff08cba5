"""lm-evaluation-harness: which stages run it, what is refused before anything is loaded, its table in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.report import stage
from l2s.run_dir import RunDir
from l2s.runner.preflight import check_settings
from l2s.runner.selection import requested_stages, select_stages
from support.synthetic_run import load_results, make_run

MakeConfig = Callable[..., ExperimentConfig]

WRITTEN: dict[str, Any] = {
    "lm_eval_version": "0.4.13",
    "config": {"limit": 20.0},
    "results": {
        "sums": {"alias": "sums", "exact_match,none": 0.35, "exact_match_stderr,none": 0.1094, "bleu,strict": 12.5}
    },
    "versions": {"sums": 1.0},
    "n-shot": {"sums": 0},
    "n-samples": {"sums": {"original": 500, "effective": 20}},
    "higher_is_better": {"sums": {"exact_match": True}},
}


def write_task(folder: Path) -> None:
    """A task of three sums as its users write one: a YAML file over local data."""
    folder.mkdir()
    rows = [{"question": f"{n} + {n}?", "answer": str(2 * n)} for n in range(3)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "sums.jsonl")}},
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    (folder / "sums.yaml").write_text(yaml.safe_dump(task))


def test_the_harness_runs_on_every_evaluated_model_and_only_where_tasks_are_named(tiny_config: MakeConfig) -> None:
    named = {name for name in requested_stages(tiny_config(run_all=True, lm_eval_tasks="sums")) if "lm_eval" in name}
    assert named == {"lm_eval_teacher", "lm_eval_student_base", "lm_eval_student_sft", "lm_eval_student_kd"}
    assert not [name for name in requested_stages(tiny_config(run_all=True)) if "lm_eval" in name]


def test_a_missing_package_is_said_before_anything_is_loaded(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2s.errors.find_spec", lambda package: None)
    config = tiny_config(run_eval=True, lm_eval_tasks="sums")
    with pytest.raises(UserError, match=r"lm_eval_tasks='sums' needs lm_eval.*pip install .*'\.\[lm-eval\]'"):
        check_settings(config, select_stages(config))


def test_a_folder_of_tasks_must_be_there(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.errors.find_spec", lambda package: object())
    config = tiny_config(run_eval=True, lm_eval_tasks="sums", lm_eval_include_path="no/such/folder")
    with pytest.raises(UserError, match="lm_eval_include_path='no/such/folder': no such folder"):
        check_settings(config, select_stages(config))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_its_table_stands_in_every_report_as_it_is(tmp_path: Path, lang: str) -> None:
    config, run_dir = make_run(tmp_path)
    run_dir.lm_eval("student_kd").parent.mkdir(parents=True, exist_ok=True)
    run_dir.lm_eval("student_kd").write_text(json.dumps(WRITTEN))

    stage.run(config.model_copy(update={"lang": lang}), run_dir)

    found = load_results(run_dir)["lm_eval"]["student_kd"]
    assert [(row["metric"], row["filter"], row["value"], row["stderr"]) for row in found["rows"]] == [
        ("bleu", "strict", 12.5, None),
        ("exact_match", "none", 0.35, 0.1094),
    ]
    markdown = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")
    (row,) = [line for line in markdown.splitlines() if "±0.1094" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == ["sums", "1.0", "none", "0", r"exact\_match ↑", "0.3500", "±0.1094"]
    assert "0.4.13" in markdown
    assert "±0.1094" in (run_dir.evaluation / "report.html").read_text(encoding="utf-8")


def test_the_harness_answers_a_local_task_and_goes_on_where_it_was(tiny_config: MakeConfig, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (extra `lm-eval`)")
    from l2s.evaluation import lm_eval

    write_task(tmp_path / "tasks")
    config = tiny_config(lm_eval_tasks="sums", lm_eval_include_path=tmp_path / "tasks", lm_eval_limit=2)
    run_dir = RunDir.of(config)

    metrics = lm_eval.run(config, run_dir, model="student_base")

    written = json.loads(run_dir.lm_eval("student_base").read_text())
    assert written["n-samples"]["sums"]["effective"] == 2
    assert written["results"]["sums"]["exact_match,none"] == 0
    assert metrics["task_versions"] == {"sums": 1.0}
    with pytest.raises(UserError, match="no task 'summs'; did you mean sums"):
        lm_eval.load_tasks(config.model_copy(update={"lm_eval_tasks": "summs"}))
