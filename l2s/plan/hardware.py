"""What a device can do: memory, matrix products, memory bandwidth, and the host's time to launch a layer.

A device of this machine is measured in well under a second. Other devices come from their data sheets, scaled to what
programs reach.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psutil
import torch
from torch import nn

from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.devices import choose_dtype, pick_device, torch_dtype
from l2s.errors import UserError, plain
from l2s.runner.placement import Devices, find_devices, gpu_numbers

GIB = 1 << 30


@dataclass(frozen=True)
class DataSheet:
    """Memory in GiB, dense bfloat16 TFLOP/s and memory bandwidth in GB/s, as the maker states them."""

    memory_gib: int
    bf16_tflops: float
    bandwidth_gbs: float


# NVIDIA's data sheets (A100, H100, H200, HGX B200, A10, L4, L40S: SXM where there is one) and its white papers on GA102
# and Ada (RTX cards, with float32 accumulation). Sparse figures are halved.
DATA_SHEETS = {
    "a100-40gb": DataSheet(40, 312, 1555),
    "a100-80gb": DataSheet(80, 312, 2039),
    "h100-80gb": DataSheet(80, 989, 3350),
    "h200": DataSheet(141, 989, 4800),
    "b200": DataSheet(180, 2250, 8000),
    "a10": DataSheet(24, 125, 600),
    "l4": DataSheet(24, 121, 300),
    "l40s": DataSheet(48, 362, 864),
    "rtx-3090": DataSheet(24, 71, 936),
    "rtx-4090": DataSheet(24, 165, 1008),
}
MACHINES = {  # AWS instances: GPU and number of GPUs
    "p4d.24xlarge": ("a100-40gb", 8),
    "p4de.24xlarge": ("a100-80gb", 8),
    "p5.48xlarge": ("h100-80gb", 8),
    "p5en.48xlarge": ("h200", 8),
}
PRODUCT_SHARE = 0.6  # of peak: whole trainings report 40 to 55 % (PaLM 46, Llama 3 38-43)
COPY_SHARE = 0.85  # of peak bandwidth, which copies of large tensors reach on these cards
LAYER_SECONDS = 1.2e-3  # eager Llama-7B, A100, one sequence: 25.5 tokens/s over 32 layers (PyTorch blog on gpt-fast)
FLOAT32_SHARE = 1 / 16  # of the bfloat16 rate, without TF32: 19.5 of 312 (A100), 67 of 989 (H100)
CPU_MOVED_BYTES = 16 << 20  # size of a batch's activations; twice as much gets fresh pages, at a third of the rate
CUDA_MOVED_BYTES = 256 << 20  # much less would finish before the next launch
CPU_WEIGHT_BYTES = 128 << 20  # read to measure how fast weights come from memory: far more than a core's caches hold


@dataclass(frozen=True)
class Hardware:
    """One device.

    Attributes:
        name: name shown to the user.
        is_cuda: whether the host runs ahead of the device; on a CPU both use the same cores.
        memory: bytes.
        products: FLOP/s of large matrix products in the dtype of the run.
        bandwidth: bytes/s read and written by an elementwise operation.
        weights: bytes/s at which weights are read. On a CPU they come from memory, activations often from a cache.
        layer_seconds: host time to launch a forward pass of one decoder layer.
        origin: source of the figures.
    """

    name: str
    is_cuda: bool
    memory: int
    products: float
    bandwidth: float
    weights: float
    layer_seconds: float
    origin: str

    def product_seconds(self, flops: float, weight_bytes: float) -> float:
        """Time of matrix products of `flops` with weights of `weight_bytes`.

        A GPU reads weights while it multiplies. The cores of a CPU wait for what they read.
        """
        multiplying, reading = flops / self.products, weight_bytes / self.weights
        return max(multiplying, reading) if self.is_cuda else multiplying + reading


@dataclass(frozen=True)
class Fleet:
    """Devices of one kind. Each machine has `per_machine` of them; one process cannot span two machines."""

    hardware: Hardware
    devices: Devices
    per_machine: int

    def __str__(self) -> str:
        number = len(self.devices)
        machines = -(-number // self.per_machine)
        return f"{number} x {self.hardware.name}" + (f" in {machines} machines" if machines > 1 else "")


def find_hardware(config: ExperimentConfig, text: str) -> Fleet:
    """The devices that `text` names: machines or GPUs with their number, `cpu`, or `this` machine.

    `--gpus` selects some of them, and `--cpu_workers` splits a CPU.

    Raises:
        UserError: unknown hardware, or settings that contradict it.
    """
    name, colon, number = text.partition(":")
    field = f"--hardware {plain(text)}"
    if name in ("cpu", "this"):
        if colon:
            raise UserError(f"{field}: only GPUs and machines take a number; use --cpu_workers to share a CPU")
        here = config.model_copy(update={"device": "cpu"}) if name == "cpu" else config
        devices = find_devices(here)
        hardware = measure(device_to_measure(here), torch_dtype(here))
        hardware = share_of(hardware, len(devices) if devices.kind == "cpu" else devices.sharing)
        return Fleet(hardware, Devices(devices.kind, devices.names, hardware.memory), len(devices))
    if colon and not re.fullmatch("[1-9][0-9]{0,4}", number):
        raise UserError(f"{field}: needs a number from 1 to 99999 after the colon, such as a100-40gb:8")
    machines = {sheet: (sheet, 1) for sheet in DATA_SHEETS} | MACHINES
    if name not in machines:
        raise UserError(
            f"{field}: not in the table; take one of {', '.join(machines)}, with a number of them such as a100-40gb:8, "
            "or cpu, or this for this machine"
        )
    if config.device == "cpu":
        raise UserError(f"{field}: contradicts device='cpu'; leave out one of the two")
    if config.cpu_workers > 1:
        raise UserError(f"{field}: cpu_workers={config.cpu_workers} splits a CPU; leave out one of the two")
    sheet, in_machine = machines[name]
    count = in_machine * int(number or 1)
    chosen = range(count) if config.gpus == "all" else [int(gpu) for gpu in config.gpus.split(",")]
    if beyond := [gpu for gpu in chosen if gpu >= count]:
        raise UserError(f"gpus={config.gpus!r}: there is no GPU {beyond[0]} in {text}, which has {count}")
    per_machine = in_machine if name in MACHINES else count
    hardware = from_data_sheet(sheet, config)
    homes = tuple(f"{name} {1 + gpu // per_machine}" for gpu in chosen)
    devices = Devices("gpu", tuple(map(str, chosen)), hardware.memory, homes if len(set(homes)) > 1 else ())
    return Fleet(share_of(hardware, devices.sharing), devices, min(per_machine, len(chosen)))


def share_of(hardware: Hardware, workers: int) -> Hardware:
    """The share of a CPU, or of a GPU that --gpus names several times, that each of `workers` gets."""
    return replace(
        hardware,
        memory=hardware.memory // workers,
        products=hardware.products / workers,
        bandwidth=hardware.bandwidth / workers,
        weights=hardware.weights / workers,
    )


def from_data_sheet(name: str, config: ExperimentConfig) -> Hardware:
    """One GPU of DATA_SHEETS, scaled to what programs reach."""
    sheet = DATA_SHEETS[name]
    share = PRODUCT_SHARE * (FLOAT32_SHARE if choose_dtype(config).name == "float32" else 1)
    return Hardware(
        name=name,
        is_cuda=True,
        memory=sheet.memory_gib * GIB,
        products=sheet.bf16_tflops * 1e12 * share,
        bandwidth=sheet.bandwidth_gbs * 1e9 * COPY_SHARE,
        weights=sheet.bandwidth_gbs * 1e9 * COPY_SHARE,
        layer_seconds=LAYER_SECONDS,
        origin=f"data sheet, at {share:.0%} of its FLOP/s and {COPY_SHARE:.0%} of its bandwidth",
    )


def device_to_measure(config: ExperimentConfig) -> torch.device:
    """The first device that `config` gives to a run here: another GPU may be full."""
    device = pick_device(config)
    return device if device.type == "cpu" else torch.device("cuda", gpu_numbers(config, 1)[0])


def free_shares(gpus: Sequence[int]) -> list[float]:
    """The share of each GPU's memory that no program has; looking takes a little of it until this process ends."""
    return [_free_share(gpu) for gpu in gpus]


