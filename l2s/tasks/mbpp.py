"""MBPP's problems: read from the user's folder or the hub, full or sanitized, and checked field by field."""

from __future__ import annotations

import ast
import re
from typing import Any

from l2s import hub
from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown
from l2s.jsonl import Row, checked_field, numbered_rows
from l2s.tasks.program_names import defined_names
from l2s.tasks.syntax import program_tree

HUB_NAME = "google-research-datasets/mbpp"
TRAINING_IDS = range(601, 975)  # task ids of MBPP's own training split


def training_problems(config: ExperimentConfig) -> list[Row]:
    """MBPP's training problems, ordered by their task ids, which are numbers.

    Each has `task_id`, `text`, `code` and `test_list`, whatever the source calls them.

    Raises:
        UserError: the source is not available, or a row lacks a field; the message names file, line and field.
    """
    problems: dict[int, Row] = {}
    places: dict[int, str] = {}
    for place, row in _placed_rows(config):
        problem = _problem(row, place)
        number = problem["task_id"]
        if number in problems:
            raise UserError(
                f"{place}: the field 'task_id' is {row['task_id']!r}, also at {places[number]}; remove one of the rows"
            )
        problems[number], places[number] = problem, place.rpartition(", ")[2]
    return [problems[number] for number in sorted(problems) if number in TRAINING_IDS]


def _problem(row: Row, place: str) -> Row:
    """`row` with a number for its task id and the sanitized set's `prompt` as its `text`."""
    try:
        number = _task_number(checked_field(row, "task_id", int | str, place), place)
        text = checked_field(row, "text" if "text" in row else "prompt", str, place, missing="text")
        checked_field(row, "code", str, place)
        tests = checked_field(row, "test_list", list, place)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not tests or not all(isinstance(test, str) for test in tests):
        raise UserError(
            f"{place}: the field 'test_list' must hold at least one assert, as text; repair or remove this row"
        )
    return row | {"task_id": number, "text": text}


def _task_number(task_id: int | str, place: str) -> int:
    """The number in a task id such as 601, "601" or "MBPP/601"."""
    found = re.search(r"(?<!\d)(\d{1,9})\s*$", str(task_id), re.ASCII)
    if found is None:
        raise UserError(
            f"{place}: the field 'task_id' is {shown(task_id)}; it needs a number, such as 601 or 'MBPP/601'"
        )
    return int(found[1])


def _placed_rows(config: ExperimentConfig) -> list[tuple[str, Row]]:
    """The rows, each with its place for errors: file and line, or data set and row."""
    if config.data_dir is None:
        return [(f"hub dataset {HUB_NAME}, row {number}", row) for number, row in enumerate(_hub_rows(), start=1)]
    folder, file = f"data_dir={str(config.data_dir)!r}", config.data_dir / "mbpp" / "mbpp.jsonl"
    try:
        return [(f"{folder}: {file}, line {number}", row) for number, row in numbered_rows(file)]
    except FileNotFoundError:
        raise UserError(
            f"{folder}: there is no {file}; put MBPP there, or leave --data_dir and L2S_DATA unset to fetch {HUB_NAME} "
            "from the hub"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: {file} cannot be read ({error.strerror}); give the file itself") from None
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from None


def _hub_rows() -> list[Row]:
    """MBPP's training split from the hub; every failure there leaves the user the same three ways out."""
    try:
        return hub.dataset_rows(HUB_NAME, "full", "train")
    except hub.HubError as error:
        raise UserError(
            f"code_train_source='mbpp': cannot fetch {HUB_NAME} from the hub ({error}); give it access to the "
            "network, set HF_ENDPOINT to a mirror, or set --data_dir (or L2S_DATA) to a folder with mbpp/mbpp.jsonl"
        ) from None


def tests_of(problem: dict[str, Any]) -> str:
    """All tests of a problem as one program: its imports, its prepared objects, its asserts."""
    imports = problem.get("test_imports") or []
    parts = [*([imports] if isinstance(imports, str) else imports), problem.get("test_setup_code") or ""]
    parts += [*problem["test_list"], *(problem.get("challenge_test_list") or ())]
    return "\n".join(parts).replace("\r\n", "\n")


def tested_names(problem: dict[str, Any]) -> list[str]:
    """The names of the reference that the asserts call, the outermost call first.

    Raises:
        ValueError: reference or tests do not compile, or the tests call nothing of the reference.
    """
    reference, tests = program_tree(problem["code"]), program_tree(tests_of(problem))
    if reference is None or tests is None:
        raise ValueError(f"mbpp-{problem['task_id']}: its reference or its tests do not compile")
    ours = defined_names(reference)
    calls = [node.func for node in ast.walk(tests) if isinstance(node, ast.Call)]
    names = [function.id for function in calls if isinstance(function, ast.Name) and function.id in ours]
    if not names:
        raise ValueError(f"mbpp-{problem['task_id']}: its tests call nothing that its reference defines")
    return list(dict.fromkeys(names))
