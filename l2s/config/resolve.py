"""Merges preset, YAML file and flags into one ExperimentConfig. A wrong value is an error of one line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from l2s.config.answers import answers_by_domain
from l2s.config.field_types import joined
from l2s.config.settings import ExperimentConfig
from l2s.config.teacher_context import ALL_DOMAINS, contexts_by_domain
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

SIZE = "_train_size"  # end of the names of the fields with the sizes of the training sets
OF_TEACHERS_ANSWERS = ("keep_correct", "answers_per_item", "teacher_context")  # no use with reference solutions alone


def resolve_config(
    flags: Mapping[str, Any], *, preset: str | None = None, file: Path | None = None
) -> ExperimentConfig:
    """Merge field defaults < preset < YAML file < flags, and validate.

    What the preset says about the teacher's answers is left out where students learn reference solutions instead.

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
    alone = _references_alone(merged)
    merged = _without_unused(merged, given, alone=alone)
    if merged.get("data_dir") is None and os.environ.get("L2S_DATA", "").strip():
        merged["data_dir"] = os.environ["L2S_DATA"]
    try:
        config = ExperimentConfig(**merged)
    except ValidationError as error:
        first = next(iter(error.errors()[0]["loc"]), None)
        place = f"--config {plain_path(file)}: " if file and first in of_file.keys() - flags.keys() else ""
        raise UserError(place + _one_line(error, merged)) from None
    for name, value in (("keep_correct", config.keep_correct), ("answers_per_item", config.answers_per_item)):
        if alone and value != ExperimentConfig.model_fields[name].default:  # folders of earlier versions may hold it
            nothing = f"with answers={config.answers!r} the teacher answers nothing that could be wrong or different"
            raise UserError(f"{name}={value}: {nothing}; leave one out")
    return config


def _references_alone(merged: Mapping[str, Any]) -> bool:
    """Whether no domain learns from the teacher's answers. What has another form is left to the validation."""
    try:
        of_domain = answers_by_domain(joined(merged.get("answers", "teacher")))
        learned = [ALL_DOMAINS] if ALL_DOMAINS in of_domain else _trained_domains(merged, of_domain)
    except (ValueError, AttributeError):
        return False
    return bool(learned) and all(of_domain.get(domain) == "reference" for domain in learned)


def _trained_domains(merged: Mapping[str, Any], named: Iterable[str]) -> list[str]:
    """The domains with training items, as far as the settings say; the user's own has no size and is one of `named`."""
    sizes = {name: field.default for name, field in ExperimentConfig.model_fields.items() if name.endswith(SIZE)}
    sizes |= {name: merged[name] for name in sizes.keys() & merged.keys()}
    domains = joined(merged.get("domains", "auto"))
    sized = [name.removesuffix(SIZE) for name in sizes]
    own = [name for name in named if name not in sized] or ["(not named)"]
    asked = [*sized, *(own if merged.get("train_file") else [])] if domains == "auto" else domains.split(",")
    return [name.strip() for name in asked if str(sizes.get(f"{name.strip()}{SIZE}")) != "0"]


def _without_unused(merged: dict[str, Any], given: Mapping[str, Any], *, alone: bool) -> dict[str, Any]:
    """The settings without what a preset says about teacher's answers where students learn reference solutions."""
    if alone:
        return {name: value for name, value in merged.items() if name in given or name not in OF_TEACHERS_ANSWERS}
    if "teacher_context" in given or "teacher_context" not in merged:
        return merged
    try:
        learned = answers_by_domain(joined(merged.get("answers", "teacher")))
    except (ValueError, AttributeError):
        return merged
    contexts = contexts_by_domain(merged["teacher_context"])
    kept = [f"{domain}={of}" for domain, of in contexts.items() if domain and learned.get(domain) != "reference"]
    return merged if ALL_DOMAINS in contexts else {**merged, "teacher_context": ",".join(kept) or "none"}


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
