"""What to change where a stage does not fit into memory, found by estimating it again with the change made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from l2s.config import ExperimentConfig
from l2s.plan.estimates import Situation, estimate

USABLE = 0.95  # of the memory; fragments take the rest

Changes = dict[str, Any]


def fits(stage: str, situation: Situation) -> bool:
    """Whether `stage` fits into the memory of the device."""
    return estimate(stage, situation).memory.total <= USABLE * situation.hardware.memory


def changes_that_fit(stage: str, situation: Situation) -> Changes | None:
    """The first settings, of those that cost least, with which `stage` fits; None where nothing helps enough."""
    for changes in _candidates(_levers(stage, situation.config)):
        if fits(stage, situation.changed(changes)):
            return changes
    return None


def least_memory(stage: str, situation: Situation) -> float:
    """Bytes that `stage` takes with all that can be changed for it."""
    every = {name: value for lever in _levers(stage, situation.config) for name, value in lever[-1].items()}
    return estimate(stage, situation.changed(every)).memory.total


def _candidates(levers: list[list[Changes]]) -> Iterator[Changes]:
    """Every setting of one lever alone, then with the levers before it pulled all the way."""
    for lever in levers:
        yield from lever
    pulled: Changes = {}
    for lever in levers:
        yield from (pulled | changes for changes in lever)
        pulled |= lever[-1]


def _levers(stage: str, config: ExperimentConfig) -> list[list[Changes]]:
    """What can be changed for a stage, dearest last; in each the settings, weakest first."""
    quantised: list[Changes] = [{"teacher_quantization": name} for name in _stronger(config.teacher_quantization)]
    if stage == "generate":
        levers = [_batches(config, "generation_batch_size"), quantised]
    elif stage == "score":
        levers = [quantised]
    elif stage.startswith("evaluate_"):
        levers = [_batches(config, "eval_batch_size"), quantised if stage == "evaluate_teacher" else []]
    elif stage in ("sft", "kd"):
        live = stage == "kd" and config.teacher_signal == "online"
        levers = [
            [{"teacher_signal": "hidden"}] if live else [],
            [] if config.gradient_checkpointing else [{"gradient_checkpointing": True}],
            _batches(config, f"{stage}_batch_size"),
            [] if config.tuning == "qlora" else [{"tuning": "qlora"}],
            quantised if live else [],
        ]
    else:
        levers = []
    return [lever for lever in levers if lever]


def _stronger(quantization: str) -> list[str]:
    order = ["none", "int8", "nf4"]
    return order[order.index(quantization) + 1 :]


def _batches(config: ExperimentConfig, name: str) -> list[Changes]:
    """Half the batch, a quarter, ..., 1; in training with as many more batches in an update."""
    changes: list[Changes] = []
    size, accumulated = getattr(config, name), config.gradient_accumulation_steps
    while size > 1:
        smaller = size // 2
        accumulated = accumulated * size // smaller
        size = smaller
        trains = name in ("sft_batch_size", "kd_batch_size")
        changes.append({name: size} | ({"gradient_accumulation_steps": accumulated} if trains else {}))
    return changes
