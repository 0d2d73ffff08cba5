"""Time, memory and disk of single stages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l2s.plan import estimates
from l2s.plan.estimates import ESTIMATES, FILE_BYTES_S, estimate
from l2s.plan.hardware import Hardware
from l2s.plan.vllm import VLLM_START_S
from l2s.runner.pipeline import STAGES
from support.plans import CPU, GPU, situation


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
