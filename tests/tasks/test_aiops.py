"""AIOps: the parts of an item, and that answers without understanding score little."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.report.numbers.scores import clusters
from l2s.report.numbers.warnings import control_fails
from l2s.tasks import aiops
from l2s.tasks.aiops.causes import CAUSES, NO_FAULT
from l2s.tasks.aiops.families import STYLES
from l2s.tasks.aiops.matching import find, normalise, occurrences
from l2s.tasks.aiops.records import Line
from l2s.tasks.aiops.task import TASK
from l2s.tasks.aiops.wording import QUESTIONS
from l2s.tasks.contamination import overlap
from l2s.tasks.types import Item
from support.held_memory import bytes_held

FAMILIES = [family for style in STYLES for family in style.families]


def faulty(item: Item) -> bool:
    return not item["meta"]["healthy"]


def literal(text: str) -> str:
    """The longest part of a line's text that is the same in every log."""
    return max(re.split(r"\{\w+\}|: |\n|\"", text), key=len)


@pytest.fixture(scope="module")
def train() -> list[Item]:
    return list(aiops.train_items(ExperimentConfig()))


@pytest.fixture(scope="module")
def evaluation() -> list[Item]:
    return aiops.eval_items(ExperimentConfig())


# The benchmark -------------------------------------------------------------------------------------------------------


def test_there_are_enough_families_styles_and_families_kept_for_evaluation() -> None:
    assert len(STYLES) >= 6
    assert len(FAMILIES) >= 25
    assert len({family.cause for family in FAMILIES}) == len(FAMILIES)
    assert sum(family.eval_only for family in FAMILIES) / len(FAMILIES) == pytest.approx(0.2)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.cause)
def test_a_family_asks_for_three_to_five_concepts_and_may_mention_few_other_causes(family: Any) -> None:
    assert 3 <= 3 + len(family.evidence) <= 5
    assert set(family.may_mention) <= CAUSES.keys() - {family.cause, NO_FAULT}
    assert len(family.may_mention) <= 3
    assert len(family.clues) >= 2
    assert len(family.symptoms) >= 4


def test_sizes_shares_and_languages(train: list[Item], evaluation: list[Item]) -> None:
    for items, size in ((train, 1000), (evaluation, 100)):
        assert len(items) == len({item["id"] for item in items}) == size
        for share in ("healthy", "misleading"):
            assert sum(item["meta"][share] for item in items) == 0.15 * size
        assert Counter(item["meta"]["language"] for item in items) == {"en": size / 2, "zh": size / 2}
        assert not any(item["meta"]["healthy"] and item["meta"]["misleading"] for item in items)


def test_training_items_stay_on_disk() -> None:
    config = ExperimentConfig(aiops_train_size=60)
    taken, items = bytes_held(lambda: aiops.train_items(config))
    assert len(items) == 60
    assert taken < sum(len(item["meta"]["problem"]) for item in items) / 4


@pytest.mark.parametrize("language", ["en", "zh"])
def test_items_may_be_of_one_language(language: Any) -> None:
    config = ExperimentConfig(aiops_eval_size=10, aiops_train_size=10, aiops_language=language)
    for items in (aiops.eval_items(config), list(aiops.train_items(config))):
        assert {item["meta"]["language"] for item in items} == {language}


def test_items_are_deterministic_in_the_seed(evaluation: list[Item]) -> None:
    assert aiops.eval_items(ExperimentConfig()) == evaluation
    other = aiops.eval_items(ExperimentConfig(seed=7))
    assert not {item["meta"]["problem"] for item in other} & {item["meta"]["problem"] for item in evaluation}


def test_training_knows_neither_families_or_wordings_kept_for_evaluation(
    train: list[Item], evaluation: list[Item]
) -> None:
    assert not any(item["meta"]["eval_only_family"] for item in train)
    assert {item["meta"]["family"] for item in evaluation} - {item["meta"]["family"] for item in train} == {
        family.cause for family in FAMILIES if family.eval_only
    }
    for wordings in QUESTIONS.values():
        kept = [question.split("{title}")[0] for question in wordings["eval"]]
        assert not any(item["messages"][0]["content"].startswith(tuple(kept)) for item in train)
    last_symptoms = {family.cause: literal(family.symptoms[-1].text) for family in FAMILIES}
    used = [last_symptoms[item["meta"]["family"]] in item["meta"]["problem"] for item in evaluation if faulty(item)]
    assert any(used)
    repeated = {literal(line.text) for family in FAMILIES for line in (*family.clues, *family.symptoms[:-1])}
    for item in train:
        symptom = last_symptoms.get(item["meta"]["family"], "")
        if faulty(item) and symptom not in repeated:
            assert symptom not in item["meta"]["problem"]


