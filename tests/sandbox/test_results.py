"""A program's results get the verdict of plain Python, and an object that equals everything passes nothing."""

from __future__ import annotations

import pytest

from l2s import sandbox
from l2s.tasks import code

# (program's return expression, test)
CASES = [
    # numbers
    ("Decimal('2')", "f(0) == 2"),
    ("Decimal('0.1')", "f(0) == 0.1"),
    ("Decimal('0.5')", "f(0) == 0.5"),
    ("Decimal('1.5')", "abs(f(0) - 1.5) < 1e-6"),
    ("Decimal('NaN')", "f(0) == f(0)"),
    ("[Decimal(1), Decimal('2.50')]", "f(0) == [1, 2.5]"),
    ("Fraction(1, 2)", "f(0) == 0.5"),
    ("Fraction(1, 3)", "abs(f(0) - 0.333333) < 1e-5"),
    ("Fraction(4, 2)", "f(0) == 2"),
    ("Fraction(1, 2)", "f(0) == '1/2'"),
    ("1 + 0j", "f(0) == 1"),
    ("2j", "abs(f(0)) == 2"),
    ("True", "f(0) == 1"),
    ("1", "f(0) is True"),
    ("1.0", "f(0) == 1"),
    ("float('nan')", "f(0) == f(0)"),
    ("float('nan')", "f(0) != f(0)"),
    ("float('inf')", "f(0) == float('inf')"),
    ("-0.0", "f(0) == 0"),
    ("IntEnum('Colour', 'RED GREEN').GREEN", "f(0) == 2"),
    ("IntEnum('Colour', 'RED GREEN').GREEN", "f(0) == 'GREEN'"),
    ("Enum('Colour', 'RED GREEN').GREEN", "f(0) == 2"),
    ("Enum('Colour', 'RED GREEN').GREEN.value", "f(0) == 2"),
    ("type('S', (str,), {})('ab')", "f(0) == 'ab'"),
    ("type('L', (list,), {'__iter__': lambda self: iter('xy')})([1])", "f(0) == [1]"),
    # iterables
    ("(i * i for i in range(3))", "list(f(0)) == [0, 1, 4]"),
    ("(i * i for i in range(3))", "f(0) == [0, 1, 4]"),
    ("(i for i in [3, 1, 2])", "sorted(f(0)) == [1, 2, 3]"),
    ("(i for i in [3, 1, 2])", "sum(f(0)) == 6 and set(f(0)) == {1, 2, 3} and max(f(0)) == 3"),
    ("(c for c in 'abc')", "''.join(f(0)) == 'abc'"),
    ("(i for i in range(2))", "len(f(0)) == 2"),
    ("(i for i in range(0))", "bool(f(0))"),
    ("(1 / (2 - i) for i in range(9))", "next(f(0)) == 0.5"),
    ("(i for i in itertools.count())", "list(zip(f(0), 'ab')) == [(0, 'a'), (1, 'b')]"),
    ("itertools.chain([1], [2])", "tuple(f(0)) == (1, 2)"),
    ("map(str, [1, 2])", "list(f(0)) == ['1', '2']"),
    ("map(str, [1, 2])", "f(0) == ['1', '2']"),
    ("filter(None, [0, 1, 2])", "list(f(0)) == [1, 2]"),
    ("zip([1], [2])", "dict(f(0)) == {1: 2}"),
    ("enumerate('ab')", "list(f(0)) == [(0, 'a'), (1, 'b')]"),
    ("reversed([1, 2])", "list(f(0)) == [2, 1]"),
    ("[map(str, [1])]", "[list(one) for one in f(0)] == [['1']]"),
    ("type('Own', (), {'__iter__': lambda self: iter([1, 2])})()", "list(f(0)) == [1, 2]"),
    ("type('Own', (), {'__getitem__': lambda self, i: [1, 2][i]})()", "f(0) == [1, 2]"),
    ("object()", "list(f(0)) == []"),
    ("range(3)", "list(f(0)) == [0, 1, 2]"),
    ("range(3)", "f(0) == [0, 1, 2]"),
    ("range(3)", "f(0) == range(0, 3) and len(f(0)) == 3 and f(0)[-1] == 2"),
    # collections
    ("{1: 2}.keys()", "f(0) == {1}"),
    ("{1: 2}.keys()", "f(0) == [1]"),
    ("{1: 2}.values()", "list(f(0)) == [2]"),
    ("{1: 2}.values()", "f(0) == [2]"),
    ("{1: 2}.items()", "f(0) == {(1, 2)} and sorted(f(0)) == [(1, 2)]"),
    ("OrderedDict(b=1).keys()", "list(f(0)) == ['b']"),
    ("deque([1, 2])", "f(0) == [1, 2]"),
    ("deque([1, 2])", "list(f(0)) == [1, 2] and f(0)[0] == 1 and f(0) == deque([1, 2])"),
    ("Counter('aab')", "f(0) == {'a': 2, 'b': 1}"),
    ("Counter('aab')", "f(0) == Counter('aba') and f(0)['z'] == 0 and f(0).most_common(1) == [('a', 2)]"),
    ("defaultdict(list, a=[1])", "f(0) == {'a': [1]}"),
    ("OrderedDict([(1, 2), (3, 4)])", "f(0) == {3: 4, 1: 2}"),
    ("OrderedDict([(1, 2), (3, 4)])", "f(0) == OrderedDict([(3, 4), (1, 2)])"),
    ("UserList([1])", "f(0) == [1]"),
    ("UserDict(a=1)", "f(0) == {'a': 1}"),
    ("ChainMap({'a': 1}, {'b': 2})", "f(0) == {'a': 1, 'b': 2}"),
    ("namedtuple('P', 'x y')(1, 2)", "f(0) == (1, 2)"),
    ("namedtuple('P', 'x y')(1, 2)", "f(0).y == 2 and f(0)[0] == 1"),
    ("namedtuple('P', 'x y')(1, 2)", "f(0) == [1, 2]"),
    ("{1, 2}", "f(0) == {2, 1}"),
    ("frozenset([1])", "f(0) == {1}"),
    ("frozenset([1])", "f(0) == [1]"),
    ("b'ab'", "f(0) == b'ab'"),
    ("b'ab'", "f(0) == 'ab'"),
    ("bytearray(b'ab')", "f(0) == b'ab'"),
    ("memoryview(b'ab')", "f(0) == b'ab'"),
    ("array('i', [1, 2])", "f(0) == [1, 2]"),
    ("array('i', [1, 2])", "list(f(0)) == [1, 2] and f(0) == array('i', [1, 2])"),
    ("(1, 2)", "f(0) == [1, 2]"),
    # others
    ("datetime.date(2024, 2, 29)", "f(0) == datetime.date(2024, 2, 29) and f(0).year == 2024"),
    ("datetime.date(2024, 2, 29)", "f(0) == '2024-02-29'"),
    ("datetime.date(2024, 2, 29)", "str(f(0)) == '2024-02-29'"),
    ("datetime.datetime(2024, 2, 29, 1)", "f(0) == datetime.datetime(2024, 2, 29, 1)"),
    ("datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)", "f(0).utcoffset() == datetime.timedelta(0)"),
    ("datetime.timedelta(hours=1)", "f(0).total_seconds() == 3600"),
    ("datetime.time(1, 2)", "f(0) == datetime.time(1, 2)"),
    ("int", "f(0) == int"),
    ("int", "f(0) is str"),
    ("re.match('a', 'a')", "f(0)"),
    ("re.match('a', 'b')", "f(0)"),
    ("re.match('a', 'a')", "f(0) == True"),
    ("len", "f(0)"),
]
IMPORTS = (
    "import datetime, itertools, re\nfrom array import array\nfrom collections import ChainMap, Counter, OrderedDict\n"
    "from collections import UserDict, UserList, defaultdict, deque, namedtuple\nfrom decimal import Decimal\n"
    "from enum import Enum, IntEnum\nfrom fractions import Fraction\n"
)
DIFFERENT_HERE = [  # passes in plain Python, but not here, and why
    ("type('Own', (), {'__eq__': lambda self, other: True})()", "f(0) == 1"),  # its own __eq__
    ("type('Own', (), {})()", "f(0)"),  # its own truth
]


