"""The settings of an experiment: the fields, what each accepts, and how preset, YAML file and flags are merged.

Only pydantic and PyYAML are imported here, so a wrong value is reported before anything heavy is loaded.
"""

from __future__ import annotations

from l2s.config.answers import answers_by_domain
from l2s.config.field_types import TRACKERS, Dtype, ModelField, Quantization, choices, expand_home
from l2s.config.resolve import resolve_config, suggest
from l2s.config.settings import LISTS, ExperimentConfig
from l2s.config.teacher_context import ALL_DOMAINS, contexts_by_domain

__all__ = [
    "ALL_DOMAINS",
    "LISTS",
    "TRACKERS",
    "Dtype",
    "ExperimentConfig",
    "ModelField",
    "Quantization",
    "answers_by_domain",
    "choices",
    "contexts_by_domain",
    "expand_home",
    "resolve_config",
    "suggest",
]
