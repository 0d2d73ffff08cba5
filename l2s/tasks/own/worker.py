"""Runs a user's grader: python worker.py FILE.py FUNCTION. Each JSON line in is a call, each JSON line out its result.

Output of the user's code goes to stderr, so it cannot mix with the results. Imports nothing from l2s.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load(path: str, name: str) -> tuple[Callable[..., Any], bool]:
    """The function, and whether it takes the row as well."""
    sys.path[0] = str(Path(path).parent)  # replaces the folder of this file
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and pickle look modules up there
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise AttributeError(f"the file defines no function {name}")
    return function, takes(function, 3)


def takes(function: Callable[..., Any], number: int) -> bool:
    """Whether a function can be called with `number` positional arguments."""
    try:
        inspect.signature(function).bind(*range(number))
    except TypeError:
        return False
    return True


def plain(score: Any) -> Any:
    """The returned score as a float, or a description of any other value. Numbers of numpy and torch have `item`."""
    if not isinstance(score, bool | int | float) and callable(getattr(score, "item", None)):
        score = score.item()
    if isinstance(score, bool | int | float) and score == score and abs(score) != float("inf"):
        return score
    return repr(score)[:100]


def main(path: str, name: str) -> None:
    """Load, say so, and answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends l2s, which ends this process's input
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(answer: dict[str, Any]) -> None:
        output.write(json.dumps(answer) + "\n")
        output.flush()

    try:
        function, takes_row = load(path, name)
    except BaseException as error:
        reply({"error": f"loading it raised {type(error).__name__}: {error}"})
        return
    reply({"score": None})
    for line in sys.stdin:
        call = json.loads(line)
        arguments = [call["response"], call["reference"], *([call["row"]] if takes_row else [])]
        try:
            reply({"score": plain(function(*arguments))})
        except BaseException as error:
            reply({"error": f"it raised {type(error).__name__}: {error}"})


if __name__ == "__main__":
    main(*sys.argv[1:3])
