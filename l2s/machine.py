"""What a stage ran on: processor, cores, memory, operating system and GPUs, as its manifest keeps them."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import psutil

from l2s.config import ExperimentConfig


def describe_machine() -> dict[str, Any]:
    """This machine; `gpus` are those that torch sees, and are left out by a stage that does without torch."""
    threads = psutil.cpu_count() or 1
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False) or threads,
        "threads": threads,
        "usable_threads": len(os.sched_getaffinity(0)) if sys.platform == "linux" else threads,
        "memory_bytes": psutil.virtual_memory().total,
        "os": platform.platform(),
        "gpus": [{"name": card.name, "memory_bytes": card.total_memory} for card in _cards()],
    }


def device_name(config: ExperimentConfig) -> str:
    """What the models of this process run on: the name of a GPU, or cpu."""
    cards = [] if config.device == "cpu" else _cards()
    return str(cards[0].name) if cards else "cpu"


def _cards() -> list[Any]:
    torch: Any = sys.modules.get("torch")  # importing it would cost a small stage more than its work
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]


def _cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name: that of Linux, where there is one (Arm has none), else what the platform calls it."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine()
