"""The plan of a run that is about to start on this machine: an error if it cannot fit, else one line."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from l2s.config import ExperimentConfig
from l2s.devices import pick_device, torch_dtype
from l2s.errors import UserError
from l2s.plan.hardware import Fleet, Hardware, measure, share_of
from l2s.plan.prediction import Plan, make_plan, rough_duration
from l2s.run_dir import RunDir
from l2s.runner.pipeline import Stage
from l2s.runner.placement import Devices
from l2s.sealed import write_sealed

MARGIN = 0.1  # estimates this close to the limit are accepted


def plan_run(config: ExperimentConfig, stages: Sequence[Stage], devices: Devices) -> Plan | None:
    """The plan of `stages`, based on a measurement of this machine; None if no stage holds a model.

    Raises:
        UserError: weights and optimizer states of a stage exceed the memory by far; says what makes it fit.
    """
    if not any(stage.resources.holds for stage in stages):
        return None
    hardware = _measure(config, devices)
    if hardware is None:
        return None
    plan = make_plan(config, stages, Fleet(hardware, devices, devices.most_in_a_machine))
    if too_large := plan.too_large(MARGIN):
        names = ", ".join(row.stage.name for row in too_large)
        advice = "; ".join(plan.advice())
        raise UserError(f"the models do not fit into this machine's memory in {names}: {advice}; `l2s plan` shows all")
    return plan


def in_one_line(plan: Plan) -> str:
    """How long the run is expected to take."""
    longest = max(plan.layout.rows, key=lambda row: row.estimate.seconds)
    remote = "the endpoint's answers and " if any(row.estimate.of_server for row in plan.layout.rows) else ""
    return (
        f"about {rough_duration(plan.layout.wall_seconds)} on this machine by the plan's estimate, which measured it "
        f"just now ({longest.stage.name} {rough_duration(longest.estimate.seconds)}); {remote}downloads come on top"
    )


def save(plan: Plan, run_dir: RunDir) -> None:
    """Write the prediction for the report; finished stages keep their earlier one.

    Raises:
        UserError: the earlier one is damaged.
    """
    found = plan.as_json()
    write_sealed(run_dir.plan, found | {"stages": run_dir.load_predictions() | found["stages"]})


def _measure(config: ExperimentConfig, devices: Devices) -> Hardware | None:
    """Measure one of the devices, if this machine has such a one.

    A GPU is measured in another process: a context here would take GPU memory.
    """
    device, dtype = pick_device(config), torch_dtype(config)
    if devices.kind == "cpu":
        return share_of(measure(device, dtype), devices.most_in_a_machine)
    if device.type == "cpu":  # the GPUs are those of other nodes
        return None
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return share_of(pool.submit(measure, torch.device("cuda", 0), dtype).result(), devices.sharing)
