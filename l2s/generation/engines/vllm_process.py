"""Start and stop vLLM with a model: its arguments, its environment, and the GPUs that it splits the model over."""

from __future__ import annotations

import os
from typing import Any, Literal

import torch

from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.devices import choose_dtype, pick_device
from l2s.errors import UserError
from l2s.generation.engines.protocol import ModelChoice
from l2s.models.stored import attention_heads, gpus_to_hold, stored_bytes

Runner = Literal["generate", "pooling"]

LENGTH_STEP = 256  # the longest sequence is rounded up to a multiple of this, so a slightly longer one needs no restart
GPU_SHARE = {"generate": 0.9, "pooling": 0.8}  # scoring computes logits beside vLLM, on the first GPU
CPU_CACHE_GIB = 1
_SET_HERE: dict[str, str] = {}  # environment variables of this process that its user has not set


class VllmProcess:
    """vLLM with one model, started at the first need."""

    def __init__(self, choice: ModelChoice, config: ExperimentConfig) -> None:
        self.choice, self.config = choice, config
        self.runner: Runner | None = None
        self.length = 0
        self.llm: Any = None

    def started(self, runner: Runner, longest: int) -> Any:
        """vLLM's engine as `runner` for sequences of up to `longest` tokens; it restarts if these do not fit."""
        if runner != self.runner or longest > self.length:
            self.stop()
            self.length = -(-longest // LENGTH_STEP) * LENGTH_STEP
            self.llm, self.runner = self._start(runner), runner
        return self.llm.llm_engine

    def _start(self, runner: Runner) -> Any:
        on_cpu = pick_device(self.config).type == "cpu"
        gpus = gpus_of(self.choice, self.config)
        prepare_environment(gpus, on_cpu=on_cpu)
        from vllm import LLM
        from vllm.config import PoolerConfig

        arguments: dict[str, Any] = {
            "model": self.choice.name,
            "runner": runner,
            "dtype": choose_dtype(self.config).name,
            "tensor_parallel_size": gpus,
            "max_model_len": self.length,
            "trust_remote_code": self.config.trust_remote_code,
            "generation_config": "vllm",  # settings that the sampling leaves out would come from the model's own file
            "seed": self.config.seed,
        }
        if on_cpu:
            arguments["enforce_eager"] = True  # compiling takes a minute, which is more than it saves
        else:
            arguments["gpu_memory_utilization"] = GPU_SHARE[runner]
        if self.choice.quantization == "fp8":
            arguments["quantization"] = "fp8"  # the checkpoint's own configuration declares awq and gptq
        if runner == "pooling":
            arguments["convert"] = "embed"
            arguments["pooler_config"] = PoolerConfig(task="token_embed", use_activation=False)
        try:
            return LLM(**arguments)
        except (ValueError, RuntimeError, OSError) as error:
            raise UserError(
                f"engine='vllm': did not start with {self.choice.name!r} ({_last_line(error)}); if memory lacks, use "
                "more GPUs, or a smaller --max_new_tokens and --max_length; else --engine transformers"
            ) from error

    def stop(self) -> None:
        """End vLLM's processes, which frees their memory."""
        if self.llm is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        self.llm.llm_engine.engine_core.shutdown()
        self.llm = self.runner = None
        cleanup_dist_env_and_memory()


def gpus_of(choice: ModelChoice, config: ExperimentConfig) -> int:
    """The number of GPUs that a model is split over, or of processes on a CPU.

    It is the number asked for, else the smallest that holds the model.

    Raises:
        UserError: there are too few, or they do not divide the number of attention heads.
    """
    on_cpu = pick_device(config).type == "cpu"
    heads = attention_heads(choice.name, config)
    if choice.gpus:
        _check_split(choice, heads, usable_cores() if on_cpu else torch.cuda.device_count(), on_cpu=on_cpu)
        return choice.gpus
    if on_cpu:
        return 1
    cards = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
    size = stored_bytes(choice.name, config, choice.quantization)
    found = gpus_to_hold(size, heads, min(cards), len(cards))
    if found is None:
        raise UserError(
            f"{choice.name}: its weights take {size / 2**30:.1f} GiB, too much for {counted(len(cards), 'GPU')} of "
            f"{min(cards) / 2**30:.0f} GiB with a cache; use more GPUs, or --teacher_quantization fp8 for a teacher"
        )
    return found


def _check_split(choice: ModelChoice, heads: int, available: int, *, on_cpu: bool) -> None:
    assert choice.gpus is not None
    what = "CPU cores" if on_cpu else "GPUs"
    if choice.gpus > available:
        raise UserError(f"teacher_gpus={choice.gpus}: this stage sees {available} {what}; give at most {available}")
    if heads % choice.gpus:
        raise UserError(
            f"teacher_gpus={choice.gpus}: {choice.name} has {counted(heads, 'attention head')}, which cannot be shared "
            f"equally; give a divisor of {heads}"
        )


def prepare_environment(processes: int, *, on_cpu: bool) -> None:
    """Set the environment variables that vLLM reads; those that the user has set stay."""
    settings = {
        "VLLM_NO_USAGE_STATS": "1",  # vLLM would report each start
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    if on_cpu:
        settings["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # starting in this process takes a third of the time
        settings["VLLM_CPU_KVCACHE_SPACE"] = str(CPU_CACHE_GIB)
        settings["VLLM_CPU_OMP_THREADS_BIND"] = _cores_of_processes(processes)
    for name, value in settings.items():
        if os.environ.get(name) in (None, _SET_HERE.get(name)):
            os.environ[name] = _SET_HERE[name] = value


def _cores_of_processes(processes: int) -> str:
    """The cores of each process as vLLM writes them: "0,1|2,3" for two processes on four cores.

    With one process and OMP_NUM_THREADS set, the process gets that number of cores instead.
    """
    if processes == 1 and os.environ.get("OMP_NUM_THREADS"):
        return "nobind"
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // processes)
    return "|".join(",".join(map(str, cores[number * share : (number + 1) * share])) for number in range(processes))


def usable_cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
