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


def started(tmp_path: Path, nodes: list[str], *flags: str) -> list[str]:
    """The commands that srun was given, without its own flags."""
    log = tmp_path / "log"
    stand_ins = {
        "scontrol": f"printf '%s\\n' {' '.join(nodes)}",
        "srun": f'echo -n "$SRUN_CPUS_PER_TASK CPUs " >> {log}\n'
        f'while [[ "$1" == --* ]]; do echo -n "$1 " >> {log}; shift; done; echo "$@" >> {log}\n'
        'if [ "$1" = hostname ]; then echo "10.0.0.1 172.17.0.1"; fi',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "a[1-9]", "SLURM_JOB_NUM_NODES": str(len(nodes)),
        "SLURM_CPUS_PER_TASK": "64", "SLURM_GPUS_ON_NODE": "8", "L2S_RAY_WAIT": "0.3",
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
