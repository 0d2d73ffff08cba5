"""The data that enters the two processes of a run, as plain data."""

from __future__ import annotations

from typing import TypedDict


class Policy(TypedDict):
    """How the worker confines itself."""

    cpu_seconds: int
    memory_bytes: int  # bytes of address space
    user: int | None  # uid and gid to become; None: stay
    readable: list[str]  # files and folders that stay readable under Landlock; empty: no Landlock
    listable: list[str]  # folders that stay listable
    syscall_filter: bytes  # classic BPF


class Job(TypedDict):
    """One program and its tests."""

    program: str  # written by a model; the only part that reaches the worker
    reference: str  # trusted source; runs first, and the tests can use its names
    names: dict[str, str]  # name in the tests -> name in the program that is called instead
    tests: str  # trusted source; the program is correct if this raises nothing
    timeout_s: float
