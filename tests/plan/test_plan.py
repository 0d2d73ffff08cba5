"""The command `l2s plan`: what is printed, what is refused, and the plan of a run that is about to start."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoTokenizer, MambaConfig, Qwen3Config

from l2s.cli import main
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.plan import before_run, hardware
from l2s.plan.command import FILE_WIDTH, _rate
from l2s.plan.estimates import ESTIMATES
from l2s.plan.hardware import GIB, find_hardware
from l2s.plan.layout import lay_out
from l2s.plan.prediction import Plan, make_plan, rough_duration
from l2s.run_dir import Manifest, RunDir
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices
from l2s.runner.selection import select_stages
from support.plans import A100_40, CPU, ONE, fleet_of, situation

MakeConfig = Callable[..., ExperimentConfig]


def test_hardware_is_read_or_refused_in_one_line() -> None:
    one, eight, two = (
        find_hardware(ExperimentConfig(), text) for text in ("h100-80gb", "a100-40gb:8", "p4d.24xlarge:2")
    )
    assert (one.hardware.memory, len(one.devices), one.per_machine) == (80 * GIB, 1, 1)
    assert (eight.hardware.memory, len(eight.devices), eight.per_machine) == (40 * GIB, 8, 8)
    assert (two.hardware.name, len(two.devices), two.per_machine) == ("a100-40gb", 16, 8)
    some = find_hardware(ExperimentConfig(gpus="0,3"), "a100-40gb:8")
    assert some.devices.names == ("0", "3")
    for text, problem in {
        "h1000": "h100-80gb", "8xl4": "l4, .*such as a100-40gb:8", "l4:0": "from 1", "l4:-1": "from 1",
        "l4:x": "from 1", "l4:1e3": "from 1", "l4:٨": "from 1", "l4:2:2": "from 1", "l4:2,a10:2": "from 1",
        "l4:": "from 1", "cpu:2": "cpu_workers", "this:1": "cpu_workers",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=rf"--hardware {text}: .*{problem}"):
            find_hardware(ExperimentConfig(), text)
    with pytest.raises(UserError, match="device='cpu'"):
        find_hardware(ExperimentConfig(device="cpu"), "h200")
    with pytest.raises(UserError, match="there is no GPU 3"):
        find_hardware(ExperimentConfig(gpus="0,3"), "l4:2")


def test_a_device_that_is_here_is_measured() -> None:
    fleet = find_hardware(ExperimentConfig(device="cpu", dtype="float32"), "this")
    here = fleet.hardware
    assert not here.is_cuda
    assert 0 < here.memory <= psutil.virtual_memory().total
    assert len(fleet.devices) == 1
    assert here.products > 0
    assert here.bandwidth > 0
    assert here.layer_seconds > 0


class Here:
    """Replaces a pool of processes: runs what it is given at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*args))
        return done


@pytest.mark.parametrize(("gpus", "first"), [("all", 0), ("2,3", 2)])
def test_a_gpu_of_the_run_is_measured_and_no_other(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, gpus: str, first: int
) -> None:
    """Another may be full."""
    measured: list[torch.device] = []
    looked: list[int] = []
    monkeypatch.setattr(hardware, "pick_device", lambda config: torch.device("cuda", 0))
    monkeypatch.setattr(before_run, "ProcessPoolExecutor", Here)

    def free_shares(numbers: list[int]) -> list[float]:
        looked.extend(numbers)
        return [1.0 for _ in numbers]

    def measure(device: torch.device, dtype: torch.dtype) -> hardware.Hardware:
        measured.append(device)
        return A100_40

    monkeypatch.setattr(before_run, "free_shares", free_shares)
    monkeypatch.setattr(before_run, "measure", measure)
    config = tiny_config(gpus=gpus, engine="transformers", dtype="float32")
    assert before_run.plan_run(config, [STAGES["sft"]], Devices("gpu", ("4", "5"))) is not None
    assert measured == [torch.device("cuda", first)]
    assert looked == [first, first + 1]


