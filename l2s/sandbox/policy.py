"""What crosses into the two processes of a run, as plain data."""

from __future__ import annotations

from typing import TypedDict


class Policy(TypedDict):
    """How the worker confines itself."""

    cpu_seconds: int
    memory_bytes: int  # of address space
    user: int | None  # uid and gid to become; None: stay
    readable: list[str]  # files and folders whose content Landlock leaves readable; empty: no Landlock
    listable: list[str]  # folders that it leaves listable
    syscall_filter: bytes  # classic BPF


class Job(TypedDict):
    """One program and its tests."""

    program: str  # written by a model; the only part that the worker gets
    reference: str  # trusted source; run first, its names are what the tests can use
    names: dict[str, str]  # name in the tests -> name in the program that is called in its place
    tests: str  # trusted source; the program is correct if this raises nothing
    timeout_s: float
