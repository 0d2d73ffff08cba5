"""Blind answers: right answers in other words than the key's, written from prompts in several voices.

They tell how far the metric recognises a right answer in other words than ours: their mean score is its ceiling. "mend"
served to extend the phrases. "measure" judges the result: other hands wrote it, and nobody looked at it while phrases
were written. Names and numbers of an item stand in the answers as slots, so that an answer fits its item whatever the
item draws; a row with other numbers names the seed of its item.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal, get_args

from l2s.jsonl import load_jsonl
from l2s.tasks.aiops.families import STYLES
from l2s.tasks.aiops.items import Plan, write_item
from l2s.tasks.aiops.records import Language
from l2s.tasks.aiops.scoring import grade
from l2s.tasks.aiops.slots import Slots
from l2s.tasks.types import Grade, Item

FOLDER = Path(__file__).parent / "blind"
Half = Literal["mend", "measure"]
STYLES_BY_NAME = {style.name: style for style in STYLES}
STYLE_OF = {family.cause: style for style in STYLES for family in style.families}
FAMILY_OF = {family.cause: family for style in STYLES for family in style.families}
MAX_LINES = 40


def blind_scores(half: Half = "measure") -> dict[Language, float]:
    """The mean score (0..1) of one half of the blind answers, by language."""
    graded = graded_answers(half)
    scores = {
        language: [result.score for item, _, result in graded if item["meta"]["language"] == language]
        for language in get_args(Language)
    }
    return {language: sum(found) / len(found) for language, found in scores.items()}


def graded_answers(half: Half) -> list[tuple[Item, str, Grade]]:
    """Every blind answer of one half, with its item and its grade."""
    found = []
    for row in load_jsonl(FOLDER / f"{half}.jsonl"):
        language: Language = "zh" if row["language"] == "zh" else "en"
        item, answer = answered_item(row["family"], language, row["answer"], row.get("style", ""), row.get("seed", 0))
        found.append((item, answer, grade(item, f"Answer: {answer}")))
    return found


def answered_item(family: str, language: Language, answer: str, style: str = "", seed: int = 0) -> tuple[Item, str]:
    """An evaluation item of a fault, and `answer` with its slots filled in.

    `family` is the key of a cause, or "healthy", which also needs the name of a `style`.
    """
    rng = random.Random(seed)
    slots = Slots(rng)
    plan = Plan(STYLE_OF.get(family) or STYLES_BY_NAME[style], FAMILY_OF.get(family), False, language)
    item = write_item(plan, "eval", seed, MAX_LINES, rng, slots)
    return item, answer.format_map(slots)
