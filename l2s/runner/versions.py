"""Versions of the code and the packages that decide a stage's result: results of two versions must not be mixed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from l2s import __version__
from l2s.arms import ARMS
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.runner.pipeline import Stage

ROOT = Path(__file__).resolve().parents[2]  # of the checkout, or where packages are installed
PACKAGES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "datasets", "trl")
CODE = "l2s_code"  # digest of the source that stages run: changes between two releases too
NOT_STAGES = ("report", "plan", "runner", "cli.py", "terminal.py", "__main__.py")  # their source decides no result
OF_TRAINING, OF_DATA, OF_OPD = ("accelerate", "peft"), ("datasets",), ("trl",)


def package_versions() -> dict[str, str]:
    """Versions of Python, l2s, its source and the packages that decide numbers; a missing package is left out."""
    versions = {"python": sys.version.split()[0], "l2s": __version__, CODE: _source_digest()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """The commit of the checkout that l2s runs from, marked if files differ from it; None outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def _source_digest() -> str:
    root = ROOT / "l2s"
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.suffix in (".py", ".c", ".jsonl") and name.parts[0] not in NOT_STAGES:
            digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def changed(stage: Stage, config: ExperimentConfig, before: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What `stage` was made with and what is here now, where that differs and decides its result."""
    now = package_versions()
    names = _deciding(stage, config) & before.keys() & now.keys()
    return {name: (before[name], now[name]) for name in sorted(names) if _release(name, before) != _release(name, now)}


def _deciding(stage: Stage, config: ExperimentConfig) -> set[str]:
    names = {"python", "l2s", CODE}
    if stage.resources.holds:
        names |= {"torch", "transformers"}
    quantised = config.tuning == "qlora" if stage.original in ARMS else config.teacher_quantization in ("int8", "nf4")
    for chosen, used in (
        (OF_TRAINING, stage.original in ARMS),
        (("bitsandbytes",), stage.resources.holds and quantised),
        (OF_DATA, stage.original in ("prepare", "opd")),
        (OF_OPD, stage.original == "opd"),
    ):
        names |= set(chosen) if used else set()
    return names


def _release(name: str, versions: Mapping[str, str]) -> str:
    """A version as far as it matters: two patches of one Python compute the same."""
    return ".".join(str(versions[name]).split(".")[:2]) if name == "python" else versions[name]


def describe(differing: Mapping[str, Mapping[str, tuple[str, str]]]) -> str:
    """`transformers 5.18.0 (generate, sft), here 5.19.0`, for the differences of several stages."""
    by_change: dict[tuple[str, str, str], list[str]] = {}
    for stage, changes in differing.items():
        for name, (before, now) in changes.items():
            by_change.setdefault((name, before, now), []).append(stage)
    return "; ".join(
        f"{name} {before} ({', '.join(stages)}), here {now}" for (name, before, now), stages in by_change.items()
    )


def require_same(
    differing: Mapping[str, Mapping[str, tuple[str, str]]], to_run: Collection[str], config: ExperimentConfig
) -> str | None:
    """A note where stages were made with other versions than those here; refused where new results would join them.

    Raises:
        UserError: stages of `to_run` would be mixed with them, and `mix_versions` is off.
    """
    if not differing:
        return None
    made = f"made with other versions: {describe(differing)}"
    if to_run and not config.mix_versions:
        raise UserError(
            f"mix_versions=False: experiment {config.experiment_name!r} has stages {made}; new results of "
            f"{', '.join(to_run)} would be mixed with theirs: restore these versions, add --force to make all "
            "requested stages again, set --mix_versions true (the report then says so), or choose another "
            "--experiment_name"
        )
    return made
