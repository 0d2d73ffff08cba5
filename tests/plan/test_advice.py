"""What does not fit, and what to change."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

from l2s.config import ExperimentConfig
from l2s.plan.advice import Changes, changes_that_fit, fits
from l2s.plan.hardware import GIB, Fleet
from l2s.plan.layout import lay_out, on_groups
from l2s.plan.prediction import Plan, advise
from l2s.plan.situation import Situation
from l2s.runner.engine_checks import check_engine_fits
from l2s.runner.preflight import check_sharding_fits
from l2s.runner.selection import select_stages
from support.plans import A100_40, GPU, dense, fleet_of, situation


def test_a_batch_that_does_not_fit_is_made_smaller() -> None:
    crowded = situation(generation_batch_size=256, max_new_tokens=1024)
    assert not fits("generate", crowded)
    changes = changes_that_fit("generate", crowded)
    assert changes is not None
    assert changes.keys() == {"generation_batch_size"}
    assert fits("generate", crowded.changed(changes))
    assert not fits("generate", crowded.changed({"generation_batch_size": 2 * changes["generation_batch_size"]}))


def test_training_keeps_its_updates_when_micro_batches_get_smaller() -> None:
    crowded = situation(sft_batch_size=64, gradient_accumulation_steps=2)
    changes = changes_that_fit("sft", crowded)
    assert changes is not None
    assert changes.keys() == {"tokens_per_batch"}  # sequences of an update stay, in SFT and in KD
    assert not fits("sft", crowded.changed({"tokens_per_batch": 2 * changes["tokens_per_batch"]}))
    assert fits("sft", crowded.changed(changes))


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
    by_vllm = advise("score", situation(replace(GPU, memory=8 * GIB), engine="vllm"))
    assert by_vllm is not None
    assert "take more GPUs for vLLM to split it over, a smaller model or a larger device" in by_vllm
    assert advise("score", situation()) is None


def test_what_is_far_too_large_is_found_and_a_mere_estimate_is_not() -> None:
    made = replace(situation(A100_40, run_generate=True, engine="transformers"), fleet=fleet_of(1))
    plan = Plan(made, fleet_of(1), lay_out(select_stages(made.config), made, fleet_of(1)))
    assert [row.stage.name for row in plan.too_large(0.1)] == ["generate"]
    assert "--engine vllm" in " ".join(plan.advice()) or "--teacher_quantization" in " ".join(plan.advice())
    (row,) = [row for row in plan.layout.rows if row.stage.name == "generate"]
    little = replace(plan, fleet=fleet_of(1, replace(A100_40, memory=int(row.estimate.memory.total / 1.05))))
    assert not little.too_large(0.1)


EXPERTS = replace(
    dense(30.5, layers=48, hidden=2048), num_experts=128, experts_per_token=8, expert_parameters=29_000_000_000,
    linear_parameters=900_000_000, keys=512, queries=4096,
)  # fmt: skip
CHOICES: dict[str, tuple[Any, ...]] = {
    "tuning": ("qlora", "lora", "full"),
    "sharding": ("auto", "ddp", "fsdp2", "zero2", "zero3"),
    "engine": ("transformers", "vllm"),
    "arms": ("sft", "sft,kd", "sft,kd,opd"),
    "teacher_signal": ("hidden", "online"),
    "sft_batch_size": (1, 4, 64),
    "kd_batch_size": (2, 32),
    "opd_batch_size": (1, 16),
    "tokens_per_batch": (0, 0, 8192, 10**6),
    "gradient_checkpointing": (True, False),
    "generation_batch_size": (16, 512),
    "eval_batch_size": (16, 512),
    "teacher_gpus": (1, 2),
}


def not_fitting(made: Situation, fleet: Fleet) -> dict[str, Changes | None]:
    """The stages that do not fit, each with its remedy."""
    rows = Plan(made, fleet, lay_out(select_stages(made.config), made, fleet)).on_devices()
    placed = {row.stage.name: on_groups(made, row.groups) for row in rows}
    return {name: changes_that_fit(name, where) for name, where in placed.items() if not fits(name, where)}


def test_a_remedy_that_is_applied_is_enough_and_a_run_takes_it() -> None:
    """Remedies are applied one after the other, until all fits or nothing is left to change.

    A remedy can change where stages are placed, so that a further one is needed.
    """
    draw, applied, enough = random.Random(0), Counter[str](), Counter[bool]()
    for _ in range(40):
        memory, count = draw.choice([(24, 1), (24, 4), (40, 1), (40, 8), (80, 1), (80, 2)])
        fields = {name: draw.choice(values) for name, values in CHOICES.items()}
        if (fields["tuning"], fields["sharding"]) == ("qlora", "zero3") or fields["teacher_gpus"] > count:
            continue
        fleet = fleet_of(count, replace(A100_40, memory=memory * GIB))
        teacher = draw.choice([EXPERTS, dense(32.8, layers=64, hidden=5120), dense(14)])
        student = draw.choice([dense(8.2), dense(4), dense(14)])
        while True:
            config = ExperimentConfig(run_all=True, **fields)
            check_sharding_fits(config)
            check_engine_fits(config, select_stages(config))
            made = Situation(config, fleet.hardware, teacher, student, lora_parameters=90_000_000, fleet=fleet)
            remedies = {name: changes for name, changes in not_fitting(made, fleet).items() if changes}
            if not remedies:
                break
            stage, changes = next(iter(remedies.items()))
            assert {name: fields.get(name) for name in changes} != changes
            fields |= changes
            after = not_fitting(made.changed(changes), fleet)
            enough[stage not in after] += 1
            assert after.get(stage, {}) is not None, (stage, changes, fields, memory, count)
            applied.update(list(changes))
    assert len(applied) >= 8
    assert enough[True] > 15 * enough[False]
