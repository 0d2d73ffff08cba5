"""Processes of a stage on a node: started by a Ray actor that has their devices, or by Ray Train."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from l2s.durable import open_in_place
from l2s.run_dir import RunDir
from l2s.runner.cluster.agent import share_lock
from l2s.runner.executors import LocalJob, hub_tokens_of, stage_environment, status_of_stage


@dataclass(frozen=True)
class Task:
    """A stage on one node.

    Attributes:
        stage: its name.
        root: the run folder there, or the node's copy.
        lock_file: of that folder.
        log: file in it for the output; a number before its suffix tells processes apart.
        environment: variables of its processes.
        folder: where relative paths of the settings begin, if the node has it.
    """

    stage: str
    root: str
    lock_file: str
    log: str
    environment: dict[str, str]
    folder: str | None

    def log_of(self, number: int) -> Path:
        """The log of a process: the first one's is that of the stage."""
        log = Path(self.root, self.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.with_suffix(f".{number}{log.suffix}") if number else log


class Worker:
    """A Ray actor that has the devices of one process of a stage, and starts it.

    The process is the one that a run on this machine starts. It ends with the actor, and so with its node.
    """

    def __init__(self, task: Task, number: int) -> None:
        self.task, self.number = task, number
        self.job = LocalJob()

    def open_store(self, count: int) -> dict[str, str]:
        """Open the store in which `count` ranks meet, and say where it is; each sees no devices but its own."""
        import ray

        address = {"MASTER_ADDR": ray.util.get_node_ip_address(), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        return self.job.open_store(count) | address

    def start(self, own: Mapping[str, str]) -> None:
        """Start the process, with `own` in its environment."""
        task = self.task
        with share_lock(Path(task.lock_file)) as lock, open_in_place(task.log_of(self.number), "ab") as log:
            self.job.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "l2s.runner.executors", task.root, task.stage, "resume"],
                    pass_fds=[lock.fileno()],
                    env=stage_environment(hub_tokens_of(task.stage)) | task.environment | dict(own),
                    cwd=task.folder if task.folder and Path(task.folder).is_dir() else None,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
            )

    def poll(self) -> int | None:
        """The exit status, None before the end."""
        return self.job.poll()

    def stop(self, at_once: bool) -> None:
        """Ask for the end, and force it when its grace is over or at once."""
        self.job.stop(at_once=at_once)

    def end(self) -> None:
        """End the process and wait for its end: whoever takes over its work must not find it writing."""
        self.job.stop(at_once=True)
        while any(process.poll() is None for process in self.job.processes):
            time.sleep(0.05)


class StageEndedError(RuntimeError):
    """A rank of a training ended with a status other than 0; Ray Train then ends the others."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the stage ended with status {status}")


def train_rank(tasks: Mapping[str, Task]) -> None:
    """What Ray Train runs in each of its workers, where `tasks` has the node's by its id: our Trainer, in this process.

    Ray Train has set up the process group and the environment of a torchrun.

    Raises:
        StageEndedError: it failed; its log says why.
    """
    import ray

    task = tasks[ray.get_runtime_context().get_node_id()]
    if task.folder and Path(task.folder).is_dir():
        os.chdir(task.folder)
    environment = stage_environment(hub_tokens_of(task.stage)) | task.environment
    for name in os.environ.keys() - environment:
        del os.environ[name]
    os.environ.update(environment)
    if threads := task.environment.get("OMP_NUM_THREADS"):
        import torch  # Ray Train has loaded it, which is when it reads the variable

        torch.set_num_threads(int(threads))
    rank = int(os.environ.get("RANK", 0))
    with share_lock(Path(task.lock_file)), _output_to(task.log_of(rank)):
        status = status_of_stage(RunDir(Path(task.root)), task.stage, "resume")
    if status:
        raise StageEndedError(status)


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what this process prints to `log`: Python's streams, and the descriptors that libraries write to."""
    with TextIOWrapper(open_in_place(log, "ab"), encoding="utf-8", line_buffering=True) as file:
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            with redirect_stdout(file), redirect_stderr(file):
                yield
        finally:
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


class Training:
    """A Ray actor that runs a TorchTrainer, so that a training can be ended by ending the actor."""

    def fit(
        self,
        tasks: Mapping[str, Task],
        nodes: list[str],
        device: Mapping[str, float],
        patience_s: float,
        has_dashboard: bool,
    ) -> int:
        """Train with a worker for each id in `nodes`, on that node with the resources of `device`; the exit status.

        Raises:
            TrainingFailedError: of Ray Train; no rank ended by itself.
        """
        import re
        import tempfile

        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig

        with tempfile.TemporaryDirectory() as folder:
            scaling: Any = ScalingConfig(
                num_workers=len(nodes),
                use_gpu="GPU" in device,
                resources_per_worker=dict(device),
                label_selector=[{"ray.io/node-id": node} for node in nodes],
            )
            trainer = _trainer_class(has_dashboard)(
                train_rank,
                train_loop_config=dict(tasks),
                torch_config=TorchConfig(timeout_s=int(patience_s)),
                scaling_config=scaling,
                run_config=RunConfig(storage_path=folder, failure_config=_no_second_try()),
            )
            try:
                trainer.fit()
            except TrainingFailedError as error:
                found = re.search(r"the stage ended with status (\d+)", str(error))
                if found is None:
                    raise
                return int(found[1])
        return 0


def _trainer_class(has_dashboard: bool) -> Any:
    """Ray's TorchTrainer; without a dashboard, one that starts no PlacementGroupCleaner.

    That helper asks the dashboard whether the training still runs. Where there is none it gives nothing back, and
    outlives every training that is ended.
    """
    from ray.train.torch import TorchTrainer

    class WithoutCleaner(TorchTrainer):  # type: ignore[misc]
        def _create_default_callbacks(self) -> list[Any]:
            made = super()._create_default_callbacks()
            return [one for one in made if type(one).__name__ != "PlacementGroupCleanerCallback"]

    return TorchTrainer if has_dashboard else WithoutCleaner


def _no_second_try() -> Any:
    """Ray Train's settings for a training that ends with its first failure: only the run knows which devices are left.

    By default Ray Train waits without end for a node that is gone.
    """
    from dataclasses import fields

    from ray.train import FailureConfig

    limits = ("max_failures", "controller_failure_limit", "max_preemption_failures")  # Ray gains such limits
    return FailureConfig(**{field.name: 0 for field in fields(FailureConfig) if field.name in limits})
