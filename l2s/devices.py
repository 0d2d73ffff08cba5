"""The device, dtype and rank of this process, and the machine it runs on.

torch is imported inside functions, so that a stage without torch stays small. A single process is rank 0 of 1.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psutil

from l2s.config import Dtype, ExperimentConfig
from l2s.errors import UserError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
REPLICA = "L2S_REPLICA"  # environment variable: NUMBER/COUNT of a replica
CORES = "L2S_CORES"  # environment variable: the cores of a CPU worker, separated by commas
CPUINFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")
CPU_BF16_FLAGS = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16"}  # the names of Linux and the usual ones
GPU_DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/kfd", "/dev/dxg")
SHARED_MEMORY = Path("/dev/shm")
ENOUGH_SHARED = 1 << 30  # bytes; Docker and Kubernetes give a container 64 MiB unless they are told otherwise
PATIENCE = timedelta(hours=12)  # the other ranks wait while rank 0 merges and saves a large model


def pick_device(config: ExperimentConfig) -> torch.device:
    """The device of this process; under torchrun, the GPU of its local rank.

    Raises:
        UserError: CUDA is asked for and not available.
    """
    import torch

    if config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("device='cuda': no CUDA device is visible; use --device cpu, or check nvidia-smi")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


@dataclass(frozen=True)
class DtypeChoice:
    """A dtype and the reason for it."""

    name: Dtype
    reason: str


def choose_dtype(config: ExperimentConfig) -> DtypeChoice:
    """The dtype that `config.dtype` means here; `auto` is bfloat16 where the device has units for it, else float32.

    Without such units, products in bfloat16 are several times slower than in float32.

    Raises:
        UserError: CUDA is asked for and not available.
    """
    if config.dtype != "auto":
        return DtypeChoice(config.dtype, "as set")
    if (config.device == "cuda" or _may_have_gpu()) and pick_device(config).type == "cuda":
        import torch

        supported, name = torch.cuda.is_bf16_supported(including_emulation=False), device_name(config)
        return _auto_dtype([name] if supported else [], name)
    return _auto_dtype(cpu_bf16_units(), "this CPU")


def _may_have_gpu() -> bool:
    """Whether a driver of NVIDIA, AMD or WSL is there; without one, torch is not worth importing to ask for a GPU."""
    return "torch" in sys.modules or any(Path(driver).exists() for driver in GPU_DRIVERS)


def _auto_dtype(units: list[str], device: str) -> DtypeChoice:
    if units:
        return DtypeChoice("bfloat16", f"computed by {' and '.join(units)}")
    return DtypeChoice("float32", f"{device} has no bfloat16 units")


def cpu_bf16_units() -> list[str]:
    """The bfloat16 units that this CPU has and oneDNN may use. Only Linux reports them."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    if not any(word in limit.upper() for word in ("ALL", "DEFAULT", "BF16", "AMX", "AVX10")):
        return []
    flags = CPUINFO.read_text(encoding="utf-8", errors="replace").split() if CPUINFO.exists() else []
    return [name for flag, name in CPU_BF16_FLAGS.items() if flag in flags]


def torch_dtype(config: ExperimentConfig) -> torch.dtype:
    """The dtype of weights and activations, as a torch dtype."""
    import torch

    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[choose_dtype(config).name]


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory so far: torch's on a CUDA device, the whole process's on the CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return _peak_of_process()


def _peak_of_process() -> int:
    """Peak resident bytes of this process.

    On Linux ru_maxrss starts at the peak of the process that started this one, so VmHWM is read instead.
    """
    if STATUS.exists():
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
        if peak := next((line for line in lines if line.startswith("VmHWM:")), None):  # some sandboxes have none
            return int(peak.split()[1]) << 10
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest << 10  # macOS reports bytes, others KiB


def has_shared_memory() -> bool:
    """Whether processes of this machine have room to exchange data in memory."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return False
    return found.f_blocks * found.f_frsize >= ENOUGH_SHARED


def release_memory() -> None:
    """Give back what a failed computation left on the GPU; call it outside the `except`, which holds its tensors."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def process_rank() -> int:
    """The rank of this process. Rank 0 writes what must be written once."""
    return int(os.environ.get("RANK", 0))


def process_count() -> int:
    """The number of ranks that share the work."""
    return int(os.environ.get("WORLD_SIZE", 1))


def replica() -> tuple[int, int]:
    """The number of this replica of a stage, and how many share its requests; (0, 1) for a single process."""
    number, _, count = os.environ.get(REPLICA, "0/1").partition("/")
    return int(number), int(count)


def does_what_is_done_once() -> bool:
    """Whether this one of the ranks or replicas of a stage clears, merges and writes the shared files."""
    return process_rank() == 0 and replica()[0] == 0


def wait_for_others(config: ExperimentConfig) -> None:
    """Wait until every rank has called this."""
    if process_count() > 1:
        from accelerate import PartialState

        PartialState(cpu=pick_device(config).type == "cpu", timeout=PATIENCE).wait_for_everyone()


def gather_from_all(value: T) -> list[T]:
    """The values of all ranks, in order of rank; waits until all have called this."""
    if process_count() == 1:
        return [value]
    from accelerate.utils import gather_object

    return cast(list[T], gather_object([value]))


def leave_others() -> None:
    """Leave the process group, at the end of a process."""
    if process_count() > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()


def stay_on_cores() -> None:
    """Pin this process to the cores of its CPU worker, if it is one."""
    if (cores := os.environ.get(CORES)) and hasattr(os, "sched_setaffinity"):
        chosen = {int(core) for core in cores.split(",")}
        os.sched_setaffinity(0, chosen)
        if torch := sys.modules.get("torch"):  # imported before, where it counted all cores
            torch.set_num_threads(len(chosen))


def describe_machine() -> dict[str, Any]:
    """This machine. `gpus` are those that torch sees; none if this process has not imported torch."""
    threads = psutil.cpu_count() or 1
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False) or threads,
        "threads": threads,
        "usable_threads": len(os.sched_getaffinity(0)) if sys.platform == "linux" else threads,
        "memory_bytes": psutil.virtual_memory().total,
        "os": platform.platform(),
        "bf16_units": cpu_bf16_units(),
        "gpus": [{"name": card.name, "memory_bytes": card.total_memory} for card in _cards()],
    }


def device_name(config: ExperimentConfig) -> str:
    """The name of the GPU that runs this process's models, or `cpu`."""
    cards = [] if config.device == "cpu" else _cards()
    return str(cards[0].name) if cards else "cpu"


def _cards() -> list[Any]:
    torch: Any = sys.modules.get("torch")  # importing torch would take longer than a small stage
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]


def _cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The name of the processor: from /proc/cpuinfo, or from `platform` where that file has none (Arm)."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine()