def test_logs_have_fifteen_to_forty_lines_or_as_few_as_configured(train: list[Item]) -> None:
    lengths = [len(item["meta"]["problem"].splitlines()) for item in train]
    assert min(lengths) == 15
    assert 30 <= max(lengths) <= 40
    short = aiops.train_items(ExperimentConfig(aiops_log_lines=15))
    assert {len(item["meta"]["problem"].splitlines()) for item in short} == {15}


def test_a_plan_follows_the_length_of_the_logs() -> None:
    planned, written = [], []
    for lines in (15, 18, 20, 23, 25, 32, 40):
        config = ExperimentConfig(aiops_log_lines=lines, aiops_train_size=60)
        planned.append(TASK.lengths("train", config).prompt)
        prompts = [item["messages"][-1]["content"] for item in TASK.train_items(config)]
        written.append(sum(map(len, prompts)) / len(prompts))
    assert planned == sorted(planned)
    assert [found / planned[-1] for found in planned] == pytest.approx(
        [found / written[-1] for found in written], rel=0.05
    )


def test_the_cause_never_stands_in_the_log(train: list[Item], evaluation: list[Item]) -> None:
    for item in chain(train, evaluation):
        log = normalise(item["meta"]["problem"])
        cause = item["meta"]["concepts"][0]
        assert cause["role"] == "cause"
        if not item["meta"]["healthy"]:
            said = [log[start:end] for start, end in occurrences(cause["phrases"], log)]
            assert not said, (item["meta"]["family"], said)


def test_component_and_evidence_stand_in_every_prompt_with_a_fault(evaluation: list[Item]) -> None:
    for item in evaluation:
        prompt = normalise(item["messages"][0]["content"])
        for concept in item["meta"]["concepts"]:
            if concept["role"] in ("component", "evidence") and faulty(item):
                assert any(find(concept["phrases"], prompt)), (item["meta"]["family"], concept)


def test_a_fault_forbids_every_cause_that_it_may_not_mention(evaluation: list[Item]) -> None:
    families = {family.cause: family for family in FAMILIES}
    for item in filter(faulty, evaluation):
        family = families[item["meta"]["family"]]
        forbidden = {wrong["cause"] for wrong in item["meta"]["forbidden"]}
        assert CAUSES.keys() - forbidden <= {family.cause, *family.may_mention}
        assert family.cause not in forbidden


def test_every_forbidden_cause_beside_the_reference_zeroes_the_item(evaluation: list[Item]) -> None:
    for item in evaluation:
        for wrong in item["meta"]["forbidden"]:
            cause = CAUSES.get(wrong["cause"])
            for said in (cause.en[0], cause.zh[0]) if cause else wrong["phrases"][:1]:
                grade = aiops.grade(item, f"Answer: {said.strip(';')}. {item['reference']}")
                assert (grade.score, grade.status) == (0.0, "wrong_cause"), (item["id"], said)


@pytest.mark.parametrize("verdict", ["no fault", "Nothing is wrong, healthy", "没有故障", "一切正常"])
def test_no_fault_beside_the_reference_zeroes_a_fault(evaluation: list[Item], verdict: str) -> None:
    for item in filter(faulty, evaluation):
        grade = aiops.grade(item, f"Answer: {verdict}. {item['reference']}")
        assert grade.details["wrong_cause"] == NO_FAULT, item["id"]


@pytest.mark.parametrize("aside", ["no fault in the network", "the database is healthy", "网络没有故障", "数据库健康"])
def test_a_fault_may_be_said_to_lie_nowhere_else(evaluation: list[Item], aside: str) -> None:
    for item in filter(faulty, evaluation):
        assert aiops.grade(item, f"Answer: {aside}. {item['reference']}").score == 1, item["id"]