@pytest.fixture(scope="module")
def confined() -> sandbox.Backend:
    return sandbox.backend()


def verdict(confined: sandbox.Backend, returned: str, test: str) -> sandbox.Outcome:
    program = f"{IMPORTS}\ndef f(x): return {returned}\n"
    return sandbox.run_tests(
        confined, program, reference=IMPORTS, names={"f": "f"}, tests=f"assert {test}", timeout_s=20
    )


def in_plain_python(returned: str, test: str) -> bool:
    namespace: dict[str, object] = {}
    exec(f"{IMPORTS}\ndef f(x): return {returned}\n", namespace)
    try:
        exec(f"assert {test}", namespace)
    except Exception:
        return False
    return True


def test_results_of_standard_types_get_the_verdict_of_plain_python(confined: sandbox.Backend) -> None:
    """All in one run; more than 50 of these tests hold in plain Python, and more than 20 do not."""
    expected = [in_plain_python(returned, test) for returned, test in CASES]
    assert sum(expected) > 50
    assert len(expected) - sum(expected) > 20
    program = IMPORTS + "".join(f"\ndef f{i}(x): return {returned}" for i, (returned, _) in enumerate(CASES))
    tests = "seen = []\n"
    for i, (_, test) in enumerate(CASES):
        call = test.replace("f(0)", f"f{i}(0)")
        tests += f"try:\n    assert {call}\n    seen.append(True)\nexcept Exception:\n    seen.append(False)\n"
    tests += f"pairs = enumerate(zip(seen, {expected}, strict=True))\n"
    tests += "raise ValueError([i for i, (a, b) in pairs if a != b])"
    names = {f"f{i}": f"f{i}" for i in range(len(CASES))}
    outcome = sandbox.run_tests(confined, program, reference=IMPORTS, names=names, tests=tests, timeout_s=30)
    different = outcome.detail.rpartition("ValueError: ")[2]
    assert different == "[]", [CASES[int(index)] for index in different.strip("[]").split(",")]


