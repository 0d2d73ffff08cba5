"""Values of the standard library that cross between the processes: their parts, and how they are built from them.

The parts are plain data. The reader builds a new value with the library's own type. So no method that a candidate wrote
crosses, and a subclass arrives as the standard type below it.
"""

from __future__ import annotations

import builtins
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Kind = tuple[str, str, Callable[[Any, Any], Any], Callable[[Any, Any], Any]]


def _elements(kind: Any, value: Any) -> list[Any]:
    return list(kind.__iter__(value))


def _pairs(kind: Any, value: Any) -> list[Any]:
    return list(kind.items(value))


def _of_one(kind: Any, parts: Any) -> Any:
    return kind(parts)


def _of_several(kind: Any, parts: Any) -> Any:
    return kind(*parts)


def _plain(kind: Any, parts: Any) -> Any:
    return parts


def _clock(value: Any) -> tuple[Any, ...]:
    offset = value.utcoffset()
    seconds = None if offset is None else offset.total_seconds()
    return value.hour, value.minute, value.second, value.microsecond, seconds


def _with_zone(kind: Any, parts: Any) -> Any:
    import datetime

    *fields, seconds = parts
    return kind(*fields, None if seconds is None else datetime.timezone(datetime.timedelta(seconds=seconds)))


def _counter(kind: Any, parts: Any) -> Any:
    return kind(dict(parts))


# Module and name of a type, its parts, and the value built from them. The first match counts: a datetime is a date.
KINDS: list[Kind] = [
    ("decimal", "Decimal", lambda kind, value: kind.__str__(value), _of_one),
    ("fractions", "Fraction", lambda kind, value: (value.numerator, value.denominator), _of_several),
    ("builtins", "range", lambda kind, value: (value.start, value.stop, value.step), _of_several),
    ("builtins", "memoryview", lambda kind, value: value.tobytes(), _of_one),
    ("array", "array", lambda kind, value: (value.typecode, value.tolist()), _of_several),
    ("collections", "OrderedDict", _pairs, _of_one),
    ("collections", "Counter", _pairs, _counter),
    ("collections", "deque", _elements, _of_one),
    ("collections", "ChainMap", lambda kind, value: dict(value), _plain),
    ("collections", "UserDict", lambda kind, value: value.data, _plain),
    ("collections", "UserList", lambda kind, value: value.data, _plain),
    ("collections", "UserString", lambda kind, value: value.data, _plain),
    (
        "datetime",
        "datetime",
        lambda kind, value: (value.year, value.month, value.day, *_clock(value)),
        _with_zone,
    ),
    ("datetime", "date", lambda kind, value: (value.year, value.month, value.day), _of_several),
    ("datetime", "time", lambda kind, value: _clock(value), _with_zone),
    ("datetime", "timedelta", lambda kind, value: (value.days, value.seconds, value.microseconds), _of_several),
    ("types", "MappingProxyType", lambda kind, value: dict(value), _plain),
]
VIEWS: dict[str, Callable[[Any], Any]] = {
    "dict_keys": lambda parts: dict.fromkeys(parts).keys(),
    "dict_values": lambda parts: dict(enumerate(parts)).values(),
    "dict_items": lambda parts: dict(parts).items(),
}
VIEW_TYPES = {type({}.keys()): "dict_keys", type({}.values()): "dict_values", type({}.items()): "dict_items"}


class Named(tuple):  # type: ignore[type-arg]
    """A named tuple: a tuple whose elements also have names."""

    _fields: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        """The element with that name."""
        if name not in self._fields:
            raise AttributeError(name)
        return self[self._fields.index(name)]


def describe(value: Any) -> tuple[str, Any] | None:
    """Kind and parts of a standard value; None for any other value."""
    own = type(value)
    for module, name, parts, _ in KINDS:
        loaded = sys.modules.get(module)  # a type has no values before its module is imported
        kind = getattr(loaded, name, None)
        if kind is not None and issubclass(own, kind):
            return name, parts(kind, value)
    for view, name in VIEW_TYPES.items():
        if issubclass(own, view):
            return name, _elements(view, value)
    fields = getattr(own, "_fields", None)
    if issubclass(own, tuple) and isinstance(fields, tuple):
        return "namedtuple", (fields, _elements(tuple, value))
    name = getattr(value, "__name__", "")
    if own is type and vars(builtins).get(name) is value:
        return "type", name
    return None


def build(kind: str, parts: Any) -> Any:
    """The value that `describe` took apart.

    Raises:
        ValueError, TypeError, LookupError, AttributeError, ArithmeticError: the parts are not from `describe`.
    """
    if kind in VIEWS:
        return VIEWS[kind](parts)
    if kind == "namedtuple":
        fields, elements = parts
        named = Named(elements)
        named._fields = tuple(fields)
        return named
    if kind == "type":
        found = vars(builtins)[parts]
        if not isinstance(found, type):
            raise TypeError(parts)
        return found
    for module, name, _, make in KINDS:
        if name == kind:
            return make(getattr(__import__(module), name), parts)
    raise LookupError(kind)
