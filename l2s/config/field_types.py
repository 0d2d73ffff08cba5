"""Types of fields that check more than Python's types: names, comma-separated lists, paths, dates."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo

from l2s.arms import ARMS
from l2s.errors import plain
from l2s.loss.divergences import DIVERGENCES, ON_POLICY_BETA

TRACKERS = {  # trackers that transformers reports to, and the package that each needs
    "azure_ml": "azureml", "clearml": "clearml", "codecarbon": "codecarbon", "comet_ml": "comet_ml",
    "dagshub": "dagshub", "dvclive": "dvclive", "flyte": "flytekit", "kubeflow": "kubeflow", "mlflow": "mlflow",
    "neptune": "neptune", "swanlab": "swanlab", "tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb",
}  # fmt: skip

Tuning = Literal["qlora", "lora", "full"]
Dtype = Literal["bfloat16", "float32"]
Quantization = Literal["none", "int8", "nf4", "fp8", "awq", "gptq"]
Engine = Literal["auto", "vllm", "transformers", "endpoint"]
Sharding = Literal["auto", "ddp", "fsdp2", "zero2", "zero3"]
TeacherSignal = Literal["hidden", "topk", "online"]
ModelField = Literal["teacher_model", "student_model"]  # the fields that name a model


@dataclass(frozen=True)
class OneOf:
    """Accepts a key of `table`, so a new row of the table is a new value of the field."""

    table: Collection[str]

    def __call__(self, value: str) -> str:
        """`value`, or a ValueError that lists the table."""
        if value not in self.table:
            raise ValueError(f"must be one of {', '.join(self.table)}")
        return value


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values that a field accepts; empty where it is not a choice among names."""
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    tables = [part.func.table for part in field.metadata if isinstance(getattr(part, "func", None), OneOf)]
    return tuple(name for table in tables for name in table)


def joined(value: Any) -> Any:
    """Comma-separated text of the list, or the number, that YAML reads where a flag has text; else `value`."""
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts):
        return value
    return ",".join(part if isinstance(part, str) else f"{part:d}" for part in parts)


def names_in(value: str) -> list[str]:
    """The names in a comma-separated text.

    Raises:
        ValueError: a name occurs twice.
    """
    named = [name.strip() for name in value.split(",")]
    if twins := [name for name in named if name and named.count(name) > 1]:
        raise ValueError(f"names {plain(twins[0])} twice; leave one out")
    return named


def _different(value: str) -> str:
    names_in(value)
    return value


def _none_blank(value: str) -> str:
    if value and not all(names_in(value)):
        raise ValueError("must be names separated by commas, none of them blank")
    return value


def _known_arms(value: str) -> str:
    named = [name.strip() for name in value.split(",")]
    if not set(named) <= set(ARMS):
        raise ValueError(f"must be one or more of {', '.join(ARMS)}, separated by commas")
    names_in(value)
    return ",".join(arm for arm in ARMS if arm in named)  # in training order


def _known_trackers(value: str) -> str:
    named = names_in(value)
    if named != ["none"] and not set(named) <= TRACKERS.keys():
        raise ValueError(f"must be none, or one or more of {', '.join(TRACKERS)}, separated by commas")
    return ",".join(named)


def _gpu_numbers(value: str) -> str:
    if value == "all":
        return value
    numbers = [number.strip() for number in value.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", number) for number in numbers):
        raise ValueError("give all, or numbers separated by commas, such as 0,1,2,3")
    return ",".join(str(int(number)) for number in numbers)


def _different_seeds(value: str) -> str:
    named = [part.strip() for part in value.split(",")] if value.strip() else []
    if not all(part.isascii() and part.isdigit() and len(part) < 20 and int(part) < 2**32 for part in named):
        raise ValueError("must be whole numbers from 0 to 4294967295, separated by commas, such as 1,2,3")
    numbers = [int(part) for part in named]
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise ValueError(f"names {twice} twice; each seed is trained once")
    return ",".join(map(str, numbers))


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank; leave it out for its default")
    return value


def _one_folder(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError("must have at most 100 letters, digits, '.', '_' and '-', and start with a letter or digit")
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.", value, re.IGNORECASE):
        raise ValueError("must not be the name of a Windows device, nor end with a dot: no folder there has it")
    return value


def expand_home(value: Any) -> Any:
    """`value` with `~` replaced by the home folder, which no shell does in a YAML file or after `--flag=`."""
    if not isinstance(value, str | Path) or not str(value).startswith("~"):
        return value
    try:
        return type(value)(Path(value).expanduser())
    except RuntimeError:  # no such user: a later error will name the folder as given
        return value


def _path(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():  # would be the current folder, or one that nobody finds
        raise ValueError("name a folder or file, or leave the setting out")
    return expand_home(value)


def _grader(value: Any) -> Any:
    kind, mark, path = value.partition(":") if isinstance(value, str) else ("", "", "")
    return f"{kind}:{expand_home(path)}" if kind == "python" and mark else expand_home(value)


def _on_or_off(value: Any) -> Any:
    """YAML reads a bare on as true."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _written_date(value: Any) -> Any:
    """Refuse a bare number, which pydantic reads as seconds since 1970."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("must be a date, such as 2026-01-31")


Divergence = Annotated[str, AfterValidator(OneOf(DIVERGENCES))]
OnPolicyDivergence = Annotated[str, AfterValidator(OneOf(ON_POLICY_BETA))]
Named = Annotated[str, AfterValidator(_not_blank)]
ExperimentName = Annotated[str, AfterValidator(_one_folder)]
ModelName = Annotated[str, BeforeValidator(expand_home)]  # on the hub, or a folder
Grader = Annotated[str, BeforeValidator(_grader)]
Place = Annotated[Path, BeforeValidator(_path)]
OptionalPlace = Annotated[Path | None, BeforeValidator(_path)]
Date = Annotated[date, BeforeValidator(_written_date)]
Switch = Annotated[Literal["off", "on"], BeforeValidator(_on_or_off)]

# Comma-separated texts
Arms = Annotated[str, AfterValidator(_known_arms)]
Trackers = Annotated[str, AfterValidator(_known_trackers)]
GpuNumbers = Annotated[str, AfterValidator(_gpu_numbers)]
Seeds = Annotated[str, AfterValidator(_different_seeds)]
Names = Annotated[str, AfterValidator(_none_blank)]
Domains = Annotated[str, AfterValidator(_different)]  # which of them there are, the table of domains knows
