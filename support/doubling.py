"""An answer to a small problem, run in this process: does its program double a number?"""

from __future__ import annotations

from l2s.tasks.program import extract_program

PROMPT = 'def double(x):\n    """Return x doubled."""\n'


def doubles(answer: str, *, cut: bool = False) -> bool:
    """Whether the program in an answer to PROMPT doubles 4."""
    namespace: dict[str, object] = {}
    try:
        exec(extract_program(answer, entry_point="double", prompt=PROMPT, cut=cut) or "", namespace)
    except (AssertionError, SyntaxError, NameError):
        return False
    double = namespace.get("double")
    return callable(double) and double(4) == 8
