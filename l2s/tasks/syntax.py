"""Whether a program compiles, and its syntax tree."""

from __future__ import annotations

import ast
import warnings
from functools import lru_cache
from threading import Lock

# Answers are graded in several threads, and Python 3.11 counts the depth of the tree that it builds in one place for
# all of them: where a finaliser lets another thread in, `ast.parse` ends in a SystemError.
_one_tree_at_a_time = Lock()

warnings.filterwarnings("ignore", module="<answer>")  # ignore invalid escape sequences in models' programs


@lru_cache(maxsize=64)  # an answer's program is looked at several times, and nesting makes that slow
def syntax_error(source: str) -> SyntaxError | None:
    """Why `source` does not compile, or None if it compiles."""
    try:
        compile(source, "<answer>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error.with_traceback(None)
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error), ("<answer>", 1, 1, ""))
    return None


def program_tree(source: str) -> ast.Module | None:
    """The syntax tree of `source`, or None where it does not compile."""
    return None if syntax_error(source) else syntax_tree(source)


def syntax_tree(source: str) -> ast.Module | None:
    """The syntax tree of `source`, or None where it does not parse; a `return` outside of a function does."""
    try:
        with _one_tree_at_a_time:
            return ast.parse(source, "<answer>")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
