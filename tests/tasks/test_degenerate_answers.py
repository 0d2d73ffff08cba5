"""Answers that repeat one piece of text: the graders in this process look at each part of them a few times at most.

What they do is counted, not timed: a slow machine must not fail a test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from l2s.tasks.final_number import final_number
from l2s.tasks.program import extract_program

PROMPT = 'def f(x):\n    """doc"""\n'
PIECES = [
    "\n", "  \n", "x = 1\n", "lambda:", "<|channel|>final<|message|>", "Question 1: ", "(", "#### ", "<think>",
    "```\n", "```a\n", "```\nx\n```\n", '```\n"""\n', "# ```\n", "~~~\n", "@a\n", "    # c\n\n", "\\boxed{",
]  # fmt: skip


def calls_of(read: Callable[[str], object], text: str) -> int:
    """Calls of Python and built-in functions while `read` reads `text`."""
    count = 0

    def see(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(see)
    try:
        read(text)
    finally:
        sys.setprofile(None)
    return count


def program_of(text: str) -> str | None:
    return extract_program(text, entry_point="f", prompt=PROMPT)


@pytest.mark.parametrize("read", [final_number, program_of])
@pytest.mark.parametrize("piece", PIECES, ids=ascii)
def test_twice_the_text_is_not_four_times_the_work(piece: str, read: Callable[[str], object]) -> None:
    short, long = (calls_of(read, piece * size) for size in (150, 300))
    assert long < 3 * short + 2000


def test_many_invented_turns_without_a_number_are_passed_over_once() -> None:
    assert final_number("<|channel|>final<|message|>" * 2000) is None
