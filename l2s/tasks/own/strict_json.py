"""Standard JSON: no NaN, and no nesting that is too deep to walk."""

from __future__ import annotations

import json
import re
from typing import Any

from l2s.jsonl import refuse_constant

DECODER = json.JSONDecoder(parse_constant=refuse_constant)
LINE_START = re.compile(r"^[ \t]*(?=[{\[])", re.MULTILINE)
LINE_END = re.compile(r"[^\w\n]*(?:\n|$)")
MOST_FAULTS = 20  # in a text: each may be read to its end


def parse_json(text: str) -> Any:
    """The value of `text`.

    Raises:
        ValueError: it is not JSON; says what is wrong.
    """
    try:
        return json.loads(text, parse_constant=refuse_constant)
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
