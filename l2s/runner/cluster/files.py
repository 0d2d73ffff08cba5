"""The files of one stage, on the driver: what its nodes need goes to them, what they write comes back at once.

The driver's run folder always has what a resume needs: a node that dies takes with it only what it wrote in the last
half second. Where the nodes see the run folder itself, nothing moves.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from l2s.config import ALL_DOMAINS, ExperimentConfig, contexts_by_domain
from l2s.durable import remove
from l2s.run_dir import Manifest, RunDir, fingerprint
from l2s.runner.cluster.agent import OUTSIDE, ROOT
from l2s.runner.cluster.checks import absolute_model, outside_inputs
from l2s.runner.cluster.nodes import Cluster, Node, get
from l2s.runner.cluster.transfer import Change, Hashes, Inbox, files_under, inside, read_parts, whole
from l2s.runner.freshness import inputs_of, settings_of
from l2s.runner.pipeline import Stage
from l2s.tasks.own.user_code import parse_spec
from l2s.tasks.table import tasks_of


class NodeSettings:
    """The settings of nodes with copies, and the files from outside the run folder that they name."""

    def __init__(self, config: ExperimentConfig, run_dir: RunDir, stages: Sequence[Stage]) -> None:
        self.files: dict[str, Path] = {}  # by their place in the copy
        places: dict[Path, str] = {}
        for path in outside_inputs(stages, config, run_dir):
            folder = f"{OUTSIDE}/{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
            self.files |= {f"{folder}/{name}": path.parent / name for name in files_under(path.parent, [path.name])}
            places[path] = f"{ROOT}/{folder}/{path.name}"
        self.values: dict[str, Any] = config.model_dump(mode="json") | _in_copy(config, places)
        self.values["domains"] = ",".join(tasks_of(config))  # auto asks which data this machine has
        for model in ("teacher_model", "student_model"):
            self.values[model] = absolute_model(self.values[model])


def _in_copy(config: ExperimentConfig, places: Mapping[Path, str]) -> dict[str, str]:
    """The settings that name files, with their place in the copy."""
    fields = {name: getattr(config, name) for name in type(config).model_fields}
    moved = {name: places[value] for name, value in fields.items() if isinstance(value, Path) and value in places}
    if (spec := parse_spec(config.own_grader)) and spec.file in places:
        moved["own_grader"] = f"python:{places[spec.file]}:{spec.function}"
    contexts = contexts_by_domain(config.teacher_context)
    for domain, context in contexts.items():
        kind, _, name = context.partition(":")
        if kind == "file" and Path(name) in places:
            contexts[domain] = f"file:{places[Path(name)]}"
    parts = [context if domain == ALL_DOMAINS else f"{domain}={context}" for domain, context in contexts.items()]
    return moved | {"teacher_context": ",".join(parts)}


class StageFiles:
    """The files of `stage` in the driver's run folder and in the copies of `nodes`, the first process's node first."""

    def __init__(
        self,
        stage: Stage,
        config: ExperimentConfig,
        run_dir: RunDir,
        cluster: Cluster,
        nodes: Sequence[Node],
        *,
        hashes: Hashes,
        logs: Sequence[Path],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`logs` are the outputs of its processes; `stopped` says that what is large need not be sent to its end."""
        self.stage, self.config, self.run_dir, self.cluster, self.nodes = stage, config, run_dir, cluster, nodes
        self.root, self.hashes = run_dir.root, hashes
        self.stopped = stopped
        self.inbox = Inbox(self.root, cluster.storage)
        self.made = [*stage.gives(run_dir, config), *stage.logs(run_dir, config)]
        self.own = self._names([*self.made, *stage.scratch(run_dir, config), *logs])
        self.written: dict[str, Node] = {}  # file -> the node that wrote it
        self.arriving: dict[str, threading.Lock] = {}  # file -> held while its parts arrive from one node

    def _names(self, paths: Iterable[Path]) -> list[str]:
        return [str(path.relative_to(self.root)) for path in paths]

    def send(self, settings: NodeSettings) -> None:
        """Give every node what the stage reads or is resumed from, and begin to watch what it writes."""
        if self.cluster.shares_folder:
            return
        inputs = [path for path in self.stage.inputs(self.run_dir, self.config) if path.is_relative_to(self.root)]
        files = {name: self.root / name for name in files_under(self.root, [*self._names(inputs), *self.own])}
        files |= settings.files
        sha256 = {name: self.hashes.of(path) for name, path in files.items()}
        asked = [node.agent.expect.remote(self.stage.name, settings.values, sha256, self.own) for node in self.nodes]
        missing = [set(get(answer)) for answer in asked]
        for name, path in files.items():
            nodes = [node for node, lacks in zip(self.nodes, missing, strict=True) if name in lacks]
            if nodes:
                self._push(path, name, nodes)
        for node in self.nodes:
            get(node.agent.watch.remote(self.stage.name, self.own))

    def _push(self, path: Path, name: str, nodes: Sequence[Node]) -> None:
        """Send a file of this machine to `nodes`; Ray hands each part from node to node."""
        import ray

        change = whole(path.parent, path.name)
        for part in read_parts(path.parent, change, self.hashes, self.cluster.storage):
            if self.stopped():
                raise InterruptedError
            sent = ray.put(replace(part, name=name))
            for done in [node.agent.put.remote(sent) for node in nodes]:
                get(done)

    def pull(self) -> bool:
        """Take over what changed on each node, and pass on what its other processes wait for; False: nothing did.

        What was added to a long log moves in several calls.
        """
        if self.cluster.shares_folder:
            return False
        with ThreadPoolExecutor(max(1, min(8, len(self.nodes)))) as pool:
            return any(list(pool.map(self._pull_from, self.nodes)))

    def _pull_from(self, node: Node) -> bool:
        changes: list[Change]
        changes, gone = get(node.agent.changes.remote(self.stage.name))
        for change in changes:
            with self.arriving.setdefault(change.name, threading.Lock()):
                self._take(node, change)
            self.written[change.name] = node
        for name in gone:
            if self.written.pop(name, node) is node:
                remove(inside(self.root, name))
        return bool(changes)

    def _take(self, node: Node, change: Change) -> None:
        """Take over a change on `node`, and pass it on part by part."""
        listeners = self._listeners(node, change.name)
        parts = node.agent.parts.options(num_returns="streaming", _generator_backpressure_num_objects=2)
        for reference in parts.remote(self.stage.name, change):
            part = get(reference)
            self.inbox.put(part)
            for done in [other.agent.pass_on.remote(self.stage.name, part) for other in listeners]:
                get(done)

    def _listeners(self, node: Node, name: str) -> list[Node]:
        """The nodes whose processes read a file that was written on `node` while they run."""
        first = self.nodes[0]
        if node is first:
            read = self.stage.others_read(self.run_dir, self.config)
            return [other for other in self.nodes if other is not first] if self._is_among(name, read) else []
        return [first] if self._is_among(name, self.stage.first_reads(self.run_dir, self.config)) else []

    def _is_among(self, name: str, paths: list[Path]) -> bool:
        return any((self.root / name).is_relative_to(path) for path in paths)

    def finish(self) -> None:
        """Compare what the stage gives with what its nodes wrote, and write its manifest for this run folder.

        Raises:
            ValueError: a file is not what a node wrote.
        """
        if self.cluster.shares_folder:
            return
        for name in files_under(self.root, self._names(self.made)):
            if name in self.written:
                there = get(self.written[name].agent.sha256.remote([name]))
                if there.get(name) != self.hashes.of(self.root / name):
                    raise ValueError(f"{name}: not what {self.written[name].name} wrote")
        found: Manifest | None = get(self.nodes[0].agent.take_manifest.remote(self.stage.name))
        if found is None:
            raise RuntimeError(f"stage {self.stage.name} ended well on {self.nodes[0].name} but left no manifest")
        replace(
            found,
            config=settings_of(self.stage, self.config),
            inputs=inputs_of(self.stage, self.config, self.run_dir),
            outputs={str(path.relative_to(self.root)): fingerprint(path) for path in self.made if path.exists()},
        ).save(self.run_dir.manifest(self.stage.name))
