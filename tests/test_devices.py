"""The machine as manifests describe it, and the dtype that suits a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from l2s import devices
from l2s.config import ExperimentConfig
from l2s.devices import DtypeChoice, _cpu_model, choose_dtype, describe_machine, device_name, torch_dtype

ROOT = Path(__file__).resolve().parent.parent
CUDA = SimpleNamespace(
    is_available=lambda: True,
    device_count=lambda: 2,
    get_device_properties=lambda index: SimpleNamespace(name=f"Acme T{index}", total_memory=80 << 30),
)


def test_this_machine_is_described() -> None:
    found = describe_machine()
    assert found["cpu"] == _cpu_model()
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert 1 <= found["usable_threads"] <= found["threads"]
    assert found["cores"] <= found["threads"]
    assert found["os"]


def test_peak_memory_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    large = bytearray(b"x" * (400 << 20))
    program = "from l2s.devices import peak_memory_bytes; from types import SimpleNamespace as device\n"
    program += "print(peak_memory_bytes(device(type='cpu')))"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 10 << 20 < int(shown.stdout) < len(large)


def test_gpus_are_those_that_torch_sees_and_the_device_the_one_that_the_run_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=CUDA))
    assert describe_machine()["gpus"] == [{"name": f"Acme T{index}", "memory_bytes": 80 << 30} for index in (0, 1)]
    assert device_name(ExperimentConfig(device="auto")) == "Acme T0"
    assert device_name(ExperimentConfig(device="cpu")) == "cpu"


def test_the_processor_is_named_as_linux_names_it(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Acme  9000 @ 2.70GHz\nmodel name\t: other\n")
    assert _cpu_model(cpuinfo) == "Acme 9000 @ 2.70GHz"
    cpuinfo.write_text("processor\t: 0\nCPU implementer\t: 0x41\n")
    assert _cpu_model(cpuinfo)


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes this machine one without CUDA whose CPU has the given flags."""

    def make(flags: str) -> None:
        file = tmp_path / "cpuinfo"
        file.write_text(f"model name\t: Acme amx_bf16x\nflags\t\t: fpu avx2 {flags}\n")
        monkeypatch.setattr(devices, "CPUINFO", file)

    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return make


@pytest.mark.parametrize(
    ("flags", "dtype", "reason"),
    [
        ("avx512f avx512_bf16", "bfloat16", "computed by AVX512-BF16"),
        ("amx_tile amx_bf16 avx512_bf16", "bfloat16", "computed by AMX-BF16 and AVX512-BF16"),
        ("avx512f avx512_vnni", "float32", "this CPU has no bfloat16 units"),
        ("", "float32", "this CPU has no bfloat16 units"),
    ],
)
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_auto_is_bfloat16_on_a_cpu_that_computes_it_and_float32_on_others(
    cpu: Callable[[str], None], flags: str, dtype: str, reason: str, device: str
) -> None:
    cpu(flags)
    config = ExperimentConfig.model_validate({"device": device})
    assert choose_dtype(config) == DtypeChoice(dtype, reason)  # type: ignore[arg-type]
    assert torch_dtype(config) == getattr(torch, dtype)


def test_units_that_onednn_may_not_use_do_not_count(
    cpu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu("avx512_bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert choose_dtype(ExperimentConfig()).name == "float32"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert choose_dtype(ExperimentConfig()).name == "bfloat16"


@pytest.mark.parametrize(("supported", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_on_a_gpu_asks_the_gpu(monkeypatch: pytest.MonkeyPatch, supported: bool, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    monkeypatch.setattr(devices, "device_name", lambda config: "Acme T0")
    found = choose_dtype(ExperimentConfig())
    assert (found.name, "Acme T0" in found.reason) == (dtype, True)


def test_a_dtype_that_was_set_stays(cpu: Callable[[str], None]) -> None:
    cpu("")
    assert choose_dtype(ExperimentConfig(dtype="bfloat16")) == DtypeChoice("bfloat16", "as set")


@pytest.mark.parametrize("status", ["", "Name:\tpython\nVmRSS:\t  100 kB\n", "Name:\t\udcff\n"])
def test_peak_memory_is_known_where_the_kernel_does_not_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """As in sandboxes that have a /proc of their own."""
    (tmp_path / "status").write_bytes(status.encode(errors="surrogateescape"))
    monkeypatch.setattr(devices, "STATUS", tmp_path / "status")
    assert devices.peak_memory_bytes(torch.device("cpu")) > 1 << 20


def test_shared_memory_is_enough_missing_or_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "SHARED_MEMORY", tmp_path)
    size = os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    for enough in (size, size + 1):
        monkeypatch.setattr(devices, "ENOUGH_SHARED", enough)
        assert devices.has_shared_memory() == (enough == size)
    monkeypatch.setattr(devices, "SHARED_MEMORY", tmp_path / "missing")
    assert not devices.has_shared_memory()
