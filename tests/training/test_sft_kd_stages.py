"""SFT and KD as stages: files in, a student and its metrics out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss.reference import distillation_loss
from l2s.models import load
from l2s.models.load import load_model
from l2s.run_dir import Manifest, RunDir
from l2s.runner.executors import run_stage
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_models
from l2s.sequences import Collator, load_sequences
from l2s.signals import recorders, score
from l2s.signals.store import SignalIndex
from l2s.training import kd, sft
from l2s.training.progress import TrainingProgress

MakeConfig = Callable[..., ExperimentConfig]
# Batches of another size round differently. A bf16 value is off by up to 2**-9, and a gradient of the two-layer model
# passes two residual sums a layer on its way there and back: eight roundings, which add like independent errors.
GRADIENT_ROUNDING = 2**-9 * 8**0.5


def write_responses(run_dir: RunDir, count: int = 12) -> None:
    rows = [
        {
            "id": f"sum/{number}",
            "messages": [{"role": "user", "content": f"{number} plus {number % 5}?"}],
            "response": "It is " + "so " * (number % 4) + str(number + number % 5),
            "finish_reason": "length" if number == 3 else "stop",
        }
        for number in range(count)
    ]
    run_dir.responses.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(run_dir.responses, rows)


def test_stages_leave_loadable_students(tiny_config: MakeConfig) -> None:
    config = tiny_config(sft_batch_size=4, kd_batch_size=4, sft_lr=1e-2)
    run_dir = RunDir.of(config)
    write_responses(run_dir)

    sft_metrics = sft.run(config, run_dir)
    score_metrics = score.run(config, run_dir)
    kd_metrics = kd.run(config, run_dir)

    assert sft_metrics["steps"] == kd_metrics["steps"] == 3
    assert score_metrics["num_tokens"] == kd_metrics["num_tokens"] == sft_metrics["num_tokens"]
    for model in (run_dir.sft_model, run_dir.kd_model):
        AutoModelForCausalLM.from_pretrained(model)
    assert [row["step"] for row in load_jsonl(run_dir.kd / "metrics.jsonl")] == [1, 2, 3]


def test_a_student_declares_every_end_that_it_learns_from_the_teacher(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model_dir / "teacher", tmp_path / "teacher")
    file = tmp_path / "teacher" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": [258, 65]}))
    config = tiny_config(teacher_model=str(tmp_path / "teacher"), teacher_signal="online")
    run_dir = RunDir.of(config)
    write_responses(run_dir)
    for stage in (sft, kd):
        stage.run(config, run_dir)
    for model in (run_dir.sft_model, run_dir.arm("kd").final_model):
        assert json.loads((model / "generation_config.json").read_text())["eos_token_id"] == [258, 65]


def test_sft_needs_no_teacher(tiny_config: MakeConfig, tmp_path: Path) -> None:
    """Such as in a folder of answers that came from another machine."""
    config = tiny_config(teacher_model=str(tmp_path / "elsewhere"))
    run_dir = RunDir.of(config)
    write_responses(run_dir)
    sft.run(config, run_dir)
    assert json.loads((run_dir.sft_model / "generation_config.json").read_text())["eos_token_id"] == 258


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-3)])
def test_kd_from_stored_hidden_states_equals_kd_from_the_teacher_in_memory(
    tiny_config: MakeConfig, dtype: str, tolerance: float
) -> None:
    losses = {}
    for signal in ("hidden", "online"):
        config = tiny_config(
            experiment_name=signal, teacher_signal=signal, dtype=dtype, kd_batch_size=4, kd_init="base"
        )
        run_dir = RunDir.of(config)
        write_responses(run_dir)
        if signal == "hidden":
            score.run(config, run_dir)
        kd.run(config, run_dir)
        losses[signal] = torch.tensor([row["loss"] for row in load_jsonl(run_dir.kd / "metrics.jsonl")])

    torch.testing.assert_close(losses["hidden"], losses["online"], rtol=tolerance, atol=0)


def test_kd_from_stored_states_equals_kd_from_a_teacher_in_memory_that_reads_its_own_prompts(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model_dir / "teacher", tmp_path / "teacher")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "teacher")
    tokenizer.chat_template = "<|im_start|>system\nBe brief.<|im_end|>\n" + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path / "teacher")
    losses = {}
    for name, teacher, signal in (
        ("own", tmp_path / "teacher", "hidden"), ("own-live", tmp_path / "teacher", "online"),
        ("other", tiny_model_dir / "teacher", "hidden"),
    ):  # fmt: skip
        config = tiny_config(experiment_name=name, teacher_model=str(teacher), teacher_signal=signal, kd_init="base")
        run_dir = RunDir.of(config)
        write_responses(run_dir)
        if signal == "hidden":
            score.run(config, run_dir)
        kd.run(config, run_dir)
        losses[name] = torch.tensor([row["divergence"] for row in load_jsonl(run_dir.kd / "metrics.jsonl")])

    torch.testing.assert_close(losses["own"], losses["own-live"], rtol=1e-5, atol=0)
    assert not torch.allclose(losses["own"], losses["other"], rtol=1e-3)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_teacher_in_memory_teaches_what_it_says_itself(tiny_config: MakeConfig, quantization: str) -> None:
    settings: dict[str, Any] = {"teacher_signal": "online", "kd_batch_size": 12, "kd_init": "base"}
    config = tiny_config(teacher_quantization=quantization, **settings)
    run_dir = RunDir.of(config)
    write_responses(run_dir)

    metrics = kd.run(config, run_dir)

    (row,) = load_jsonl(run_dir.kd / "metrics.jsonl")
    teacher = load_model(config.teacher_model, config, quantization=config.teacher_quantization)
    exact = divergence_of(load_model(config.teacher_model, config), config, run_dir)
    assert row["divergence"] == pytest.approx(divergence_of(teacher, config, run_dir), rel=1e-5)
    assert row["divergence"] != pytest.approx(exact, rel=1e-4)
    assert metrics["steps"] == 1


def divergence_of(teacher: PreTrainedModel, config: ExperimentConfig, run_dir: RunDir) -> float:
    """Mean over the response tokens, from the logits of both models before training.

    In one batch, as in the stage: int8 quantises its inputs depending on the rest of the batch.
    """
    student, renderer = load_model(config.student_model, config), load_renderer(config, "student_model")
    sequences, counts = load_sequences(run_dir.responses, renderer, config)
    items = [{"input_ids": sequence.input_ids, "labels": sequence.labels} for sequence in sequences]
    batch = Collator(renderer.pad_token_id)(items)
    labels = batch.pop("labels")
    ours, theirs = (model(**batch).logits for model in (student, teacher))
    sums = distillation_loss(ours, theirs, labels, alpha=0.0, temperature=config.temperature)
    return sums.divergence_sum.item() / counts.num_tokens


def test_the_stage_trains_on_the_objective_that_is_configured(tiny_config: MakeConfig) -> None:
    """The first step, before any update, compared with the logits of both models and the reference loss."""
    settings: dict[str, Any] = {"alpha": 0.3, "temperature": 3.0, "divergence": "skew_kl"}
    config = tiny_config(kd_batch_size=12, kd_init="base", divergence_beta=0.2, **settings)
    run_dir = RunDir.of(config)
    write_responses(run_dir)
    score.run(config, run_dir)
    kd.run(config, run_dir)
    (row,) = load_jsonl(run_dir.kd / "metrics.jsonl")

    sequences, _ = load_sequences(run_dir.responses, load_renderer(config, "student_model"), config)
    student, teacher = (load_model(name, config).double() for name in (config.student_model, config.teacher_model))
    losses = []
    for sequence in sequences:
        tokens, labels = torch.tensor([sequence.input_ids]), torch.tensor([sequence.labels])[:, 1:]
        ours, theirs = (model(input_ids=tokens).logits[:, :-1] for model in (student, teacher))
        losses.append(distillation_loss(ours, theirs, labels, beta=0.2, **settings))
    count = sum(loss.num_tokens for loss in losses)
    assert row["num_tokens"] == count
    for name in ("loss", "ce", "divergence"):
        expected = sum(float(getattr(loss, f"{name}_sum")) for loss in losses) / count
        assert row[name] == pytest.approx(expected, rel=1e-5)


def test_kd_from_topk_states_how_good_its_signals_are(tiny_config: MakeConfig) -> None:
    config = tiny_config(teacher_signal="topk", topk=64, kd_batch_size=4, kd_init="base")
    run_dir = RunDir.of(config)
    write_responses(run_dir)
    score.run(config, run_dir)

    metrics = kd.run(config, run_dir)

    assert 0 < metrics["topk_tail_mass"] < 1
    assert metrics["topk_gradient_cosine"] > 0.9
    assert bool(metrics["warnings"]) == (metrics["topk_divergence_error"] > 0.25)
    assert metrics["steps"] == 3


def test_topk_above_the_vocabulary_is_refused_before_a_model_is_loaded(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(load, "load_model")
    with pytest.raises(UserError, match="topk=305: teacher and student share only 304 ids; set --topk to 304"):
        check_models(tiny_config(teacher_signal="topk", topk=305), [STAGES["score"]])
    check_models(tiny_config(teacher_signal="topk", topk=304), [STAGES["score"]])


def test_logits_that_no_loss_can_follow_are_refused_before_a_model_is_loaded(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    for file in (tiny_model_dir / "student").iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    fields = json.loads((tmp_path / "config.json").read_text()) | {"logits_mup_width_multiplier": 4.0}
    (tmp_path / "config.json").write_text(json.dumps(fields))

    with pytest.raises(UserError, match=r"logits_mup_width_multiplier=4\.0 of a qwen3 model"):
        check_models(tiny_config(student_model=str(tmp_path)), [STAGES["sft"]])


def test_topk_that_would_mislead_the_student_is_refused(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorders, "RANK", 0)  # as many components as the tiny teacher has dimensions would be exact
    config = tiny_config(teacher_signal="topk", topk=1, temperature=10.0, kd_init="base")
    run_dir = RunDir.of(config)
    write_responses(run_dir)
    score.run(config, run_dir)

    with pytest.raises(UserError, match="teacher_signal hidden"):
        kd.run(config, run_dir)


def test_two_processes_leave_one_student_one_curve_and_one_manifest(tiny_config: MakeConfig) -> None:
    two = tiny_config(experiment_name="two", sft_batch_size=4, sft_lr=1e-2, heldout_answers=1)
    one = tiny_config(experiment_name="one", sft_batch_size=4, sft_lr=1e-2, heldout_answers=1)
    for config in (two, one):
        run_dir = RunDir.of(config)
        write_responses(run_dir, count=32)
        run_dir.save_config(config)
    torchrun_two("-m", "l2s.runner.executors", str(RunDir.of(two).root), "sft", "run")
    run_stage(STAGES["sft"], one, RunDir.of(one), "run")

    held_out, curves = (
        [load_jsonl(RunDir.of(config).sft / name) for config in (two, one)]
        for name in ("heldout_metrics.jsonl", "metrics.jsonl")
    )
    for left, right in [*zip(*held_out, strict=True), *zip(*curves, strict=True)]:
        assert left == pytest.approx(right, rel=1e-5)
    assert [row["step"] for row in held_out[0]] == [0, 8]
    weights = [AutoModelForCausalLM.from_pretrained(RunDir.of(config).sft_model).state_dict() for config in (two, one)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)
    manifests = [Manifest.load(RunDir.of(config).manifest("sft")) for config in (two, one)]
    for manifest in manifests:
        assert manifest is not None
        assert manifest.metrics["num_tokens"] == sum(row["num_tokens"] for row in curves[1])
    assert not (RunDir.of(two).sft / "checkpoints").exists()


def test_two_processes_record_the_signals_that_one_does(tiny_config: MakeConfig) -> None:
    two, one = (tiny_config(experiment_name=name) for name in ("two", "one"))
    for config in (two, one):
        write_responses(RunDir.of(config), count=8)
        RunDir.of(config).save_config(config)
    torchrun_two("-m", "l2s.runner.executors", str(RunDir.of(two).root), "score", "run")
    run_stage(STAGES["score"], one, RunDir.of(one), "run")

    indexes = [SignalIndex.load(RunDir.of(config).teacher_signals) for config in (two, one)]
    assert indexes[0] == indexes[1]


def test_fsdp2_trains_breaks_off_and_resumes_as_one_process(tiny_config: MakeConfig) -> None:
    """In bf16, to which accelerate would also round the loss and the sums of gradients."""
    fields: dict[str, Any] = {"dtype": "bfloat16", "teacher_signal": "online", "kd_lr": 1e-2, "save_steps": 1}
    two = tiny_config(experiment_name="two", kd_batch_size=4, sharding="fsdp2", **fields)
    one = tiny_config(experiment_name="one", kd_batch_size=4, **fields)
    for config in (two, one):
        write_responses(RunDir.of(config), count=11)
        RunDir.of(config).save_config(config)
    two_shards(RunDir.of(two), "kd", "break", "resume")
    run_stage(STAGES["kd"], one, RunDir.of(one), "run")

    curves = [load_jsonl(RunDir.of(config).kd / "metrics.jsonl") for config in (two, one)]
    assert len(curves[0]) == 3
    for left, right in zip(*curves, strict=True):
        norms = [row.pop("grad_norm") for row in (left, right)]
        assert norms[0] == pytest.approx(norms[1], rel=GRADIENT_ROUNDING)
        assert left == pytest.approx(right, rel=1e-3)
    weights = [AutoModelForCausalLM.from_pretrained(RunDir.of(config).kd_model).state_dict() for config in (two, one)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-2, atol=1e-3)
    assert not (RunDir.of(two).kd / "checkpoints").exists()


@pytest.mark.parametrize("ranks_before", [1, 2])
def test_a_checkpoint_of_n_ranks_resumes_under_m(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, ranks_before: int
) -> None:
    """All weights trained, in shards on two ranks: one rank resumes what two saved, and two what one saved."""
    fields: dict[str, Any] = {"tuning": "full", "sharding": "fsdp2", "sft_lr": 1e-2, "sft_batch_size": 4}
    moved, unbroken = (tiny_config(experiment_name=name, save_steps=1, **fields) for name in ("moved", "unbroken"))
    for config in (moved, unbroken):
        write_responses(RunDir.of(config), count=16)
        RunDir.of(config).save_config(config)
    run_stage(STAGES["sft"], unbroken, RunDir.of(unbroken), "run")

    if ranks_before == 2:
        two_shards(RunDir.of(moved), "sft", "break")
        run_stage(STAGES["sft"], moved, RunDir.of(moved), "resume")
    else:
        with monkeypatch.context() as patch:
            patch.setattr(TrainingProgress, "on_step_end", break_off)
            with pytest.raises(RuntimeError, match="on purpose"):
                run_stage(STAGES["sft"], moved, RunDir.of(moved), "run")
        two_shards(RunDir.of(moved), "sft", "resume")

    curves = [load_jsonl(RunDir.of(config).sft / "metrics.jsonl") for config in (moved, unbroken)]
    assert [row["step"] for row in curves[0]] == [1, 2, 3, 4]
    for left, right in zip(*curves, strict=True):
        assert left == pytest.approx(right, rel=1e-5)
    manifest = Manifest.load(RunDir.of(moved).manifest("sft"))
    assert manifest is not None
    assert (manifest.metrics["ranks"], manifest.metrics["sharding"]) == ((2, "fsdp2"), (1, "none"))[ranks_before - 1]
    weights = [AutoModelForCausalLM.from_pretrained(RunDir.of(one).sft_model).state_dict() for one in (moved, unbroken)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)


def break_off(self: TrainingProgress, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
    if state.global_step == 2:
        raise RuntimeError("broken off on purpose")


def two_shards(run_dir: RunDir, stage: str, *parts: str) -> None:
    """Run a stage on two ranks that hold shards."""
    variables = {"CUDA_VISIBLE_DEVICES": ""}  # otherwise `fully_shard` would choose an available GPU
    torchrun_two(str(Path(__file__).parent / "shard_stage.py"), str(run_dir.root), stage, *parts, **variables)


def torchrun_two(*command: str, **variables: str) -> None:
    """Run a script or module as two ranks."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])} | variables
    subprocess.run([*launch, *command], env=environment, check=True)


def test_a_stage_whose_work_cannot_be_shared_says_so(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = tiny_config()

    with pytest.raises(UserError, match=r"stage generate: .* shared by 2 processes"):
        run_stage(STAGES["generate"], config, RunDir.of(config), "run")
    assert not RunDir.of(config).root.exists()
