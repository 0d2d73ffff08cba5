"""An experiment on two Ray nodes that share no folder, on this machine: it ends as a local run, whatever node dies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l2s.jsonl import load_jsonl
from l2s.run_dir import Manifest, RunDir

pytest.importorskip("ray", reason="Ray is not installed; `make test-cluster` runs these tests")

ROOT = Path(__file__).parents[2]
WAIT_S = 280
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
SETTINGS = {
    "dtype": "float32", "device": "cpu", "tuning": "lora", "lora_r": 4, "domains": "math", "math_source": "one_step",
    "math_train_size": 24, "math_eval_size": 8, "max_new_tokens": 16, "max_length": 512,
    "gradient_accumulation_steps": 1, "save_steps": 2, "cpu_workers": 1,
}  # fmt: skip
SAME = ("sft/sft_train_data.jsonl", *(f"evaluation/predictions/{model}.jsonl" for model in (
    "teacher", "student_base", "student_sft", "student_kd")))  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a CPU each, and a head without: the driver's node cannot be killed from under it."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_worker_niceness": "0", "RAY_enable_metrics_collection": "0"}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    made = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(**NODE)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def command(folder: Path, models: Path, name: str, **settings: Any) -> list[str]:
    places = {"output_dir": folder / "outputs", "processed_dir": folder / "processed", "experiment_name": name}
    named = {"teacher_model": models / "teacher", "student_model": models / "student"}
    flags = SETTINGS | places | named | settings
    return [sys.executable, "-m", "l2s.cli", "run", *(f"--{flag}={value}" for flag, value in flags.items())]


def run(arguments: list[str]) -> str:
    found = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def finished(tiny_model_dir: Path, cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder with the experiments `ray` and `local`, and what the first one printed."""
    folder = tmp_path_factory.mktemp("experiments")
    on_ray = {"executor": "ray", "address": cluster.address, "storage_path": "ray"}
    printed = run(command(folder, tiny_model_dir, "ray", run_all="true", **on_ray))
    run(command(folder, tiny_model_dir, "local", run_all="true", cpu_workers=2))
    return folder, printed


def test_two_nodes_give_what_two_local_workers_give(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    ray, local = (folder / "outputs" / name for name in ("ray", "local"))
    for name in SAME:
        assert (ray / name).read_bytes() == (local / name).read_bytes(), name
    for arm in ("sft", "kd"):
        ours, theirs = (load_jsonl(run_dir / arm / "metrics.jsonl") for run_dir in (ray, local))
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]
        assert all(abs(a["loss"] - b["loss"]) <= 1e-6 for a, b in zip(ours, theirs, strict=True))
    generate = next(line for line in printed.splitlines() if line.startswith("generate starts"))
    assert generate.count("1 CPU worker of") == 2
    assert (ray / "logs" / "generate.1.log").read_text()


def test_nodes_keep_nothing_of_a_run(finished: tuple[Path, str]) -> None:
    _, printed = finished
    copies = [Path(line.rpartition(" in ")[2]) for line in printed.splitlines() if "CPU workers, in " in line]
    assert len(copies) == 2
    assert not any(copy.exists() for copy in copies)


@pytest.mark.parametrize("stage", ["generate", "score", "sft", "kd", "evaluate_student_kd"])
def test_a_node_that_dies_in_a_stage_costs_nothing_but_time(
    stage: str, finished: tuple[Path, str], tiny_model_dir: Path, cluster: Any
) -> None:
    """The stage begins again; its node is killed as soon as it runs there, and the other node ends it."""
    folder, _ = finished
    whole, name = folder / "outputs" / "ray", f"without-{stage}"
    run_dir = RunDir(folder / "outputs" / name)
    shutil.copytree(whole, run_dir.root, symlinks=True)
    flag = {"generate": "run_generate", "score": "run_score", "sft": "run_sft", "kd": "run_kd"}.get(stage, "run_eval")
    settings = {"executor": "ray", "address": cluster.address, "storage_path": "ray", flag: "true"}
    run_dir.manifest(stage).unlink()
    process = subprocess.Popen(
        command(folder, tiny_model_dir, name, **settings), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines, homes = [], {}
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"  (\S+): 1 CPU workers, in .*/(\w+)/[^/]+$", line):
            homes[found[1]] = found[2]
        if found := re.match(rf"{stage}.* starts on 1 CPU worker of ([^\s,]+)", line):
            node = next(node for node in cluster.worker_nodes if node.node_id.startswith(homes[found[1]]))
            cluster.remove_node(node, allow_graceful=False)
            break
    rest, _ = process.communicate(timeout=WAIT_S)
    cluster.add_node(**NODE)
    assert process.returncode == 0, "".join(lines) + rest
    assert f"{stage} resumes on what is left" in rest
    assert Manifest.load(run_dir.manifest(stage)) is not None
    for file in SAME:
        assert (run_dir.root / file).read_bytes() == (whole / file).read_bytes(), file
