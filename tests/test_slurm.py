"""The sbatch file of docs/: clean for shellcheck, and with stand-ins for Slurm it starts Ray and then the run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "ray.sbatch"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    subprocess.run(["shellcheck", str(SCRIPT)], check=True)


def started(tmp_path: Path, nodes: list[str], *flags: str, addresses: str = "10.0.0.1", head_ip: str = "") -> list[str]:
    """The commands that srun was given, without its own flags, where the head's own command prints `addresses`."""
    log = tmp_path / "log"
    stand_ins = {
        "scontrol": f"printf '%s\\n' {' '.join(nodes)}",
        "srun": f'echo -n "$SRUN_CPUS_PER_TASK CPUs " >> {log}\n'
        f'while [[ "$1" == --* ]]; do echo -n "$1 " >> {log}; shift; done; echo "$@" >> {log}\n'
        f'if [ "$1" = sh ]; then printf "{addresses}\\n"; fi',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "a[1-9]", "SLURM_JOB_NUM_NODES": str(len(nodes)),
        "SLURM_CPUS_PER_TASK": "64", "SLURM_GPUS_ON_NODE": "8", "L2S_RAY_WAIT": "0.3",
        "L2S_HEAD_IP": head_ip,
    }  # fmt: skip
    subprocess.run(["bash", str(SCRIPT), *flags], env=environment, check=True, timeout=60)
    return log.read_text().splitlines()


def test_ray_is_started_on_all_nodes_before_the_run(tmp_path: Path) -> None:
    lines = started(tmp_path, ["a1", "a2"], "--run_all", "--experiment_name", "two words")
    assert len(lines) == 4
    assert all(line.startswith("64 CPUs ") for line in lines)
    assert lines[1].endswith("--nodelist=a1 ray start --head --block --node-ip-address=10.0.0.1 --port=6379 "
                             "--num-cpus=64 --num-gpus=8")  # fmt: skip
    assert "--nodes=1 " in lines[2]
    assert lines[2].endswith("--exclude=a1 ray start --block --address=10.0.0.1:6379 --num-cpus=64 --num-gpus=8")
    assert lines[3].endswith("l2s run --executor ray --address 10.0.0.1:6379 --run_all --experiment_name two words")


def test_one_node_needs_no_other(tmp_path: Path) -> None:
    assert len(started(tmp_path, ["a1"])) == 3


@pytest.mark.parametrize(
    ("addresses", "head_ip", "expected"),
    [
        ("10.0.0.1 172.17.0.1", "", "10.0.0.1"),
        ("127.0.1.1\\n192.168.0.7 172.17.0.1", "", "192.168.0.7"),  # Debian's /etc/hosts
        ("::1 127.0.1.1\\nfe80::1 192.168.0.7", "", "192.168.0.7"),
        ("10.0.0.1", "192.168.9.9", "192.168.9.9"),
    ],
)
def test_the_head_gets_an_address_that_others_reach(
    tmp_path: Path, addresses: str, head_ip: str, expected: str
) -> None:
    lines = started(tmp_path, ["a1", "a2"], addresses=addresses, head_ip=head_ip)
    assert f"--node-ip-address={expected} " in lines[1]
    assert f"--address={expected}:6379 " in lines[2]


def test_a_head_that_no_one_reaches_ends_the_job(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        started(tmp_path, ["a1"], addresses="127.0.1.1")
    assert "ray start" not in (tmp_path / "log").read_text()
