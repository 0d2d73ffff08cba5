"""JSON objects with a checksum of their own: a byte that changed on the disk is seen when the object is read.

A seal finds accidents. It is no signature: whoever changes a file on purpose can write its seal too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2s.durable import write_text_atomic
from l2s.jsonl import Row, require_file

SEAL = "seal"


def seal(value: Mapping[str, Any]) -> Row:
    """`value` with its checksum in the field `seal`."""
    plain: Row = json.loads(json.dumps(value))
    plain.pop(SEAL, None)
    return plain | {SEAL: _checksum(plain)}


def unseal(value: Any) -> Row:
    """The object without its seal; one that has none is taken as it is, because older versions wrote it.

    Raises:
        ValueError: it is no object, or not what was sealed.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    plain = {name: part for name, part in value.items() if name != SEAL}
    if SEAL in value and value[SEAL] != _checksum(plain):
        raise ValueError("its checksum does not match")
    return plain


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` with its seal, so that a reader sees the old file or the whole new one."""
    write_text_atomic(path, json.dumps(seal(value), indent=2, ensure_ascii=False) + "\n")


def read_sealed(path: Path) -> Row:
    """The object that `write_sealed` wrote.

    Raises:
        FileNotFoundError, PermissionError: there is no such file, or this user may not read it.
        ValueError: it is damaged; says how.
    """
    try:
        require_file(path)
        return unseal(json.loads(path.read_bytes().decode("utf-8")))
    except (FileNotFoundError, PermissionError):  # nothing is wrong with what it holds
        raise
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None


def _checksum(value: Row) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
