"""Made-up models and devices, and their plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from l2s.config import ExperimentConfig
from l2s.plan.hardware import GIB, Fleet, Hardware
from l2s.plan.layout import Layout, lay_out
from l2s.plan.model_size import ModelSize
from l2s.plan.situation import Situation
from l2s.runner.placement import Devices
from l2s.runner.selection import select_stages

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
    chosen: dict[str, Any] = {"run_all": not any(name.startswith("run_") for name in fields), **fields}
    return Situation(ExperimentConfig(**chosen), hardware, teacher, student, lora_parameters=90_000_000)


ONE = Devices("cpu", ("0",))
A100_40 = replace(GPU, memory=40 * GIB, products=187e12, bandwidth=1.3e12, weights=1.3e12)


def fleet_of(count: int, hardware: Hardware = A100_40) -> Fleet:
    return Fleet(hardware, Devices("gpu", tuple(map(str, range(count))), hardware.memory), count)


def laid_out(count: int, **fields: Any) -> Layout:
    """The whole experiment on `count` GPUs with transformers and a teacher that fits."""
    fields = {"run_all": True, "kd_init": "sft", "engine": "transformers", **fields}
    made = replace(situation(A100_40, **fields), teacher=dense(14), fleet=fleet_of(count))
    return lay_out(select_stages(made.config), made, fleet_of(count))
