"""Which stage runs on which devices: disjoint sets, so that independent stages run side by side.

A device is a GPU, or with --cpu_workers one of the equal parts of a CPU. A GPU that --gpus names twice counts as two
devices: two processes use it at a time. Stages declare what they can use
(`Resources`). This module knows nothing about processes, so plans and other executors place the graph in the same way.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Literal

from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.errors import UserError
from l2s.runner.pipeline import Stage

Placement = tuple[int, ...]  # numbers of devices


@dataclass(frozen=True)
class Devices:
    """The devices of a run, numbered from 0.

    Attributes:
        kind: gpu or cpu.
        names: the name of each GPU in CUDA_VISIBLE_DEVICES, or the cores of each CPU worker, separated by commas.
        card_bytes: memory of one device, if known without asking: a plan knows it for GPUs of other machines.
        machines: the machine of each device; empty if all are in one.
        lost: devices of machines that are gone; the others keep their numbers.
    """

    kind: Literal["gpu", "cpu"]
    names: tuple[str, ...]
    card_bytes: int = 0
    machines: tuple[str, ...] = ()
    lost: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.names) - len(self.lost)

    @property
    def numbers(self) -> list[int]:
        """The devices that are there."""
        return [number for number in range(len(self.names)) if number not in self.lost]

    def by_machine(self, numbers: Sequence[int]) -> dict[str, list[int]]:
        """`numbers` by the machines that they are in, in the order of the machines."""
        found: dict[str, list[int]] = {}
        for number in numbers:
            found.setdefault(self.machines[number] if self.machines else "", []).append(number)
        return found

    @property
    def sharing(self) -> int:
        """The most devices that are one GPU; 1 unless --gpus names one several times."""
        cards = zip(self.names, self.machines or self.names, strict=True)
        return max(Counter(cards).values(), default=1) if self.kind == "gpu" else 1

    @property
    def most_in_a_machine(self) -> int:
        """The devices of the largest machine: no process is split over two machines."""
        return max((len(own) for own in self.by_machine(self.numbers).values()), default=0)

    def cut(self, numbers: Sequence[int], size: int) -> list[Placement]:
        """As many groups of `size` devices out of `numbers` as there are, each within a machine."""
        machines = self.by_machine(numbers).values()
        return [
            tuple(own[start : start + size]) for own in machines for start in range(0, len(own) - len(own) % size, size)
        ]

    def label(self, placement: Placement) -> str:
        """The devices as the console shows them: `GPU 0, 1`, `CPU worker 2`, or nothing if there is only one.

        Of several machines: `2 GPUs of 10.0.0.1, 1 GPU of 10.0.0.2`.
        """
        if self.machines:
            kind = "GPU" if self.kind == "gpu" else "CPU worker"
            machines = self.by_machine(placement).items()
            return ", ".join(f"{counted(len(own), kind)} of {machine}" for machine, own in machines)
        if not placement or (self.kind == "cpu" and len(self) == 1):
            return ""
        numbers = [self.names[number] if self.kind == "gpu" else str(number) for number in placement]
        return f"{'GPU' if self.kind == 'gpu' else 'CPU worker'} {', '.join(numbers)}"


def find_devices(config: ExperimentConfig) -> Devices:
    """The devices that `config` gives to this run.

    Raises:
        UserError: a requested GPU does not exist, or a setting is for devices that the run does not use.
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
    numbers = gpu_numbers(config, len(visible))
    if missing := [number for number in numbers if number >= len(visible)]:
        are = "is" if len(visible) == 1 else "are"
        raise UserError(
            f"gpus={config.gpus!r}: there is no GPU {missing[0]}; {len(visible)} {are} visible, "
            f"0 to {len(visible) - 1}: choose among them, or leave it out to use all"
        )
    devices = Devices("gpu", tuple(visible[number] for number in numbers))
    if devices.sharing > 1 and config.engine == "vllm":
        raise UserError(
            f"gpus={config.gpus!r}: vLLM takes nearly all memory of a GPU, so two processes cannot share one; name "
            "each GPU once, or add --engine transformers"
        )
    return devices


def gpu_numbers(config: ExperimentConfig, visible: int) -> list[int]:
    """The GPUs that `config` gives to this run, by their numbers among `visible` ones."""
    return list(range(visible)) if config.gpus == "all" else [int(number) for number in config.gpus.split(",")]


