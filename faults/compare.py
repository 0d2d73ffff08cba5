"""Differences between two finished runs of one experiment, and leftovers of a run: there should be none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from l2s.arms import ARMS, MODELS
from l2s.jsonl import load_jsonl
from l2s.run_dir import Manifest, RunDir

# fields of results.json that depend on the clock, on the number of resumes, or on a process's memory
TIMES = {
    "seconds", "tokens_per_second", "peak_memory_bytes", "started_at", "predicted", "recorded_tokens", "environment",
    "ratios",
}  # fmt: skip


def differences(run_dir: RunDir, unbroken: RunDir) -> list[str]:
    """Differences from the uninterrupted run, and faults of the finished run; one line each."""
    found = [name for name in _files(unbroken) if _bytes(run_dir.root / name) != _bytes(unbroken.root / name)]
    found = [f"{name} differs" for name in found]
    found += [f"results.json: {place}" for place in _different(_results(run_dir), _results(unbroken))]
    return found + leftovers(run_dir)


def leftovers(run_dir: RunDir) -> list[str]:
    """Damage in a run folder: half lines, duplicate ids, and files that only an unfinished stage has."""
    found = []
    for path in sorted(run_dir.root.rglob("*")):
        name = path.relative_to(run_dir.root)
        if "partial" in path.name or path.name.endswith(".started.json") or path.name == "checkpoints":
            found.append(f"{name} was left behind")
        elif path.suffix == ".jsonl" and path.stat().st_size:
            found += [f"{name}: {fault}" for fault in _faults_of_lines(path)]
    return found


def broken_promises(run_dir: RunDir) -> list[str]:
    """Outputs in a manifest that do not match their entry."""
    from l2s.run_dir import fingerprint

    found = []
    for path in [*run_dir.root.glob("manifests/*.json"), *run_dir.root.glob("*/manifest.json")]:
        if path.name.endswith(".started.json"):
            continue
        manifest = Manifest.load(path)
        assert manifest is not None
        for name, promised in manifest.outputs.items():
            output = run_dir.root / name
            if not output.exists() or fingerprint(output) != promised:
                found.append(f"{name} is not what {path.relative_to(run_dir.root)} promises")
    return found


def _files(run_dir: RunDir) -> Iterator[str]:
    """Data, answers, predictions, fidelity, losses of every step, signals and weights: equal to the byte."""
    paths = [run_dir.train_data, run_dir.eval_data, run_dir.responses, run_dir.rejected]
    paths += [run_dir.predictions(model) for model in MODELS] + [run_dir.fidelity(model) for model in MODELS]
    for name in ARMS:
        arm = run_dir.arm(name)
        paths += [arm.metrics, arm.heldout_metrics, arm.final_model / "model.safetensors"]
        paths += [arm.adapter / "adapter_model.safetensors"]
    paths += [*run_dir.teacher_signals.glob("*"), *run_dir.evaluation_signals.glob("*")]
    return (str(path.relative_to(run_dir.root)) for path in paths if path.exists())


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _results(run_dir: RunDir) -> Any:
    return json.loads(run_dir.results.read_text(encoding="utf-8")) if run_dir.results.exists() else None


def _different(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    """The places where two JSON values differ, without times."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted((found.keys() | wanted.keys()) - TIMES):
            yield from _different(found.get(name), wanted.get(name), f"{place}.{name}")
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from _different(one, other, f"{place}[{number}]")
    elif found != wanted:
        yield f"{place} is {found!r:.80} instead of {wanted!r:.80}"


def _faults_of_lines(path: Path) -> list[str]:
    if not path.read_bytes().endswith(b"\n"):
        return ["the last line is unfinished"]
    try:
        rows = load_jsonl(path)
    except ValueError as error:
        return [str(error)]
    keys = [row.get("id", row.get("step")) for row in rows]
    named = [key for key in keys if key is not None]
    return ["a row is there twice"] if len(named) != len(set(named)) else []
