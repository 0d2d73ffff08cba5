"""Makes items. Fault, language and wording of each item are decided before its log is written."""

from __future__ import annotations

import random
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from typing import TypeVar

from l2s.config import ExperimentConfig
from l2s.on_disk import spilled_rows
from l2s.tasks.aiops import wording
from l2s.tasks.aiops.causes import CAUSES, NO_FAULT, no_fault
from l2s.tasks.aiops.equivalents import EQUIVALENTS
from l2s.tasks.aiops.families import STYLES
from l2s.tasks.aiops.logs import write_log
from l2s.tasks.aiops.parts import PARTS
from l2s.tasks.aiops.records import Family, Harmless, Language, Phrases, RedHerring, Role, Split, Style
from l2s.tasks.aiops.slots import Slots
from l2s.tasks.types import Item

T = TypeVar("T")

HEALTHY_SHARE = 0.15
MISLEADING_SHARE = 0.15
LANGUAGES: dict[str, tuple[Language, ...]] = {"en": ("en",), "zh": ("zh",), "both": ("en", "zh")}  # by setting
HEALTHY = "healthy"  # family of items without a fault


@dataclass(frozen=True)
class Plan:
    """The decisions about an item; `family` is None for a healthy log."""

    style: Style
    family: Family | None
    misleading: bool
    language: Language


def train_items(config: ExperimentConfig) -> Sequence[Item]:
    """`aiops_train_size` items without the families and wordings reserved for evaluation; deterministic in the seed.

    They are on disk, so that there may be millions.
    """
    return spilled_rows(_items("train", config.aiops_train_size, config))


def eval_items(config: ExperimentConfig) -> list[Item]:
    """`aiops_eval_size` items of all families, in wordings that training never uses; deterministic in the seed."""
    return list(_items("eval", config.aiops_eval_size, config))


def _items(split: Split, size: int, config: ExperimentConfig) -> Iterator[Item]:
    languages = LANGUAGES[config.aiops_language]
    plans = _plans(split, size, languages, random.Random(f"{config.seed}-aiops-{split}"))
    for index, plan in enumerate(plans):
        rng = random.Random(f"{config.seed}-aiops-{split}-{index}")
        yield write_item(plan, split, index, config.aiops_log_lines, rng, Slots(rng))


def _plans(split: Split, size: int, languages: Sequence[Language], rng: random.Random) -> list[Plan]:
    """All families and styles about equally often, in random order."""
    num_healthy = round(HEALTHY_SHARE * size)
    faults = [
        (style, family) for style in STYLES for family in style.families if split == "eval" or not family.eval_only
    ]
    chosen: list[tuple[Style, Family | None]] = [(style, None) for style in _deal(STYLES, num_healthy, rng)]
    chosen += _deal(faults, size - num_healthy, rng)
    misleading = set(rng.sample(range(num_healthy, size), round(MISLEADING_SHARE * size)))
    dealt = _deal(languages, size, rng)
    plan = cache(Plan)  # equal plans are one object
    plans = [plan(style, family, index in misleading, dealt[index]) for index, (style, family) in enumerate(chosen)]
    rng.shuffle(plans)
    return plans


def _deal(values: Sequence[T], size: int, rng: random.Random) -> list[T]:
    """`size` of `values`; their counts differ by at most one."""
    shuffled = rng.sample(values, len(values))
    dealt = list(islice(cycle(shuffled), size))
    rng.shuffle(dealt)
    return dealt


