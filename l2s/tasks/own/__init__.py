"""The user's own data: rows of two files, graded as the user says. docs/YOUR_DATA.md explains it."""

from l2s.tasks.own.task import TASK

__all__ = ["TASK"]
