"""Merges preset, YAML file and flags into one ExperimentConfig. A wrong value is an error of one line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from l2s.config.answers import answers_by_domain
from l2s.config.field_types import joined
from l2s.config.settings import ExperimentConfig
from l2s.config.teacher_context import ALL_DOMAINS
from l2s.config.yaml_file import read_settings
from l2s.errors import UserError, plain, plain_path, shown
from l2s.presets import PRESETS

REWORDED = (
    ("Value error, ", ""),
    ("Input should be", "must be"),
    ("String should have", "must have"),
    ("Unable to parse input string as an integer, exceeded maximum size", "must be an integer of fewer digits"),
    ("Input is not a valid path for <class 'pathlib.Path'>", "must be a path"),
)

OF_TEACHERS_ANSWERS = ("keep_correct", "answers_per_item", "teacher_context")  # no use with reference solutions alone


def resolve_config(
    flags: Mapping[str, Any], *, preset: str | None = None, file: Path | None = None
) -> ExperimentConfig:
    """Merge field defaults < preset < YAML file < flags, and validate.

    Where all students learn from are reference solutions, what the preset says about the teacher's answers is left out.

    Raises:
        UserError: one line with field, value and what is allowed.
    """
    merged: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"--preset {plain(preset)}: not a preset; allowed: {', '.join(PRESETS)}")
        merged |= PRESETS[preset]
    of_file = read_settings(file) if file is not None else {}
    given = {**of_file, **flags}
    merged |= given
    if _references_alone(merged):
        merged["answers"] = "reference"
        merged = {name: value for name, value in merged.items() if name in given or name not in OF_TEACHERS_ANSWERS}
    if merged.get("data_dir") is None and os.environ.get("L2S_DATA", "").strip():
        merged["data_dir"] = os.environ["L2S_DATA"]
    try:
        config = ExperimentConfig(**merged)
    except ValidationError as error:
        first = next(iter(error.errors()[0]["loc"]), None)
        place = f"--config {plain_path(file)}: " if file and first in of_file.keys() - flags.keys() else ""
        raise UserError(place + _one_line(error, merged)) from None
    if config.answers == "reference" and config.keep_correct:  # here, because folders of earlier versions hold both
        raise UserError(
            "keep_correct=True: with answers='reference' the teacher answers nothing that could be wrong; leave one out"
        )
    return config


def _references_alone(merged: Mapping[str, Any]) -> bool:
    """Whether no domain learns from the teacher's answers. What has another form is left to the validation."""
    domains = joined(merged.get("domains", "auto"))
    try:
        of_domain = answers_by_domain(merged.get("answers", "teacher"))
        named = [ALL_DOMAINS] if ALL_DOMAINS in of_domain else [name.strip() for name in domains.split(",")]
    except (ValueError, AttributeError):
        return False
    return all(of_domain.get(name) == "reference" for name in named)


def _one_line(error: ValidationError, given: Mapping[str, Any]) -> str:
    """The first wrong field: its name, the value given and what is allowed."""
    first = error.errors(include_url=False, include_context=False)[0]
    reason = first["msg"]
    for pydantics, ours in REWORDED:
        reason = reason.replace(pydantics, ours)
    if not first["loc"]:
        return reason
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"{plain(name)}: no such setting{suggest(name)}"
    return f"{name}={shown(given[name])}: {reason}"


def suggest(name: str) -> str:
    """A hint that names the field closest to a mistyped one, or says where all are listed."""
    close = difflib.get_close_matches(name, list(ExperimentConfig.model_fields), n=1)
    return f"; did you mean {close[0]}?" if close else "; `l2s run --help` lists all"