def write_item(plan: Plan, split: Split, index: int, max_lines: int, rng: random.Random, slots: Slots) -> Item:
    """The item of a plan, with a log of at most `max_lines` lines. Afterwards `slots` hold its names and numbers."""
    herring = _herring(plan, rng)
    harmless = _harmless(plan, rng)
    question = rng.choice(wording.QUESTIONS[plan.language][split])
    question = question.format(title=plan.style.title.preferred(plan.language).format_map(slots))
    log = write_log(plan.style, plan.family, harmless, herring, split=split, max_lines=max_lines, slots=slots, rng=rng)
    concepts, forbidden, answer = _key(plan, harmless, herring)
    return Item(
        id=f"aiops-{split}-{index:05d}",
        domain="aiops",
        source="synthetic",
        messages=[{"role": "user", "content": wording.prompt(question, log, plan.language)}],
        reference=answer.format_map(slots),
        meta={
            "family": plan.family.cause if plan.family else HEALTHY,
            "style": plan.style.name,
            "language": plan.language,
            "healthy": plan.family is None,
            "misleading": plan.misleading,
            "eval_only_family": plan.family is not None and plan.family.eval_only,
            "concepts": [{"role": role, "phrases": _fill(phrases, slots)} for role, phrases in concepts],
            "forbidden": [{"cause": cause, "phrases": _fill(phrases, slots)} for cause, phrases in forbidden.items()],
            "problem": log,
        },
    )


def _herring(plan: Plan, rng: random.Random) -> RedHerring | None:
    if plan.family is None or not plan.misleading:
        return None
    return rng.choice([herring for herring in plan.style.red_herrings if herring.blames != plan.family.cause])


def _harmless(plan: Plan, rng: random.Random) -> list[Harmless]:
    """Two false alarms in a healthy log, one beside a fault, none beside a red herring."""
    number = 2 if plan.family is None else 0 if plan.misleading else 1
    return rng.sample(plan.style.harmless, number)


def _key(
    plan: Plan, harmless: Sequence[Harmless], herring: RedHerring | None
) -> tuple[list[tuple[Role, Phrases]], dict[str, Phrases], str]:
    """Required concepts, forbidden causes by name, and the reference answer, with open slots."""
    family = plan.family
    if family is None:
        names = tuple(alarm.name for alarm in harmless)
        concepts: list[tuple[Role, Phrases]] = [("cause", no_fault.VERDICT)]
        concepts += [("evidence", name) for name in names]
        concepts += [("remediation", wording.NO_ACTION)]
        absent = {alarm.name.en[0]: alarm.name for alarm in plan.style.harmless if alarm not in harmless}
        return concepts, _all_causes_but(NO_FAULT) | absent, wording.healthy_answer(names, plan.language)
    cause = CAUSES[family.cause]
    more = _more_wordings(family)
    concepts = [("cause", Phrases(cause.en + more.en, cause.zh + more.zh))]
    others: list[tuple[Role, Phrases]] = [("component", family.component)]
    others += [("evidence", phrases) for phrases in family.evidence]
    others += [("remediation", family.remediation)]
    for (role, said), also in zip(others, EQUIVALENTS[family.cause], strict=True):
        concepts.append((role, Phrases(said.en + also.en, said.zh + also.zh)))
    suggested = {herring.blames} if herring else set()
    forbidden = _all_causes_but(family.cause, *(set(family.may_mention) - suggested))
    answer = wording.fault_answer(cause, family.component, family.evidence, family.remediation, plan.language)
    return concepts, forbidden | _wordings_of_siblings(plan.style, forbidden), answer


def _all_causes_but(*allowed: str) -> dict[str, Phrases]:
    """The names of the other causes. Their phrases are in CAUSES; here they would be most of a dataset's bytes."""
    return {cause: Phrases((), ()) for cause in CAUSES if cause not in allowed}


def _wordings_of_siblings(style: Style, forbidden: Container[str]) -> dict[str, Phrases]:
    """Wordings that blame another fault of the same style only: "cart-api is down"."""
    return {family.cause: _more_wordings(family) for family in style.families if family.cause in forbidden}


def _more_wordings(family: Family) -> Phrases:
    """Wordings of the cause that count only in logs of its style."""
    parts = PARTS[family.cause]
    return Phrases(family.also.en + parts.en, family.also.zh + parts.zh)


def _fill(phrases: Phrases, slots: Slots) -> list[str]:
    """All phrases with the item's names and numbers; a component has the same name in both languages."""
    return list(dict.fromkeys(phrase.format_map(slots) for phrase in phrases.all))
