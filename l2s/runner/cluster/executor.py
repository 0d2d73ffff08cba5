"""Runs stages on the nodes of a Ray cluster. Ray starts and ends processes; the driver keeps manifests and lock."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from l2s.config import ExperimentConfig
from l2s.devices import PATIENCE, REPLICA
from l2s.durable import open_in_place
from l2s.errors import UserError, words_of
from l2s.run_dir import RunDir
from l2s.runner.cluster.files import NodeSettings, StageFiles
from l2s.runner.cluster.nodes import PING_S, START_S, Cluster, Node, get, on_node
from l2s.runner.cluster.transfer import Hashes
from l2s.runner.cluster.worker import Task, Training, Worker
from l2s.runner.executors import INTERRUPTED, NODE_LOST, USER_ERROR, Job, LocalExecutor
from l2s.runner.freshness import clear_scratch
from l2s.runner.pipeline import Stage
from l2s.runner.placement import Devices, Placement, asks_a_server
from l2s.secret_variables import ENDPOINT_KEY

LOOK_S = 0.5  # between looks at what the nodes wrote
GIVE_BACK_S = 60.0  # for Ray Train to notice that a node is gone
SETTLE_S = 2.0  # what runs on a node may answer for a moment after the node has failed


class RayExecutor:
    """Starts each stage on the devices that placement chose, on the nodes that have them.

    A stage without devices runs here. A training runs in Ray Train's workers, any other stage in actors of a placement
    group with a bundle for each process.
    """

    shares_console = False

    def __init__(
        self, cluster: Cluster, config: ExperimentConfig, run_dir: RunDir, stages: Sequence[Stage], lock_fd: int
    ) -> None:
        self.cluster, self.config, self.run_dir = cluster, config, RunDir(run_dir.root.absolute())
        self.local = LocalExecutor(Devices("cpu", ("",)), lock_fd)
        self.settings = NodeSettings(config, self.run_dir, stages)
        self.hashes = Hashes()

    def start(self, stage: Stage, run_dir: RunDir, groups: Sequence[Placement], *, log: Path | None) -> Job:
        """See `Executor`."""
        if not any(groups):
            return self.local.start(stage, run_dir, groups, log=log)
        return RayJob(self, stage, groups, log or run_dir.stage_log(stage.name))

    def lost_devices(self) -> frozenset[int]:
        """See `Executor`."""
        return self.cluster.lost_devices()


class Launched(Protocol):
    """The processes of a stage, once Ray was asked to start them."""

    def poll(self) -> list[int | None]:
        """The exit status of each, None before it ended."""
        ...

    def stop(self, *, at_once: bool) -> None:
        """Ask for their end, or force it."""
        ...

    def release(self) -> None:
        """Give the devices back; nothing is left running."""
        ...


class RayJob:
    """A stage on the cluster. A thread moves its files and waits for its processes."""

    def __init__(self, executor: RayExecutor, stage: Stage, groups: Sequence[Placement], log: Path) -> None:
        self.executor, self.stage, self.groups = executor, stage, groups
        self.cluster, self.run_dir, self.config = executor.cluster, executor.run_dir, executor.config
        self.log = self.run_dir.root / "logs" / log.name
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self.homes = [self.cluster.node_of(group[0]) for group in groups]
        self.bundles = self.cluster.bundles(groups)
        self.status: int | None = None
        self.stopping: str = ""
        self.trouble = ""  # for the log, unless a node that is gone explains it
        self.reserved: Any = None
        self.launched: Launched | None = None
        self.thread = threading.Thread(target=self._run, name=stage.name, daemon=True)
        self.thread.start()

    def poll(self) -> int | None:
        """See `Job`."""
        return None if self.thread.is_alive() else self.status

    def stop(self, *, at_once: bool = False) -> None:
        """See `Job`."""
        self.stopping = "at once" if at_once else self.stopping or "asked"

    def _run(self) -> None:
        status = 1  # of a failure that nobody expects: without a status the run would wait for ever
        try:
            status = self._end_of(self._try())
        finally:
            self.status = status

    def _try(self) -> int:
        """Do the work; its exit status. No process of it is left at its end."""
        try:
            return self._work()
        except UserError as error:
            self._note(f"l2s {self.stage.name}: {error}\n")
            return USER_ERROR
        except Exception as error:
            self.trouble = self._trouble_of(error)
            return 1
        finally:
            if self.launched:
                self.launched.release()
            self._give_back()

    def _trouble_of(self, error: Exception) -> str:
        """What the log says of an exception: all of it, but a line where Ray has lost a process and no code of ours."""
        import ray

        if isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayTaskError):
            return f"l2s {self.stage.name}: Ray lost a process ({words_of(error)}); its logs on the nodes say why\n"
        return traceback.format_exc()

    def _note(self, text: str) -> None:
        with open_in_place(self.log, "ab") as file:
            file.write(text.encode())

    def _end_of(self, status: int) -> int:
        """What a status means: a process may fail because a node is gone, its own or that of another rank."""
        if status == 0:
            return 0
        if self.stopping:
            return INTERRUPTED
        time.sleep(SETTLE_S)
        self.cluster.find_lost()
        if self.executor.lost_devices() & set(chain.from_iterable(self.groups)):
            return NODE_LOST
        self._note(self.trouble)
        return status

    def _work(self) -> int:
        nodes = list({node.id: node for node in self.homes}.values())
        logs = [self._log_of(number) for number in range(len(self.groups))]
        files = StageFiles(
            self.stage,
            self.config,
            self.run_dir,
            self.cluster,
            nodes,
            hashes=self.executor.hashes,
            logs=logs,
            stopped=lambda: bool(self.stopping),
        )
        files.send(self.executor.settings)
        self._reserve()
        if self.stopping:
            return INTERRUPTED
        failed = self._wait(files, self._launch())
        if failed:
            return failed
        files.finish()
        clear_scratch(self.stage, self.config, self.run_dir)
        return 0

    def _log_of(self, number: int) -> Path:
        return self.log.with_suffix(f".{number}{self.log.suffix}") if number else self.log

    def _reserve(self) -> None:
        """Wait until the devices are free, which placement has given to nobody else in this run.

        Raises:
            UserError: somebody else keeps them.
        """
        import ray
        from ray.util.placement_group import placement_group

        ids = [{"ray.io/node-id": node.id} for node in self.homes]
        self.reserved = placement_group(self.bundles, strategy="PACK", bundle_label_selector=ids)
        ready, deadline = self.reserved.ready(), time.monotonic() + START_S
        while not self.stopping and not ray.wait([ready], timeout=LOOK_S)[0]:
            if self.cluster.knows_of_death():
                raise RuntimeError("a node is gone")
            if time.monotonic() > deadline:
                where = self.cluster.devices.label(tuple(chain.from_iterable(self.groups)))
                raise UserError(
                    f"{where}: not free after {START_S:.0f} s, so another program has them; `ray status` shows what is "
                    "in use; end it or wait for it, then the same command resumes"
                )

    def _launch(self) -> Launched:
        tasks = {node.id: self._task(node) for node in self.homes}
        if self.stage.resources.batch_size is not None:
            self._give_back()  # Ray Train reserves for itself
            self.launched = training = TrainingProcesses()
            training.start(self, tasks)
            return training
        self.launched = actors = ActorProcesses()
        actors.start(self, tasks)
        return actors

    def _give_back(self) -> None:
        from ray.util.placement_group import remove_placement_group

        if self.reserved is not None:
            remove_placement_group(self.reserved)
            self.reserved = None

    def _wait(self, files: StageFiles, launched: Launched) -> int:
        """Move files until all processes have ended; the status of the first that failed. One ends with the others."""
        failed = 0
        while True:
            codes = launched.poll()
            failed = failed or next((code for code in codes if code), 0)
            moved = self.stopping != "at once" and files.pull()
            if None not in codes:
                if not moved:
                    return failed
                continue
            if failed or self.stopping:
                launched.stop(at_once=self.stopping == "at once")
            time.sleep(LOOK_S)

    def _task(self, node: Node) -> Task:
        environment = {"CUDA_VISIBLE_DEVICES": ""} if self.cluster.devices.kind == "cpu" else {}
        environment["OMP_NUM_THREADS"] = str(self.cluster.threads(node) * len(self.groups[0]))
        lock_file = node.lock_file
        log = str(self.log.relative_to(self.run_dir.root))
        return Task(self.stage.name, node.root, lock_file, log, environment, str(Path.cwd()))

    def secrets(self) -> dict[str, str]:
        """Variables that a stage asks a server with. They reach an actor by a call: Ray keeps what it is made with."""
        given = (ENDPOINT_KEY,) if asks_a_server(self.stage, self.config) else ()
        return {name: os.environ[name] for name in given if name in os.environ}


class ActorProcesses:
    """Replicas, ranks or one process: each in an actor that has its devices, in a placement group that has them all."""

    def __init__(self) -> None:
        self.workers: list[Any] = []

    def start(self, job: RayJob, tasks: Mapping[str, Task]) -> None:
        """Start a process for each bundle that `job` has reserved."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        for number, (node, own) in enumerate(zip(job.homes, job.bundles, strict=True)):
            place = PlacementGroupSchedulingStrategy(job.reserved, placement_group_bundle_index=number)
            actor = ray.remote(Worker).options(
                num_cpus=own["CPU"], num_gpus=own.get("GPU", 0), scheduling_strategy=place, max_restarts=0
            )
            self.workers.append(actor.remote(tasks[node.id], number))
        count = len(self.workers)
        ranks = job.stage.resources.spread == "ranks" and count > 1
        together = get(self.workers[0].open_store.remote(count)) if ranks else {}
        for number, worker in enumerate(self.workers):
            own_variables = together | {"RANK": str(number)} if ranks else {REPLICA: f"{number}/{count}"}
            get(worker.start.remote((own_variables if count > 1 else {}) | job.secrets()))

    def poll(self) -> list[int | None]:
        """See `Launched`."""
        return [get(reference) for reference in [worker.poll.remote() for worker in self.workers]]

    def stop(self, *, at_once: bool) -> None:
        """See `Launched`."""
        for reference in [worker.stop.remote(at_once) for worker in self.workers]:
            get(reference)

    def release(self) -> None:
        """See `Launched`. Those on a lost node have ended with it."""
        import ray

        ended = [worker.end.remote() for worker in self.workers]
        if ended:
            ray.wait(ended, num_returns=len(ended), timeout=PING_S)
        for worker in self.workers:
            ray.kill(worker)


