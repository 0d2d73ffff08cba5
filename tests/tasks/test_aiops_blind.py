"""AIOps: answers written from prompts alone are recognised, although no phrase was taken from them."""

from __future__ import annotations

from collections import Counter

import pytest

from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl
from l2s.tasks import aiops
from l2s.tasks.aiops.blind_answers import FAMILY_OF, FOLDER, Half, answered_item, blind_scores
from l2s.tasks.aiops.records import Language

HALVES: tuple[Half, ...] = ("mend", "measure")
ROWS = {half: load_jsonl(FOLDER / f"{half}.jsonl") for half in HALVES}


@pytest.mark.parametrize("half", HALVES)
def test_every_fault_has_blind_answers_in_both_halves(half: Half) -> None:
    counts = Counter(row["family"] for row in ROWS[half])
    assert set(counts) == {*FAMILY_OF, "healthy"}
    assert min(counts.values()) >= 3
    assert {row["language"] for row in ROWS[half]} == {"en", "zh"}


def test_no_answer_stands_in_both_halves() -> None:
    assert not {row["answer"] for row in ROWS["mend"]} & {row["answer"] for row in ROWS["measure"]}


def test_blind_answers_that_no_phrase_was_taken_from_score_at_least_95_percent() -> None:
    scores = blind_scores("measure")
    assert set(scores) == {"en", "zh"}
    assert min(scores.values()) >= 0.95, scores


def test_the_report_shows_the_blind_score_of_each_language_beside_the_controls() -> None:
    assert aiops.TASK.controls is not None
    scores = aiops.TASK.controls(aiops.eval_items(ExperimentConfig(aiops_eval_size=2)))
    assert {name: scores[f"blind_{name}"] for name in ("en", "zh")} == blind_scores()
    assert aiops.TASK.names["blind_en"].en == "blind answers, English (ceiling)"


@pytest.mark.parametrize(
    ("family", "language", "cause"),
    [
        ("replica_lag", "zh", "备库WAL回放严重滞后"),
        ("bad_config", "zh", "修订{rev}把账本地址误设为localhost"),
        ("disk_full", "en", "data volume ran out of free blocks, so writes fail"),
        ("thread_pool_full", "en", "worker threads all blocked in outgoing HTTP calls, pool and queue saturated"),
        ("disk_full", "en", "there is no room left on the filesystem"),
        ("certificate_expired", "en", "the validity of the serving cert is over"),
        ("volume_attached_elsewhere", "zh", "旧节点没有释放该存储卷"),
        ("wraparound", "zh", "事务号即将回卷"),
        ("upstream_down", "en", "nobody accepts connections on the backend's port"),
        ("index_missing", "en", "every lookup scans the whole table"),
    ],
)
def test_an_expert_may_name_the_cause_in_other_words(family: str, language: Language, cause: str) -> None:
    item, answer = answered_item(family, language, cause)
    assert aiops.grade(item, f"Answer: {answer}").details["matched"][:1] == ["cause"]


@pytest.mark.parametrize(
    ("family", "cause"),
    [
        ("disk_full", "the data volume is not full"),
        ("disk_full", "a full data volume was ruled out, {svc} is broken"),
        ("disk_full", "volume, writes, full"),
        ("disk_full", "grow the volume"),
        ("memory_limit", "raise the memory limit"),
        ("replica_lag", "the standby does not lag behind"),
        ("long_transaction", "set idle_in_transaction_session_timeout"),
        ("schema_mismatch", "deploy a consumer with the new schema"),
        ("thread_pool_full", "{svc}-exec is slow"),
        ("conntrack_full", "调大连接跟踪表"),
        ("replica_lag", "备库没有滞后"),
    ],
)
def test_a_denial_a_remedy_or_a_list_of_words_names_no_cause(family: str, cause: str) -> None:
    item, answer = answered_item(family, "en", cause)
    assert aiops.grade(item, f"Answer: {answer}").details["matched"] == []


@pytest.mark.parametrize(
    ("family", "blame"),
    [
        ("disk_full", "the clock of the host has drifted"),
        ("replica_lag", "the autovacuum never completes"),
        ("upstream_down", "the report takes too long at {svc}"),
        ("heap_leak", "the threads want each other's locks"),
        ("pool_exhausted", "the cert that {svc} serves is no longer valid"),
        ("image_missing", "memory use exceeded what the pod is granted"),
    ],
)
def test_another_fault_of_the_style_is_blame_in_any_words(family: str, blame: str) -> None:
    item, answer = answered_item(family, "en", blame)
    grade = aiops.grade(item, f"Answer: {answer}. {item['reference']}")
    assert (grade.score, grade.status) == (0.0, "wrong_cause")
