"""The restricted serialisation between the processes: plain data, and nothing that could run code.

A value is one byte for its type, then its content: numbers in hexadecimal up to `;`, text and bytes as length, `:` and
content, containers as length, `:` and elements. A subclass is sent as the plain type below it, with the content that
the plain type's own methods see, so no method that a candidate wrote reaches the tester. Other values are described by
a kind and its parts, or stay where they are and get a number. (Importing the package json takes longer than a run.)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Refer = Callable[[Any], tuple[int, str]]
    Resolve = Callable[[int, str], Any]
    Describe = Callable[[Any], tuple[str, Any] | None]
    Build = Callable[[str, Any], Any]

CONTAINERS: dict[bytes, Any] = {b"l": list, b"t": tuple, b"e": set, b"z": frozenset, b"d": dict}
BYTES: dict[bytes, Any] = {b"b": bytes, b"a": bytearray}
CONSTANTS = {b"N": None, b"T": True, b"F": False}
HEADER_BYTES = 4  # a message is its length, big-endian, and its value


class Reference:
    """A part of a described value that must be sent as a number, whatever `describe` would say about it."""

    def __init__(self, value: Any) -> None:
        self.value = value


NEVER_DESCRIBED = {type(None), bool, int, float, complex, str, *CONTAINERS.values(), *BYTES.values(), Reference}


def dumps(value: Any, refer: Refer | None = None, describe: Describe | None = None) -> bytes:
    """`value` as bytes.

    `describe` returns kind and parts of a value that is not exactly of a plain type. Values for which it returns None
    are sent as plain data, or else `refer` gives them a number and a type name.

    Raises:
        TypeError: something is not plain data and `refer` is None.
        RecursionError: the value is nested too deeply, or contains itself.
    """
    parts: list[bytes] = []
    _write(value, parts, refer, describe)
    return b"".join(parts)


def _write(value: Any, parts: list[bytes], refer: Refer | None, describe: Describe | None) -> None:
    described = describe(value) if describe and type(value) not in NEVER_DESCRIBED else None
    if described:
        parts.append(b"k")
        _write(described, parts, refer, describe)
    elif value is None or value is True or value is False:
        parts.append({None: b"N", True: b"T", False: b"F"}[value])
    elif isinstance(value, int):
        parts.append(b"i%x;" % value)
    elif isinstance(value, float):
        parts.append(b"f%s;" % float.hex(value).encode())
    elif isinstance(value, str):
        _write_bytes(b"s", str.encode(value, "utf-8", "surrogatepass"), parts)
    elif isinstance(value, bytes):
        _write_bytes(b"b", bytes.__getitem__(value, slice(None)), parts)  # bytes() would ask a __bytes__
    elif isinstance(value, bytearray):
        _write_bytes(b"a", bytes(bytearray.__getitem__(value, slice(None))), parts)
    elif isinstance(value, complex):
        real, imaginary = complex.__getnewargs__(value)  # type: ignore[attr-defined]
        parts.append(b"c%s;%s;" % (float.hex(real).encode(), float.hex(imaginary).encode()))
    else:
        _write_container(value, parts, refer, describe)


def _write_bytes(tag: bytes, content: bytes, parts: list[bytes]) -> None:
    parts.append(b"%s%d:" % (tag, len(content)))
    parts.append(content)


def _write_container(value: Any, parts: list[bytes], refer: Refer | None, describe: Describe | None) -> None:
    for tag, kind in CONTAINERS.items():
        if isinstance(value, kind):
            pairs = dict.items(value) if tag == b"d" else ()
            elements = [part for pair in pairs for part in pair] or list(kind.__iter__(value))
            parts.append(b"%s%d:" % (tag, len(elements)))
            for element in elements:
                _write(element, parts, refer, describe)
            return
    value = value.value if type(value) is Reference else value
    if refer is None:
        raise TypeError(f"a {type(value).__name__}")
    number, name = refer(value)
    parts.append(b"o%x;" % number)
    _write(name, parts, None, None)


def loads(data: bytes, resolve: Resolve | None = None, build: Build | None = None) -> Any:
    """The value that `dumps` encoded.

    `resolve` turns number and type name of an object into a value, `build` the kind and parts of a described value.

    Raises:
        ValueError, TypeError, LookupError: the data is not from `dumps`.
        RecursionError: the data is nested too deeply.
        Exception: whatever `resolve` or `build` raises.
    """
    reader = _Reader(data, resolve, build)
    value = reader.value()
    if reader.position != len(data):
        raise ValueError("something follows the value")
    return value


class _Reader:
    def __init__(self, data: bytes, resolve: Resolve | None, build: Build | None) -> None:
        self.data = data
        self.position = 0
        self._resolve = resolve
        self._build = build

    def value(self) -> Any:
        """Read one value."""
        tag = self._take(1)
        if tag in CONSTANTS:
            return CONSTANTS[tag]
        if tag == b"i":
            return int(self._until(b";"), 16)
        if tag == b"f":
            return self._float()
        if tag == b"c":
            return complex(self._float(), self._float())
        if tag == b"o" and self._resolve:
            return self._resolve(int(self._until(b";"), 16), str(self.value()))
        if tag == b"k" and self._build:
            kind, parts = self.value()
            return self._build(kind, parts)
        length = int(self._until(b":"))
        if length < 0:
            raise ValueError("a negative length")
        if tag in CONTAINERS:
            elements = [self.value() for _ in range(length)]
            return CONTAINERS[tag](zip(elements[::2], elements[1::2], strict=True) if tag == b"d" else elements)
        content = self._take(length)
        return content.decode("utf-8", "surrogatepass") if tag == b"s" else BYTES[tag](content)

    def _float(self) -> float:
        return float.fromhex(self._until(b";").decode())

    def _until(self, mark: bytes) -> bytes:
        end = self.data.index(mark, self.position)
        content = self.data[self.position : end]
        self.position = end + 1
        return content

    def _take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.data):
            raise ValueError("the data ends too early")
        content = self.data[self.position : end]
        self.position = end
        return content
