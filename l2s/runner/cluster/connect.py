"""Connects a run with a Ray cluster: finds the nodes, starts an agent on each, and removes at the end what it left."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from l2s.config import ExperimentConfig
from l2s.errors import UserError, require_extra, words_of
from l2s.run_dir import RunDir
from l2s.runner.cluster.agent import Agent
from l2s.runner.cluster.checks import check_choices, check_versions
from l2s.runner.cluster.nodes import PING_S, START_S, Cluster, Node, answering, get, on_node
from l2s.runner.cluster.transfer import NO_FOLDER, PART_BYTES, Storage
from l2s.runner.placement import Devices
from l2s.secret_variables import ENDPOINT_KEY

SETTINGS = b"\x04"  # type of the first frame of each side of HTTP/2 (RFC 9113, section 3.4)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + SETTINGS + bytes(5)
CONNECT_S = 10.0  # for a host to accept a connection
STORED_BYTES = PART_BYTES  # smaller files are faster through Ray than through a bucket
QUIET = {"RAY_SCHEDULER_EVENTS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}


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
    context = _connect(config.address)
    cluster: Cluster | None = None
    try:
        cluster = _look_at(config, context)
        check_choices(cluster, config)
        with answering(cluster):
            check_versions(cluster)
        yield cluster
    finally:
        if cluster:
            _close(cluster)
        ray.shutdown()


def _connect(address: str) -> Any:
    """Connect this process to the cluster at `address`.

    Raises:
        UserError: none answers there, which is known after seconds.
    """
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    key = os.environ.pop(ENDPOINT_KEY, None)  # all workers of a cluster that starts here would have it
    try:
        _check_port(address)
        return ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="l2s")
    except Exception as error:  # Ray raises several kinds
        meant = f" (RAY_ADDRESS={named})" if address == "auto" and (named := os.environ.get("RAY_ADDRESS")) else ""
        if "Version mismatch" in str(error):
            raise UserError(
                f"address={address!r}{meant}: the cluster has another Ray or Python than this process "
                f"({words_of(error)}); install the same ones"
            ) from None
        raise UserError(
            f"address={address!r}{meant}: no Ray cluster answers there ({words_of(error)}); start one with "
            "`ray start --head` here and `ray start --address=HOST:6379` on the other nodes"
        ) from None
    finally:
        if key is not None:
            os.environ[ENDPOINT_KEY] = key
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray replaces the one that ends a run in order


def _check_port(address: str) -> None:
    """Look whether a server of gRPC is at an address, because Ray would try for minutes.

    Raises:
        OSError, ValueError: nothing is there, or something else, or it is not HOST:PORT.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("an address is HOST:PORT, such as 10.0.0.1:6379, or auto")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            connection.sendall(PREFACE)
            if connection.recv(9)[3:4] != SETTINGS:
                raise ConnectionError("something else listens there")


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
    if short := [f"{node.name} has {node.cpus}" for node in nodes if not on_gpus and node.cpus < config.cpu_workers]:
        raise UserError(
            f"cpu_workers={config.cpu_workers}: more than a node declares CPUs ({', '.join(short)}); lower it"
        )
    machines = [node.name for node in nodes for _ in range(node.gpus if on_gpus else config.cpu_workers)]
    if not machines:
        raise UserError(f"address={config.address!r}: no node of the cluster has CPUs or GPUs; see `ray status`")
    names = tuple(f"{name}/{number}" for number, name in enumerate(machines))
    devices = Devices("gpu" if on_gpus else "cpu", names, machines=tuple(machines))
    url = context.dashboard_url
    dashboard = f"http://{url}" if url else "none (pip install 'ray[default]')"
    return Cluster(ray.get_runtime_context().gcs_address, dashboard, nodes, devices)


def join(cluster: Cluster, config: ExperimentConfig, run_dir: RunDir) -> None:
    """Start an agent on every node, and find out how files reach it.

    Raises:
        UserError: a node cannot take part.
    """
    import ray

    base, run = str(config.node_dir) if config.node_dir else None, name_of(run_dir)
    for node in cluster.nodes:
        actor = ray.remote(Agent).options(num_cpus=0, max_concurrency=8, scheduling_strategy=on_node(node))
        node.agent = actor.remote(node.name, node.id[:12], base, run)
    storage = None
    if config.storage_path == "auto":
        cluster.shares_folder = _all_see(cluster, run_dir)
    elif config.storage_path != "ray":
        storage = (absolute_storage(config.storage_path), run, STORED_BYTES, secrets.token_hex(8))
        cluster.storage = Storage(*storage)
        cluster.storage.check()
        cluster.storage.say()
    folder = str(run_dir.root.absolute()) if cluster.shares_folder else None
    opened = [node.agent.open.remote(folder, storage) for node in cluster.nodes]
    for node, root in zip(cluster.nodes, opened, strict=True):
        node.root, node.lock_file = get(root, timeout=START_S)


def name_of(run_dir: RunDir) -> str:
    """A name for what a run has on nodes and in a storage: experiments of others may have the same name."""
    where = f"{socket.gethostname()}:{run_dir.root.absolute()}"
    return f"{run_dir.root.name}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


def absolute_storage(storage: str) -> str:
    """A URL as it is; a folder as other processes of this machine find it."""
    return storage if "://" in storage or NO_FOLDER.fullmatch(storage) else os.path.abspath(os.path.expanduser(storage))  # noqa: PTH100, PTH111


def _all_see(cluster: Cluster, run_dir: RunDir) -> bool:
    """Whether every node finds in the run folder what this process writes there."""
    import ray

    probe, text = run_dir.root.absolute() / ".seen-by-nodes", secrets.token_hex(8)
    probe.write_text(text, encoding="utf-8")
    try:
        return all(ray.get([node.agent.sees.remote(str(probe), text) for node in cluster.nodes], timeout=START_S))
    finally:
        probe.unlink()


def _close(cluster: Cluster) -> None:
    """Remove what the run left on the nodes that are there."""
    import ray

    closing = [node.agent.close.remote() for node in cluster.nodes if node.agent is not None]
    if closing:
        ray.wait(closing, num_returns=len(closing), timeout=PING_S)
    if cluster.storage:
        with suppress(Exception):
            cluster.storage.clear()
