"""The exception for errors that a user can fix: what is wrong, with which value, and what to do."""

from __future__ import annotations

from importlib.util import find_spec


class UserError(ValueError):
    """A problem the user can fix. The command line prints its message as one line and exits with 2."""


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Require the packages of an optional extra before anything starts; nothing is imported.

    Raises:
        UserError: a package is missing; says how to install it.
    """
    if find_spec(package) is None:
        raise UserError(
            f"{purpose} needs {package}, which is not installed; run `pip install -c constraints.txt '.[{extra}]'`"
        )
