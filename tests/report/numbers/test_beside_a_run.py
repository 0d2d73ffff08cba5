"""`l2s report` while a run works in the same folder: what it reads is whole and belongs together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from l2s.report.numbers import files
from l2s.report.numbers.files import read_run
from l2s.run_dir import RunDir, fingerprint
from l2s.sealed import write_sealed
from support.synthetic_run import make_run


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    config, run_dir = make_run(tmp_path)
    run_dir.save_config(config)
    return run_dir


def test_a_line_that_is_being_written_is_left_out(run_dir: RunDir) -> None:
    metrics = run_dir.arm("kd").metrics
    steps = len(read_run(run_dir.load_config(), run_dir).curves["kd"])
    with metrics.open("a") as file:
        file.write('{"step": 99, "lo')
    assert len(read_run(run_dir.load_config(), run_dir).curves["kd"]) == steps


def test_an_evaluation_that_has_begun_again_is_left_out(run_dir: RunDir) -> None:
    assert "student_kd" in read_run(run_dir.load_config(), run_dir).predictions
    run_dir.manifest("evaluate_student_kd").unlink()
    run_dir.started("evaluate_student_kd").parent.mkdir(exist_ok=True)
    run_dir.started("evaluate_student_kd").write_text("{}")
    read = read_run(run_dir.load_config(), run_dir)
    assert "student_kd" not in read.predictions
    assert "student_kd" not in read.fidelity
    assert "student_sft" in read.predictions


def test_an_evaluation_of_weights_that_were_replaced_is_left_out(run_dir: RunDir) -> None:
    for stage, field, value in (("kd", "outputs", "new"), ("evaluate_student_kd", "inputs", "old")):
        path = run_dir.manifest(stage)
        manifest = json.loads(path.read_text())
        manifest[field]["kd/final_model"] = value
        write_sealed(path, manifest)
    assert "student_kd" not in read_run(run_dir.load_config(), run_dir).predictions


def change(run_dir: RunDir, name: str, **fields: object) -> None:
    """Replace fields of a manifest."""
    path = run_dir.manifest(name)
    write_sealed(path, json.loads(path.read_text()) | fields)


ITEMS, ANSWERS = "data/eval_dataset.jsonl", "evaluation/predictions/teacher.jsonl"


@pytest.mark.parametrize(("maker", "label"), [("prepare", ITEMS), ("evaluate_teacher", ANSWERS)])
def test_an_evaluation_of_other_items_or_other_answers_of_the_teacher_is_left_out(
    run_dir: RunDir, maker: str, label: str
) -> None:
    now = fingerprint(run_dir.root / label)
    change(run_dir, maker, outputs={label: now})
    change(run_dir, "evaluate_student_sft", inputs={label: now})
    change(run_dir, "evaluate_student_kd", inputs={label: "another"})
    read = read_run(run_dir.load_config(), run_dir)
    assert {"student_sft", "student_base"} <= read.predictions.keys()
    assert not {"student_kd"} & {*read.predictions, *read.fidelity}
    assert "evaluate_student_kd" not in read.manifests


def test_results_of_the_harness_for_weights_that_were_replaced_are_left_out(run_dir: RunDir) -> None:
    weights = {"kd/final_model": "old"}
    change(run_dir, "evaluate_student_sft", stage="lm_eval_student_kd", inputs=weights)
    run_dir.manifest("evaluate_student_sft").rename(run_dir.manifest("lm_eval_student_kd"))
    run_dir.lm_eval("student_kd").parent.mkdir()
    run_dir.lm_eval("student_kd").write_text("{}")
    for sha, shown in (("old", True), ("new", False)):
        change(run_dir, "kd", outputs={"kd/final_model": sha})
        assert ("student_kd" in read_run(run_dir.load_config(), run_dir).lm_eval) == shown


def test_files_that_change_while_they_are_read_are_read_again(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    read, calls = files._read, []

    def read_and_change(*arguments: object) -> files.RunFiles:
        found = read(*arguments)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 1:
            run_dir.started("kd").parent.mkdir(exist_ok=True)
            run_dir.started("kd").write_text("{}")
        return found

    monkeypatch.setattr(files, "_read", read_and_change)
    read_run(run_dir.load_config(), run_dir)
    assert len(calls) == 2
