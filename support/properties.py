"""Property tests that are the same on every run, and the texts that they are tried on.

Without hypothesis (extra `dev`) the tests that import this module are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed; it is in the extra `dev`")

from hypothesis import given, settings, strategies

st: Any = strategies

Test = TypeVar("Test", bound=Callable[..., None])

# Parts of answers on which graders decide, and characters that programs trip over.
FRAGMENTS = (
    "####", "#### 1,234", "\\boxed{", "}", "\\frac{1}{2}", "$", "%", "1{,}234", "-", "\u2212", "\u2013", "18", "1e5",
    "0.5", "\u0661\u0662", "\uff11\uff18", "\u00bd", "\u00b2", "The answer is ", "the answer is not ", "答案：",
    "故选 B", "(B)", "A", "A, B", "B.", "<think>", "</think>", "<|channel|>final<|message|>", "<|end|>", "```",
    "```python\n", "```json\n", "def add(a, b):\n", "    return a + b\n", "return", '{"a": 1}', '{"a": ', "[" * 50,
    "null", "NaN", "{'a': 1}",
    "Answer:", "disk full", "no", "not", "because", "\n", "\r\n", "\t", " ", "\u2028", "\x85", "\u3000", "\x00",
    "\x1b[31m",
    "\u202e", "\u200f", "\ufeff", "\ud800", "\udfff", "e\u0301", "\U0001f600", "|", "**", "`", "~~~", "---", ". ", "? ",
)  # fmt: skip
CHARACTERS: Any = st.characters()  # of all kinds, halves of surrogate pairs included
ANSWERS: Any = st.lists(st.sampled_from(FRAGMENTS) | st.text(CHARACTERS, max_size=8), max_size=14).map("".join)
BLANK: Any = st.text(" \n\t\r", max_size=6)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(CHARACTERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(CHARACTERS, max_size=4), inner, max_size=3),
    max_leaves=6,
)


def holds(examples: int = 150, **strategies: Any) -> Callable[[Test], Test]:
    """Run a test with `examples` values of each strategy, which are always the same."""
    fixed = settings(derandomize=True, deadline=None, database=None, max_examples=examples)

    def decorate(test: Test) -> Test:
        decorated: Test = fixed(given(**strategies)(test))
        return decorated

    return decorate
