"""From a row of the user's file to an item. Errors name file, line, field, value and fix."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from l2s.errors import UserError, plain, shown
from l2s.jsonl import Row, fault_of
from l2s.on_disk import Ids, spilled_rows
from l2s.tasks.own.files import FIELDS, Placed, list_names
from l2s.tasks.own.graders import Grader
from l2s.tasks.own.strict_json import parse_json
from l2s.tasks.task import Split
from l2s.tasks.types import Item, Message

NAME = "own"
SOURCE = "own"
ROLES = ("system", "user", "assistant")
LONGEST_ID = 200
TOOL_FIELDS = (
    "tool_calls",
    "tool_call_id",
    "function_call",
)  # without them a turn would mean something else
DOMAIN = re.compile(r"\w[\w-]{0,39}")  # becomes part of file names
MOST_DOMAINS = 20  # each gets its own tables, figures and tests


class RowError(Exception):
    """What is wrong with a row, and the fix."""


def make_items(
    rows: Iterable[Placed], split: Split, grader: Grader, system_prompt: str, taken: Sequence[str]
) -> Sequence[Item]:
    """The items of one file, in its order and on disk; `taken` are domain names that rows must not use.

    In training, all references may be missing even if the grader needs one: the answers are then not graded.

    Raises:
        UserError: a row cannot be used; names its place.
    """
    unlabelled = split == "train" and not any(_is_given(placed.row.get("reference")) for placed in rows)

    def items() -> Iterator[Item]:
        for number, (place, row) in enumerate(rows):
            try:
                yield _item(row, f"{NAME}-{split}-{number:05d}", grader, system_prompt, taken, unlabelled=unlabelled)
            except RowError as wrong:
                raise UserError(f"{place}: {wrong}") from None
            except RecursionError:
                raise UserError(f"{place}: nested too deeply; repair or remove this row") from None

    made = spilled_rows(items())
    if repeated := Ids(_look(item["id"]) for item in made).repeated():
        again, first = repeated[0]
        places = {number: place for number, (place, _) in enumerate(rows) if number in (again, first)}
        id_, before = shown(made[again]["id"]), places[first].rpartition(", ")[2]
        raise UserError(f"{places[again]}: id={id_}: also at {before}; give every row its own id")
    return made


def check_system_prompt(system_prompt: str) -> None:
    """Refuse a system prompt that models or files cannot take; an empty one means none.

    Raises:
        UserError: it is blank, or holds characters that cannot be stored.
    """
    try:
        if system_prompt:
            _text("system_prompt", system_prompt)
    except RowError as wrong:
        raise UserError(str(wrong)) from None


def check_number_of_domains(field: str, items: Sequence[Item]) -> None:
    """Refuse a file with too many values of `domain`.

    Raises:
        UserError: there are too many.
    """
    domains = dict.fromkeys(item["domain"] for item in items)
    if len(domains) > MOST_DOMAINS:
        raise UserError(
            f"{field}: its rows name {len(domains)} domains, of which the report can show {MOST_DOMAINS}; "
            "use fewer values of `domain`, or leave it out"
        )


def _item(
    row: Row, default_id: str, grader: Grader, system_prompt: str, taken: Sequence[str], *, unlabelled: bool
) -> Item:
    messages = _messages(row)
    if system_prompt:
        if messages[0]["role"] == "system":
            raise RowError("messages: has a system message, and --system_prompt gives another; remove one of the two")
        messages = [{"role": "system", "content": system_prompt}, *messages]
    return Item(
        id=_id(row, default_id),
        domain=_domain(row, taken),
        source=SOURCE,
        messages=messages,
        reference=_reference(row, grader, unlabelled=unlabelled),
        meta={"problem": messages[-1]["content"], "row": _further_fields(row)},
    )


def _messages(row: Row) -> list[Message]:
    if row.get("messages") is not None and row.get("prompt") is not None:
        raise RowError("has both `messages` and `prompt`; keep one of them")
    if row.get("prompt") is not None:
        return [{"role": "user", "content": _text("prompt", row["prompt"], hint="; a list of turns is `messages`")}]
    if row.get("messages") is None:
        if null := [name for name in ("prompt", "messages") if name in row]:
            raise RowError(f"{null[0]}: is null; write the question, or remove this row")
        named = f"its fields are {list_names(list(row))}" if row else "the object is empty"
        raise RowError(f"has neither `messages` nor `prompt` ({named}); add one of them")
    turns = _turns_of(row["messages"])
    if not isinstance(turns, list) or not turns:
        raise RowError(f"messages={shown(turns)}: expected a list of turns; a single question is `prompt`")
    messages = [_turn(f"messages[{number}]", turn) for number, turn in enumerate(turns)]
    _check_order([message["role"] for message in messages])
    return messages


def _turns_of(value: Any) -> Any:
    """`value`, or what it holds if it is JSON text: tables and their exports keep a list that way."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError as error:
        raise RowError(
            f"messages={shown(value)}: expected a list of turns, or that list as JSON text ({error}); a single "
            "question is `prompt`"
        ) from None


