"""The prompts of on-policy distillation: those of the student, those of the teacher, and the order of a training."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.errors import UserError
from l2s.generation.context import teacher_messages
from l2s.models.load import load_config
from l2s.models.stored import context_window
from l2s.on_disk import Made, RowsOnDisk, chosen
from l2s.tasks.types import Item, Message
from l2s.training.teacher_prompts import TOKENS, TeacherView

Prompt = list[Message]
T = TypeVar("T")


@dataclass(frozen=True)
class Prompts:
    """The prompts, which stay on disk.

    Attributes:
        kept: the student's messages.
        of_teacher: the teacher's messages to the same items.
        dropped_overlong: how many were dropped because an answer would not fit max_length.
    """

    kept: Sequence[Prompt]
    of_teacher: Sequence[Prompt]
    dropped_overlong: int


def load_prompts(path: Path, renderer: ChatRenderer, config: ExperimentConfig) -> Prompts:
    """The prompts of the training items at `path` that leave opd_max_new_tokens of max_length for an answer.

    Raises:
        UserError: the file is missing or broken, or no prompt fits.
    """
    room = config.max_length - config.opd_max_new_tokens
    try:
        rows = RowsOnDisk(path)
        fitting = array("q", (n for n, row in enumerate(rows) if len(renderer.prompt_ids(row["messages"])) <= room))
    except (OSError, ValueError) as error:
        raise UserError(f"training items: {error}") from error
    if not fitting:
        raise UserError(
            f"max_length={config.max_length}: none of {counted(len(rows), 'prompt')} of {path} leaves room for "
            f"opd_max_new_tokens={config.opd_max_new_tokens}; raise --max_length or lower --opd_max_new_tokens"
        )
    kept: Sequence[Prompt] = Made(len(fitting), lambda n: rows[fitting[n]]["messages"])
    of_teacher = kept
    if config.teacher_context != "none":
        asked = teacher_messages(cast("Sequence[Item]", rows), config)
        of_teacher = Made(len(fitting), lambda n: asked[rows[fitting[n]]["id"]])
    return Prompts(kept, of_teacher, len(rows) - len(fitting))


def check_teacher_fits(prompts: Sequence[Prompt], view: TeacherView, config: ExperimentConfig) -> None:
    """Refuse prompts whose answers would not fit the teacher's window after what only the teacher sees.

    Raises:
        UserError: there is one.
    """
    if config.teacher_context == "none":
        return
    window, answer = context_window(load_config(config.teacher_model, config)), config.opd_max_new_tokens
    for messages in prompts:
        if window is not None and (length := len(view.prompt_ids(messages))) + answer > window:
            raise UserError(
                f"teacher_context={config.teacher_context!r}: a prompt of the teacher has {length} tokens, which "
                f"leaves less than opd_max_new_tokens={answer} of its window of {window}; show it less, or lower "
                "--opd_max_new_tokens"
            )


def example(prompts: Prompts, number: int, view: TeacherView) -> dict[str, Any]:
    """One prompt as TRL takes it, and the teacher's prompt where it differs."""
    messages, theirs = prompts.kept[number], view.prompt_ids(prompts.of_teacher[number])
    other = {} if theirs == view.student.prompt_ids(messages) else {TOKENS: theirs}
    return {"prompt": view.student.turns(messages), **other}


def draw(prompts: Sequence[T], number: int, seed: int) -> Sequence[T]:
    """The prompts of the whole training in one sequence, with another order for each pass.

    A killed training can resume one pass over this sequence, but not several passes over `prompts`: TRL's sampler would
    start again with the order of the first pass.
    """
    order = random.Random(seed)
    drawn = array("q")
    while len(drawn) < number:
        drawn.extend(islice(shuffled(len(prompts), order), number - len(drawn)))
    return chosen(prompts, drawn)


def shuffled(length: int, order: random.Random) -> Iterator[int]:
    """The numbers below `length` as `order.sample(range(length), length)` has them, in 8 bytes of memory each."""
    left = array("q", range(length))
    while left:
        place, last = order.randrange(len(left)), left[-1]
        yield left[place]
        left[place] = last
        left.pop()