class TrainingProcesses:
    """The ranks of a training, in the workers of Ray Train's TorchTrainer."""

    def __init__(self) -> None:
        self.actor: Any = None
        self.status: int | None = None

    def start(self, job: RayJob, tasks: Mapping[str, Task]) -> None:
        """Start a rank for each bundle of `job`."""
        import ray

        here = Node(ray.get_runtime_context().get_node_id(), "", 0, 0)
        self.actor = ray.remote(Training).options(num_cpus=0, scheduling_strategy=on_node(here)).remote()
        ids = [node.id for node in job.homes]
        self.ended = self.actor.fit.remote(
            dict(tasks), ids, job.bundles[0], PATIENCE.total_seconds(), job.cluster.has_dashboard
        )

    def poll(self) -> list[int | None]:
        """See `Launched`."""
        import ray

        if self.status is None and ray.wait([self.ended], timeout=0)[0]:
            self.status = get(self.ended)
        return [self.status]

    def stop(self, *, at_once: bool) -> None:
        """See `Launched`. Ray Train has no grace to give: what it trains resumes from its last checkpoint."""
        if self.status is None:
            self.status = INTERRUPTED
            self.release()

    def release(self) -> None:
        """See `Launched`. Ray Train's processes end with the actor that started them.

        Where a node is gone, Ray Train first gives the devices back that it has reserved, which nobody else could.
        """
        import ray

        if self.actor is not None:
            if self.status is None:
                ray.wait([self.ended], timeout=GIVE_BACK_S)
            ray.kill(self.actor)