def _turn(name: str, turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise RowError(f"{name}={shown(turn)}: expected an object with `role` and `content`")
    role = turn.get("role")
    if role not in ROLES:
        raise RowError(f"{name}.role={shown(role)}: must be one of {', '.join(ROLES)}")
    if used := [key for key in TOOL_FIELDS if turn.get(key)]:
        raise RowError(f"{name}.{used[0]}: calls of tools are not supported; write what was called into `content`")
    content = turn.get("content")
    hint = "; join the texts of its parts" if isinstance(content, list) else ""
    return {"role": role, "content": _text(f"{name}.content", content, hint)}


def _check_order(roles: list[str]) -> None:
    """Require an optional system message, then user and assistant turns in alternation, with the user last."""
    if "system" in roles[1:]:
        raise RowError(f"messages[{roles.index('system', 1)}].role='system': only the first turn may be the system's")
    if roles[-1] != "user":
        raise RowError(
            f"messages[{len(roles) - 1}].role={roles[-1]!r}: the last turn must be the user's, to be answered; "
            "remove this turn (an answer that you have belongs in `reference`)"
        )
    turns = roles[1:] if roles[0] == "system" else roles
    for number, role in enumerate(turns):
        if role != ("user", "assistant")[number % 2]:
            place = number + len(roles) - len(turns)
            raise RowError(
                f"messages[{place}].role={role!r}: user and assistant must take turns, the user first; "
                "join or remove turns"
            )


def _text(name: str, value: Any, hint: str = "") -> str:
    if not isinstance(value, str):
        raise RowError(f"{name}={shown(value)}: expected text, found {type(value).__name__}{hint}")
    if fault := fault_of(value):
        raise RowError(f"{name}={shown(value)}: {fault}")
    return value


def _clean(name: str, value: str) -> None:
    """Check a text that may be empty for what tokenizers and files cannot hold."""
    if value.strip() and (fault := fault_of(value)):
        raise RowError(f"{plain(name)}={shown(value)}: {fault}")


def _id(row: Row, default: str) -> str:
    """The id of a row. Ids never become file names, so any printable text is allowed."""
    value = row.get("id")
    if not _is_given(value):
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f"id={shown(value)}: expected text or a whole number, found {type(value).__name__}")
    text = str(value)
    if not text.isprintable() or len(text) > LONGEST_ID:
        raise RowError(f"id={shown(text)}: use at most {LONGEST_ID} printable characters")
    if not text.strip():
        raise RowError(f"id={shown(text)}: is blank; write an id, or leave it out")
    return text


def _look(name: str) -> str:
    """What a reader sees of an id: two that look alike are a mistake, even where their bytes differ."""
    return unicodedata.normalize("NFC", name).strip()


def _domain(row: Row, taken: Sequence[str]) -> str:
    value = row.get("domain")
    if not _is_given(value):
        return NAME
    if not isinstance(value, str) or not DOMAIN.fullmatch(value):
        raise RowError(f"domain={shown(value)}: use at most 40 letters, digits, '_' and '-', or leave it out")
    if value.casefold() in taken:
        raise RowError(f"domain={value!r}: is the name of a domain of this project; give yours another name")
    return value


def _reference(row: Row, grader: Grader, *, unlabelled: bool) -> Any:
    """The reference in the form that the grader takes; None if it takes none."""
    value = row.get("reference")
    if not _is_given(value):
        if grader.needs_reference and not unlabelled:
            raise RowError(
                f"reference: is missing, and own_grader={grader.spec!r} needs one; add it, or set --own_grader none"
            )
        return None
    _check_depth("reference", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise RowError(f"reference={value}: is not a finite number; write the right answer, or leave it out")
    value = _plain(value)
    try:
        return grader.reference(value)
    except ValueError as error:
        raise RowError(f"reference={shown(value)}: {error}") from None


def _check_depth(name: str, value: Any) -> None:
    """Check every text in a reference for characters that cannot be stored."""
    if isinstance(value, str):
        _clean(name, value)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _check_depth(f"{name}[{number}]", part)
    elif isinstance(value, dict):
        for key, part in value.items():
            _clean(name, str(key))
            _check_depth(f"{name}.{key}", part)


def _further_fields(row: Row) -> Row:
    """The row's other fields, for a grader in Python; values that JSON lacks become text."""
    kept: Row = {}
    for name, value in row.items():
        if name not in FIELDS and _is_given(value):
            _clean("a field's name", name)
            _check_depth(name, value)
            kept[name] = _plain(value)
    return kept


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it; a date from a parquet file becomes text."""
    try:
        return json.loads(json.dumps(value, default=str, allow_nan=False))
    except ValueError:
        return str(value)


def _is_given(value: Any) -> bool:
    """Whether a field has a value: null and an empty text count as missing."""
    return value is not None and value != ""
