"""The tokens that `teacher_context` adds to a training prompt, for the teacher alone."""

from __future__ import annotations

from pathlib import Path

from l2s.config import ExperimentConfig
from l2s.generation.context import REFERENCE, read_context
from l2s.tasks.task import Lengths, rough_tokens

SYSTEM_TURN = 20  # in the length of every prompt, and once in a conversation with examples


def context_tokens(domain: str, lengths: Lengths, config: ExperimentConfig) -> float:
    """What the teacher sees of an item of `domain` beyond its prompt.

    Raises:
        UserError: the file of the context cannot be read.
    """
    kind, _, argument = config.teacher_context_in(domain).partition(":")
    if kind == "none":
        return 0
    if kind == "file":  # a run whose answers are there no longer needs it
        return rough_tokens(read_context(Path(argument))) if Path(argument).exists() else 0
    if kind == "reference":
        return rough_tokens(REFERENCE) + lengths.solution
    return int(argument) * (lengths.prompt - SYSTEM_TURN + lengths.solution)
