"""What manifests say of the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from l2s.config import ExperimentConfig
from l2s.devices import _cpu_model, describe_machine, device_name

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
