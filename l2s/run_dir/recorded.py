"""The settings that results were made with: config.yaml holds those of the last command, which may name fewer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, cast

from pydantic import TypeAdapter, ValidationError

from l2s.arms import ARMS, original
from l2s.config import ExperimentConfig
from l2s.run_dir.manifest import Manifest

ADDED_LATER = {"merge_weight": 1.0}  # settings that stages made before there were any did not record: what they meant


def with_later(stage: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a stage recorded, with what those meant that came later."""
    return (ADDED_LATER if original(stage) in ARMS else {}) | dict(recorded)


def as_made(config: ExperimentConfig, manifests: Iterable[Manifest]) -> ExperimentConfig:
    """`config` with the values that finished stages recorded; where they differ, the last stage's.

    The result is a record, not a command: values of stages that were made by different commands need not fit together.
    Values that a setting no longer accepts are left out: a folder may be of an earlier version.
    """
    recorded = [pair for manifest in manifests for pair in _recorded(manifest)]
    return config.model_copy(update=dict(_still_accepted(recorded)))


def _still_accepted(recorded: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in recorded:
        with suppress(ValidationError):
            yield name, _kind_of(name).validate_python(value)


@cache
def _kind_of(name: str) -> TypeAdapter[Any]:
    """What one setting accepts, whatever the others are."""
    field = ExperimentConfig.model_fields[name]
    return TypeAdapter(cast(Any, Annotated[field.annotation, field]))


def _recorded(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    """The settings of a stage; an arm's seed is its own, and the settings hold that of the data."""
    for name, value in with_later(manifest.stage, manifest.config).items():
        if name in ExperimentConfig.model_fields and not (name == "seed" and original(manifest.stage) in ARMS):
            yield name, value


def differing(manifests: Iterable[Manifest]) -> dict[str, str]:
    """The settings that stages read with different values: lora_r -> `4 (sft), 8 (kd)`."""
    found: dict[str, dict[str, list[str]]] = {}
    for manifest in manifests:
        for name, value in _recorded(manifest):
            text = value if isinstance(value, str) else json.dumps(value)
            found.setdefault(name, {}).setdefault(text, []).append(manifest.stage)
    return {name: _by_stage(values) for name, values in sorted(found.items()) if len(values) > 1}


def _by_stage(values: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{value} ({', '.join(stages)})" for value, stages in values.items())
