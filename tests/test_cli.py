"""The command line: every flag of the specification, one clear line for a wrong value, nothing heavy imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from l2s.cli import GROUPS, main
from l2s.config import ExperimentConfig, resolve_config
from l2s.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
SPECIFIED = (
    "teacher_model", "student_model", "run_all", "run_sft", "run_kd", "run_eval", "experiment_name",
    "sft_epochs", "sft_batch_size", "sft_lr", "kd_epochs", "kd_batch_size", "kd_lr", "temperature", "alpha",
    "max_new_tokens", "max_length", "gradient_accumulation_steps", "run_generate", "run_score", "output_dir",
    "data_dir", "seed", "code_train_source", "kd_init", "report_to", "run_opd", "arms",
)  # fmt: skip


def failure(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that `l2s run --run_all argv...` prints when it refuses."""
    try:
        status = main(["run", "--run_all", *argv])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_every_specified_flag_is_a_field() -> None:
    assert set(SPECIFIED) <= set(ExperimentConfig.model_fields)


def test_every_group_of_the_help_begins_with_a_field() -> None:
    fields = list(ExperimentConfig.model_fields)
    assert list(GROUPS) == sorted(GROUPS, key=fields.index)
    assert next(iter(GROUPS)) == fields[0]


def test_help_lists_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert [name for name in ExperimentConfig.model_fields if f"--{name}" not in text] == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--alpha", "1.5"), ("alpha", "1.5", "less than or equal to 1")),
        (("--temperature", "0"), ("temperature", "0", "greater than 0")),
        (("--experiment_name", "../outside"), ("experiment_name", "../outside", "letters")),
        (("--seed", "many"), ("seed", "many", "integer")),
        (("--arms", "sft,dpo"), ("arms='sft,dpo'", "must be one or more of sft, kd, opd")),
        (("--report_to", "foo"), ("report_to='foo'", "tensorboard")),
        (("--report_to", "swanlab"), ("report_to='swanlab'", "swanlab is not installed")),
        (("--lora_target_modules", ""), ("lora_target_modules=''", "at least 1")),
        (("--experiment_name", "n" * 300), ("experiment_name", "at most 100")),
        (("--teacher_model", "m" * 300), ("teacher_model", "no such folder")),
        (("--teacher_model", ""), ("teacher_model=''", "at least 1")),
        (("--data_dir", ""), ("data_dir=''", "name a folder")),
        (("--output_dir", "/etc/hostname/outputs"), ("output_dir='/etc/hostname/outputs'", "is a file")),
        (("--tuning", "dora"), ("tuning", "dora", "'qlora', 'lora' or 'full'")),
        (("--sft_lrr", "1"), ("--sft_lrr", "did you mean sft_lr")),
        (("--preset", "quick"), ("--preset quick", "fast, accurate, recommended, demo")),
        (("--teacher_model", "/no/such/model"), ("teacher_model", "/no/such/model", "existing folder")),
        (("--student_model", "outputs/none/final_model"), ("student_model", "outputs/none/final_model")),
        (("--data_dir", "/no/such/data"), ("data_dir", "/no/such/data", "gsm8k/")),
        (("--max_new_tokens", "4096"), ("max_new_tokens=4096", "max_length=2048")),
        (("--math_eval_size", "0", "--code_eval_size", "0", "--aiops_eval_size", "0"), ("nothing to evaluate on",)),
    ],
)
def test_a_wrong_value_is_one_line_with_field_value_and_fix(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: tuple[str, ...]
) -> None:
    line = failure(capsys, *argv)
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize(
    ("command", "flag"),
    [("check", "--force"), ("check", "--dry_run"), ("plan", "--force"), ("plan", "--dry_run"), ("check", "--run_all"),
     ("sft", "--run_kd"), ("evaluate", "--run_all"), ("report", "--force"), ("report", "--alpha"),
     ("compare", "--dry_run")],
)  # fmt: skip
def test_a_flag_that_means_nothing_to_a_command_is_refused(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"report": ["outputs/x"], "compare": ["outputs/x", "outputs/y"]}.get(command, [])
    with pytest.raises(SystemExit) as stop:
        main([command, *places, flag])
    assert stop.value.code == 2
    assert f"l2s {command}: {flag}: `l2s {command}` does not take it" in capsys.readouterr().err


def test_a_command_of_one_stage_runs_that_one_whatever_the_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("run_all: true\n")
    assert main(["prepare", "--dry_run", "--config", str(file), "--output_dir", str(tmp_path / "outputs")]) == 0
    assert capsys.readouterr().out.split("Stages")[1].split() == ["prepare", "run"]


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "l2s", "check", "--force"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "l2s check")


def test_nothing_to_run_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "--run_all" in capsys.readouterr().err


def test_a_wrong_value_and_a_dry_run_import_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from l2s.cli import main\n"
        f"assert main(['run', '--run_all', '--alpha', '2']) == 2\n"
        f"assert main(['run', '--run_all', '--dry_run', '--output_dir', {str(tmp_path)!r}]) == 0\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True)


def test_a_dry_run_prints_settings_and_stages_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--run_all", "--dry_run", "--alpha", "0.25", "--output_dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "alpha: 0.25" in text
    assert [stage for stage in ("prepare", "generate", "sft", "kd", "evaluate_student_kd") if stage not in text] == []
    assert list(tmp_path.iterdir()) == []


def test_a_command_of_one_stage_selects_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", "--dry_run", "--output_dir", str(tmp_path)]) == 0
    stages = capsys.readouterr().out.split("Stages")[1].split()
    assert stages == ["prepare", "run", "generate", "run", "sft", "run"]


