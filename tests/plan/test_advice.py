"""What does not fit, and what to change."""

from __future__ import annotations

from dataclasses import replace

from l2s.plan.advice import changes_that_fit, fits
from l2s.plan.hardware import GIB
from l2s.plan.layout import lay_out
from l2s.plan.prediction import Plan, advise
from l2s.runner.selection import select_stages
from support.plans import A100_40, GPU, fleet_of, situation


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
    assert advise("score", situation()) is None


def test_what_is_far_too_large_is_found_and_a_mere_estimate_is_not() -> None:
    made = replace(situation(A100_40, run_generate=True, engine="transformers"), fleet=fleet_of(1))
    plan = Plan(made, fleet_of(1), lay_out(select_stages(made.config), made, fleet_of(1)))
    assert [row.stage.name for row in plan.too_large(0.1)] == ["generate"]
    assert "--engine vllm" in " ".join(plan.advice()) or "--teacher_quantization" in " ".join(plan.advice())
    (row,) = [row for row in plan.layout.rows if row.stage.name == "generate"]
    little = replace(plan, fleet=fleet_of(1, replace(A100_40, memory=int(row.estimate.memory.total / 1.05))))
    assert not little.too_large(0.1)
