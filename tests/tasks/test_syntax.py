"""Syntax trees of programs, also where answers are graded side by side."""

from __future__ import annotations

import ast
import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from l2s.tasks.syntax import program_tree, syntax_error, syntax_tree

NESTED = "x = " + "[" * 30 + "1" + "]" * 30 + "\n"


class Switch:
    """Garbage whose finaliser lets another thread run, as those of files, locks and processes do."""

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        time.sleep(0)


@pytest.fixture
def garbage_everywhere() -> Iterator[None]:
    """The collector runs after every few allocations."""
    before = gc.get_threshold()
    gc.set_threshold(7)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("garbage_everywhere")
def test_trees_are_built_in_several_threads() -> None:
    def nodes(number: int) -> int:
        Switch()
        tree = syntax_tree(NESTED * (number % 3 + 1))
        return sum(isinstance(node, ast.List) for node in ast.walk(tree)) if tree else -1

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(nodes, range(1000))) == [30 * (number % 3 + 1) for number in range(1000)]


@pytest.mark.parametrize("source", ["def f(:", "x = \0", "(" * 5000 + ")" * 5000, "x = " + "-" * 200_000 + "1"])
def test_what_does_not_parse_has_no_tree(source: str) -> None:
    assert syntax_error(source)
    assert syntax_tree(source) is None
    assert program_tree(source) is None


def test_what_parses_need_not_compile() -> None:
    assert syntax_tree("return 1") is not None
    assert program_tree("return 1") is None
    assert program_tree("def f():\n    return 1\n") is not None
