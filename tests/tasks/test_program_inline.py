"""Programs between backticks inside a line, and cut answers whose last piece still compiles."""

from __future__ import annotations

import pytest

from support.doubling import doubles

RIGHT = "def double(x):\n    return 2 * x\n"
WRONG = "def double(x):\n    return 3 * x\n"
LONG = "def double(x):\n    y = 2 * x\n    return y\n\n"

FOUND = [
    "```python def double(x): return 2 * x```", "Here it is: ```python def double(x): return 2 * x```. It doubles.",
    "```def double(x): return 2 * x```", "```py def double(x): return 2 * x ```",
    "```Python3 def double(x): return 2 * x```",
    "```python double = lambda x: 2 * x```", "```python import math```\n```python def double(x): return 2 * x```",
    "- ```python def double(x): return 2 * x```", "> ```python def double(x): return 2 * x```",
    "```python return 2 * x```", "`return 2 * x`", "`def double(x): return 2 * x`", "``def double(x): return 2 * x``",
    "The function is `def double(x): return 2 * x` and it works.", "Use `double = lambda x: 2 * x`.",
    "`def double(x): y = 2 * x; return y`", "Not `def double(x): return 3 * x`, but `def double(x): return 2 * x`.",
    f"Not `def double(x): return 3 * x`.\n```python\n{RIGHT}```",
    f"```python\n{RIGHT}```\nUnlike `def double(x): return 3 * x` it doubles.",
    "```python def double(x):\n    return 2 * x\n```", "```python\ndef double(x):\n    return 2 * x```",
    "```python\ndef double(x):\n    return 2 * x``` This doubles.",
]  # fmt: skip
NOT_FOUND = [
    "`def double(x): return 3 * x`", "The signature `def double(x):` is given.", "It returns `2 * x`.",
    "Call `double(4)` to get 8.",
    "Set `double = 8`.", "I would `return 2 * x` there.", "```python def double(x): y = 2 * x return y```",
]  # fmt: skip


@pytest.mark.parametrize("answer", FOUND)
def test_code_inside_a_line_is_found(answer: str) -> None:
    assert doubles(answer)


@pytest.mark.parametrize("answer", NOT_FOUND)
def test_a_mention_is_no_program(answer: str) -> None:
    assert not doubles(answer)


CUT = {
    "in a line of the copy": RIGHT * 5 + "def double(x):\n    return 2",
    "in its second line": LONG * 3 + "def double(x):\n    y = 2 * x\n    return (",
    "before its result": LONG * 3 + "def double(x):\n    y = 2 * x\n",
    "in a function of one line": "def double(x): return 2 * x\n\n" * 3 + "def double(x): return 2",
    "in a lambda": "double = lambda x: 2 * x\n" * 3 + "double = lambda x: 2",
    "in a test": RIGHT + "\nassert double(6) == 1",
    "in a comment, after a whole revision": WRONG + "\n" + RIGHT + "\n# This function dou",
    "in a call, after a whole revision": WRONG + "\n" + RIGHT + "\nprint(dou",
    "after a helper that is new": "def double(x):\n    return twice(x)\n\ndef twice(x):\n    return 2 * x",
    "after a stub": "def double(x):\n    pass\n\ndef double(x):\n    return 2 * x",
    "in prose": RIGHT + "\nThis function doubles its argu",
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_the_piece_in_which_an_answer_broke_off_does_not_replace_the_program(answer: str) -> None:
    assert doubles(answer, cut=True)
    assert doubles(f"```python\n{answer}", cut=True)


def test_what_was_not_cut_is_read_whole() -> None:
    assert not doubles(RIGHT + WRONG)
    assert doubles(WRONG + RIGHT)
    assert not doubles(f"```python\n{RIGHT}{WRONG}")
