"""A Ray cluster on this machine, and the tiny experiment that tests run on it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from l2s.jsonl import load_jsonl

ROOT = Path(__file__).parents[1]
WAIT_S = 1500  # for a run; the machine may do other things beside
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
# A token of the user's would be asked of some processes only; nothing of a test is reported to anyone; and what else
# fills the memory of this machine must not make Ray end the processes of a test.
ENVIRONMENT = {
    "RAY_worker_niceness": "0", "RAY_enable_metrics_collection": "0", "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0",
}  # fmt: skip
SETTINGS = {
    "dtype": "float32", "device": "cpu", "tuning": "lora", "lora_r": 4, "domains": "math", "math_source": "one_step",
    "math_train_size": 24, "math_eval_size": 8, "max_new_tokens": 16, "max_length": 512, "generation_batch_size": 2,
    "eval_batch_size": 1, "gradient_accumulation_steps": 1, "sft_batch_size": 2, "kd_batch_size": 2, "save_steps": 2,
    "cpu_workers": 1,
}  # fmt: skip
SAME = ("sft/sft_train_data.jsonl", *(f"evaluation/predictions/{model}.jsonl" for model in (
    "teacher", "student_base", "student_sft", "student_kd")))  # fmt: skip
OURS = re.compile(
    r"ray::(Agent|Worker|Training|TrainController|RayTrainWorker|PlacementGroupCleaner|ask|versions)|l2s\.runner\.executors"
)


@contextmanager
def ray_cluster(count: int, *paths: Path, **node: Any) -> Iterator[Any]:
    """`count` nodes and a head without devices: the driver's node cannot be killed from under it.

    Args:
        count: of nodes with devices.
        paths: folders in front of PYTHONPATH on all nodes.
        node: what each node has, over NODE.
    """
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ |= ENVIRONMENT
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*map(str, paths), str(ROOT), before.get("PYTHONPATH")]))
    made = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(count):
            made.add_node(**(NODE | node))
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ |= before


def settings_of(folder: Path, models: Path, name: str, **settings: Any) -> dict[str, Any]:
    """The settings of the experiment `name` in `folder`."""
    places = {"output_dir": folder / "outputs", "processed_dir": folder / "processed", "experiment_name": name}
    named = {"teacher_model": str(models / "teacher"), "student_model": str(models / "student")}
    return SETTINGS | places | named | settings


def command(folder: Path, models: Path, name: str, **settings: Any) -> list[str]:
    """The arguments of a run with these settings."""
    flags = settings_of(folder, models, name, **settings)
    return [sys.executable, "-m", "l2s.cli", "run", *(f"--{flag}={value}" for flag, value in flags.items())]


def start(arguments: list[str], folder: Path = ROOT) -> subprocess.Popen[str]:
    """Start a run in `folder`, which Ctrl-C can end; what it prints, errors too, is read from its stdout."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job that a script starts in the background ignores it
    return subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(arguments: list[str], status: int = 0, folder: Path = ROOT) -> str:
    """Run in `folder` to the end, which must have this exit status; returns what it printed."""
    process = start(arguments, folder)
    try:
        printed = process.communicate(timeout=WAIT_S)[0]
    finally:
        process.kill()  # does nothing to one that has ended; its stages end with it
    assert process.returncode == status, printed
    return printed


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for a condition, while `process` runs."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        ended = process is not None and process.poll() is not None
        assert not ended, process and process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def of_ours() -> list[str]:
    """The command lines of what a run has on the nodes of this process's clusters."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if OURS.search(line) and "l2s.cli" not in line:
            found.append(line)
    return found


def assert_same(ours: Path, theirs: Path, names: Sequence[str] = SAME) -> None:
    """Answers, predictions and grades to the byte; steps once each, and losses to 1e-6."""
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    for arm in ("sft", "kd"):
        one, other = (load_jsonl(folder / arm / "metrics.jsonl") for folder in (ours, theirs))
        assert [row["step"] for row in one] == [row["step"] for row in other]
        assert all(abs(a["loss"] - b["loss"]) <= 1e-6 for a, b in zip(one, other, strict=True))
