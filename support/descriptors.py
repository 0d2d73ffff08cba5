"""A process with so many open files that the next has a number above 1023, as in a long run of an engine."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

FIRST_FREE = 1_100
NEEDED = FIRST_FREE + 100


@contextmanager
def low_descriptors_taken() -> Iterator[None]:
    """While it lasts, what is opened has a number of at least FIRST_FREE, which `select` does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED:
        pytest.skip(f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, NEEDED) if soft != resource.RLIM_INFINITY else soft, hard))
    try:
        with ExitStack() as opened:
            number = -1
            while number < FIRST_FREE - 1:
                number = os.open(os.devnull, os.O_RDONLY)
                opened.callback(os.close, number)
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
