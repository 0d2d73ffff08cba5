"""Warnings in words: a stage or the report gives a key and values, and here they become text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from l2s.report.text.strings import Text
from l2s.tasks.table import task_of
from l2s.warning import Warned


def say(warning: Warned | str, text: Text) -> str:
    """The warning in the language of `text`; manifests of early versions hold sentences, which stay as they are."""
    if isinstance(warning, str):
        return warning
    values: dict[str, Any] = warning["values"]
    if warning["key"] == "stand_in":
        return text.of(task_of(values["domain"]).stand_ins[values["source"]])
    worded = {name: WORDS[name](value, text) if name in WORDS else value for name, value in values.items()}
    return text(f"warn_{warning['key']}", **worded)


def say_of_stage(stage: str, warning: Warned | str, text: Text) -> str:
    """A warning with the name of its stage."""
    return text("stage_warning", stage=stage, warning=say(warning, text))


def _because(setting: str, text: Text) -> str:
    return text("because", setting=setting) if setting else ""


def _models(models: list[str], text: Text) -> str:
    return ", ".join(text(model) for model in models)


def _truncated(parts: list[dict[str, Any]], text: Text) -> str:
    named = [part | {"model": text(part["model"]), "domain": text.domain(part["domain"])} for part in parts]
    return text("join").join(text("truncated_part", **part) for part in named)


def _batches(parts: list[dict[str, Any]], text: Text) -> str:
    return text("join").join(text("batches_part", model=text(part["model"]), sizes=part["sizes"]) for part in parts)


def _faults(parts: list[dict[str, Any]], text: Text) -> str:
    named = [text("fault_part", status=text.named(part["status"]), found=part["found"]) for part in parts]
    return text("comma").join(named)


WORDS: dict[str, Callable[[Any, Text], str]] = {  # value -> its words; other values are shown unchanged
    "domain": lambda domain, text: text.domain(domain),
    "model": lambda model, text: text(model),
    "models": _models,
    "names": lambda names, text: ", ".join(names),
    "engines": lambda names, text: ", ".join(names),
    "kind": lambda kind, text: text.named(kind),
    "because": _because,
    "truncated": _truncated,
    "faults": _faults,
    "batches": _batches,
}
