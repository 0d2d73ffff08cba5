"""The settings that results were made with: config.yaml holds those of the last command, which may name fewer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from l2s.arms import ARMS, original
from l2s.config import ExperimentConfig
from l2s.run_dir.manifest import Manifest

ADDED_LATER = {"merge_weight": 1.0}  # settings that stages made before there were any did not record: what they meant


def with_later(stage: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a stage recorded, with what those meant that came later."""
    return (ADDED_LATER if original(stage) in ARMS else {}) | dict(recorded)


def as_made(config: ExperimentConfig, manifests: Iterable[Manifest]) -> ExperimentConfig:
    """`config` with the values that finished stages recorded; where they differ, the last stage's.

    Values that the settings no longer accept are left out: a folder may be of an earlier version.
    """
    recorded = [dict(_recorded(manifest)) for manifest in manifests]
    merged = config.model_dump(mode="json")
    whole = merged | {name: value for values in recorded for name, value in values.items()}
    try:
        return type(config)(**whole)
    except ValidationError:
        for values in recorded:
            merged = _joined(type(config), merged, values)
        return type(config)(**merged)


def _joined(kind: type[ExperimentConfig], settings: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`settings` with the values of one stage, if they fit together."""
    try:
        return kind(**settings | values).model_dump(mode="json")
    except ValidationError:
        return settings


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
