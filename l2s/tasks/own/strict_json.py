"""Standard JSON: no NaN, and no nesting that is too deep to walk."""

from __future__ import annotations

import json
from typing import Any

from l2s.jsonl import refuse_constant


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
