"""Which stage runs on which devices, from declarations alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices, find_devices, groups_of, most_devices, place


def gpus_(count: int) -> Devices:
    return Devices("gpu", tuple(map(str, range(count))))


def placed(names: str, free: int, *, total: int = 8, **fields: Any) -> dict[str, int]:
    """Stage -> number of devices, after a check that no device is given twice."""
    config = ExperimentConfig(**({"sft_batch_size": 4, "gradient_accumulation_steps": 4} | fields))
    found = place([STAGES[name] for name in names.split()], list(range(free)), gpus_(total), config)
    used = [number for placement in found.values() for number in placement]
    assert len(used) == len(set(used))
    assert set(used) <= set(range(free))
    return {name: len(placement) for name, placement in found.items()}


def test_on_one_device_the_first_stage_has_it() -> None:
    assert placed("score sft evaluate_teacher", 1, total=1) == {"score": 1}


def test_scoring_and_the_teachers_evaluation_run_beside_sft() -> None:
    assert placed("score sft evaluate_teacher", 8) == {"score": 2, "sft": 4, "evaluate_teacher": 2}
    assert placed("score sft evaluate_teacher", 2) == {"score": 1, "sft": 1}


def test_nothing_starts_beside_the_teachers_answers() -> None:
    assert placed("generate evaluate_teacher", 8) == {"generate": 8}
    assert placed("generate evaluate_teacher", 7) == {}  # until all are free


def test_the_last_models_are_evaluated_at_once() -> None:
    names = "evaluate_student_base evaluate_student_sft evaluate_student_kd"
    assert placed(names, 8) == dict(zip(names.split(), (3, 3, 2), strict=True))
    assert placed(names, 2) == dict.fromkeys(names.split()[:2], 1)


def test_a_stage_without_models_takes_no_device() -> None:
    assert placed("prepare", 0) == {"prepare": 0}
    assert placed("report kd", 8, kd_batch_size=8) == {"report": 0, "kd": 8}


@pytest.mark.parametrize(("update", "available", "useful"), [(16, 8, 8), (16, 7, 6), (16, 5, 4), (3, 8, 3), (1, 8, 1)])
def test_ranks_that_would_only_wait_are_left_free(update: int, available: int, useful: int) -> None:
    """16 sequences take three rounds on 7 ranks, as on 6."""
    config = ExperimentConfig(sft_batch_size=update, gradient_accumulation_steps=1)
    assert most_devices(STAGES["sft"], available, config, gpus_(8)) == useful


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None = None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


def test_gpus_are_those_that_are_visible_and_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 4)
    assert find_devices(ExperimentConfig()) == Devices("gpu", ("0", "1", "2", "3"))
    assert find_devices(ExperimentConfig(gpus="3, 1")) == Devices("gpu", ("3", "1"))
    gpus(monkeypatch, 2, visible="5,GPU-7f")
    assert find_devices(ExperimentConfig(gpus="1")) == Devices("gpu", ("GPU-7f",))
    assert find_devices(ExperimentConfig(device="cpu")).kind == "cpu"


@pytest.mark.parametrize(
    ("count", "fields", "words"),
    [
        (2, {"gpus": "0,2"}, "gpus='0,2': there is no GPU 2; 2 are visible, 0 to 1"),
        (0, {"gpus": "0"}, "gpus='0': models run on the CPU here"),
        (2, {"gpus": "0", "device": "cpu"}, "gpus='0': models run on the CPU here"),
        (2, {"cpu_workers": 2}, "cpu_workers=2: models run on GPUs here"),
        (0, {"device": "cuda"}, "device='cuda': no CUDA device is visible"),
    ],
)
def test_devices_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, count: int, fields: dict[str, Any], words: str
) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(UserError) as refusal:
        find_devices(ExperimentConfig(**fields))
    assert words in str(refusal.value)


@pytest.mark.parametrize("value", ["", "a", "0;1", "-1", "1,"])
def test_a_list_of_gpus_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="give all, or numbers separated by commas"):
        ExperimentConfig(gpus=value)


def test_a_gpu_named_twice_runs_two_processes_but_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    shared = find_devices(ExperimentConfig(gpus="0,0,1"))
    assert (shared.names, shared.sharing) == (("0", "0", "1"), 2)
    assert [gpus_(8).sharing, find_devices(ExperimentConfig(gpus="1")).sharing] == [1, 1]
    both = [STAGES[name] for name in ("sft", "evaluate_teacher")]
    assert {name: len(own) for name, own in place(both, [0, 1, 2], shared, ExperimentConfig()).items()} == {
        "sft": 1,  # NCCL refuses two ranks on one GPU
        "evaluate_teacher": 2,
    }
    assert place([STAGES["generate"]], [0, 1, 2], shared, ExperimentConfig()) == {"generate": (0, 1, 2)}
    assert place([STAGES["score"]], [0, 1, 2], shared, ExperimentConfig())["score"] == (0,)
    with pytest.raises(UserError, match="gpus='0,0': vLLM takes nearly all memory"):
        find_devices(ExperimentConfig(gpus="0,0", engine="vllm"))


def test_cpu_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {2, 3, 5, 7, 8})
    names = [find_devices(ExperimentConfig(device="cpu", cpu_workers=workers)).names for workers in (1, 2, 6)]
    assert names == [("2,3,5,7,8",), ("2,3", "5,7"), ("2", "3", "5", "7", "8", "2")]


def test_vllm_splits_the_teacher_over_some_gpus_and_replicates_it_over_the_rest() -> None:
    fields: dict[str, Any] = {"engine": "vllm", "teacher_gpus": 4}
    assert placed("generate", 8, **fields) == {"generate": 8}
    assert placed("generate", 6, total=6, **fields) == {"generate": 4}
    assert placed("score sft evaluate_teacher", 8, **fields) == {"score": 4, "sft": 4}  # the third waits for four
    config = ExperimentConfig(engine="vllm", teacher_gpus=4)
    assert groups_of(STAGES["generate"], tuple(range(8)), config, gpus_(8)) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    with pytest.raises(UserError, match="teacher_gpus=4: this run has 2 GPUs"):
        place([STAGES["generate"]], [0, 1], gpus_(2), config)


def test_transformers_spreads_the_teacher_over_the_gpus_that_are_asked_for() -> None:
    fields: dict[str, Any] = {"engine": "transformers", "teacher_gpus": 2}
    assert placed("generate", 8, **fields) == {"generate": 8}  # four replicas
    config = ExperimentConfig(**fields)
    assert groups_of(STAGES["generate"], (0, 1, 2, 3), config, gpus_(4)) == [(0, 1), (2, 3)]
    assert placed("score", 8, **fields) == {"score": 2}  # one process: ranks of a torchrun have one GPU each
    assert placed("kd", 8, **fields) == placed("kd", 8, engine="transformers")
    workers = Devices("cpu", ("0", "1"))
    assert place([STAGES["score"]], [0, 1], workers, config) == {"score": (0, 1)}  # on a CPU it is split over nothing


def test_a_server_is_asked_by_one_process() -> None:
    fields: dict[str, Any] = {"engine": "endpoint", "teacher_endpoint": "http://localhost:1/v1"}
    assert placed("generate", 8, **fields) == {"generate": 1}
    assert placed("evaluate_student_sft", 8, **fields) == {"evaluate_student_sft": 8}
    assert placed("evaluate_teacher", 8, arms="sft", **fields) == {"evaluate_teacher": 1}
    assert placed("evaluate_teacher", 8, arms="sft,kd", **fields) == {"evaluate_teacher": 8}  # with its weights


def test_the_weights_of_a_teacher_behind_an_endpoint_are_split_by_their_own_engine() -> None:
    fields: dict[str, Any] = {
        "engine": "endpoint", "teacher_endpoint": "http://localhost:1/v1", "weights_engine": "vllm", "teacher_gpus": 4,
    }  # fmt: skip
    assert placed("generate", 8, **fields) == {"generate": 1}  # a server needs no device here
    assert placed("score", 8, **fields) == {"score": 4}
    assert placed("evaluate_teacher", 8, **fields) == {"evaluate_teacher": 8}
    assert placed("evaluate_teacher", 8, arms="sft", **fields) == {"evaluate_teacher": 1}
    config = ExperimentConfig(**fields)
    assert groups_of(STAGES["evaluate_teacher"], tuple(range(8)), config, gpus_(8)) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    ranks = fields | {"weights_engine": "transformers", "teacher_gpus": 0}
    assert placed("score", 8, **ranks) == {"score": 8}  # of a torchrun


def two_machines(first: int, second: int) -> Devices:
    names = tuple(map(str, range(first + second)))
    return Devices("gpu", names, machines=("a",) * first + ("b",) * second)


def test_no_process_is_split_over_two_machines() -> None:
    """Three GPUs a copy, on machines of four: two copies, and a GPU of each stays free for what needs one."""
    config = ExperimentConfig(engine="vllm", teacher_gpus=3)
    devices = two_machines(4, 4)
    found = place([STAGES["generate"]], devices.numbers, devices, config)["generate"]
    assert groups_of(STAGES["generate"], found, config, devices) == [(0, 1, 2), (4, 5, 6)]
    beside = place([STAGES[name] for name in ("evaluate_teacher", "sft")], devices.numbers, devices, config)
    assert beside["evaluate_teacher"] == (0, 1, 2)
    assert beside["sft"] == (3, 4, 5, 6, 7)[: len(beside["sft"])]


def test_a_teacher_larger_than_every_machine_is_refused() -> None:
    config = ExperimentConfig(engine="vllm", teacher_gpus=8)
    with pytest.raises(UserError, match="teacher_gpus=8: this run has 4 GPUs in its largest machine"):
        place([STAGES["generate"]], list(range(8)), two_machines(4, 4), config)


def test_a_lost_machine_leaves_the_others_their_numbers() -> None:
    config = ExperimentConfig(engine="transformers")
    devices = replace(two_machines(2, 2), lost=frozenset({0, 1}))
    assert (len(devices), devices.numbers) == (2, [2, 3])
    assert place([STAGES["generate"]], devices.numbers, devices, config) == {"generate": (2, 3)}
    assert devices.label((2, 3)) == "2 GPUs of b"


def test_on_many_machines_each_copy_stays_in_one() -> None:
    devices = Devices("gpu", tuple(map(str, range(160))), machines=tuple(f"m{n // 8}" for n in range(160)))
    config = ExperimentConfig(engine="vllm", teacher_gpus=2, sft_batch_size=16, gradient_accumulation_steps=8)
    found = place([STAGES[name] for name in ("score", "sft", "evaluate_teacher")], devices.numbers, devices, config)
    used = [number for placement in found.values() for number in placement]
    assert len(used) == len(set(used))
    assert len(found["evaluate_teacher"]) > 8  # more than a machine has
    for group in groups_of(STAGES["evaluate_teacher"], found["evaluate_teacher"], config, devices):
        assert len({devices.machines[number] for number in group}) == 1
