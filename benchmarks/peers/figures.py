"""What a comparison shows: costs with their ratios, lines that the user writes, and scores."""

from __future__ import annotations

import ast
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.job import MODELS, STEPS, Measured
from benchmarks.peers.ways import SCRIPT

Pick = Callable[[Measured], float]
Rounds = Mapping[str, Sequence[Measured]]  # way -> its runs


def table(found: Rounds) -> list[dict[str, Any]]:
    """Rows of a figure: its unit, the median of each way, and the median of the rounds' ratios of l2s to each peer."""
    rows = [row_of("whole job", "s", found, lambda one: one.seconds)]
    rows += [row_of(step, "s", found, seconds_of(step)) for step in STEPS]
    rows += [row_of(f"{step}, peak memory", "GiB", found, memory_of(step)) for step in STEPS]
    return [*rows, row_of("recording for kd, peak memory", "GiB", found, memory_of("kd"), of_l2s=memory_of("score"))]


def row_of(figure: str, unit: str, found: Rounds, pick: Pick, *, of_l2s: Pick | None = None) -> dict[str, Any]:
    """One row of the table; `of_l2s` is for a figure that l2s has in another place."""
    scale = 2**30 if unit == "GiB" else 1
    picks = {way: of_l2s if of_l2s and way == "l2s" else pick for way in found}
    values = {way: [picks[way](one) / scale for one in rounds] for way, rounds in found.items()}
    ratios = {
        way: statistics.median(ours / theirs for ours, theirs in zip(values["l2s"], of_peer, strict=True))
        for way, of_peer in values.items()
        if way != "l2s"
    }
    medians = {way: statistics.median(of_way) for way, of_way in values.items()}
    return {"figure": figure, "unit": unit, "median": medians, "ratio": ratios}


def seconds_of(step: str) -> Pick:
    """Picks the seconds of a step."""
    return lambda one: one.step_seconds[step]


def memory_of(step: str) -> Pick:
    """Picks the peak bytes of a step."""
    return lambda one: one.peak_bytes[step]


def user_lines(folder: Path) -> dict[str, int]:
    """Lines that the user writes: a command, the script, or the recipes and commands of distill-anything.

    The last needs a script of the user's for its evaluation as well, which is not counted.
    """
    recipes = sum(recipe_lines(json.loads(path.read_text())) for path in folder.glob("*.yaml"))
    return {"l2s": 1, "trl": code_lines(SCRIPT), "distill-anything": recipes + 3}


def recipe_lines(value: Any) -> int:
    """Lines of a recipe as YAML, a key a line."""
    return sum(1 + recipe_lines(one) for one in value.values()) if isinstance(value, dict) else 0


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, comments or docstrings."""
    source = path.read_text(encoding="utf-8")
    counted: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not is_text:
            body: list[ast.stmt] = getattr(node, "body", [])
            last = body[0].lineno - 1 if body else node.end_lineno
            counted |= set(range(node.lineno, (last or node.lineno) + 1))
    lines = source.splitlines()
    return sum(1 for number in counted if lines[number - 1].strip() and not lines[number - 1].lstrip().startswith("#"))


def show(found: Rounds, lines: dict[str, int], evaluated: int) -> None:
    """Print one table: costs with their ratios, what the user writes, updates, and scores on `evaluated` problems."""
    ratios = [f"l2s / {way}" for way in found if way != "l2s"]
    none = [""] * len(ratios)
    rows = [["", *found, *ratios]]
    for row in table(found):
        cells = [*row["median"].values(), *row["ratio"].values()]
        rows.append([f"{row['figure']}, {row['unit']}", *(f"{cell:.2f}" for cell in cells)])
    rows.append(["lines of the user", *(str(lines[way]) for way in found), *none])
    for arm in ("sft", "kd"):
        rows.append([f"updates of {arm}", *(str(rounds[0].training_steps[arm]) for rounds in found.values()), *none])
    for model in MODELS:
        scores = [statistics.median(one.scores[model] for one in rounds) for rounds in found.values()]
        rows.append([f"{model}, exact match, n={evaluated}", *(f"{score:.1%}" for score in scores), *none])
    for number, cells in enumerate(rows):
        print(f"| {cells[0]:38} | {' | '.join(f'{cell:>22}' for cell in cells[1:])} |")
        if number == 0:
            print(f"|---|{'---:|' * len(cells[1:])}")
