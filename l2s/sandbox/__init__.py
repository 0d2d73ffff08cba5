"""Runs code that a model wrote: confined, tested from outside, and killed afterwards.

`backend()` says how this machine confines programs (tried once), `check()` fails early where it cannot, and `run_tests`
is one run.
"""

from __future__ import annotations

import os
from functools import cache
from typing import get_args

from l2s.errors import UserError
from l2s.sandbox.backends import Backend, Name, make_backend
from l2s.sandbox.runs import Outcome, SandboxError, run_tests

__all__ = ["Backend", "Outcome", "SandboxError", "backend", "check", "probe", "run_tests"]

CHOICE = "L2S_SANDBOX"  # environment variable that forces a backend
REMEDY = (
    "Model-written code is not run without a sandbox: install bubblewrap (the package of that name in every Linux "
    "distribution) and allow user namespaces, or use a kernel with Landlock and seccomp (Linux 5.13 or newer)"
)


def backend() -> Backend:
    """The backend that L2S_SANDBOX names, else the first that works: bubblewrap, then landlock.

    Raises:
        UserError: no backend works; gives the reason for each, and the fix.
    """
    return _first(os.environ.get(CHOICE))


def check() -> None:
    """Raise the UserError of `backend()` if there is no backend; a run that will grade code calls this first."""
    backend()


@cache
def _first(choice: str | None) -> Backend:
    names: tuple[Name, ...] = tuple(name for name in get_args(Name) if choice in (None, "", name))
    if not names:
        raise UserError(f"{CHOICE}={choice}: no such sandbox; allowed: {', '.join(get_args(Name))}")
    reasons = []
    for name in names:
        try:
            return probe(name)
        except UserError as error:
            reasons.append(str(error))
    raise UserError(f"sandbox: {'; '.join(reasons)}. {REMEDY}")


def probe(name: Name) -> Backend:
    """Make the backend called `name` and run a program in it.

    Raises:
        UserError: it cannot be used here; says why.
    """
    candidate = make_backend(name)
    try:
        outcome = run_tests(
            candidate,
            "def double(x): return 2 * x",
            reference="",
            names={"double": "double"},
            tests="assert double(21) == 42",
            timeout_s=30,
        )
    except (SandboxError, OSError) as error:
        raise UserError(f"{name}: {error}".splitlines()[-1]) from None
    if outcome.status != "correct":
        raise UserError(f"{name}: a first program ended as {outcome.status} {outcome.detail}")
    return candidate
