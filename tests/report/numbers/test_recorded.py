"""The settings that a report shows: those that stages recorded, whatever the last command left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l2s.report import stage
from l2s.report.text.compare import compare_runs
from l2s.run_dir import Manifest, RunDir, as_made, differing
from support.synthetic_run import load_results, make_run

MADE: dict[str, dict[str, Any]] = {
    "prepare": {"domains": "math", "seed": 42},
    "sft": {"sft_epochs": 2, "max_length": 4096, "seed": 7},
    "kd": {"kd_epochs": 3, "max_length": 4096, "seed": 7},
    "evaluate_teacher": {"own_grader": "number", "max_new_tokens": 3000, "seed": 42},
}


def record(run_dir: RunDir, made: dict[str, dict[str, Any]]) -> list[Manifest]:
    """Let stages have recorded these settings."""
    manifests = []
    for name, settings in made.items():
        found = Manifest.load(run_dir.manifest(name))
        assert found is not None
        manifests.append(replace(found, config=settings))
        manifests[-1].save(run_dir.manifest(name))
    return manifests


def test_a_report_shows_the_settings_of_its_stages_and_not_of_the_last_command(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4})
    record(run_dir, MADE)
    stage.run(config, run_dir)
    shown = load_results(run_dir)["config"]
    expected = {"domains": "math", "sft_epochs": 2, "kd_epochs": 3, "own_grader": "number", "max_new_tokens": 3000}
    assert {name: shown[name] for name in expected} == expected
    assert (shown["seed"], shown["seeds"]) == (42, "")  # not the seed that a copy of an arm trained with
    assert not [text for text in load_results(run_dir)["warnings"] if "different values" in text]


def test_runs_whose_last_commands_differ_have_no_settings_that_differ(tmp_path: Path) -> None:
    commands: dict[str, dict[str, Any]] = {"first": {"sft_epochs": 2, "kd_epochs": 3}, "second": {}}
    for name, settings in commands.items():
        _, run_dir = make_run(tmp_path, name=name, sizes={"math": 4}, **settings)
        record(run_dir, MADE)
    assert r"sft\_epochs" not in compare_runs(tmp_path / "first", tmp_path / "second")


def test_values_that_stages_do_not_share_are_warned_of(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4})
    manifests = record(run_dir, {"sft": {"lora_r": 4}, "kd": {"lora_r": 8}})
    assert differing(manifests) == {"lora_r": "4 (sft), 8 (kd)"}
    stage.run(config, run_dir)
    assert any("different values of a setting (lora_r=4 (sft), 8 (kd))" in text
               for text in load_results(run_dir)["warnings"])  # fmt: skip


def test_students_of_answers_that_were_replaced_are_warned_of(tmp_path: Path) -> None:
    """Also one that starts from such a student; and nothing is said of students of the answers that are there."""
    config, run_dir = make_run(tmp_path, sizes={"math": 4})
    answers, weights = "sft/sft_train_data.jsonl", "sft/final_model"
    for of_sft, warned_of in (("old", "SFT, KD."), ("new", None)):
        for name, fields in {
            "generate": {"outputs": {answers: "new"}},
            "sft": {"inputs": {answers: of_sft}, "outputs": {weights: "weights"}},
            "kd": {"inputs": {answers: "new", weights: "weights"}},
        }.items():
            found = Manifest.load(run_dir.manifest(name))
            assert found is not None
            replace(found, **fields).save(run_dir.manifest(name))  # type: ignore[arg-type]
        stage.run(config, run_dir)
        texts = [text for text in load_results(run_dir)["warnings"] if "made again since" in text]
        assert len(texts) == (warned_of is not None)
        assert all(f": {warned_of} " in text for text in texts)


@pytest.mark.parametrize("wrong", [{"gone": 1}, {"kd_epochs": "many"}, {"max_tries": 1_000}])
def test_what_the_settings_no_longer_accept_is_left_out(tmp_path: Path, wrong: dict[str, Any]) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4})
    made = as_made(config, record(run_dir, {"prepare": wrong, "sft": {"sft_epochs": 2}}))
    assert made == config.model_copy(update={"sft_epochs": 2})


def test_settings_of_commands_that_do_not_fit_together_are_all_shown(tmp_path: Path) -> None:
    """Answers of up to 100,000 tokens, then a training whose sequences are cut at 4,096."""
    config, run_dir = make_run(tmp_path, sizes={"math": 4})
    manifests = record(run_dir, {"prepare": {"max_new_tokens": 100_000, "domains": "math"}, "sft": {"max_length": 64}})
    made = as_made(config, manifests)
    assert (made.max_new_tokens, made.max_length, made.domains) == (100_000, 64, "math")
    stage.run(config, run_dir)
    shown = load_results(run_dir)["config"]
    assert (shown["max_new_tokens"], shown["max_length"]) == (100_000, 64)


def test_recorded_values_have_the_kind_of_their_setting(tmp_path: Path) -> None:
    """JSON has no paths."""
    config, run_dir = make_run(tmp_path, sizes={"math": 4})
    made = as_made(config, record(run_dir, {"prepare": {"data_dir": "elsewhere"}, "sft": {"lora_r": 4}}))
    assert (made.data_dir, made.lora_r) == (Path("elsewhere"), 4)
