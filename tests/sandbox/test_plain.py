"""The serialisation: all plain data survives, nothing else passes, broken data is refused."""

from __future__ import annotations

import collections
import enum
import math
from typing import Any, NamedTuple

import pytest

from l2s.sandbox.child.plain import dumps, loads


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 1 << 70, -(10**5000), 0.1, -0.0, 1e308, float("inf"), 2 + 3j, "", "ß;:汉\0", "\ud800",
        b"\x00;", bytearray(b"ab"), [], [1, [2, []]], (), (1,), set(), {1, "a"}, frozenset({(1, 2)}),
        {}, {"a": [1], 2: None, (3,): {4: 5}},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_plain_data_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    back = loads(dumps(value))
    assert back == value
    assert type(back) is type(value)


def test_what_equality_does_not_see_survives_too() -> None:
    assert math.isnan(loads(dumps(math.nan)))
    assert math.copysign(1, loads(dumps(-0.0))) == -1
    assert [type(one) for one in loads(dumps([1, 1.0, True]))] == [int, float, bool]
    assert list(loads(dumps({"b": 1, "a": 2}))) == ["b", "a"]


class Always(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Always(7), 7),
        (Colour.RED, 3),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (Point(1, 2), (1, 2)),
    ],
    ids=["int", "enum", "Counter", "OrderedDict", "namedtuple"],
)
def test_a_subclass_arrives_as_the_plain_type_below_it(value: Any, plain: Any) -> None:
    back = loads(dumps(value))
    assert back == plain
    assert type(back) is type(plain)


def test_an_object_is_named_and_never_sent() -> None:
    held: list[object] = []

    def refer(value: object) -> tuple[int, str]:
        held.append(value)
        return len(held) - 1, type(value).__name__

    sent = dumps([1, range(3)], refer)
    assert loads(sent, lambda number, name: (number, name)) == [1, (0, "range")]
    with pytest.raises(TypeError, match="a range"):
        dumps(range(3))


@pytest.mark.parametrize(
    "data",
    [b"", b"X", b"i12", b"i;", b"izz;", b"f;", b"s5:abc", b"s-1:abc", b"l2:N", b"l-1:", b"l99999999999:", b"NN",
     b"d1:N", b"d2:l0:N", b"e1:l0:", b"o1;s1:x", b"s1:\xff", b"\x80\x04N."],
)  # fmt: skip
def test_broken_data_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        loads(data)


def test_data_that_is_too_deep_is_refused() -> None:
    knot: list[object] = []
    knot.append(knot)
    with pytest.raises(RecursionError):
        dumps(knot)
    with pytest.raises(RecursionError):
        loads(b"l1:" * 100_000 + b"N")
