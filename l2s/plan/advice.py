"""What to change if a stage does not fit into memory: each change is tested by a new estimate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.plan.estimates import estimate, longest_sequence
from l2s.plan.situation import Situation
from l2s.runner.engine_checks import check_engine_fits
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import process_devices
from l2s.runner.preflight import check_sharding_fits
from l2s.runner.selection import select_stages

USABLE = 0.95  # share of the memory; fragmentation takes the rest

Changes = dict[str, Any]


def fits(stage: str, situation: Situation) -> bool:
    """Whether `stage` fits into the memory of the device."""
    return estimate(stage, situation).memory.total <= USABLE * situation.hardware.memory


def changes_that_fit(stage: str, situation: Situation) -> Changes | None:
    """The cheapest settings with which `stage` fits; None if no settings are enough."""
    for changes in _candidates(_levers(stage, situation)):
        if fits(stage, placed_again(stage, situation.changed(changes))):
            return changes
    return None


def placed_again(stage: str, situation: Situation) -> Situation:
    """The situation after a change, with devices split as placement would.

    A teacher in vLLM may be split over all devices. Other stages keep the devices that they have.
    """
    fleet = situation.fleet
    if fleet is None or stage not in STAGES:
        return situation
    available = max(1, situation.processes * situation.split)
    if situation.by_vllm and STAGES[stage].resources.holds == {"teacher"}:
        available = len(fleet.devices)
    split = process_devices(STAGES[stage], situation.config, fleet.devices)
    return replace(situation, processes=max(1, available // split), split=split)


def least_memory(stage: str, situation: Situation) -> float:
    """Bytes that `stage` needs at least, with every possible change."""
    every = {name: value for lever in _levers(stage, situation) for name, value in lever[-1].items()}
    return estimate(stage, placed_again(stage, situation.changed(every))).memory.total


def _candidates(levers: list[list[Changes]]) -> Iterator[Changes]:
    """Every setting of each lever alone, then with all cheaper levers at their strongest setting."""
    for lever in levers:
        yield from lever
    pulled: Changes = {}
    for lever in levers:
        yield from (pulled | changes for changes in lever)
        pulled |= lever[-1]


def _levers(stage: str, situation: Situation) -> list[list[Changes]]:
    """What can be changed for a stage, cheapest first; for each lever its settings, weakest first."""
    config = situation.config
    vllm = situation.by_vllm
    teacher = _smaller_teacher(situation)
    if stage == "generate":
        levers = [[] if vllm else _batches(config, "generation_batch_size"), teacher]
    elif stage == "score":
        levers = [teacher]
    elif stage.startswith("evaluate_"):
        levers = [[] if vllm else _batches(config, "eval_batch_size"), teacher if stage == "evaluate_teacher" else []]
    elif stage in ("sft", "kd", "opd"):
        live = stage == "opd" or (stage == "kd" and config.teacher_signal == "online")
        levers = [
            [{"teacher_signal": "hidden"}] if live and stage == "kd" else [],
            [] if config.gradient_checkpointing else [{"gradient_checkpointing": True}],
            _batches(config, "opd_batch_size") if stage == "opd" else _micro_batches(stage, situation),
            [{"sharding": "fsdp2"}] if _could_shard(situation) else [],
            [] if config.tuning == "qlora" else [{"tuning": "qlora"} | _without_zero3(config)],
            [{"teacher_quantization": name} for name in _stronger(situation)] if live else [],
        ]
    else:
        levers = []
    taken = [[changes for changes in lever if _is_taken(situation.changed(changes).config)] for lever in levers]
    return [lever for lever in taken if lever]


@cache
def _is_taken(config: ExperimentConfig) -> bool:
    """Whether a run takes these settings: vLLM's quantisations, for example, cannot be used in a trainer."""
    try:
        check_engine_fits(config, select_stages(config))
        check_sharding_fits(config)
    except UserError:
        return False
    return True


def _smaller_teacher(situation: Situation) -> list[Changes]:
    """Ways to hold the teacher in less memory. vLLM can also split it; transformers' stages do not."""
    found: list[Changes] = [{"teacher_quantization": name} for name in _stronger(situation)]
    if situation.hardware.is_cuda and not situation.by_vllm:
        field = "weights_engine" if situation.config.engine == "endpoint" else "engine"
        found += [{field: "vllm"} | kind for kind in ({}, {"teacher_quantization": "fp8"})]
    return found


def _stronger(situation: Situation) -> list[str]:
    """Quantisations that are smaller than the present one and that engine and model support."""
    if situation.by_vllm:
        return ["fp8"] if situation.config.teacher_quantization == "none" else []
    if situation.teacher.num_experts:
        return []  # bitsandbytes does not quantise experts
    order = ["none", "int8", "nf4"]
    present = situation.config.teacher_quantization
    return order[order.index(present) + 1 :] if present in order else []


def _could_shard(situation: Situation) -> bool:
    """Whether ranks that hold all weights of a full training could hold shards."""
    config = situation.config
    several = situation.processes > 1 and situation.hardware.is_cuda
    return several and config.tuning == "full" and config.sharding in ("ddp", "zero2")


def _without_zero3(config: ExperimentConfig) -> Changes:
    return {"sharding": "ddp"} if config.sharding == "zero3" else {}


def _micro_batches(stage: str, situation: Situation) -> list[Changes]:
    """Half the sequences of a micro-batch, a quarter, ..., 1, as a number of tokens. No update changes by that."""
    config, longest = situation.config, longest_sequence(situation, situation.answered_texts)
    tokens = config.tokens_per_batch or getattr(config, f"{stage}_batch_size") * longest
    changes: list[Changes] = []
    sequences = tokens // longest
    while sequences := sequences // 2:
        changes.append({"tokens_per_batch": sequences * longest})
    return changes


def _batches(config: ExperimentConfig, name: str) -> list[Changes]:
    """Half the batch, a quarter, ..., 1."""
    changes: list[Changes] = []
    size = getattr(config, name)
    while size := size // 2:
        changes.append({name: size})
    return changes