@pytest.mark.parametrize(("returned", "test"), DIFFERENT_HERE)
def test_what_a_program_says_of_its_own_types_is_not_believed(
    confined: sandbox.Backend, returned: str, test: str
) -> None:
    assert in_plain_python(returned, test)
    assert verdict(confined, returned, test).status == "wrong"


EQUAL = (
    "    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
    "    def __lt__(self, other): return True\n    __gt__ = __le__ = __ge__ = __lt__\n"
    "    def __hash__(self): return hash(WANTED) if WANTED.__hash__ else 0\n"
    "    def __iter__(self): return iter([self] * 3)\n"
    "    def __bool__(self): return True\n    def __contains__(self, one): return True\n"
    "    def __len__(self): return 3\n    def __sub__(self, other): return self\n    __rsub__ = __add__ = __sub__\n"
    "    def __abs__(self): return self\n    def __instancecheck__(self, one): return True\n"
    "    @property\n    def __class__(self): return type(WANTED)\n"
)
BASES = ["object", "int", "float", "str", "bytes", "list", "tuple", "dict", "set", "frozenset", "complex"]
BASES += ["Decimal", "Fraction", "deque", "Counter", "OrderedDict", "UserList", "datetime.timedelta"]


@pytest.mark.parametrize("base", BASES)
def test_an_object_that_is_equal_to_everything_passes_nothing(confined: sandbox.Backend, base: str) -> None:
    for expected in (7, "seven", [7, 7, 7]):
        program = f"{IMPORTS}\nWANTED = {expected!r}\nclass Equal({base}):\n{EQUAL}\ndef f(x): return Equal()\n"
        program += "def g(x): return [Equal()] * 3\ndef h(x): return (Equal() for _ in range(3))\n"
        tests = (
            f"seen, y = [], {expected!r}\nfor one in (f, g, h):\n"
            "  for attempt in (lambda: one(0) == y, lambda: y == one(0), lambda: not one(0) != y, \n"
            "      lambda: y in one(0), lambda: list(one(0)) == list(y), lambda: abs(one(0) - 7) < 1e-6, \n"
            "      lambda: list(one(0)) == [y] * 3, lambda: set(one(0)) == {y}):\n"
            "    try: seen.append(attempt() is True)\n    except Exception: pass\n"
            "raise ValueError(any(seen))"
        )
        outcome = sandbox.run_tests(
            confined, program, reference=IMPORTS, names={name: name for name in "fgh"}, tests=tests, timeout_s=20
        )
        assert outcome.detail.endswith("ValueError: False"), (expected, outcome)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def f(x):\n    yield 1\n    raise KeyError(x)", "raised"),
        ("def f(x):\n    while True: yield 1", "timeout"),
        ("def f(x):\n    yield 1\n    while True: pass", "timeout"),
        ("def f(x):\n    import os\n    yield 1\n    os._exit(0)", "crashed"),
        ("def f(x):\n    yield 'x' * (8 << 20)", "resource_limit"),
        ("class E:\n    def __iter__(self): return 5\ndef f(x): return E()", "raised"),
    ],
)
def test_a_generator_fails_where_it_fails(confined: sandbox.Backend, program: str, status: str) -> None:
    outcome = sandbox.run_tests(
        confined, program, reference="", names={"f": "f"}, tests="assert list(f(0)) == [1]", timeout_s=0.5
    )
    assert outcome.status == status
    assert status in code.STATUSES


def test_arguments_may_be_of_standard_types_too(confined: sandbox.Backend) -> None:
    program = "def f(x): return type(x).__name__"
    tests = (
        "for one in (Decimal(1), range(2), deque([1]), datetime.date(2024, 1, 1)): assert f(one) == type(one).__name__"
    )
    outcome = sandbox.run_tests(confined, program, reference=IMPORTS, names={"f": "f"}, tests=tests, timeout_s=20)
    assert outcome == sandbox.Outcome("correct")