def test_a_misleading_log_is_loudest_about_a_forbidden_cause(train: list[Item], evaluation: list[Item]) -> None:
    """At the loudest level, the red herring has more entries than the clues, and at least as many as the fault."""
    styles = {style.name: style for style in STYLES}
    families = {family.cause: family for family in FAMILIES}
    for item in filter(lambda item: item["meta"]["misleading"], chain(train, evaluation)):
        family, log = families[item["meta"]["family"]], item["meta"]["problem"]
        forbidden = {wrong["cause"] for wrong in item["meta"]["forbidden"]}
        herrings = [red.lines for red in styles[item["meta"]["style"]].red_herrings if red.blames in forbidden]
        loudest = "error" if any(line.level == "error" for line in chain(*herrings)) else "warn"
        red = max(num_entries(log, lines, loudest) for lines in herrings)
        assert red > num_entries(log, family.clues, loudest), item["id"]
        assert red >= num_entries(log, (*family.clues, *family.symptoms), loudest), item["id"]


def num_entries(log: str, lines: Iterable[Line], level: str) -> int:
    """How many entries of `log` come from those of `lines` that have this level."""
    texts = [re.split(r"\{\{|\}\}|\{\w+\}|\"|: ", line.text.split("\n")[0]) for line in lines if line.level == level]
    patterns = [re.compile(".+".join(map(re.escape, pieces))) for pieces in texts]
    return sum(any(pattern.search(entry) for pattern in patterns) for entry in log.splitlines())


def test_no_evaluation_log_is_a_training_log(train: list[Item], evaluation: list[Item]) -> None:
    found = overlap(train, evaluation)["aiops"]
    assert found.duplicates == []
    assert len(found.ngram) <= 0.05 * len(evaluation)


# Controls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [42, 1])
def test_references_score_one_and_controls_under_fifteen_percent(seed: int) -> None:
    scores = aiops.controls(aiops.eval_items(ExperimentConfig(seed=seed)))
    assert scores.pop("gold") == 1.0
    assert set(scores) == {"log_echo", "keyword_stuffing", "majority_answer", "another_items_answer", "hedging"}
    assert max(scores.values()) < 0.15, scores


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_few_items_fail_no_control(size: int, language: str) -> None:
    """The reference of the only item is right, and no answer without understanding."""
    for seed in range(3):
        items = aiops.eval_items(ExperimentConfig(aiops_eval_size=size, aiops_language=language, seed=seed))
        scores = aiops.controls(items)
        assert ("majority_answer" in scores) == ("another_items_answer" in scores) == (size > 1)
        assert [name for name, score in scores.items() if control_fails(name, score, size)] == []


def test_every_training_reference_scores_one_as_it_stands_and_delimited(train: list[Item]) -> None:
    for item in train:
        for response in (item["reference"], f"Answer: {item['reference']}", f"答案：{item['reference']}"):
            assert aiops.grade(item, response).status == "correct", item["id"]


def test_calling_a_fault_healthy_and_a_good_day_faulty_scores_nothing(evaluation: list[Item]) -> None:
    healthy = [item for item in evaluation if item["meta"]["healthy"]]
    faulty = [item for item in evaluation if not item["meta"]["healthy"]]
    for item in faulty:
        assert aiops.grade(item, healthy[0]["reference"]).score == 0
    for item in healthy:
        assert aiops.grade(item, faulty[0]["reference"]).status == "wrong_cause"
    assert NO_FAULT in CAUSES


def test_a_unit_of_the_intervals_is_one_fault_or_the_healthy_logs_of_one_style(evaluation: list[Item]) -> None:
    units: dict[str, list[Item]] = {}
    for label, item in zip(clusters([{**item} for item in evaluation]) or [], evaluation, strict=True):
        units.setdefault(label, []).append(item)
    healthy = [{item["meta"]["style"] for item in items} for items in units.values() if not faulty(items[0])]
    assert sorted(map(sorted, healthy)) == sorted([style.name] for style in STYLES)
    assert len(units) == len(FAMILIES) + len(STYLES)
    assert all(len({item["meta"]["family"] for item in items}) == 1 for items in units.values())
