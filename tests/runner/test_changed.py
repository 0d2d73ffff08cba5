"""Other settings, data, code or packages: a run says which stages are affected, and never mixes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import Manifest, RunDir, as_made
from l2s.runner import versions
from l2s.runner.experiment import _say_what_changed, dry_run
from l2s.runner.freshness import begin, changed_inputs, inputs_of, other_versions, settings_of, state_of
from l2s.runner.pipeline import STAGES
from l2s.runner.selection import requested_stages, select_stages, settle
from l2s.runner.versions import package_versions, require_same

MADE = ("prepare", "generate", "sft", "evaluate_teacher")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ExperimentConfig, RunDir]:
    """An experiment of which the stages of MADE are done."""
    monkeypatch.chdir(tmp_path)
    config = settle(
        ExperimentConfig(experiment_name="x", output_dir=tmp_path, run_all=True, device="cpu", dtype="float32")
    )
    run_dir = RunDir.of(config)
    run_dir.create()
    for name in MADE:
        stage = STAGES[name]
        for path in stage.gives(run_dir, config):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x") if path.suffix else path.mkdir(exist_ok=True)
        write_manifest(name, config, run_dir, package_versions())
    return config, run_dir


def write_manifest(name: str, config: ExperimentConfig, run_dir: RunDir, found: dict[str, str]) -> None:
    stage = STAGES[name]
    given: dict[str, Any] = {"git_commit": None, "seed": 0, "device": "cpu", "started_at": "", "seconds": 1.0}
    settings, inputs = settings_of(stage, config), inputs_of(stage, config, run_dir)
    Manifest(name, settings, inputs, {}, found, **given).save(run_dir.manifest(name))


def announce(config: ExperimentConfig, run_dir: RunDir) -> None:
    stages = select_stages(config)
    requested = requested_stages(config)
    states = {stage.name: state_of(stage, config, run_dir, requested=stage.name in requested) for stage in stages}
    _say_what_changed(stages, states, config, run_dir)


def test_nothing_is_said_where_nothing_changed(
    made: tuple[ExperimentConfig, RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    announce(*made)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("package", "affected"),
    [
        ("transformers", "generate, sft, evaluate_teacher"),
        ("peft", "sft"),
        ("datasets", "prepare"),
        (versions.CODE, "prepare, generate, sft, evaluate_teacher"),
    ],
)
def test_other_versions_are_refused_and_the_stages_named(
    package: str, affected: str, made: tuple[ExperimentConfig, RunDir]
) -> None:
    config, run_dir = made
    for name in MADE:
        write_manifest(name, config, run_dir, package_versions() | {package: "0.1"})
    with pytest.raises(UserError) as caught:
        announce(config, run_dir)
    assert f"{package} 0.1 ({affected}), here {package_versions()[package]}" in str(caught.value)
    assert "score, kd" in str(caught.value)


def test_other_versions_may_be_mixed_on_demand_which_is_said(
    made: tuple[ExperimentConfig, RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    config, run_dir = made
    write_manifest("sft", config, run_dir, package_versions() | {"torch": "0.1"})
    announce(config.model_copy(update={"mix_versions": True}), run_dir)
    assert "torch 0.1 (sft)" in capsys.readouterr().out


def test_a_stage_that_was_begun_with_other_versions_is_not_resumed(
    made: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run_dir = made
    begin(STAGES["kd"], config, run_dir, "run")
    assert other_versions(STAGES["kd"], config, run_dir) == {}
    now = package_versions()
    monkeypatch.setattr(versions, "package_versions", lambda: now | {"torch": "99"})
    assert other_versions(STAGES["kd"], config, run_dir) == {"torch": (now["torch"], "99")}


def test_where_nothing_runs_other_versions_are_only_noted(made: tuple[ExperimentConfig, RunDir]) -> None:
    differing = {"sft": {"torch": ("1", "2")}}
    assert require_same(differing, [], made[0]) == "made with other versions: torch 1 (sft), here 2"
    with pytest.raises(UserError, match=r"new results of kd would be mixed"):
        require_same(differing, ["kd"], made[0])


def test_a_patch_of_python_changes_nothing(made: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = made
    release = ".".join(package_versions()["python"].split(".")[:2])
    write_manifest("sft", config, run_dir, package_versions() | {"python": f"{release}.99"})
    assert other_versions(STAGES["sft"], config, run_dir) == {}


def test_changed_data_names_file_and_stage(
    made: tuple[ExperimentConfig, RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    config, run_dir = made
    run_dir.train_data.write_text("other")
    assert changed_inputs(STAGES["generate"], config, run_dir) == ["data/train_dataset.jsonl"]
    announce(config, run_dir)
    said = capsys.readouterr().out
    assert "data/train_dataset.jsonl has changed: generate runs again, and then" in said


def test_a_stage_that_was_not_asked_for_is_used_as_it_is_which_is_said(
    made: tuple[ExperimentConfig, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run_dir = made
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train_file", "eval_file")}
    for path in files.values():
        path.write_text("old")
    write_manifest("prepare", config.model_copy(update=files | {"domains": "own"}), run_dir, package_versions())
    alone = config.model_copy(update={"run_all": False, "run_eval": True})
    for config in (alone, alone.model_copy(update=files | {"domains": "own"})):  # with and without the files' flags
        files["eval_file"].write_text("old")
        announce(config, run_dir)
        assert capsys.readouterr().out == ""
        files["eval_file"].write_text("new")
        announce(config, run_dir)
        said = capsys.readouterr().out
        assert "eval_file.jsonl has changed since prepare read it, and is used as it was then" in said
        assert "`l2s run` with --run_prepare reads it again" in said
        assert "train_file" not in said
    files["eval_file"].unlink()
    announce(alone, run_dir)
    assert capsys.readouterr().out == ""


def test_a_dry_run_does_not_claim_that_stages_behind_another_run(
    made: tuple[ExperimentConfig, RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    config, run_dir = made
    run_dir.manifest("prepare").unlink()
    dry_run(config)
    said = {
        line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.split("Stages")[1].splitlines() if line
    }
    assert said["prepare"] == ["run"]
    assert said["score"] == ["run"]
    for stage in ("generate", "sft", "evaluate_teacher"):
        assert " ".join(said[stage]) == "run if its inputs change"


def test_a_changed_setting_names_all_stages_that_it_decides(made: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = made
    other = config.model_copy(update={"max_new_tokens": 7})
    with pytest.raises(UserError, match=r"; it decides generate, sft, evaluate_teacher: repeat"):
        state_of(STAGES["generate"], other, run_dir, requested=True)


def test_a_stage_that_resumes_is_no_longer_done(made: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = made
    begin(STAGES["sft"], config, run_dir, "resume")
    assert Manifest.load(run_dir.manifest("sft")) is None
    assert json.loads(run_dir.started("sft").read_text())["versions"] == package_versions()


def test_a_setting_that_came_later_has_the_value_that_earlier_stages_meant(
    made: tuple[ExperimentConfig, RunDir],
) -> None:
    config, run_dir = made
    manifest = Manifest.load(run_dir.manifest("sft"))
    assert manifest is not None
    del manifest.config["merge_weight"]
    manifest.save(run_dir.manifest("sft"))
    assert state_of(STAGES["sft"], config, run_dir, requested=True) == "skip"
    half = config.model_copy(update={"merge_weight": 0.5})
    assert as_made(half, [manifest]).merge_weight == 1.0
    with pytest.raises(
        UserError, match=r"^merge_weight=0\.5: stage sft .* made with merge_weight=1\.0; it decides .*`l2s merge`"
    ):
        state_of(STAGES["sft"], half, run_dir, requested=True)
    (run_dir.arm("sft").final_model).rmdir()  # a part of the result is lost
    assert state_of(STAGES["sft"], config, run_dir, requested=True) == "resume"
    begin(STAGES["sft"], config, run_dir, "run")  # the note of a training that has begun
    started = json.loads(run_dir.started("sft").read_text())
    assert started["config"]["merge_weight"] == 1.0


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ({"sft_lr": 0.5}, r"with --run_sft --force alone .* make prepare, generate, evaluate_teacher again too\)"),
        ({"max_new_tokens": 8}, r"with --run_generate --run_eval --force alone .* make prepare again too\)"),
        ({"seed": 7}, r"add --force to make it again"),
    ],
)
def test_a_refusal_says_how_to_make_again_what_a_setting_decides_and_nothing_else(
    made: tuple[ExperimentConfig, RunDir], setting: dict[str, Any], advice: str
) -> None:
    """With --force beside --run_all, a new learning rate would cost the teacher's answers too."""
    config, run_dir = made
    other = config.model_copy(update=setting)
    with pytest.raises(UserError, match=advice):
        announce(other, run_dir)


def test_a_stage_that_was_only_begun_is_not_said_to_be_made(made: tuple[ExperimentConfig, RunDir]) -> None:
    config, run_dir = made
    begin(STAGES["sft"], config, run_dir, "run")
    with pytest.raises(UserError, match=r"^sft_lr=0\.5: stage sft .* was begun with sft_lr="):
        announce(config.model_copy(update={"sft_lr": 0.5}), run_dir)
