"""The restricted serialisation between tester and worker: plain data as JSON, and nothing that could run code.

Scalars and lists stand for themselves, other plain types are one-key objects such as {"tuple": [1, 2]}. A subclass is
sent as the plain type below it, so no method that a candidate wrote ever reaches the tester.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BIG_INT = 1 << 63  # from here on an int is sent in hexadecimal: exact, and without the limit on decimal digits


def encode(value: Any, refer: Callable[[Any], Any]) -> Any:
    """`value` as JSON data; `refer` says how something that is not plain data is named.

    Raises:
        RecursionError: the value is nested too deeply, or contains itself.
    """
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if -BIG_INT < value < BIG_INT else {"int": hex(value)}
    if isinstance(value, list):
        return [encode(element, refer) for element in value]
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(element, refer) for element in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, refer), encode(held, refer)] for key, held in value.items()]}
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__: value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    return {"object": refer(value)}


def decode(data: Any, resolve: Callable[[Any], Any]) -> Any:
    """The value that `encode` was given; `resolve` turns the name of an object back into something.

    Raises:
        ValueError, TypeError: this is nothing that `encode` writes.
        RecursionError: the data is nested too deeply.
    """
    if isinstance(data, list):
        return [decode(element, resolve) for element in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise ValueError("expected one type name")
    [(kind, content)] = data.items()
    if kind == "object":
        return resolve(content)
    if kind == "dict":
        return {decode(key, resolve): decode(held, resolve) for key, held in content}
    if kind in CONTAINERS:
        return CONTAINERS[kind](decode(element, resolve) for element in content)
    return SCALARS[kind](content)


CONTAINERS: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
SCALARS: dict[str, Callable[[Any], Any]] = {
    "int": lambda digits: int(digits, 16),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*parts),
}
