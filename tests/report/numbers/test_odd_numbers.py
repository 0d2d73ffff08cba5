"""A report is complete whatever numbers a stage wrote; numbers that cannot be averaged are left out with a warning."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from l2s.errors import UserError
from l2s.jsonl import load_jsonl
from l2s.report import stage
from l2s.report.numbers import scores
from l2s.report.numbers.files import read_run
from l2s.report.numbers.results import build_results
from l2s.report.page.plots import draw_plots
from l2s.report.text.strings import Text
from l2s.run_dir import RunDir
from l2s.sealed import read_sealed
from support.synthetic_run import make_run

ROW = {"id": "a", "domain": "math", "num_tokens": 10, "kl_sum": 5.0, "top1_sum": 9.0, "nll_sum": 12.0}
USELESS: list[dict[str, Any]] = [
    {"kl_sum": math.nan},
    {"nll_sum": math.inf},
    {"top1_sum": math.nan},
    {"kl_sum": -math.inf, "nll_sum": math.nan},
    {"kl_sum": None},
    {"kl_sum": 1e308, "nll_sum": 1e308},
    {"num_tokens": 0, "kl_sum": 0.0, "top1_sum": 0.0, "nll_sum": 0.0},
    {"num_tokens": None},
    {"num_tokens": math.nan},
    {"num_tokens": 10**400, "kl_sum": 10**400},
    {"id": ["a"]},
]
ODD = {"kl_sum": 1000.0 * 10, "nll_sum": 1000.0 * 10, "top1_sum": 0.0, "num_tokens": 10}


@pytest.fixture
def odd_run(tmp_path: Path) -> RunDir:
    """A small run, to be changed."""
    return make_run(tmp_path, sizes={"math": 2}, models=("teacher", "student_kd"))[1]


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


def rewrite(path: Path, changes: list[dict[str, Any]]) -> None:
    """Change the first rows of a JSON Lines file, with NaN and Infinity as Python writes them."""
    rows = load_jsonl(path)
    rows[: len(changes)] = [row | change for row, change in zip(rows, changes, strict=False)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("change", USELESS, ids=str)
def test_a_row_that_cannot_be_averaged_is_useless(change: dict[str, Any]) -> None:
    assert not scores.is_usable(ROW | change)
    assert scores.is_usable(ROW)


@pytest.mark.parametrize("row", [{}, {"id": "a", "domain": "math"}], ids=str)
def test_a_row_without_its_fields_is_useless(row: dict[str, Any]) -> None:
    assert not scores.is_usable(row)


def test_a_thousand_nats_a_token_are_measured() -> None:
    rows = [ROW | ODD | {"id": str(number)} for number in range(3)]
    measured = scores.measure_fidelity(rows)
    assert measured["mean_kl"] == pytest.approx(1000)
    assert 1e300 < measured["perplexity"] < math.inf
    assert json.dumps(measured, allow_nan=False)
    assert json.dumps(scores.measure_fidelity([ROW, *rows]), allow_nan=False)


def test_every_report_is_written_and_says_what_is_left_out(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 16})
    rewrite(run_dir.fidelity("student_kd"), USELESS)
    rewrite(run_dir.fidelity("teacher"), USELESS[:1])
    rewrite(run_dir.fidelity("student_sft"), [ODD])
    rewrite(run_dir.fidelity("student_base"), [{"kl_sum": math.nan}] * 16)
    rewrite(run_dir.root / "kd" / "metrics.jsonl", [{"loss": math.nan, "grad_norm": math.inf}])
    rewrite(run_dir.root / "opd" / "metrics.jsonl", [{"loss": math.nan}] * 1000)
    with run_dir.fidelity("student_opd").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    stage.run(config, run_dir)
    results = json.loads(run_dir.results.read_text(encoding="utf-8"), parse_constant=refuse)
    numbers = {model: measured["n"] for model, measured in results["fidelity"].items()}
    assert numbers == {"teacher": 15, "student_sft": 16, "student_kd": 16 - len(USELESS), "student_opd": 16}
    assert results["fidelity"]["student_kd"]["mean_kl"] < 10
    assert math.isfinite(results["curves"]["kd"][0]["loss"])
    assert "opd" not in results["curves"]
    report = (run_dir.evaluation / "comparison_report.md").read_text(encoding="utf-8")
    for said in (
        f"{len(USELESS)} of 16 evaluation answers have no finite",
        "16 of 16 evaluation answers have no finite",
        "1 of 17 evaluation answers has no finite",
        "on 1 of 16 evaluation answers the KL or loss is above 30 nats per token",
    ):
        assert sum(said in warning for warning in results["warnings"]) == 1
        assert said in report
    assert (run_dir.evaluation / "report.html").stat().st_size
    assert (run_dir.evaluation / "model_comparison.csv").stat().st_size


def test_the_teacher_alone_has_no_drawing_of_distances(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4}, models=("teacher", "student_kd"))
    rewrite(run_dir.fidelity("student_kd"), [{"kl_sum": None}] * 4)
    results = build_results(read_run(config, run_dir))
    assert list(results["fidelity"]) == ["teacher"]
    assert not [name for name in draw_plots(results, Text("en")) if "fidelity" in name]


def each(name: str, *values: Any) -> list[tuple[str, Any]]:
    """A field with each of the values."""
    return [(name, value) for value in values]


FIELDS: list[tuple[str, Any]] = [
    *each("id", None, [], {}, 7),
    *each("source", None, [], 7),
    *each("messages", "x", [1], [{}], [{"role": "user", "content": None}], {}),
    *each("num_tokens", None, "x", -1, 1.5, True, math.nan, 10**400),
    *each("score", "x", [], True, -1, 2, math.nan, 10**400),
    *each("details", "x", [1], 7),
    *each("status", None, 7, ["correct"]),
    ("response", 7), ("finish_reason", None), ("meta", None), ("meta", []),
]  # fmt: skip


def test_a_row_that_is_no_item_is_named(odd_run: RunDir) -> None:
    for file in (odd_run.train_data, odd_run.predictions("teacher")):
        kept = file.read_bytes()
        file.write_text('{"a": 1}\n')
        with pytest.raises(UserError, match=rf"{file.name}: cannot be read \(id=None"):
            read_run(odd_run.load_config(), odd_run)
        file.write_bytes(kept)


@pytest.mark.parametrize(("name", "value"), FIELDS, ids=lambda value: repr(value)[:20])
def test_an_answer_of_another_form_is_named(odd_run: RunDir, name: str, value: Any) -> None:
    """Its folder may come from somebody else, with manifests to match."""
    rewrite(odd_run.predictions("student_kd"), [{name: value}])
    with pytest.raises(
        UserError, match=rf"student_kd.jsonl: cannot be read \({name}=.*; repair or remove it"
    ) as caught:
        read_run(odd_run.load_config(), odd_run)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


NOT_A_MANIFEST: list[tuple[str, Any]] = [
    *(pair for name in ("outputs", "inputs", "metrics", "versions", "config") for pair in each(name, None, [], "x", 7)),
    *each("seconds", None, "x", math.nan, math.inf, -1, 10**400),
    ("stage", None), ("device", []), ("started_at", 7), ("machine", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NOT_A_MANIFEST, ids=lambda value: repr(value)[:20])
def test_a_manifest_of_another_form_is_named(odd_run: RunDir, name: str, value: Any) -> None:
    path = odd_run.manifest("kd")
    path.write_text(json.dumps(read_sealed(path) | {name: value}))  # without a seal, as by hand
    with pytest.raises(UserError, match=rf"manifest.json: the record .* is damaged \({name} is .*; remove it"):
        read_run(odd_run.load_config(), odd_run)


def test_half_a_surrogate_pair_and_numbers_that_are_none_keep_no_report_from_being_written(odd_run: RunDir) -> None:
    rewrite(odd_run.eval_data, [{"source": "\ud800"}])
    rewrite(odd_run.arm("kd").metrics, [{"loss": 10**400, "grad_norm": -(10**400)}])
    manifest = read_sealed(odd_run.manifest("kd"))
    manifest["metrics"] |= {"final_loss": math.nan, "peak_memory_bytes": math.inf}
    odd_run.manifest("kd").write_text(json.dumps(manifest))
    stage.run(odd_run.load_config(), odd_run)
    results = json.loads(odd_run.results.read_text(encoding="utf-8"), parse_constant=refuse)
    assert "\ud800" in results["sources"]["math"]
