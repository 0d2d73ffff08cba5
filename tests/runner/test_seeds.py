"""--seeds: each arm is trained and evaluated once with each seed, on the same data, and the report shows the spread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from l2s.arms import COPY
from l2s.config import ExperimentConfig, resolve_config
from l2s.errors import UserError
from l2s.models.tiny import save_tiny_pair
from l2s.run_dir import Manifest, RunDir
from l2s.runner.check import tiny_experiment
from l2s.runner.executors import run_stage
from l2s.runner.freshness import state_of
from l2s.runner.pipeline import stage_of
from l2s.runner.selection import needs_of, requested_stages, select_stages
from support.kills import killed_after

WEIGHT = "model.layers.0.self_attn.q_proj.weight"


def experiment(folder: Path, **fields: object) -> ExperimentConfig:
    config = tiny_experiment(folder).model_dump() | {"run_all": True, "seeds": "7,8", "engine": "transformers"}
    return ExperimentConfig(
        **(config | {"dtype": "float32", "domains": "math", "sft_epochs": 3, "kd_epochs": 1} | fields)
    )


def states(config: ExperimentConfig) -> dict[str, str]:
    run_dir = RunDir.of(config)
    return {stage.name: state_of(stage, config, run_dir, requested=True) for stage in select_stages(config)}


def run(config: ExperimentConfig) -> list[str]:
    """Run what is not done, stage by stage in this process, and return its names."""
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    done = []
    for stage in select_stages(config):
        state = state_of(stage, config, run_dir, requested=True)
        if state != "skip":
            run_stage(stage, config, run_dir, state)
            done.append(stage.name)
    return done


def test_a_killed_run_of_two_seeds_resumes_and_the_report_shows_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2s.report.stage.draw_plots", lambda results, text: {})  # figures take a third of the time
    save_tiny_pair(tmp_path)
    config = experiment(tmp_path, save_steps=1)
    run_dir = RunDir.of(config)
    first = [stage for stage in select_stages(config) if stage.original not in ("kd", "report")]
    run_dir.create()
    for stage in first[: [stage.name for stage in first].index("sft@8")]:
        if "kd" not in stage.name:
            run_stage(stage, config, run_dir, "run")
    with killed_after(1):
        run_stage(stage_of("sft@8", config), config, run_dir, "run")
    assert states(config)["sft@8"] == "resume"
    assert states(config)["sft"] == "skip"
    assert run(config)[-1] == "report"
    assert {name: state for name, state in states(config).items() if state != "skip"} == {"report": "run"}

    weights = {
        arm: AutoModelForCausalLM.from_pretrained(run_dir.arm(arm).final_model).state_dict()[WEIGHT]
        for arm in ("sft", "sft@8", "kd", "kd@8")
    }
    assert not weights["sft"].equal(weights["sft@8"])
    assert not weights["kd"].equal(weights["kd@8"])
    manifests = {arm: Manifest.load(run_dir.manifest(arm)) for arm in ("sft", "sft@8", "kd", "kd@8")}
    seeds = {arm: manifest and (manifest.seed, manifest.config["seed"]) for arm, manifest in manifests.items()}
    assert seeds == {"sft": (7, 7), "sft@8": (8, 8), "kd": (7, 7), "kd@8": (8, 8)}
    for arm in ("sft", "kd"):
        one, two = manifests[arm], manifests[f"{arm}@8"]
        assert one is not None
        assert two is not None
        assert {path: mark for path, mark in one.inputs.items() if not path.endswith("final_model")} == {
            path: mark for path, mark in two.inputs.items() if not path.endswith("final_model")
        }
        assert one.metrics["num_sequences"] == two.metrics["num_sequences"]
    assert "sft@8/final_model" in (manifests["kd@8"] or pytest.fail("no manifest")).inputs

    results = json.loads(run_dir.results.read_text())
    shown = {(row["model"], row["domain"]): row["seeds"] for row in results["seeds"]}
    assert shown[("student_kd", "math")] == [7, 8]
    assert shown.keys() == {("student_sft", "math"), ("student_kd", "math")}
    assert not any(COPY in model for model in results["evaluation"])
    assert {"sft@8", "evaluate_student_kd@8"} <= results["stages"].keys()
    for report in (run_dir.comparison_report, run_dir.browser_report):
        assert "Spread over seeds" in report.read_text()
        assert "All of this is about the students of seed 7. The spread over seeds 7, 8" in report.read_text()


def names(config: ExperimentConfig) -> list[str]:
    return [stage.name for stage in select_stages(config)]


def test_copies_follow_the_arms_they_are_made_from(tmp_path: Path) -> None:
    config = experiment(tmp_path, seeds="3,1", lm_eval_tasks="arc_easy")
    copies = [name for name in names(config) if COPY in name]
    assert copies == ["sft@1", "kd@1", "evaluate_student_sft@1", "evaluate_student_kd@1"]
    needs = {stage.name: needs_of(stage, config) for stage in select_stages(config)}
    assert needs["kd@1"] == ["generate", "score", "sft@1"]
    assert needs["evaluate_student_kd@1"] == ["prepare", "evaluate_teacher", "kd@1"]
    assert {"evaluate_student_sft@1", "evaluate_student_kd@1"} <= set(needs["report"])
    base = experiment(tmp_path, seeds="3,1", kd_init="base", arms="kd", teacher_signal="online")
    assert needs_of(stage_of("kd@1", base), base) == ["generate"]
    assert "sft@1" not in names(base)


def test_an_evaluation_alone_trains_no_copy(tmp_path: Path) -> None:
    config = experiment(tmp_path, run_all=False, run_eval=True)
    for arm in ("sft", "kd", "kd@8"):
        Manifest(arm, {}, {}, {}, {}, None, 0, "cpu", "", 0.0).save(RunDir.of(config).manifest(arm))
    copies = {name for name in requested_stages(config) if COPY in name}
    assert copies == {"evaluate_student_kd@8"}


def test_no_seeds_and_one_seed_make_no_copy(tmp_path: Path) -> None:
    for seeds in ("", "5"):
        assert not any(COPY in name for name in names(experiment(tmp_path, seeds=seeds)))
    one = experiment(tmp_path, seeds="5", seed=42)
    seeds_of = {stage.name: stage.settings(one).seed for stage in select_stages(one)}
    assert {name for name, seed in seeds_of.items() if seed == 5} == {"sft", "kd"}


def test_a_changed_setting_of_a_copy_is_refused(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    stage, run_dir = stage_of("kd@8", config), RunDir.of(config)
    for path in stage.gives(run_dir, config):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made")
    before = stage.settings(config).model_dump(mode="json", include={"kd_lr", "seed"})
    Manifest("kd@8", before, {}, {}, {}, None, 8, "cpu", "", 0.0).save(run_dir.manifest("kd@8"))
    with pytest.raises(UserError, match=r"kd_lr=0\.5: stage kd@8"):
        state_of(stage, config.model_copy(update={"kd_lr": 0.5}), run_dir, requested=True)


@pytest.mark.parametrize(
    ("seeds", "problem"),
    [
        ("1,2,1", "names 1 twice"), ("1,01", "names 1 twice"), ("1,,2", "whole numbers"), ("a", "whole numbers"),
        ("-1", "whole numbers"), ("1.5", "whole numbers"), ("4294967296", "whole numbers"), ("²", "whole numbers"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_one_line(seeds: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        resolve_config({"seeds": seeds})
    assert "seeds" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seeds", [" 1, 2 ,3", [1, 2, 3], "1,2,3"])
def test_yaml_lists_and_spaces_are_taken(seeds: object) -> None:
    config = ExperimentConfig(seeds=seeds)
    assert config.seeds == "1,2,3"
    assert config.training_seeds == (1, 2, 3)
    assert ExperimentConfig(seed=9).training_seeds == (9,)
