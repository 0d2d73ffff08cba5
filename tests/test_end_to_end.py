"""The whole experiment as a user runs it, on a two-layer model: every stage a process, from data to report."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM

from l2s.jsonl import load_jsonl
from l2s.models.tiny import save_tiny_pair
from l2s.run_dir import Manifest, RunDir
from l2s.runner.check import tiny_experiment

ROOT = Path(__file__).resolve().parent.parent
KEYS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "L2S_ENDPOINT_KEY", "WANDB_API_KEY")
SECRET = "sentinel-5f3e9a71"  # the value of all of them
MODELS = ("teacher", "student_base", "student_sft", "student_kd")


def command(folder: Path, *flags: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / "run_experiment.py"), "--config", str(folder / "tiny.yaml"), *flags]


def run(folder: Path, *flags: str, prefix: Sequence[str] = (), **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    whole = [*prefix, *command(folder, *flags)]
    return subprocess.run(whole, cwd=folder, env=environment, capture_output=True, text=True)


def without_shared_memory() -> list[str]:
    """What starts a command with a read-only /dev/shm; nothing where bubblewrap cannot do that."""
    prefix = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/dev/shm", "--remount-ro", "/dev/shm", "--"]
    works = shutil.which("bwrap") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if works else []


def prepare_folder(folder: Path) -> Path:
    """A working directory with the tiny pair and a configuration file, like a user's."""
    save_tiny_pair(folder)
    config = tiny_experiment(folder).model_dump(mode="json", exclude={"output_dir", "processed_dir", "data_dir"})
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the whole experiment has run: without a home or shared memory, and with secrets."""
    folder = prepare_folder(tmp_path_factory.mktemp("experiment"))
    homeless = {"HOME": "/proc/nobody", **dict.fromkeys(KEYS, SECRET)}
    done = run(folder, "--run_all", prefix=without_shared_memory(), **homeless)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "console.txt").write_text(done.stdout + done.stderr)
    return folder


def test_secrets_of_the_environment_are_in_no_file_and_on_no_console(folder: Path) -> None:
    """In plain text, in compressed parts of the report, and in base64."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"log.jsonl", "report.html", "config.yaml", "console.txt"} <= {path.name for path in files}
    forms = [SECRET.encode(), base64.b64encode(SECRET.encode()).rstrip(b"=")[:-1], SECRET.encode().hex().encode()]
    assert [path for path in files for form in forms if form in path.read_bytes()] == []
    packed = re.search(rb'id="packed-items">([^<]*)<', (folder / "outputs/tiny/evaluation/report.html").read_bytes())
    assert packed is not None
    assert SECRET.encode() not in gzip.decompress(base64.b64decode(packed[1]))


def test_every_path_of_the_specification_is_there(folder: Path) -> None:
    root = folder / "outputs" / "tiny"
    paths = [
        "config.yaml", "results.json", "log.jsonl", "sft/sft_train_data.jsonl", "sft/adapter", "sft/final_model",
        "sft/metrics.jsonl", "sft/manifest.json", "kd/teacher_signals", "kd/adapter", "kd/final_model",
        "kd/metrics.jsonl", "kd/manifest.json", "evaluation/comparison_report.md", "evaluation/model_comparison.csv",
        "evaluation/report.html", "evaluation/plots", *(f"evaluation/predictions/{model}.jsonl" for model in MODELS),
    ]  # fmt: skip
    assert [path for path in paths if not (root / path).exists()] == []
    assert (root / "final_model").resolve() == (root / "kd" / "final_model").resolve()


def test_load_jsonl_of_the_specification_reads_both_datasets(folder: Path) -> None:
    program = "from src.utils.common import load_jsonl; print(len(load_jsonl('data/processed/eval_dataset.jsonl')))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert shown.stdout == "5\n"
    assert len(load_jsonl(folder / "data" / "processed" / "train_dataset.jsonl")) == 8


def test_the_analysis_of_the_specification_runs(folder: Path) -> None:
    results = json.loads((folder / "outputs" / "tiny" / "results.json").read_text())
    for domain in ("math", "code", "aiops"):
        for model in MODELS:
            result = results["evaluation"][model]["domain_results"][domain]
            assert 0 <= result["main_metric"] <= 1
            low, high = result["ci95"]
            assert 0 <= low <= result["main_metric"] <= high <= 1
    assert set(results["fidelity"]) == set(MODELS)


