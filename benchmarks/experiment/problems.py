"""Data of the experiment: one- and two-step word problems, as rows for `--train_file` and `--eval_file`.

Four files share no problem: the expert's training, the students' training, and two evaluation sets. Settings are
chosen on the first evaluation set; the second is for the final comparison alone. Training and evaluation share neither
people nor combinations of numbers (`l2s.tasks.word_problems`); the two evaluation sets share no worked solution.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from l2s.durable import make_folder
from l2s.jsonl import Row, write_jsonl
from l2s.tasks.word_problems import TEMPLATES, Problem, generate

SEED = 13

# Numbers of which a model of 135M parameters can learn most sums in ten minutes on one core.
PROBLEMS = tuple(
    replace(TEMPLATES[index], numbers=numbers)
    for index, numbers in (
        (0, {"a": (2, 30), "b": (2, 20)}),  # a + b
        (1, {"a": (10, 40), "b": (2, 20)}),  # a - b
        (10, {"a": (4, 20), "b": (2, 9), "c": (2, 9)}),  # a + b + c
        (11, {"a": (20, 50), "b": (3, 15), "c": (3, 12)}),  # a - b + c
        (18, {"a": (40, 60), "b": (3, 15), "c": (3, 12)}),  # a - (b + c)
    )
)


def write_problems(folder: Path, sizes: Mapping[str, int]) -> dict[str, Path]:
    """Write the four files to `folder`, with `sizes` problems: expert, student, selection, final.

    Returns:
        Their paths by name.
    """
    train = _unlike(generate("train", sizes["expert"] + sizes["student"], seed=SEED, templates=PROBLEMS))
    size = sizes["selection"] + sizes["final"]
    evaluation = _unlike(generate("eval", 4 * size, seed=SEED, templates=PROBLEMS), worked=True)
    evaluation = random.Random(SEED).sample(evaluation, size)  # the two sets: the same mixture
    parts = {
        "expert": train[: sizes["expert"]],
        "student": train[sizes["expert"] :],
        "selection": evaluation[: sizes["selection"]],
        "final": evaluation[sizes["selection"] :],
    }
    make_folder(folder)
    for name, problems in parts.items():
        write_jsonl(folder / f"{name}.jsonl", _rows(name, problems))
    return {name: folder / f"{name}.jsonl" for name in parts}


def _unlike(problems: Sequence[Problem], *, worked: bool = False) -> list[Problem]:
    """The problems without those whose text, or worked solution, came before."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.solution if worked else problem.text, problem)
    return list(first.values())


def _rows(name: str, problems: Sequence[Problem]) -> list[Row]:
    return [
        {"id": f"{name}-{index:04d}", "prompt": problem.text, "reference": problem.solution}
        for index, problem in enumerate(problems)
    ]
