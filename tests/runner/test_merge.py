"""`l2s merge`: students with another merge_weight, from the adapters that a finished experiment keeps."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from l2s.cli import main
from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl
from l2s.models import save
from l2s.models.load import load_base
from l2s.models.tiny import save_tiny_pair
from l2s.report.text.compare import compare_runs
from l2s.run_dir import Manifest, RunDir
from l2s.runner import merge
from l2s.runner.check import tiny_experiment
from l2s.runner.executors import run_stage
from l2s.runner.freshness import begin, state_of
from l2s.runner.pipeline import stage_of
from l2s.runner.selection import requested_stages, select_stages

SETTINGS = {
    "run_all": True, "engine": "transformers", "dtype": "float32", "domains": "math", "tuning": "lora",
    "sft_epochs": 2, "kd_epochs": 1, "kd_lr": 0.01, "fidelity_size": 0, "seeds": "7,8",
}  # fmt: skip


def experiment(folder: Path, name: str, **fields: Any) -> ExperimentConfig:
    """A finished one: KD starts from the SFT student, and each arm is trained with two seeds."""
    given = tiny_experiment(folder).model_dump() | SETTINGS | {"experiment_name": name} | fields
    config = ExperimentConfig(**given)
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    for stage in select_stages(config):
        if stage.name != "report":
            run_stage(stage, config, run_dir, "run")
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merge")
    save_tiny_pair(folder)
    return RunDir.of(experiment(folder, "whole")).root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """The experiment in another folder, as after a move."""
    return Path(shutil.copytree(finished, tmp_path / "outputs" / "whole", symlinks=True))


def weights(root: Path, stage: str) -> dict[str, Tensor]:
    return load_file(root / stage / "final_model" / "model.safetensors")


def manifest(root: Path, stage: str) -> Manifest:
    found = Manifest.load(RunDir(root).manifest(stage))
    assert found is not None
    return found


def states(root: Path, **fields: Any) -> dict[str, str]:
    """What a run would do with what it asks for."""
    run_dir = RunDir(root)
    config = run_dir.load_config().model_copy(update={"output_dir": root.parent, **fields})
    config.model_fields_set.discard("merge_weight")  # the command leaves it out
    requested = requested_stages(config)
    chosen = {
        stage.name: state_of(stage, config, run_dir, requested=stage.name in requested)
        for stage in select_stages(config)
    }
    return {name: state for name, state in chosen.items() if state != "skip" and name != "report"}


def test_the_student_has_the_share_that_a_training_with_this_weight_gives(
    root: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = experiment(finished.parents[1], "half", merge_weight=0.5, run_all=False, run_sft=True)
    before = manifest(root, "sft")
    assert main(["merge", str(root), "--merge_weight", "0.5", "--arms", "sft"]) == 0
    said = capsys.readouterr().out
    for stage in ("sft", "sft@8"):
        expected, found = weights(RunDir.of(trained).root, stage), weights(root, stage)
        assert expected.keys() == found.keys()
        assert all(expected[name].equal(found[name]) for name in expected)
        assert not all(weights(finished, stage)[name].equal(found[name]) for name in found)
    after = manifest(root, "sft")
    assert after.config == before.config | {"merge_weight": 0.5}
    assert after.metrics == {**before.metrics, "merge_weight": 0.5}
    assert {key for key in after.outputs if after.outputs[key] != before.outputs[key]} == {"sft/final_model"}
    assert manifest(root, "kd") == manifest(finished, "kd")
    assert load_jsonl(RunDir(root).log_file)[-1]["merge_weight"] == 0.5
    of_former = ("kd", "evaluate_student_sft", "evaluate_student_kd")  # KD started from the former student
    names = ", ".join([*of_former, *(f"{name}@8" for name in of_former)])
    commands = "`l2s kd --force`, then `l2s run --run_eval`"
    assert f"of former weights, and left out of reports: {names}; made again by {commands}, with the exp" in said
    for file in ("tokenizer.json", "generation_config.json", "config.json"):
        assert (root / "sft/final_model" / file).read_bytes() == (finished / "sft/final_model" / file).read_bytes()


def test_a_later_arm_alone_keeps_what_it_was_trained_on(root: Path, finished: Path) -> None:
    assert main(["merge", str(root), "--merge_weight", "0.25", "--arms", "kd"]) == 0
    for copy in ("", "@8"):
        start, whole, part = weights(root, f"sft{copy}"), weights(finished, f"kd{copy}"), weights(root, f"kd{copy}")
        moved = [name for name in start if not whole[name].equal(start[name])]
        assert moved
        for name, before in start.items():
            exact = before.double() + 0.25 * (whole[name].double() - before.double())
            assert (part[name].double() - exact).abs().max() < 1e-6
    evaluations = {"evaluate_student_kd": "run", "evaluate_student_kd@8": "run"}
    assert states(root, run_all=False, run_eval=True) == evaluations


def test_back_to_the_whole_change_gives_the_trained_student(root: Path, finished: Path) -> None:
    for weight in ("0.5", "1"):
        assert main(["merge", str(root), "--merge_weight", weight, "--arms", "kd"]) == 0
    for stage in ("kd", "kd@8"):
        assert manifest(root, stage) == manifest(finished, stage)
    assert not states(root)


def test_the_same_weight_changes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(save, "write_merged_again", None)
    assert main(["merge", str(root), "--merge_weight", "1.0", "--arms", "kd"]) == 0
    assert capsys.readouterr().out == "kd: merge_weight=1 already\nkd@8: merge_weight=1 already\n"


@pytest.mark.parametrize("moment", ["writing", "between the renames", "before the record", "after the record"])
def test_a_killed_merge_is_done_by_the_same_command(
    moment: str, root: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["merge", str(root), "--merge_weight", "0.5", "--arms", "kd"]
    killed_in = {
        "writing": (shutil, "copytree"),
        "between the renames": (Path, "rename"),
        "before the record": (Manifest, "save"),
        "after the record": (merge, "remove"),
    }[moment]
    work, calls = getattr(*killed_in), []

    def dying(*arguments: Any, **keywords: Any) -> Any:
        calls.append(arguments)
        if moment == "after the record" and ".former" in str(arguments[0]) and len(calls) > 2:
            next(Path(arguments[0]).glob("tokenizer*")).unlink()  # it has begun to remove the old one
            os._exit(9)
        if moment == "between the renames" and len(calls) == 1:
            return work(*arguments, **keywords)
        if moment != "after the record":
            os._exit(9)
        return work(*arguments, **keywords)

    monkeypatch.setattr(*killed_in, dying)
    process = os.fork()
    if process == 0:
        try:
            torch.set_num_threads(1)  # a forked process has none of the threads of its parent
            main(command)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    monkeypatch.undo()
    assert main(command) == 0
    assert manifest(root, "kd").config["merge_weight"] == 0.5
    names = {path.name for path in (root / "kd").iterdir()}
    assert names == {path.name for path in (finished / "kd").iterdir()}
    for file in (finished / "kd" / "final_model").iterdir():
        same = (root / "kd" / "final_model" / file.name).read_bytes() == file.read_bytes()
        assert same == (file.suffix != ".safetensors")
    assert states(root, run_all=False, run_eval=True).keys() == {"evaluate_student_kd", "evaluate_student_kd@8"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--merge_weight", "0"], "merge_weight='0': must be greater than 0"),
        (["--merge_weight", "1.5"], "merge_weight='1.5': must be less than or equal to 1"),
        (["--merge_weight", "half"], "merge_weight='half'"),
        (["--merge_weight", "nan"], "merge_weight='nan'"),
        ([], "required: --merge_weight"),
        (["--merge_weight", "0.5", "--arms", "kb"], "arms='kb'"),
        (["--merge_weight", "0.5", "--arms", "opd"], "arms=opd: .* has no finished training of opd; train it first"),
        (["--merge_weight", "0.5", "--arms", "kd,opd"], "arms=kd,opd: .* no finished training of opd;"),
        (["--merge_weight", "0.5", "--merge_weight", "1"], "was given before"),
        (["--merge", "0.5"], "--merge_weight"),
        (["--merge_weight", "0.5"], "kd was trained on the student of sft, which would change under it"),
    ],
)
def test_what_cannot_be_merged_is_refused_before_anything_changes(
    arguments: list[str], words: str, root: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["merge", str(root), *arguments])
    except SystemExit as end:
        status = int(str(end.code))
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("l2s merge: ")
    assert re.search(words, line), line
    assert manifest(root, "sft") == manifest(finished, "sft")
    assert not states(root)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("sft/adapter/adapter_model.safetensors", r"sft/adapter: changed since sft wrote it"),
        ("sft/final_model/model.safetensors", r"final_model: not the weights that kd was trained on, so its adapter"),
        ("kd/final_model", r"kd/final_model: changed since kd wrote it .*; restore it, or train kd again with --force"),
        ("kd@8/final_model/generation_config.json", r"kd@8/final_model: changed since kd@8 wrote it"),
        ("kd/manifest.json", r"kd/manifest\.json: the record of a finished stage is damaged"),
        ("config.yaml", r"config\.yaml: not the settings that l2s wrote"),
    ],
)
def test_a_file_that_is_not_as_its_stage_left_it_is_named(
    damage: str, words: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / damage
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"~")
    before = weights(root, "kd@8")
    assert main(["merge", str(root), "--merge_weight", "0.5", "--arms", "sft" if "adapter" in damage else "kd"]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert all(before[name].equal(weight) for name, weight in weights(root, "kd@8").items())


def test_without_adapters_or_trainings_it_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = manifest(root, "kd")
    outputs = {label: sha for label, sha in found.outputs.items() if "adapter" not in label}
    replace(found, config=found.config | {"tuning": "full"}, outputs=outputs).save(RunDir(root).manifest("kd"))
    assert main(["merge", str(root), "--merge_weight", "0.5", "--arms", "kd"]) == 2
    assert "tuning='full': kd kept no adapter that could be merged again" in capsys.readouterr().err
    for stage in ("sft", "sft@8", "kd", "kd@8"):
        RunDir(root).manifest(stage).unlink()
    assert main(["merge", str(root), "--merge_weight", "0.5"]) == 2
    assert "no student is trained there; `l2s run` trains one" in capsys.readouterr().err
    assert main(["merge", str(root.parent), "--merge_weight", "0.5"]) == 2
    assert "not the folder of an experiment" in capsys.readouterr().err


def rewrite_config(root: Path, **fields: Any) -> None:
    """As a later command leaves it."""
    run_dir = RunDir(root)
    run_dir.save_config(run_dir.load_config().model_copy(update=fields))


def test_the_recorded_settings_decide_and_not_those_of_a_later_command(root: Path, finished: Path) -> None:
    """A later command started from the base, in windows that do not fit what was recorded, and without seeds."""
    rewrite_config(root, kd_init="base", max_length=8192, max_new_tokens=5000, seeds="", merge_weight=0.5)
    assert main(["merge", str(root), "--merge_weight", "0.5", "--arms", "kd"]) == 0
    for copy in ("", "@8"):
        assert manifest(root, f"kd{copy}").config["merge_weight"] == 0.5
        start, whole, part = weights(root, f"sft{copy}"), weights(finished, f"kd{copy}"), weights(root, f"kd{copy}")
        for name, before in start.items():
            exact = before.double() + 0.5 * (whole[name].double() - before.double())
            assert (part[name].double() - exact).abs().max() < 1e-6


def test_a_training_that_has_begun_on_a_student_keeps_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = RunDir(root)
    begin(stage_of("kd", run_dir.load_config().model_copy(update={"output_dir": root.parent})),
          run_dir.load_config().model_copy(update={"output_dir": root.parent}), run_dir, "run")  # fmt: skip
    assert main(["merge", str(root), "--merge_weight", "0.5", "--arms", "sft"]) == 2
    assert re.search(r"kd was begun on the student of sft and is not finished; .*--run_kd`", capsys.readouterr().err)


def test_a_base_that_moved_is_said_to_be_missing(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = manifest(root, "sft")
    replace(found, config=found.config | {"student_model": "models/gone"}).save(RunDir(root).manifest("sft"))
    monkeypatch.chdir(root)
    assert main(["merge", ".", "--merge_weight", "0.5", "--arms", "sft"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"student_model=models/gone: not found from the folder .*/whole; sft was trained on it, so", said)


def test_a_student_of_the_hub_is_known_by_its_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = manifest(root, "sft")
    names = {"org/tiny": str(found.config["student_model"])}
    monkeypatch.setattr(save, "load_base", lambda name, config: load_base(names[name], config))
    config, inputs = found.config | {"student_model": "org/tiny"}, found.inputs | {"student_model": "hub:org/tiny"}
    for stage in ("sft", "sft@8"):
        replace(manifest(root, stage), config=config, inputs=inputs).save(RunDir(root).manifest(stage))
    monkeypatch.chdir(root)
    assert main(["merge", ".", "--merge_weight", "0.5", "--arms", "sft"]) == 0


def test_a_comparison_shows_the_weights_of_each_student(root: Path, finished: Path) -> None:
    assert "All settings are the same" in compare_runs(root, finished)
    assert main(["merge", str(root), "--merge_weight", "0.5", "--arms", "kd"]) == 0
    run_dir = RunDir(root)
    config = run_dir.load_config().model_copy(update={"output_dir": root.parent})
    for copy in ("", "@8"):
        run_stage(stage_of(f"evaluate_student_kd{copy}", config), config, run_dir, "run")
    rows = [line for line in compare_runs(root, finished).splitlines() if line.startswith(r"| merge")]
    assert rows == [r"| merge\_weight | 1.0 (sft, sft@8), 0.5 (kd, kd@8) | 1.0 |"]