def test_every_model_answered_the_same_items_with_the_same_prompts(folder: Path) -> None:
    run_dir = RunDir(folder / "outputs" / "tiny")
    asked = [[(row["id"], row["messages"]) for row in load_jsonl(run_dir.predictions(model))] for model in MODELS]
    assert asked[0] == [(row["id"], row["messages"]) for row in load_jsonl(run_dir.eval_data)]
    assert all(rows == asked[0] for rows in asked)


def test_final_models_are_plain_and_differ_from_where_they_started(folder: Path) -> None:
    run_dir = RunDir(folder / "outputs" / "tiny")
    base = AutoModelForCausalLM.from_pretrained(folder / "student").state_dict()
    sft = AutoModelForCausalLM.from_pretrained(run_dir.sft_model).state_dict()
    kd = AutoModelForCausalLM.from_pretrained(run_dir.kd_model).state_dict()
    assert base.keys() == sft.keys() == kd.keys()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not base[name].float().equal(sft[name].float())
    assert not sft[name].float().equal(kd[name].float())


def test_manifests_name_settings_inputs_and_cost(folder: Path) -> None:
    manifest = Manifest.load(RunDir(folder / "outputs" / "tiny").manifest("kd"))
    assert manifest is not None
    assert manifest.config["alpha"] == 0.5
    assert any(path.endswith("sft_train_data.jsonl") for path in manifest.inputs)
    assert any(path.endswith("final_model") for path in manifest.outputs)
    assert manifest.versions["torch"]
    assert manifest.machine["cpu"]
    assert manifest.machine["memory_bytes"] > 0
    assert manifest.metrics["num_tokens"] > 0


def test_the_same_command_again_skips_everything_but_the_report(folder: Path) -> None:
    again = run(folder, "--run_all")
    assert again.returncode == 0, again.stderr
    skipped = [line.split(":")[0] for line in again.stdout.splitlines() if "done before, skipped" in line]
    assert len(skipped) == 9
    assert "report ──" in again.stdout


def test_a_changed_setting_is_refused_and_nothing_is_lost(folder: Path) -> None:
    model = folder / "outputs" / "tiny" / "kd" / "final_model" / "model.safetensors"
    before = model.read_bytes()
    refused = run(folder, "--run_all", "--alpha", "0.25")
    assert refused.returncode == 2
    assert "alpha=0.25: stage kd" in refused.stderr
    assert model.read_bytes() == before


def test_a_later_experiment_starts_from_the_published_model(folder: Path) -> None:
    student = "outputs/tiny/final_model"
    later = run(folder, "--run_kd", "--kd_init", "auto", "--experiment_name", "kd_only", "--student_model", student)
    assert later.returncode == 0, later.stderr
    assert (folder / "outputs" / "kd_only" / "kd" / "final_model" / "config.json").exists()
    assert not (folder / "outputs" / "kd_only" / "sft" / "final_model").exists()


@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed (extra `trl`; `make setup` installs it)")
def test_another_arm_joins_a_finished_experiment(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True)
    flags = ("--arms", "sft,kd,opd", "--opd_steps", "2", "--opd_max_new_tokens", "8")
    done = run(copy, "--run_all", *flags)
    assert done.returncode == 0, done.stderr
    begun = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("──")]
    assert begun == ["opd", "evaluate_student_opd", "report"]
    root = copy / "outputs" / "tiny"
    results = json.loads((root / "results.json").read_text())
    assert list(results["evaluation"]) == [*MODELS, "student_opd"]
    assert ("student_opd", "student_kd") in {(found["model"], found["reference"]) for found in results["comparisons"]}
    assert [step["step"] for step in results["curves"]["opd"]] == [1, 2]
    assert (root / "final_model").resolve() == (root / "opd" / "final_model").resolve()
    for report in ("comparison_report.md", "model_comparison.csv", "report.html"):
        assert "opd" in (root / "evaluation" / report).read_text().lower()


def test_an_interrupted_run_says_so_and_resumes(tmp_path: Path) -> None:
    folder = prepare_folder(tmp_path)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    flags = ("--run_generate", "--max_new_tokens", "1500", "--generation_batch_size", "1")
    first = subprocess.Popen(
        command(folder, *flags),
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # off if a script started the tests with &
    )
    log = folder / "outputs" / "tiny" / "sft" / "answers.partial" / "try-1.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "the same command resumes here" in errors
    answered = log.read_bytes().count(b"\n")
    assert 0 < answered < 8
    second = run(folder, *flags)
    assert second.returncode == 0, second.stderr
    assert f"{answered} of 8 answers {'is' if answered == 1 else 'are'} done already" in second.stdout
    assert len(load_jsonl(folder / "outputs" / "tiny" / "sft" / "sft_train_data.jsonl")) == 8
