"""The plan of an experiment: sizes of its models, layout of its stages, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from l2s.arms import ARMS
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.plan.advice import USABLE, changes_that_fit, fits, least_memory, placed_again
from l2s.plan.estimates import estimate
from l2s.plan.hardware import GIB, Fleet
from l2s.plan.layout import Layout, Row, lay_out, on_groups
from l2s.plan.model_size import lora_parameters, size_of
from l2s.plan.situation import Situation
from l2s.runner.pipeline import STAGES, Stage


@dataclass(frozen=True)
class Plan:
    """The predicted cost of a run on `fleet`."""

    situation: Situation
    fleet: Fleet
    layout: Layout

    def advice(self) -> list[str]:
        """A line for the stages that do not fit; those with the same problem share one."""
        found: dict[str, list[str]] = {}
        for row in self.on_devices():
            if problem := advise(row.stage.original, on_groups(self.situation, row.groups)):
                found.setdefault(problem, []).append(row.stage.name)
        return [f"{', '.join(stages)}: {problem}" for problem, stages in found.items()]

    def too_large(self, margin: float) -> list[Row]:
        """The stages whose weights and optimizer states alone exceed the memory by more than the share `margin`.

        Activations do not count: batches are made smaller if memory runs out.
        """
        most = (1 + margin) * self.fleet.hardware.memory
        parts = [(row, row.estimate.memory) for row in self.on_devices()]
        return [row for row, memory in parts if memory.weights + memory.optimizer > most]

    def on_devices(self) -> list[Row]:
        """The stages that hold a model."""
        return [row for row in self.layout.rows if row.estimate.memory.total]

    def as_json(self) -> dict[str, Any]:
        """The prediction as the run folder stores it: seconds and bytes."""
        return {
            "hardware": str(self.fleet),
            "wall_seconds": self.layout.wall_seconds,
            "stages": {
                row.stage.name: {
                    "seconds": row.estimate.seconds,
                    "memory_bytes": row.estimate.memory.total,
                    "disk_bytes": row.estimate.disk + row.estimate.scratch,
                    "temporary_bytes": row.estimate.temporary,
                }
                for row in self.layout.rows
            },
        }


def make_plan(config: ExperimentConfig, stages: Sequence[Stage], fleet: Fleet) -> Plan:
    """Estimate and place `stages`; `config` is settled.

    Raises:
        UserError: the configuration of a model cannot be loaded, or LoRA cannot be put on a student that trains it.
    """
    student = size_of(config.student_model, config)
    trains = any(stage.original in ARMS for stage in stages)
    situation = Situation(
        config,
        fleet.hardware,
        teacher=student if config.remote_teacher else size_of(config.teacher_model, config),  # then nothing reads it
        student=student,
        lora_parameters=_lora_parameters(config, needed=trains and config.tuning != "full"),
        fleet=fleet,
    )
    return Plan(situation, fleet, lay_out(stages, situation, fleet))


def _lora_parameters(config: ExperimentConfig, *, needed: bool) -> int:
    """Number of LoRA weights; 0 if LoRA cannot be put on the student and no stage needs it."""
    try:
        return lora_parameters(config.student_model, config)
    except UserError:
        if needed:
            raise
        return 0


def advise(stage: str, situation: Situation) -> str | None:
    """What does not fit of `stage`, and which setting to change or that none helps; None if it fits."""
    if fits(stage, situation):
        return None
    needed, there = estimate(stage, situation).memory.total, situation.hardware.memory
    changes = changes_that_fit(stage, situation)
    problem = f"{gib(needed)} GiB a device do not fit into {gib(there)} GiB"
    if changes is None:
        least = gib(least_memory(stage, situation))
        more = "more GPUs for vLLM to split it over, " if _splits(stage, situation) else ""
        return f"{problem}, and no setting brings it below {least} GiB; take {more}a smaller model or a larger device"
    flags = " ".join(f"--{name} {str(value).lower()}" for name, value in changes.items())
    after = estimate(stage, placed_again(stage, situation.changed(changes))).memory.total
    return f"{problem}; with {flags} it takes {gib(after)} GiB"


def _splits(stage: str, situation: Situation) -> bool:
    """Whether more GPUs would hold a smaller part of the model each."""
    return situation.by_vllm and STAGES[stage].resources.holds == {"teacher"}


def fills_too_much(row: Row, fleet: Fleet) -> bool:
    """Whether a row of the plan is shown as one that does not fit."""
    return row.estimate.memory.total > USABLE * fleet.hardware.memory


def gib(value: float) -> str:
    """GiB with two digits below 1, and never 0 for a positive size."""
    return f"{value / GIB:.1f}" if value >= GIB else f"{max(value / GIB, 0.01):.2f}"


def rough_duration(seconds: float) -> str:
    """Seconds as 45 s, 12 min, 3.4 h or 5 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:,.0f} days"
