"""The plan of an experiment: what fits, what to change, what is printed, and a real run for comparison."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from transformers import Qwen3Config

from l2s.cli import main
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.plan import before_run, estimates
from l2s.plan.advice import changes_that_fit, fits
from l2s.plan.command import FILE_WIDTH, _rate
from l2s.plan.estimates import ESTIMATES, FILE_BYTES_S, estimate
from l2s.plan.hardware import GIB, Fleet, Hardware, find_hardware
from l2s.plan.layout import Layout, lay_out
from l2s.plan.model_size import ModelSize
from l2s.plan.prediction import Plan, advise, rough_duration
from l2s.plan.situation import Situation
from l2s.plan.vllm import VLLM_START_S
from l2s.run_dir import Manifest, RunDir
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices
from l2s.runner.selection import needs_of, select_stages

MakeConfig = Callable[..., ExperimentConfig]
GPU = Hardware("gpu", True, 80 * GIB, 600e12, 2.8e12, 2.8e12, 1.2e-3, "made up")
CPU = replace(GPU, name="cpu", is_cuda=False, memory=16 * GIB, products=1e12, bandwidth=1e10, weights=3e9)


def dense(billions: float, *, layers: int = 36, hidden: int = 4096) -> ModelSize:
    """A model of about that many parameters."""
    parameters, head = int(billions * 1e9), 151_936 * hidden
    return ModelSize(
        parameters=parameters,
        expert_parameters=0,
        linear_parameters=parameters - 2 * head,
        bytes=2 * parameters,
        element_bytes=2,
        head=head,
        tied=False,
        layers=layers,
        hidden=hidden,
        vocabulary=151_936,
        intermediate=3 * hidden,
        queries=hidden,
        keys=1024,
        num_experts=0,
        experts_per_token=0,
        checkpoint_bytes=2 * parameters,
    )


def situation(hardware: Hardware = GPU, **fields: Any) -> Situation:
    """A 32B teacher and an 8B student on `hardware`."""
    teacher, student = dense(32.8, layers=64, hidden=5120), dense(8.2)
    return Situation(ExperimentConfig(**fields), hardware, teacher, student, lora_parameters=90_000_000)


def test_every_stage_has_an_estimate() -> None:
    assert ESTIMATES.keys() == {stage for stage in STAGES if not stage.startswith("lm_eval_")}


@pytest.mark.parametrize("stage", ESTIMATES)
@pytest.mark.parametrize("hardware", [GPU, CPU], ids=["gpu", "cpu"])
def test_more_items_take_more_time_and_disk(stage: str, hardware: Hardware) -> None:
    few = estimate(stage, situation(hardware))
    many = estimate(stage, situation(hardware, math_train_size=7000, math_eval_size=1300))
    if stage != "report":
        assert many.disk > few.disk or stage in ("sft", "kd", "opd")
        assert many.seconds > few.seconds or stage in ("prepare", "opd")
    assert few.seconds > 0


def test_a_cpu_waits_for_the_weights_that_it_multiplies_with_and_a_gpu_reads_them_meanwhile() -> None:
    assert GPU.product_seconds(600e12, 2.8e12) == pytest.approx(1)
    assert CPU.product_seconds(1e12, 3e9) == pytest.approx(2)
    slow = replace(CPU, weights=CPU.weights / 2)
    for stage in ("generate", "evaluate_student_sft"):
        assert estimate(stage, situation(slow)).seconds > estimate(stage, situation(CPU)).seconds


def test_a_base_student_answers_until_the_limit() -> None:
    for hardware in (GPU, CPU):
        base, trained = (
            estimate(f"evaluate_{model}", situation(hardware, max_new_tokens=900)).seconds
            for model in ("student_base", "student_sft")
        )
        assert base > 1.2 * trained


@pytest.mark.parametrize("model", ["teacher", "student_kd"])
def test_vllm_is_loaded_once_for_answers_and_once_for_fidelity(model: str) -> None:
    with_fidelity, without = (
        situation(engine="vllm", fidelity_size=number, math_eval_size=1, code_eval_size=1, aiops_eval_size=1)
        for number in (1, 0)
    )
    size = with_fidelity.teacher if model == "teacher" else with_fidelity.student
    more = estimate(f"evaluate_{model}", with_fidelity).seconds - estimate(f"evaluate_{model}", without).seconds
    assert more == pytest.approx(VLLM_START_S + size.checkpoint_bytes / FILE_BYTES_S, abs=2)


def test_a_batch_that_does_not_fit_is_made_smaller() -> None:
    crowded = situation(generation_batch_size=256, max_new_tokens=1024)
    assert not fits("generate", crowded)
    changes = changes_that_fit("generate", crowded)
    assert changes is not None
    assert changes.keys() == {"generation_batch_size"}
    assert fits("generate", crowded.changed(changes))
    assert not fits("generate", crowded.changed({"generation_batch_size": 2 * changes["generation_batch_size"]}))


def test_training_keeps_its_global_batch_when_batches_get_smaller() -> None:
    crowded = situation(sft_batch_size=64, gradient_accumulation_steps=2)
    changes = changes_that_fit("sft", crowded)
    assert changes is not None
    assert changes["sft_batch_size"] * changes["gradient_accumulation_steps"] == 128
    assert fits("sft", crowded.changed(changes))


def test_full_tuning_in_float32_holds_no_copy_of_the_weights_in_bfloat16() -> None:
    narrow = situation(CPU, tuning="full")
    wide = replace(narrow, student=replace(narrow.student, element_bytes=4))
    buffers = [estimate("sft", one).memory.buffers for one in (narrow, wide)]
    assert buffers[0] - buffers[1] == 2 * narrow.student.parameters


def test_several_answers_to_an_item_are_asked_for_scored_and_learned_from() -> None:
    one, four = (situation(engine="vllm", answers_per_item=number) for number in (1, 4))
    kept = situation(engine="vllm", answers_per_item=4, keep_correct=True, max_tries=4)
    for stage in ("generate", "score", "sft", "kd"):
        seconds = [estimate(stage, one_of).seconds for one_of in (one, four, kept)]
        assert seconds[0] < seconds[2] <= seconds[1]
    assert [estimates._tries(1, 2), estimates._tries(4, 4), estimates._tries(2, 3)] == [1.5, 4, 2.75]


def test_checkpointing_comes_before_smaller_batches() -> None:
    crowded = situation(gradient_checkpointing=False, sft_batch_size=8)
    assert not fits("sft", crowded)
    assert changes_that_fit("sft", crowded) == {"gradient_checkpointing": True}


def test_full_tuning_that_cannot_fit_becomes_qlora() -> None:
    assert changes_that_fit("sft", situation(tuning="full")) == {"tuning": "qlora"}


def test_a_live_teacher_that_does_not_fit_is_replaced_by_its_signals() -> None:
    crowded = situation(replace(GPU, memory=40 * GIB), teacher_signal="online")
    assert changes_that_fit("kd", crowded) == {"teacher_signal": "hidden"}


def test_a_teacher_too_large_is_quantised_and_one_that_is_still_too_large_is_said() -> None:
    on_40 = situation(replace(GPU, memory=40 * GIB))
    line = advise("score", on_40)
    assert line is not None
    assert "--teacher_quantization int8" in line
    on_8 = advise("score", situation(replace(GPU, memory=8 * GIB)))
    assert on_8 is not None
    assert "take a smaller model or a larger device" in on_8
    assert advise("score", situation()) is None


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


ONE = Devices("cpu", ("0",))
A100_40 = replace(GPU, memory=40 * GIB, products=187e12, bandwidth=1.3e12, weights=1.3e12)


def fleet_of(count: int, hardware: Hardware = A100_40) -> Fleet:
    return Fleet(hardware, Devices("gpu", tuple(map(str, range(count))), hardware.memory), count)


def laid_out(count: int, **fields: Any) -> Layout:
    """The whole experiment on `count` GPUs with transformers and a teacher that fits."""
    fields = {"run_all": True, "kd_init": "sft", "engine": "transformers", **fields}
    made = replace(situation(A100_40, **fields), teacher=dense(14), fleet=fleet_of(count))
    return lay_out(select_stages(made.config), made, fleet_of(count))


def test_more_devices_never_take_longer_and_the_whole_is_less_than_the_sum() -> None:
    walls = [laid_out(count).wall_seconds for count in (1, 2, 4, 8)]
    assert walls == sorted(walls, reverse=True)
    assert walls[3] < 0.5 * walls[0]
    alone, eight = laid_out(1), laid_out(8)
    assert alone.wall_seconds == pytest.approx(sum(row.estimate.seconds for row in alone.rows))
    assert eight.wall_seconds < sum(row.estimate.seconds for row in eight.rows)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_no_device_works_for_two_stages_and_needs_come_first(count: int) -> None:
    layout = laid_out(count)
    ends = {row.stage.name: row.end for row in layout.rows}
    config = ExperimentConfig(run_all=True, kd_init="sft")
    for row in layout.rows:
        assert all(ends[need] <= row.start for need in needs_of(row.stage, config) if need in ends)
        for other in layout.rows:
            if other is not row and other.start < row.end and row.start < other.end:
                assert not set(row.devices) & set(other.devices)


def test_the_critical_path_adds_up_to_the_wall_time() -> None:
    for count in (1, 8):
        layout = laid_out(count)
        path = layout.critical_path(ExperimentConfig(run_all=True, kd_init="sft"))
        assert sum(row.estimate.seconds for row in path) == pytest.approx(layout.wall_seconds)


def test_the_longer_preset_takes_longer() -> None:
    from l2s.presets import PRESETS

    fast, accurate = (laid_out(8, **PRESETS[name]).wall_seconds for name in ("fast", "accurate"))
    assert accurate > 1.2 * fast


def test_what_is_far_too_large_is_found_and_a_mere_estimate_is_not() -> None:
    made = replace(situation(A100_40, run_generate=True, engine="transformers"), fleet=fleet_of(1))
    plan = Plan(made, fleet_of(1), lay_out(select_stages(made.config), made, fleet_of(1)))
    assert [row.stage.name for row in plan.too_large(0.1)] == ["generate"]
    assert "--engine vllm" in " ".join(plan.advice()) or "--teacher_quantization" in " ".join(plan.advice())
    (row,) = [row for row in plan.layout.rows if row.stage.name == "generate"]
    little = replace(plan, fleet=fleet_of(1, replace(A100_40, memory=int(row.estimate.memory.total / 1.05))))
    assert not little.too_large(0.1)


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


def test_every_preset_and_source_has_a_plan() -> None:
    from typing import get_args

    from l2s.presets import PRESETS

    sources = get_args(ExperimentConfig.model_fields["math_source"].annotation)
    for fields in [*PRESETS.values(), *({"math_source": source} for source in sources)]:
        assert laid_out(1, **{**fields, "run_all": not fields.get("run_sft")}).wall_seconds > 0


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
