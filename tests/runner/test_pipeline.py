"""Which stages a run selects, and whether each runs, resumes or is skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import Manifest, RunDir, fingerprint
from l2s.runner.experiment import dry_run
from l2s.runner.freshness import begin, inputs_of, settings_of, state_of
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_settings
from l2s.runner.selection import needs_of, select_stages, settle

Make = Callable[..., ExperimentConfig]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A factory of configurations whose experiment folder is in tmp_path."""

    def build(**fields: object) -> ExperimentConfig:
        return settle(ExperimentConfig(experiment_name="x", output_dir=tmp_path, **fields))

    return build


def names(config: ExperimentConfig) -> list[str]:
    return [stage.name for stage in select_stages(config)]


def finish(name: str, config: ExperimentConfig) -> None:
    """Pretend that a stage has run: write its outputs and its manifest."""
    stage, run_dir = STAGES[name], RunDir.of(config)
    inputs = begin(stage, config, run_dir, "run")
    for path in stage.gives(run_dir, config):
        if path != run_dir.teacher_signals:  # a folder
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    Manifest(name, settings_of(stage, config), inputs, {}, {}, None, 0, "cpu", "", 0.0).save(run_dir.manifest(name))
    run_dir.started(name).unlink()


def state(name: str, config: ExperimentConfig, **options: bool) -> str:
    return state_of(STAGES[name], config, RunDir.of(config), **({"requested": True} | options))


def test_run_all_selects_what_the_arms_use(make: Make) -> None:
    everything = [name for name in STAGES if "lm_eval" not in name]
    assert names(make(run_all=True, arms="opd, kd,sft")) == everything
    assert names(make(run_all=True)) == [name for name in everything if "opd" not in name]
    evaluated = ["evaluate_teacher", "evaluate_student_base", "evaluate_student_sft", "report"]
    assert names(make(run_all=True, arms="sft")) == ["prepare", "generate", "sft", *evaluated]


def test_a_student_on_its_own_answers_needs_those_of_the_teacher_only_through_sft(make: Make) -> None:
    evaluated = ["evaluate_teacher", "evaluate_student_base", "evaluate_student_opd", "report"]
    assert make(run_opd=True).kd_init == make(run_all=True, arms="kd,opd").kd_init == "base"
    assert names(make(run_opd=True)) == ["prepare", "opd"]
    assert names(make(run_all=True, arms="opd")) == ["prepare", "opd", *evaluated]
    assert make(run_sft=True, run_opd=True).kd_init == "sft"
    assert names(make(run_opd=True, kd_init="sft")) == ["prepare", "generate", "sft", "opd"]


@pytest.mark.parametrize("student", ["student_base", "student_kd"])
def test_without_fidelity_no_student_waits_for_the_teacher(make: Make, student: str) -> None:
    compared, alone = make(run_all=True), make(run_all=True, fidelity_size=0)
    stage, of_teacher = STAGES[f"evaluate_{student}"], RunDir.of(compared).predictions("teacher")
    assert "evaluate_teacher" in needs_of(stage, compared)
    assert of_teacher in stage.inputs(RunDir.of(compared), compared)
    assert "evaluate_teacher" not in needs_of(stage, alone)
    assert of_teacher not in stage.inputs(RunDir.of(alone), alone)
    assert "evaluate_teacher" in names(alone)


def test_a_missing_trl_is_said_before_anything_is_loaded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.errors.find_spec", lambda name: None)
    config = make(run_all=True, arms="sft,opd")
    with pytest.raises(UserError, match=r"run_opd .* needs trl, .* `pip install -c constraints\.txt '\.\[trl\]'`"):
        check_settings(config, select_stages(config))
    finish("sft", config)
    finish("opd", config)
    check_settings(config, select_stages(config))  # the student exists: evaluating it needs no TRL