def _visible_gpus() -> list[str]:
    """The name in CUDA_VISIBLE_DEVICES of each GPU that torch sees; this process gets no CUDA context."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def _split_cores(workers: int) -> tuple[str, ...]:
    """The usable cores in equal parts; with more workers than cores, some workers share one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    size = max(1, len(cores) // workers)
    parts = [[cores[(worker * size + offset) % len(cores)] for offset in range(size)] for worker in range(workers)]
    return tuple(",".join(map(str, part)) for part in parts)


def place(
    ready: Sequence[Stage], free: Sequence[int], devices: Devices, config: ExperimentConfig
) -> dict[str, Placement]:
    """The stages of `ready` that start now, with their devices from `free`.

    Each ready stage gets the devices of one process, in pipeline order. The remaining devices go to stages that can use
    more, in proportion to their `share`. A stage that is `alone` waits until all devices are free.
    """
    placed: dict[str, Placement] = {stage.name: () for stage in ready if stage.resources.spread == "none"}
    waiting = [stage for stage in ready if stage.resources.spread != "none"]
    if alone := [stage for stage in waiting if stage.resources.alone]:
        waiting = alone[:1] if len(free) == len(devices) else []
    steps = {stage.name: process_devices(stage, config, devices) for stage in waiting}
    sizes: dict[str, int] = {}
    for stage in waiting:
        if _hand_out(free, wanted := sizes | {stage.name: steps[stage.name]}, steps, devices) is not None:
            sizes = wanted
    started = [stage for stage in waiting if stage.name in sizes]
    return placed | (_hand_out(free, _grow(started, sizes, steps, free, devices, config), steps, devices) or {})


def _hand_out(
    free: Sequence[int], sizes: dict[str, int], steps: dict[str, int], devices: Devices
) -> dict[str, Placement] | None:
    """Devices out of `free` for each stage, in groups of its step; None where they do not suffice."""
    placed: dict[str, Placement] = {}
    rest = list(free)
    for name, size in sizes.items():
        groups = devices.cut(rest, steps[name])[: size // steps[name]]
        if len(groups) * steps[name] < size:
            return None
        placed[name] = tuple(chain.from_iterable(groups))
        taken = set(placed[name])
        rest = [number for number in rest if number not in taken]
    return placed


def _grow(
    stages: Sequence[Stage],
    sizes: dict[str, int],
    steps: dict[str, int],
    free: Sequence[int],
    devices: Devices,
    config: ExperimentConfig,
) -> dict[str, int]:
    """Give what is left of `free` to the stages, a process at a time; then take back what makes none faster."""
    sizes = dict(sizes)
    while growing := [
        stage
        for stage in stages
        if sizes[stage.name] < most_devices(stage, len(free), config, devices)
        and _hand_out(free, sizes | {stage.name: sizes[stage.name] + steps[stage.name]}, steps, devices) is not None
    ]:
        neediest = max(growing, key=lambda stage: stage.resources.share / sizes[stage.name])
        sizes[neediest.name] += steps[neediest.name]
    return {stage.name: most_devices(stage, sizes[stage.name], config, devices) for stage in stages}


def groups_of(stage: Stage, placement: Placement, config: ExperimentConfig, devices: Devices) -> list[Placement]:
    """The devices of each process of a placed stage; a stage without devices still has one process."""
    size = process_devices(stage, config, devices)
    return [placement[start : start + size] for start in range(0, len(placement), size)] or [()]


def process_devices(stage: Stage, config: ExperimentConfig, devices: Devices) -> int:
    """Number of devices of one process of `stage`: those that it splits the teacher over, else one.

    vLLM takes the fewest that hold the teacher. transformers puts its layers on as many GPUs as --teacher_gpus says.
    """
    if asks_a_server(stage, config) or stage.resources.holds != {"teacher"}:
        return 1
    by_vllm = config.engine_of_weights == "vllm"
    if not by_vllm and devices.kind == "cpu":
        return 1
    wanted = config.teacher_gpus or (_fewest_gpus(config, devices) if by_vllm and devices.kind == "gpu" else 1)
    most = devices.most_in_a_machine
    if wanted > most and devices.kind == "gpu":
        where = " in its largest machine" if devices.machines else ""
        gpus = counted(most, "GPU")
        raise UserError(f"teacher_gpus={wanted}: this run has {gpus}{where}; give it more, or lower the number")
    return min(wanted, most)


@cache
def _fewest_gpus(config: ExperimentConfig, devices: Devices) -> int:
    """The smallest number of GPUs that holds the teacher, or all if none does: vLLM then reports what is missing."""
    from l2s.models.stored import attention_heads, gpus_to_hold, stored_bytes

    card_bytes = devices.card_bytes or _ask_card_bytes(gpu_numbers(config, 1)[0])
    heads = attention_heads(config.teacher_model, config)
    size = stored_bytes(config.teacher_model, config, config.teacher_quantization)
    most = devices.most_in_a_machine
    return gpus_to_hold(size, heads, card_bytes, most) or most


def _ask_card_bytes(gpu: int) -> int:
    """Memory of a GPU, asked in another process: asking here would take GPU memory."""
    program = f"import torch; print(torch.cuda.get_device_properties({gpu}).total_memory)"
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def asks_a_server(stage: Stage, config: ExperimentConfig) -> bool:
    """Whether the work is a server's; a teacher whose weights are here is evaluated with them."""
    if config.engine != "endpoint":
        return False
    return stage.name == "generate" or (stage.name == "evaluate_teacher" and config.remote_teacher)


def most_devices(stage: Stage, available: int, config: ExperimentConfig, devices: Devices) -> int:
    """The largest number of `available` devices that still makes `stage` faster.

    An update of 16 sequences takes four rounds of one on four ranks, and also on five, six or seven.
    """
    size = process_devices(stage, config, devices)
    spread = stage.resources.spread
    # scoring is one process in vLLM, which batches by itself, and where transformers spreads the teacher over GPUs
    in_one = stage.name == "score" and (config.engine_of_weights == "vllm" or size > 1)
    if spread in ("none", "one") or in_one or asks_a_server(stage, config):
        return min(available, size)
    if spread == "ranks" and devices.sharing > 1:
        return min(available, 1)  # NCCL wants a GPU of its own for each rank
    if stage.resources.batch_size is None:
        return available // size * size
    update: int = getattr(config, stage.resources.batch_size) * config.gradient_accumulation_steps
    if stage.original == "opd":  # TRL shares an update equally
        return max(ranks for ranks in range(1, available + 1) if update % ranks == 0)
    rounds = -(-update // available)
    return -(-update // rounds)
