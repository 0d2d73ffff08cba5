"""What the run cost: size and speed of the models, time and memory of the stages, disk space, environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from l2s.arms import ARMS, COPY, MODELS, TEACHER
from l2s.disk_use import bytes_in
from l2s.errors import UserError
from l2s.report.numbers.schema import Environment, Machine, ModelCost, Ratios, StageCost
from l2s.run_dir import Manifest

ENDPOINT = "endpoint"
FOLDERS = ("data", *ARMS, "evaluation")


def model_costs(manifests: Mapping[str, Manifest]) -> dict[str, ModelCost]:
    """Size and speed of every evaluated model, and the engine that ran it.

    Raises:
        UserError: different engines ran them, so neither scores nor speeds can be compared.
    """
    prefix = "evaluate_"
    check_one_engine({engine_of(manifest): stage for stage, manifest in manifests.items() if stage.startswith(prefix)})
    return {
        stage.removeprefix(prefix): {
            "engine": engine_of(manifest),
            "parameters": manifest.metrics["parameters"],
            "weight_bytes": manifest.metrics["weight_bytes"],
            "tokens_per_second": manifest.metrics["tokens_per_second"],
            "peak_memory_bytes": manifest.metrics["peak_memory_bytes"],
            "generated_tokens": manifest.metrics["generated_tokens"],
            "seconds": manifest.metrics["seconds"],
        }
        for stage, manifest in manifests.items()
        if stage.startswith(prefix) and COPY not in stage
    }


def engine_of(manifest: Manifest) -> str:
    """The engine of a stage. Manifests of the first versions name none; they ran transformers."""
    return manifest.metrics["engine"]["name"] if "engine" in manifest.metrics else "transformers"


def check_one_engine(stages: Mapping[str, str]) -> None:
    """Refuse to compare models that different engines ran (engine -> a stage); a teacher's endpoint is exempt.

    Raises:
        UserError: there is more than one engine.
    """
    local = {engine: stage for engine, stage in stages.items() if engine != ENDPOINT}
    if len(local) > 1:
        found = ", ".join(f"{stage} ran in {engine}" for engine, stage in local.items())
        raise UserError(
            f"{found}: a report compares models of one engine; evaluate them again with one, such as "
            f"`l2s evaluate --engine {next(iter(local))} --force` with the flags of the run"
        )


def ratios_to_teacher(models: Mapping[str, ModelCost], manifests: Mapping[str, Manifest]) -> dict[str, Ratios]:
    """How many times smaller and faster than the teacher each student is.

    Speed and memory are compared only where both were measured in the same place.
    """
    if TEACHER not in models:
        return {}
    elsewhere = measured_elsewhere(manifests)
    students = {name: model for name, model in models.items() if name != TEACHER}
    return {name: _ratios(models[TEACHER], model, is_alike=name not in elsewhere) for name, model in students.items()}


def _ratios(teacher: ModelCost, model: ModelCost, *, is_alike: bool) -> Ratios:
    return {
        "parameters": _ratio(teacher["parameters"], model["parameters"]),
        "weight_bytes": _ratio(teacher["weight_bytes"], model["weight_bytes"]),
        "tokens_per_second": _ratio(model["tokens_per_second"], teacher["tokens_per_second"]) if is_alike else None,
        "peak_memory_bytes": _ratio(teacher["peak_memory_bytes"], model["peak_memory_bytes"]) if is_alike else None,
    }


def measured_elsewhere(manifests: Mapping[str, Manifest]) -> list[str]:
    """The students that were evaluated elsewhere than the teacher: on another device, or with more or fewer threads."""
    found = {model: manifests[stage] for model in MODELS if (stage := f"evaluate_{model}") in manifests}
    if TEACHER not in found:
        return []
    here = _place(found[TEACHER])
    return [model for model, manifest in found.items() if _place(manifest) != here]


def _place(manifest: Manifest) -> tuple[Any, ...]:
    """What decides speed and memory besides the model: the GPU, or the CPU with its usable threads; or a server."""
    if engine_of(manifest) == ENDPOINT:
        return (ENDPOINT,)
    of_cpu = (manifest.machine.get("cpu"), manifest.machine.get("usable_threads"))
    return (manifest.device, *(of_cpu if manifest.device == "cpu" else ()))


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None


def stage_costs(manifests: Mapping[str, Manifest]) -> dict[str, StageCost]:
    """Time, tokens and memory of every finished stage."""
    return {stage: _stage_cost(manifest) for stage, manifest in manifests.items()}


def _stage_cost(manifest: Manifest) -> StageCost:
    metrics = manifest.metrics.copy()
    metrics.pop("warnings", None)
    return {
        "seconds": manifest.seconds,
        "tokens": metrics.get("num_tokens", metrics.get("generated_tokens")),
        "tokens_per_second": metrics.get("tokens_per_second"),
        "peak_memory_bytes": metrics.get("peak_memory_bytes"),
        "device": manifest.device,
        "metrics": metrics,
    }


def disk_bytes(root: Path) -> dict[str, int]:
    """Size of each folder that the stages wrote, without the reports; links are not followed."""
    names = (*FOLDERS, *sorted(path.name for path in root.glob(f"*{COPY}*")))
    folders = [folder for name in names if (root / name).is_dir() for folder in _innermost(root / name)]
    return {folder.relative_to(root).as_posix(): bytes_in(folder) for folder in folders}


def _innermost(folder: Path) -> list[Path]:
    """The folders inside `folder`, or `folder` itself if it holds only files."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "plots")
    return inside or [folder]


def environment(manifests: Mapping[str, Manifest]) -> Environment:
    """Versions, devices and commits that the stages recorded."""
    records = list(manifests.values())
    versions = {name: version for record in records for name, version in record.versions.items()}
    sandboxes = [record.metrics["sandbox"] for record in records if record.metrics.get("sandbox")]
    return {
        "versions": dict(sorted(versions.items())),
        "devices": list(dict.fromkeys(record.device for record in records)),
        "machines": _machines(records),
        "git_commits": list(dict.fromkeys(record.git_commit for record in records if record.git_commit)),
        "sandbox": sandboxes[-1] if sandboxes else None,
        "started_at": min((record.started_at for record in records), default=None),
        "seconds": sum(record.seconds for record in records),
    }


def _machines(records: Iterable[Manifest]) -> list[Machine]:
    """Each machine once, with its GPUs. Stages that do not use torch see no GPU."""
    found: dict[tuple[Any, ...], Machine] = {}
    for record in records:
        if record.machine:
            machine = cast(Machine, record.machine)
            key = tuple(str(value) for name, value in machine.items() if name != "gpus")
            if key not in found or len(machine["gpus"]) > len(found[key]["gpus"]):
                found[key] = machine
    return list(found.values())