def test_presets_carry_the_two_parameter_sets() -> None:
    names = [
        "sft_epochs", "sft_batch_size", "sft_lr", "kd_epochs", "kd_batch_size", "kd_lr", "temperature", "alpha",
        "max_new_tokens", "max_length",
    ]  # fmt: skip
    fast, accurate = resolve_config({}, preset="fast"), resolve_config({}, preset="accurate")
    assert [getattr(fast, name) for name in names] == [1, 4, 2e-4, 1, 2, 1.5e-4, 2.0, 0.5, 512, 2048]
    assert fast.arms == accurate.arms == "sft,kd"
    assert [getattr(accurate, name) for name in names] == [2, 2, 1e-4, 2, 1, 1e-4, 3.0, 0.3, 1024, 4096]


def test_the_recommended_preset_sets_all_that_the_others_set_and_what_each_arm_needs() -> None:
    """Nothing that decides a student is left to the defaults, which are the specification's."""
    decided = {
        "keep_correct", "answers_per_item", "max_tries", "teacher_context", "tuning", "lora_r", "lora_alpha",
        "gradient_accumulation_steps", "divergence",
    }  # fmt: skip
    of_opd = {name for name in ExperimentConfig.model_fields if name.startswith("opd_")} - {"opd_runaway"}
    assert PRESETS["recommended"].keys() == PRESETS["fast"].keys() | decided | of_opd
    config = resolve_config({}, preset="recommended")
    assert config.sft_batch_size * config.gradient_accumulation_steps == 32
    assert config.kd_batch_size * config.gradient_accumulation_steps == 32
    assert all(1e-5 <= rate <= 1e-4 for rate in (config.sft_lr, config.opd_lr))
    assert (config.kd_lr, config.temperature, config.alpha) == (2e-4, 1.0, 0.2)  # of the run that gained on GSM8K
    assert config.arms == "sft,kd"  # OPD needs another package and many more updates: it is asked for
    assert resolve_config({"arms": "sft,kd,opd"}, preset="recommended").opd_steps == 1000


def test_flags_override_the_file_and_the_file_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("alpha: 0.7\nkd_lr: 3.0e-4\n")
    config = resolve_config({"kd_lr": "1e-3"}, preset="accurate", file=file)
    assert (config.alpha, config.kd_lr, config.temperature) == (0.7, 1e-3, 3.0)


PATHS = ["output_dir", "processed_dir", "data_dir", "lm_eval_include_path", "train_file", "eval_file"]


@pytest.mark.parametrize("field", [*PATHS, "teacher_model", "student_model"])
def test_the_home_folder_stands_for_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text(f"{field}: ~/some/place\n")
    for config in (resolve_config({field: "~/some/place"}), resolve_config({}, file=tmp_path / "a.yaml")):
        assert str(getattr(config, field)) == str(tmp_path / "some" / "place")
    for kept in ("some/place", "a~b", "~no_such_user_here/place"):
        assert str(getattr(resolve_config({field: kept}), field)) == kept


def test_the_home_folder_stands_for_a_tilde_in_the_other_places_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("L2S_DATA", "~/data")
    assert resolve_config({}).data_dir == tmp_path / "data"
    assert resolve_config({"own_grader": "python:~/g.py:grade"}).own_grader == f"python:{tmp_path}/g.py:grade"
    (tmp_path / "a.yaml").write_text("output_dir: ~/out\n")
    (tmp_path / "data" / "mbpp").mkdir(parents=True)
    (tmp_path / "data" / "gsm8k").mkdir()
    assert main(["run", "--run_prepare", "--dry_run", "--config=~/a.yaml"]) == 0
    assert f"output_dir: {tmp_path}/out" in capsys.readouterr().out
    assert main(["report", "~/nothing"]) == 2
    assert f"{tmp_path}/nothing: not the folder of an experiment" in capsys.readouterr().err


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("alpa: 0.7\n")
    assert "alpa: no such setting; did you mean alpha?" in failure(capsys, "--config", str(file))


@pytest.mark.parametrize(("content", "words"), [(b"alpha: \xff", "is not UTF-8"), (b"1: 2", "1 is not")])
def test_a_file_that_is_no_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_bytes(content)
    line = failure(capsys, "--config", str(file))
    assert str(file) in line
    assert words in line


def test_a_student_with_another_tokenizer_is_refused_before_any_weights_are_loaded(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_model_dir / "student", other)
    file = other / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = list(vocabulary)[:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    file.write_text(json.dumps(tokenizer))
    (other / "model.safetensors").unlink()
    pair = ("--teacher_model", str(tiny_model_dir / "teacher"), "--student_model", str(other))
    line = failure(capsys, *pair, "--output_dir", str(tmp_path / "outputs"))
    assert f"student_model={str(other)!r}" in line
    assert "tokenizer" in line
    assert not (tmp_path / "outputs").exists()


def test_a_script_without_the_packages_says_how_to_install_them(tmp_path: Path) -> None:
    bare = [sys.executable, "-I", "-S", str(ROOT / "scripts" / "quick_test.py")]  # no site-packages
    done = subprocess.run(bare, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("is not installed; run `pip install -c constraints.txt .` in the checkout")


def test_the_scripts_are_the_same_commands() -> None:
    for script, word in (("run_experiment.py", "l2s run"), ("quick_test.py", "l2s check")):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / script, "--alpha", "9"], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.startswith(f"{word}: alpha='9'")
