"""Standard JSON: no NaN, no key twice in an object, and no nesting that is too deep to walk."""

from __future__ import annotations

import json
import re
from typing import Any

from l2s.jsonl import refuse_constant


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these pairs; two values for one key would be two answers."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


DECODER = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=_unique)
LINE_START = re.compile(r"^[ \t]*(?=[{\[])", re.MULTILINE)
LINE_END = re.compile(r"[^\w\n]*(?:\n|$)")
MOST_FAULTS = 20  # in a text: each may be read to its end
OPENING = re.compile(r"[{\[]")
BRACKET = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\]]')
OR = re.compile(r"[\s,;`*]*(?:or|or else|或者?|/)[\s:`*]*", re.IGNORECASE)


def parse_json(text: str) -> Any:
    """The value of `text`.

    Raises:
        ValueError: it is not JSON; says what is wrong.
    """
    try:
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_in_lines(text: str) -> list[str]:
    """The objects and arrays that begin a line of `text`, and after which no word follows on their last, in order.

    Lines that are indented further than one before may be a part of it, even where that one is broken.
    """
    found, end, faults, margin = list[str](), 0, 0, len(text)
    for line in LINE_START.finditer(text):
        if line.end() < end or len(line.group()) > margin or faults == MOST_FAULTS:
            continue
        margin = len(line.group())
        try:
            _, stop = DECODER.raw_decode(text, line.end())
        except (ValueError, RecursionError):
            faults += 1
            continue
        if LINE_END.match(text, stop):
            found.append(text[line.end() : stop])
            end = stop
    return found


def json_in_prose(text: str, kind: type) -> list[str] | None:
    """The objects, or the arrays, that stand anywhere in `text`, in order; None if "or" joins the last two.

    Nothing inside a broken object or array counts, and nothing after one that is never closed.
    """
    found, position, faults = list[tuple[int, int]](), 0, 0
    while faults < MOST_FAULTS and (opening := OPENING.search(text, position)):
        start = opening.start()
        try:
            value, position = DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            faults += 1
            position = _end_of_broken(text, start)
            continue
        if isinstance(value, kind):
            found.append((start, position))
    if len(found) > 1 and OR.fullmatch(text, found[-2][1], found[-1][0]):
        return None
    return [text[start:stop] for start, stop in found]


def _end_of_broken(text: str, start: int) -> int:
    """Where the bracket at `start` closes, or the end of `text`."""
    depth = 0
    for token in BRACKET.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if not depth:
            return token.end()
    return len(text)
