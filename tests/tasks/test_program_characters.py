"""Characters of a program that no reader sees are repaired; those that a reader sees are the model's own."""

from __future__ import annotations

import pytest

from l2s.tasks.invisible import MARKS, SPACES, visible_source
from support.doubling import doubles

NB = "\u00a0"  # a no-break space


def fenced(program: str) -> str:
    return f"Don't worry, it's simple:\n```python\n{program}\n```\nThat's it."


REPAIRED = {
    "no-break indentation": f"def double(x):\n{NB * 4}return 2 * x",
    "no-break and plain spaces": f"def double(x):\n {NB}{NB} y = x\n    return 2 * y",
    "between tokens": f"def{NB}double(x):\n    return{NB}2\u2009*\u202fx",
    "ideographic indentation": "def double(x):\n\u3000\u3000return 2 * x",
    "beside a string that holds one": f"def double(x):\n{NB * 4}return 2 * x if ord('{NB}') == 160 else 0",
    "beside a long string that holds one": f"def double(x):\n{NB * 4}'''a{NB}b'''\n{NB * 4}return 2 * x",
    "byte order mark": "\ufeffdef double(x):\n    return 2 * x",
    "zero width": "\u200bdef double(x):\u200b\n\u200b    return 2 * x\u2060",
    "inside a name": "def dou\u200bble(x):\n    return 2 * x",
    "direction marks": "\u200edef double(x):\n    return 2 * x\u202c",
    "mark beside a string that holds one": "\ufeffdef double(x):\n    return 2 * x if len('\u200b') == 1 else 0",
    "wide punctuation in a comment": "def double(x):  # 双倍，（x）：\n    '''双倍，（x）：'''\n    return 2 * x",
    "CRLF": "def double(x):\r\n    return 2 * x\r",
    "CRLF and LF": "def double(x):\r\n    y = x\n    return 2 * y",
    "CR CR LF": "def double(x):\r\r\n    return 2 * x\r\r\n",
    "tabs": "def double(x):\n\tif x:\n\t    return 2 * x\n\treturn 0",
}
OWN_ERRORS = {
    "wide brackets": "def double（x）:\n    return 2 * x",
    "wide colon": "def double(x)：\n    return 2 * x",
    "wide comma": "def double(x， y=0):\n    return 2 * x",
    "curly quotes": "def double(x):\n    s = ‘a’\n    return 2 * x",
    "another minus": "def double(x):\n    return x \u2212 (0 - x)",
    "another times": "def double(x):\n    return 2 × x",
    "tab, then spaces": "def double(x):\n\ty = x\n        return 2 * y",
    "spaces, then tab": "def double(x):\n    y = x\n\treturn 2 * y",
    "uneven indentation": f"def double(x):\n{NB * 4}y = x\n{NB * 3}return 2 * y",
}


@pytest.mark.parametrize("program", REPAIRED.values(), ids=REPAIRED)
def test_what_a_reader_does_not_see_is_repaired(program: str) -> None:
    assert doubles(fenced(program))
    assert doubles(program)


@pytest.mark.parametrize("program", OWN_ERRORS.values(), ids=OWN_ERRORS)
def test_what_a_reader_sees_is_the_models_error(program: str) -> None:
    assert not doubles(fenced(program))
    assert not doubles(program)


def test_a_body_alone_and_a_mark_before_the_fence() -> None:
    assert doubles(f"{NB * 4}return 2 * x")
    assert doubles("\ufeff    return 2 * x\n")
    assert doubles("\ufeff```python\ndef double(x):\n    return 2 * x\n```")
    assert doubles(f"The code:\n\n{NB * 4}def double(x):\n{NB * 8}return 2 * x\n")


def test_strings_and_comments_keep_their_characters() -> None:
    for quoted in ("'◯'", '"◯"', "'''◯\n◯'''", '"""◯"""', "'\\'◯'", "# don't ◯"):
        for character in SPACES + MARKS:
            source = f"x = {quoted.replace('◯', character)}\n"
            assert visible_source(source) == source
