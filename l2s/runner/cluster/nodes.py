"""The nodes of a Ray cluster as a run sees them, and their devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from l2s.counted import counted
from l2s.durable import as_write_error
from l2s.errors import UserError, words_of
from l2s.runner.cluster.transfer import Storage
from l2s.runner.placement import Devices, Placement

PING_S = 20.0  # for a node that is there to answer
START_S = 300.0  # for the first process of a node, which imports l2s from a disk that may be slow


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

    def bundles(self, groups: Sequence[Placement]) -> list[dict[str, float]]:
        """What each process of a stage asks Ray for, as a bundle of a placement group."""
        return [self._resources(self.node_of(group[0]), len(group)) for group in groups]

    def _resources(self, node: Node, number: int) -> dict[str, float]:
        """What Ray calls `number` devices of a node."""
        if self.devices.kind == "gpu":
            return {"GPU": number, "CPU": min(number, node.cpus // max(1, node.gpus)) if node.cpus else 0}
        return {"CPU": number * self.threads(node)}

    def threads(self, node: Node) -> int:
        """Threads of a process for each of its devices."""
        return max(1, node.cpus // Counter(self.devices.machines)[node.name])

    def find_lost(self) -> bool:
        """Ask every node for a sign of life; whether one is newly found gone.

        Ray's own checks of health say so within a minute. A node that only answers late is overloaded, not lost.
        """
        import ray

        there = [number for number in range(len(self.nodes)) if number not in self.lost]
        answers = {self.nodes[number].agent.ping.remote(): number for number in there}
        _, late = ray.wait(list(answers), num_returns=len(answers), timeout=START_S)
        gone = {answers[reference] for reference in late}
        for reference in set(answers) - set(late):
            try:
                ray.get(reference)
            except ray.exceptions.RayError:
                gone.add(answers[reference])
        self.lost |= gone
        return bool(gone)

    @property
    def has_dashboard(self) -> bool:
        """Whether the cluster has one, and with it Ray's API of states."""
        return self.dashboard.startswith("http")

    def knows_of_death(self) -> bool:
        """Whether Ray has found a node dead that this run still counts on. Asks no node."""
        import ray

        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        return any(node.id not in alive for number, node in enumerate(self.nodes) if number not in self.lost)

    def lost_devices(self) -> frozenset[int]:
        """The devices of the lost nodes."""
        names = {self.nodes[number].name for number in self.lost}
        return frozenset(number for number, name in enumerate(self.devices.machines) if name in names)

    def lines(self) -> list[str]:
        """The cluster as the console shows it."""
        kind, total = ("GPU" if self.devices.kind == "gpu" else "CPU worker"), Counter(self.devices.machines)
        files = "in the run folder, which all nodes see" if self.shares_folder else "by Ray's object store"
        if self.storage:
            files = f"by {self.storage.folder}"
        return [
            f"Ray at {self.address}: {counted(len(self.nodes), 'node')}, {counted(len(self.devices), kind)}; "
            f"files move {files}",
            *(f"  {node.name}: {counted(total[node.name], kind)}, in {node.root}" for node in self.nodes),
            f"  dashboard {self.dashboard}; `ray status --address {self.address}` shows what is in use",
        ]


def on_node(node: Node) -> Any:
    """Ray's scheduling strategy for a process that belongs to a node and takes none of its resources."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)


def get(reference: Any, *, timeout: float | None = None) -> Any:
    """The result of a call on a node; a UserError that it raised there is raised here as such.

    Raises:
        UserError: also where the node cannot write.
    """
    import ray

    try:
        return ray.get(reference, timeout=timeout)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        if isinstance(error.cause, OSError) and (failure := as_write_error(error.cause, "its copy of the run folder")):
            raise UserError(
                f"a node cannot write {failure.filename} ({failure.strerror}); make room there, or set --node_dir to "
                "another disk; the same command resumes"
            ) from None
        raise


@contextmanager
def answering(cluster: Cluster) -> Iterator[None]:
    """For what comes before the first stage.

    Raises:
        UserError: a node is gone, does not answer, or cannot run what it is asked for.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        raise UserError(
            f"address={cluster.address!r}: a node of this cluster is gone, or does not answer within {START_S:.0f} s "
            f"({words_of(getattr(error, 'cause', None) or error)}); see `ray status`, and run the command again"
        ) from None
