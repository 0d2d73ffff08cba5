"""The plan of a run that is about to start on this machine: an error if it cannot fit, else one line."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from l2s.config import ExperimentConfig
from l2s.devices import torch_dtype
from l2s.errors import UserError
from l2s.generation.engines.vllm_process import GPU_SHARE, Runner
from l2s.plan.hardware import Fleet, Hardware, device_to_measure, free_shares, measure, share_of
from l2s.plan.prediction import Plan, make_plan, rough_duration
from l2s.run_dir import RunDir
from l2s.runner.pipeline import Stage
from l2s.runner.placement import Devices, asks_a_server, gpu_numbers
from l2s.sealed import write_sealed

MARGIN = 0.1  # estimates this close to the limit are accepted
LEAST_FREE = 0.1  # share of a GPU without which no model is worth loading


def plan_run(config: ExperimentConfig, stages: Sequence[Stage], devices: Devices) -> Plan | None:
    """The plan of `stages`, based on a measurement of this machine; None if no stage holds a model.

    Raises:
        UserError: weights and optimizer states of a stage exceed the memory by far, or other programs have filled a
            GPU; says what helps.
    """
    if not any(stage.resources.holds for stage in stages):
        return None
    hardware = _measure(config, stages, devices)
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


def _measure(config: ExperimentConfig, stages: Sequence[Stage], devices: Devices) -> Hardware | None:
    """Measure one of the devices, if this machine has such a one.

    A GPU is measured in another process: a context here would take GPU memory.
    """
    device, dtype = device_to_measure(config), torch_dtype(config)
    if devices.kind == "cpu":
        return share_of(measure(device, dtype), devices.most_in_a_machine)
    if device.type == "cpu":  # the GPUs are those of other nodes
        return None
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        if not devices.machines:
            gpus = gpu_numbers(config, len(devices))
            _check_free(dict(zip(gpus, pool.submit(free_shares, gpus).result(), strict=True)), config, stages)
        return share_of(pool.submit(measure, device, dtype).result(), devices.sharing)


def _check_free(free: Mapping[int, float], config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """Refuse GPUs whose memory other programs have; `free` is the share of each that is left.

    Raises:
        UserError: names them.
    """
    shares = [LEAST_FREE, *(GPU_SHARE[_runner(stage)] for stage in stages if _is_by_vllm(stage, config))]
    needed, holder = max(shares), "vLLM" if len(shares) > 1 else "a model"
    if full := {number: share for number, share in free.items() if share < needed}:
        which = ", ".join(f"{share:.0%} of GPU {number}" for number, share in full.items())
        raise UserError(
            f"gpus={config.gpus!r}: other programs leave only {which} free; {holder} needs "
            f"{needed:.0%} of each: end them, or name other GPUs with --gpus"
        )


def _is_by_vllm(stage: Stage, config: ExperimentConfig) -> bool:
    works = stage.original in ("generate", "score") or stage.original.startswith("evaluate_")
    return config.engine_of_weights == "vllm" and works and not asks_a_server(stage, config)


def _runner(stage: Stage) -> Runner:
    return "pooling" if stage.original == "score" else "generate"