def test_a_gpu_that_lets_nobody_look_has_nothing_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(gpu: int) -> tuple[int, int]:
        if gpu == 1:
            raise torch.AcceleratorError("CUDA-capable device(s) is/are busy or unavailable")
        return 30, 40

    monkeypatch.setattr(torch.cuda, "mem_get_info", look)
    assert hardware.free_shares([0, 1]) == [0.75, 0.0]


@pytest.mark.parametrize(
    ("stage", "engine", "free", "refused"),
    [
        ("generate", "vllm", 0.95, False), ("generate", "vllm", 0.85, True), ("score", "vllm", 0.85, False),
        ("generate", "transformers", 0.7, False), ("sft", "vllm", 0.7, False), ("sft", "vllm", 0.02, True),
    ],
)  # fmt: skip
def test_a_gpu_that_other_programs_have_filled_is_refused_by_its_number(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, stage: str, engine: str, free: float, refused: bool
) -> None:
    monkeypatch.setattr(hardware, "pick_device", lambda config: torch.device("cuda", 0))
    monkeypatch.setattr(before_run, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(before_run, "free_shares", lambda numbers: [1.0, free])
    monkeypatch.setattr(before_run, "measure", lambda device, dtype: A100_40)
    config = tiny_config(engine=engine, dtype="float32", teacher_gpus=1)
    with pytest.raises(UserError, match=f"only {free:.0%} of GPU 1 free") if refused else nullcontext():
        assert before_run.plan_run(config, [STAGES[stage]], Devices("gpu", ("0", "1"))) is not None


def plan(capsys: pytest.CaptureFixture[str], config: ExperimentConfig, *flags: str) -> tuple[int, str]:
    """Exit status and output of `l2s plan` for the models and folders of `config`."""
    names = ("teacher_model", "student_model", "output_dir", "processed_dir", "experiment_name")
    argv = [part for name in names for part in (f"--{name}", str(getattr(config, name)))]
    status = main(["plan", *argv, *flags])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_the_command_prints_a_row_for_every_stage_and_writes_nothing(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config()
    status, text = plan(capsys, config, "--hardware", "l4:2")
    assert status == 0
    assert [stage for stage in ESTIMATES if stage not in text] == ["opd", "evaluate_student_opd"]  # not among the arms
    assert "2 x l4" in text
    assert "Wall time" in text
    assert "measured" not in text
    assert "gsm8k 121 + " in text
    assert not config.output_dir.exists()


@pytest.mark.parametrize("hardware", ["p4d.24xlarge:2", "rtx-4090"])
def test_no_line_is_wider_than_100_columns_and_one_problem_is_told_once(
    hardware: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status = main(["plan", "--hardware", hardware, "--teacher_model", "Qwen/Qwen3-32B", "--details"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= FILE_WIDTH
    assert status == (hardware == "rtx-4090")
    if status:
        assert text.count("do not fit into") == 2  # the teacher's stages, of which one also holds a second head
        assert re.search(r"^generate, score: ", text, flags=re.MULTILINE)


def test_names_of_stages_are_whole_however_many_devices_they_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["plan", "--hardware", "p4d.24xlarge:2", "--arms", "sft,kd,opd", "--seeds", "1,2,3", "--details"])
    text = capsys.readouterr().out
    config = ExperimentConfig(run_all=True, arms="sft,kd,opd", seeds="1,2,3", kd_init="sft", engine="vllm")
    names = {stage.name for stage in select_stages(config) if stage.resources.holds}
    for table in text.partition("GiB of a device")[::2]:
        assert names - {line.split()[0] for line in table.splitlines() if line.strip()} == set()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= FILE_WIDTH


def test_the_demo_is_planned_before_its_models_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its teacher is the result of a training, which no plan should start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("L2S_CACHE", str(tmp_path / "cache"))
    assert main(["plan", "--preset", "demo", "--hardware", "l4", "--lm_eval_tasks", "gsm8k"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"teacher +demo:smollm2-135m-tuned: 135 M parameters", text)
    assert re.search(r"student +demo:smollm2-135m-pruned: 124 M parameters", text)
    assert not (tmp_path / "cache").exists()


def test_durations_are_rounded_to_what_a_reader_needs() -> None:
    days = 24 * 3600
    assert [rough_duration(seconds) for seconds in (0.2, 89, 90, 5399, 5400, 71 * 3600, 3 * days, 1234 * days)] == [
        "0 s", "89 s", "2 min", "90 min", "1.5 h", "71.0 h", "3 days", "1,234 days",
    ]  # fmt: skip
    assert [_rate(value) for value in (187.2e12, 1.3217e12, 15.74e9, 449e6)] == ["187 T", "1.32 T", "15.7 G", "449 M"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "--teacher_gpus 3",
            "teacher_gpus=3: Qwen/Qwen3-30B-A3B-Instruct-2507 has 32 attention heads, .*a divisor of 32",
        ),
        ("--teacher_gpus 16", "teacher_gpus=16: this run has 8 GPUs"),
        ("--gpus 0 --teacher_gpus 2", "teacher_gpus=2: this run has 1 GPU;"),
        ("--tuning qlora --sharding zero3", "sharding='zero3': cannot split 4-bit weights"),
        ("--teacher_quantization nf4", "teacher_quantization='nf4': Qwen/Qwen3-30B-A3B-Instruct-2507 is a mixture"),
        ("--teacher_quantization int8 --engine vllm", "teacher_quantization='int8': made by bitsandbytes"),
        ("--teacher_quantization awq --engine transformers", "teacher_quantization='awq': needs vLLM"),
        ("--teacher_quantization awq", "Qwen/Qwen3-30B-A3B-Instruct-2507 holds plain weights"),
    ],
)
def test_what_a_run_would_refuse_has_no_plan(
    flags: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "--hardware", "a100-40gb:8", *flags.split()]) == 2
    text = capsys.readouterr().err
    assert re.search(said, text)
    assert text.count("\n") == 1


def test_models_of_two_vocabularies_have_no_plan_where_a_run_compares_them(
    tiny_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config()
    other = shutil.copytree(config.student_model, tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(other)
    config = config.model_copy(update={"student_model": str(other)})
    status, text = plan(capsys, config, "--hardware", "l4")
    assert (status, text.count("\n")) == (2, 1)
    assert "its tokenizer is not the teacher's" in text
    assert plan(capsys, config, "--hardware", "l4", "--run_generate")[0] == 0
    (other / "tokenizer.json").unlink()  # configurations alone are enough for a plan
    (other / "tokenizer_config.json").unlink()
    assert plan(capsys, config, "--hardware", "l4")[0] == 0


def test_only_the_stages_asked_for_are_planned(tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = plan(capsys, tiny_config(), "--hardware", "l4", "--run_sft")
    assert "sft" in text
    assert "evaluate_teacher" not in text


def test_what_a_finished_stage_took_stands_beside_its_estimate(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config()
    manifest = Manifest("sft", {}, {}, {}, {}, None, 42, "cpu", "2026-01-01T00:00:00+00:00", 1234.0)
    manifest.save(RunDir.of(config).manifest("sft"))
    _, text = plan(capsys, config, "--hardware", "l4")
    (row,) = [line for line in text.splitlines() if line.strip().startswith("sft")]
    assert row.split()[-2:] == ["21", "min"]


def test_a_plan_that_does_not_fit_says_so_and_ends_with_1(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Qwen3Config(hidden_size=5120, intermediate_size=25_600, num_hidden_layers=64, vocab_size=304).save_pretrained(
        tmp_path / "large"
    )
    config = tiny_config(teacher_model=str(tmp_path / "large"))
    status, text = plan(capsys, config, "--hardware", "rtx-4090", "--run_generate", "--engine", "transformers")
    assert status == 1
    assert "generate: " in text
    assert "--teacher_quantization nf4" in " ".join(text.split())


@pytest.mark.parametrize(
    ("flags", "time", "said"),
    [
        ([], "?", "counts no second of it"),
        (["--endpoint_per_minute", "10", "--math_train_size", "600"], "≥", "its limit of 10 requests a minute"),
    ],
)
def test_answers_of_an_endpoint_are_a_servers_work(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str], flags: list[str], time: str, said: str
) -> None:
    remote = ["--engine", "endpoint", "--teacher_endpoint", "http://localhost:1/v1", "--domains", "math"]
    status, text = plan(capsys, tiny_config(), "--hardware", "l4:4", "--teacher_gpus", "2", *remote, *flags)
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert status == 0
    assert "the endpoint" in rows["generate"]
    assert time in rows["generate"]
    assert said in " ".join(text.split())
    assert "1 process x TP2" in rows["score"]  # by its own engine
    assert ("60 min" in rows["generate"]) == bool(flags)


def test_a_teacher_without_weights_leaves_the_students_to_plan(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = ["--engine", "endpoint", "--teacher_endpoint", "http://localhost:1/v1", "--arms", "sft"]
    config = tiny_config(teacher_model="vendor/large")
    status, text = plan(capsys, config, "--hardware", "l4", *remote)
    assert status == 0
    assert "vendor/large: behind the endpoint" in text
    assert text.count("the endpoint  ") == 2  # generate and the teacher's evaluation
    fields = {"engine": "endpoint", "weights_engine": "transformers", "arms": "sft"}
    known = before_run.plan_run(tiny_config(**fields, teacher_model="x/y"), [STAGES["generate"], STAGES["sft"]], ONE)
    assert known is not None
    assert "the endpoint's answers and downloads come on top" in before_run.in_one_line(known)


def test_a_model_that_cannot_be_had_is_one_line(tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = plan(capsys, tiny_config(teacher_model="no/such-model"), "--hardware", "l4")
    assert status == 2
    assert text.startswith("l2s plan: teacher_model='no/such-model': it is no folder here")
    assert "give a local folder" in text


def test_wrong_flags_of_the_plan_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["plan", "--gpu", "l4"])
    assert stop.value.code == 2
    assert "--gpu" in capsys.readouterr().err


def test_a_run_that_cannot_fit_is_refused_with_the_remedy_and_a_tiny_one_never(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replace(situation(A100_40, run_generate=True, engine="transformers"), fleet=fleet_of(1))
    plan = Plan(made, fleet_of(1), lay_out(select_stages(made.config), made, fleet_of(1)))
    monkeypatch.setattr(before_run, "measure", lambda *_: replace(CPU, memory=GIB))
    monkeypatch.setattr(before_run, "make_plan", lambda *_: plan)
    config = tiny_config(run_generate=True)
    with pytest.raises(UserError, match=r"do not fit .* generate: .*with --"):
        before_run.plan_run(config, [STAGES["generate"]], Devices("cpu", ("0",)))
    monkeypatch.undo()
    monkeypatch.setattr(before_run, "measure", lambda *_: replace(CPU, memory=GIB // 2))
    tiny = before_run.plan_run(config, [STAGES["generate"]], Devices("cpu", ("0",)))
    assert tiny is not None
    assert "on this machine" in before_run.in_one_line(tiny)
    run_dir = RunDir.of(config)
    run_dir.create()
    before_run.save(tiny, run_dir)
    assert run_dir.load_predictions()["generate"]["seconds"] > 0


def test_a_run_without_models_has_no_plan(tiny_config: MakeConfig) -> None:
    assert before_run.plan_run(tiny_config(), [STAGES["report"]], Devices("cpu", ("0",))) is None


def test_a_student_that_lora_cannot_adapt_is_refused_where_it_is_trained_with_lora_alone(
    tiny_config: MakeConfig, tmp_path: Path
) -> None:
    MambaConfig(vocab_size=304, hidden_size=32, num_hidden_layers=1).save_pretrained(tmp_path / "mamba")
    student = {"student_model": str(tmp_path / "mamba"), "lora_target_modules": "all-linear"}

    def planned(**fields: object) -> float:
        config = tiny_config(engine="transformers", **student, **fields)
        return make_plan(config, select_stages(config), fleet_of(1)).layout.wall_seconds

    with pytest.raises(UserError, match=r"lora_target_modules='all-linear'.*'out_proj'.*--tuning full"):
        planned(run_sft=True)
    assert planned(run_sft=True, tuning="full") > 0
    assert planned(run_generate=True) > 0