def _free_share(gpu: int) -> float:
    try:
        free, total = torch.cuda.mem_get_info(gpu)
    except RuntimeError:  # the only program of a GPU in exclusive mode is another, or no byte is left
        return 0.0
    return free / total


def measure(device: torch.device, dtype: torch.dtype) -> Hardware:
    """Measure a large product, doubling a tensor, reading weights, and a decoder layer of which only the launch counts.

    The doubled tensor goes into new memory, as results of eager operations do; on a CPU that matters.
    """
    left, right = (torch.randn(1024, 1024, dtype=dtype, device=device) for _ in range(2))
    is_cuda = device.type == "cuda"
    moved_bytes = CUDA_MOVED_BYTES if is_cuda else CPU_MOVED_BYTES
    source = torch.ones(moved_bytes // dtype.itemsize, dtype=dtype, device=device)
    bandwidth = 2 * source.nbytes / _mean_seconds(lambda: source * 2, device)
    return Hardware(
        name=torch.cuda.get_device_name(device) if is_cuda else f"CPU, {counted(torch.get_num_threads(), 'thread')}",
        is_cuda=is_cuda,
        memory=torch.cuda.get_device_properties(device).total_memory if is_cuda else psutil.virtual_memory().available,
        products=2 * 1024**3 / _mean_seconds(lambda: left @ right, device),
        bandwidth=bandwidth,
        weights=bandwidth if is_cuda else _reading_rate(),
        layer_seconds=_layer_seconds(device, dtype),
        origin="measured just now",
    )


def _reading_rate() -> float:
    """Bytes/s at which a CPU reads what no cache holds. The sum of float32 numbers does nothing but read them."""
    numbers = torch.ones(CPU_WEIGHT_BYTES // 4)
    return numbers.nbytes / _mean_seconds(numbers.sum, torch.device("cpu"))


def _layer_seconds(device: torch.device, dtype: torch.dtype) -> float:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    model: nn.Module = Qwen3ForCausalLM(config)
    model = model.to(device, dtype)
    token = torch.ones(1, 1, dtype=torch.long, device=device)
    with torch.inference_mode():
        return _mean_seconds(lambda: model(token, use_cache=True), device) / config.num_hidden_layers


def _mean_seconds(action: Callable[[], object], device: torch.device, *, budget_s: float = 0.15) -> float:
    """Mean time of `action` over `budget_s`, after a warm-up. The mean includes the effect of other programs."""
    action()
    _wait_for(device)
    number, start = 0, time.perf_counter()
    while number < 3 or time.perf_counter() - start < budget_s:
        action()
        _wait_for(device)
        number += 1
    return (time.perf_counter() - start) / number


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
