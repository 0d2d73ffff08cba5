"""What Python keeps in memory of something."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TRIES = 3


def bytes_held(make: Callable[[], T]) -> tuple[int, T]:
    """Bytes that what `make` returns takes, and the last of it.

    The least of a few tries: the interpreter's own tables grow now and then, whatever is measured.
    """
    held = []
    for _ in range(TRIES):
        gc.collect()
        tracemalloc.start()
        made = make()
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    return min(held), made
