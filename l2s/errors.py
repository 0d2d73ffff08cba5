"""The one exception that a user is meant to read: what is wrong, with which value, and what to do."""

from __future__ import annotations


class UserError(ValueError):
    """A problem the user can fix. The command line prints its message as one line and exits with 2."""
