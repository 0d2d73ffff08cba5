"""Which stage runs on which devices: disjoint sets, so that independent stages run side by side.

A device is a GPU, or with --cpu_workers one of the equal parts of a CPU. Stages say what they want (`Resources`); this
module knows nothing of processes, so a plan and other executors lay out the graph in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.runner.pipeline import Stage

Placement = tuple[int, ...]  # numbers of devices


@dataclass(frozen=True)
class Devices:
    """The devices of a run, numbered from 0.

    Attributes:
        kind: gpu or cpu.
        names: what CUDA_VISIBLE_DEVICES calls each GPU; the cores of each CPU worker, separated by commas.
    """

    kind: Literal["gpu", "cpu"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def label(self, placement: Placement) -> str:
        """The devices as the console shows them: `GPU 0, 1`, `CPU worker 2`, or nothing where all is one device."""
        if not placement or (self.kind == "cpu" and len(self) == 1):
            return ""
        numbers = [self.names[number] if self.kind == "gpu" else str(number) for number in placement]
        return f"{'GPU' if self.kind == 'gpu' else 'CPU worker'} {', '.join(numbers)}"


def find_devices(config: ExperimentConfig) -> Devices:
    """The devices that `config` gives to this run.

    Raises:
        UserError: a GPU that is asked for is not there, or a setting speaks of the devices that are not used.
    """
    visible = [] if config.device == "cpu" else _visible_gpus()
    if not visible:
        if config.device == "cuda":
            raise UserError("device='cuda': no CUDA device is visible; use --device cpu, or check nvidia-smi")
        if config.gpus != "all":
            raise UserError(f"gpus={config.gpus!r}: models run on the CPU here; leave it out, or use --cpu_workers")
        return Devices("cpu", _split_cores(config.cpu_workers))
    if config.cpu_workers > 1:
        raise UserError(f"cpu_workers={config.cpu_workers}: models run on GPUs here; leave it out, or add --device cpu")
    if config.gpus == "all":
        return Devices("gpu", tuple(visible))
    numbers = [int(number) for number in config.gpus.split(",")]
    if missing := [number for number in numbers if number >= len(visible)]:
        raise UserError(
            f"gpus={config.gpus!r}: there is no GPU {missing[0]}; {len(visible)} are visible, "
            f"0 to {len(visible) - 1}: choose among them, or leave it out to use all"
        )
    return Devices("gpu", tuple(visible[number] for number in numbers))


def _visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that torch sees; no CUDA context is made in this process."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def _split_cores(workers: int) -> tuple[str, ...]:
    """The usable cores in equal parts; where there are more workers than cores, some share one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    size = max(1, len(cores) // workers)
    parts = [[cores[(worker * size + offset) % len(cores)] for offset in range(size)] for worker in range(workers)]
    return tuple(",".join(map(str, part)) for part in parts)


def place(ready: Sequence[Stage], free: Sequence[int], total: int, config: ExperimentConfig) -> dict[str, Placement]:
    """The stages of `ready` that start now, with their devices out of `free`, of `total` in all.

    Each ready stage gets one device (the first ones first), then what is left goes to those that can use more, in
    proportion to their `share`. A stage that is `alone` waits until all are free.
    """
    placed: dict[str, Placement] = {stage.name: () for stage in ready if stage.resources.spread == "none"}
    waiting = [stage for stage in ready if stage.resources.spread != "none"]
    if alone := [stage for stage in waiting if stage.resources.alone]:
        waiting = alone[:1] if len(free) == total else []
    waiting = waiting[: len(free)]
    sizes = _sizes(waiting, len(free), config)
    rest = list(free)
    for stage in waiting:
        placed[stage.name], rest = tuple(rest[: sizes[stage.name]]), rest[sizes[stage.name] :]
    return placed


def _sizes(stages: Sequence[Stage], free: int, config: ExperimentConfig) -> Mapping[str, int]:
    """How many devices each stage gets, at least one."""
    sizes = {stage.name: 1 for stage in stages}
    for _ in range(free - len(stages)):
        growing = [stage for stage in stages if sizes[stage.name] < most_devices(stage, free, config)]
        if not growing:
            break
        neediest = max(growing, key=lambda stage: stage.resources.share / sizes[stage.name])
        sizes[neediest.name] += 1
    return {stage.name: most_devices(stage, sizes[stage.name], config) for stage in stages}


def most_devices(stage: Stage, available: int, config: ExperimentConfig) -> int:
    """How many of `available` devices make `stage` faster.

    An update of 16 sequences takes four rounds of one on four ranks, and on five, six or seven as well.
    """
    if stage.resources.spread in ("none", "one"):
        return min(available, 1)
    if stage.resources.batch_size is None:
        return available
    update: int = getattr(config, stage.resources.batch_size) * config.gradient_accumulation_steps
    if stage.name == "opd":  # TRL shares an update equally
        return max(ranks for ranks in range(1, available + 1) if update % ranks == 0)
    rounds = -(-update // available)
    return -(-update // rounds)