def test_answers_that_leave_no_room_for_a_prompt_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.errors.find_spec", lambda name: True)
    config = make(run_opd=True, opd_max_new_tokens=2048)
    with pytest.raises(UserError, match=r"opd_max_new_tokens=2048: .* max_length=2048"):
        check_settings(config, select_stages(config))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"math_train_size": 0, "code_train_size": 0, "aiops_train_size": 0}, "nothing to train on"),
        ({"teacher_context": "file:none.md"}, "teacher_context='file:none.md': cannot be read"),
    ],
)
def test_what_opd_asks_is_checked_before_anything_is_loaded(
    make: Make, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr("l2s.errors.find_spec", lambda name: True)
    config = make(run_opd=True, **fields)
    with pytest.raises(UserError, match=words):
        check_settings(config, select_stages(config))


def test_answers_that_are_there_need_no_context(make: Make) -> None:
    """The notes may be gone when a student is trained on the answers later; asking again needs them."""
    fields = {"teacher_context": "math=file:gone.md", "domains": "math"}
    config = make(run_sft=True, **fields)
    with pytest.raises(UserError, match="cannot be read"):
        check_settings(config, select_stages(config))
    finish("generate", config)
    check_settings(config, select_stages(config))
    for asks in ({"run_generate": True}, {"run_all": True}):
        config = make(**fields, **asks)
        with pytest.raises(UserError, match="cannot be read"):
            check_settings(config, select_stages(config))


def test_a_context_of_a_domain_without_training_items_is_named_and_serves_stage_by_stage(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "not used for aiops, own, of which this run has no training items"
    fields = {"teacher_context": "math=reference,own=reference,aiops=reference", "aiops_train_size": 0}
    for flag in ("run_generate", "run_sft"):
        dry_run(make(**fields, **{flag: True}))
        assert said in capsys.readouterr().out
    for silent in ({"teacher_context": "reference"}, {"teacher_context": "math=reference"}, {"run_prepare": True}):
        dry_run(make(**({"run_generate": True, "domains": "math"} | silent)))
        assert "not used" not in capsys.readouterr().out


def test_published_benchmarks_without_an_evaluation_are_named(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    said = "lm_eval_tasks='gsm8k': not used, because this run evaluates no model; add --run_eval"
    dry_run(make(run_sft=True, lm_eval_tasks="gsm8k"))
    assert said in capsys.readouterr().out
    dry_run(make(run_sft=True))
    assert "not used" not in capsys.readouterr().out


def test_an_online_teacher_needs_no_score(make: Make) -> None:
    assert "score" not in names(make(run_all=True, teacher_signal="online"))


def test_run_sft_gives_the_data_and_the_student_only(make: Make) -> None:
    assert names(make(run_sft=True)) == ["prepare", "generate", "sft"]


def test_run_kd_alone_starts_from_the_given_student(make: Make) -> None:
    assert make(run_kd=True).kd_init == "base"
    assert names(make(run_kd=True)) == ["prepare", "generate", "score", "kd"]
    assert names(make(run_kd=True, kd_init="sft")) == ["prepare", "generate", "score", "sft", "kd"]


def test_run_eval_takes_the_models_that_are_there(make: Make) -> None:
    assert names(make(run_eval=True)) == ["prepare", "evaluate_teacher", "evaluate_student_base", "report"]
    finish("sft", make(run_sft=True))
    assert "evaluate_student_sft" in names(make(run_eval=True))


def test_every_need_comes_first(make: Make) -> None:
    order = names(make(run_all=True, arms="sft,kd,opd", lm_eval_tasks="gsm8k"))
    for stage in STAGES.values():
        assert all(order.index(need) < order.index(stage.name) for need in stage.needs)


def test_every_field_is_read_by_a_stage_or_known_to_decide_nothing() -> None:
    deciding_nothing = {
        "experiment_name", "output_dir", "processed_dir", "data_dir", "save_steps", "report_to", "run_all",
        "run_prepare", "run_generate", "run_score", "run_sft", "run_kd", "run_opd", "run_eval", "arms",
        "teacher_gpus", "teacher_endpoint", "endpoint_concurrency", "endpoint_per_minute", "endpoint_tries",
        "endpoint_timeout_s",
        "seeds", "gpus", "mix_versions", "cpu_workers", "tokens_per_batch", "sharding", "executor", "address",
        "storage_path", "node_dir", "opd_runaway",
    }  # fmt: skip
    read = {name for stage in STAGES.values() for name in (*stage.reads, *stage.models)}
    assert set(ExperimentConfig.model_fields) == read | deciding_nothing
    assert not read & deciding_nothing


def test_a_finished_stage_is_skipped_until_an_input_changes(make: Make) -> None:
    config = make(run_all=True)
    finish("prepare", config)
    finish("generate", config)
    assert state("generate", config) == "skip"
    RunDir.of(config).train_data.write_text("other items")
    assert state("generate", config) == "run"


def test_a_finished_stage_whose_output_is_gone_goes_on_from_the_rest(make: Make) -> None:
    config = make(run_all=True)
    for name in ("prepare", "generate", "score"):
        finish(name, config)
    (RunDir.of(config).teacher_signals / "index.json").unlink()  # as a reader does when it finds damage
    assert state("score", config) == "resume"
    assert state("score", config, requested=False) == "resume"
    RunDir.of(config).responses.write_text("other answers")
    assert state("score", config) == "run"


def test_a_stage_that_was_begun_is_resumed_with_its_scratch(make: Make) -> None:
    config = make(run_all=True)
    finish("prepare", config)
    run_dir = RunDir.of(config)
    begin(STAGES["generate"], config, run_dir, "run")
    run_dir.answer_log.mkdir(parents=True)
    assert state("generate", config) == "resume"
    begin(STAGES["generate"], config, run_dir, "resume")
    assert run_dir.answer_log.exists()
    begin(STAGES["generate"], config, run_dir, "run")
    assert not run_dir.answer_log.exists()


def test_other_settings_are_refused_by_name_rather_than_overwriting(make: Make) -> None:
    finish("sft", make(run_all=True))
    with pytest.raises(UserError, match=r"sft_lr=0\.001: stage sft .* was made with sft_lr=0\.0002; .* --force"):
        state("sft", make(run_all=True, sft_lr=1e-3))
    assert state("sft", make(run_all=True, sft_lr=1e-3), force=True) == "run"


def test_a_stage_that_only_others_need_is_taken_as_it_is(make: Make) -> None:
    finish("sft", make(run_sft=True, sft_lr=1e-3))
    assert state("sft", make(run_kd=True), requested=False) == "skip"
    with pytest.raises(UserError, match="sft_lr"):
        state("sft", make(run_kd=True, sft_lr=5e-4), requested=False)


def test_evaluation_sizes_do_not_make_the_teacher_answer_again(make: Make) -> None:
    config = make(run_all=True)
    finish("prepare", config)
    finish("generate", config)
    finish("prepare", make(run_all=True, math_eval_size=7))
    assert state("generate", make(run_all=True, math_eval_size=7)) == "skip"


def test_a_hub_model_is_its_name_and_a_folder_its_content(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    config, run_dir = make(run_sft=True, student_model=str(folder)), RunDir(tmp_path / "x")
    assert inputs_of(STAGES["sft"], make(run_sft=True), run_dir)["student_model"] == "hub:Qwen/Qwen3-8B"
    before = inputs_of(STAGES["sft"], config, run_dir)["student_model"]
    (folder / "config.json").write_text("{ }")
    assert inputs_of(STAGES["sft"], config, run_dir)["student_model"] != before


def test_a_fingerprint_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("x")
    first = fingerprint(tmp_path / "a")
    (tmp_path / "a" / "one").rename(tmp_path / "a" / "two")
    assert fingerprint(tmp_path / "a") != first


def test_a_run_folder_that_moved_is_still_done(make: Make, tmp_path: Path) -> None:
    config = make(run_all=True)
    finish("prepare", config)
    finish("generate", config)
    moved = config.model_copy(update={"output_dir": tmp_path / "elsewhere"})
    moved.output_dir.mkdir()
    RunDir.of(config).root.rename(RunDir.of(moved).root)
    assert state_of(STAGES["generate"], moved, RunDir.of(moved), requested=True) == "skip"
