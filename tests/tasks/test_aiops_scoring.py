"""AIOps: how an answer is scored."""

from __future__ import annotations

from typing import Any

import pytest

from l2s.tasks import aiops
from l2s.tasks.aiops.matching import find, normalise
from l2s.tasks.aiops.scoring import MAX_WORDS, QUOTE_WORDS
from l2s.tasks.chat_answer import DASHES
from l2s.tasks.types import Item


def entry(role: str, *phrases: str) -> dict[str, Any]:
    return {"role": role, "phrases": list(phrases)}


@pytest.fixture
def item() -> Item:
    log = (
        "10:00:01 web-1 kernel: nf_conntrack: count 651 max 651, dropping packet\n"
        "10:00:02 web-1 api-core: no reply of db-1"
    )
    return Item(
        id="x",
        domain="aiops",
        source="test",
        messages=[{"role": "user", "content": log}],
        reference="",
        meta={
            "problem": log,
            "concepts": [
                entry(
                    "cause", "conntrack table is full", "conntrack table full", "full conntrack table", "连接跟踪表已满"
                ),
                entry("component", "web-1"),
                entry("evidence", "dropping packet", "丢弃数据包"),
                entry("remediation", "raise the limit", "调大上限"),
            ],
            "forbidden": [
                {"cause": "dns", "phrases": ["DNS failure", "DNS 故障"]},
                {"cause": "table", "phrases": ["table is full"]},
            ],
        },
    )


FULL = "The conntrack table is full on web-1, it is dropping packets; raise the limit."


@pytest.mark.parametrize(
    ("response", "score", "status"),
    [
        (f"Answer: {FULL}", 1.0, "correct"),
        (FULL, 1.0, "correct"),
        (f"**Answer:** {FULL.upper()}", 1.0, "correct"),
        ("根因分析如下。\n答案：web-1 的连接跟踪表已满，正在丢弃数据包，应调大上限。", 1.0, "correct"),
        ("<think>DNS failure?</think>Answer: " + FULL, 1.0, "correct"),
        ("Answer: conntrack table is full on web-12", 0.25, "partial"),  # web-12 is not web-1
        ("Answer: conntrack table is full on web-1", 0.5, "partial"),
        ("Answer: full-conntrack web-1", 0.0, "wrong"),
        ("Answer: web-1 is dropping packets, raise the limit", 0.0, "wrong"),  # no cause
        ("Answer: web-1, kernel, api-core, db-1", 0.0, "wrong"),
        ("Answer: something broke", 0.0, "wrong"),
        ("Answer:", 0.0, "no_answer"),
        ("  ", 0.0, "no_answer"),
        ("<think>" + FULL, 0.0, "truncated"),
        ("word " * (MAX_WORDS + 1), 0.0, "too_long"),
        ("word " * (MAX_WORDS + 1) + "Answer: " + FULL, 1.0, "correct"),
        ("Answer: " + "word " * MAX_WORDS + FULL, 0.0, "wrong"),  # after the limit
        (f"Answer: DNS failure. Wait.\nAnswer: {FULL}", 1.0, "correct"),  # the last one counts
        (f"Answer: {FULL}\n\n**Answer:**", 1.0, "correct"),  # but not an empty one
        (f"Answer: {FULL}\nAnswer: root cause; component; evidence; remedy", 1.0, "correct"),
        (f"答案：{FULL}\n答案：<根因>；<组件>；<证据>；<处置>。", 1.0, "correct"),
        (f"{FULL}\nAnswer:", 1.0, "correct"),
        ("Answer: root cause; component; evidence; remedy", 0.0, "no_answer"),
        ("word " * (MAX_WORDS + 1) + "Answer:", 0.0, "no_answer"),
        ("word " * MAX_WORDS + f"\n\n### Answer\n{FULL}", 1.0, "correct"),
        ("word " * MAX_WORDS + f"\n\n**最终答案**\n{FULL}", 1.0, "correct"),
        ("word " * MAX_WORDS + f"\n【答案】{FULL}", 1.0, "correct"),
        (f"Answer: {FULL} db-1 does not answer: the api waits", 1.0, "correct"),  # no second answer
    ],
)
def test_a_bounded_answer_scores_the_share_of_concepts_it_names(
    item: Item, response: str, score: float, status: str
) -> None:
    grade = aiops.grade(item, response)
    assert (grade.score, grade.status) == (score, status), grade
    assert grade.status in aiops.STATUSES
    assert grade.details["all_required"] == (status == "correct")


@pytest.mark.parametrize("dash", [chr(dash) for dash in DASHES], ids=ascii)
def test_every_dash_of_unicode_is_a_hyphen_in_a_name(item: Item, dash: str) -> None:
    answer = f"Answer: {FULL.replace('web-1', f'web{dash}1')}"
    assert aiops.grade(item, answer).status == "correct"


@pytest.mark.parametrize(
    ("evidence", "said"), [("count 120832", "count 120,832"), ("502", "502,504"), ("100%", "100 %"), ("1651", "1,651")]
)
def test_a_number_may_be_written_otherwise_than_in_the_log(item: Item, evidence: str, said: str) -> None:
    item["meta"]["problem"] = "count 120832 max 120832, 1651 of 1651, 100%, status 502, status 504"
    item["meta"]["concepts"][2] = entry("evidence", evidence)
    assert aiops.grade(item, f"Answer: conntrack table full; {said}").details["matched"] == ["cause", "evidence"]


def test_the_words_that_name_the_cause_tell_no_remedy(item: Item) -> None:
    item["meta"]["concepts"][3] = entry("remediation", "[table] & [full/raise]")
    assert aiops.grade(item, "Answer: conntrack table full").details["matched"] == ["cause"]
    told = aiops.grade(item, "Answer: conntrack table full; raise the size of the table").details["matched"]
    assert told == ["cause", "remediation"]


def test_a_cut_answer_is_truncated(item: Item) -> None:
    assert aiops.grade(item, f"Answer: {FULL}", finish_reason="length").status == "truncated"


@pytest.mark.parametrize(
    "blame",
    ["DNS failure", "a dns  FAILURE", "DNS failures", "not only DNS failure", "DNS 故障", "因为DNS故障"],
)
def test_a_wrong_cause_zeroes_the_item(item: Item, blame: str) -> None:
    grade = aiops.grade(item, f"Answer: {blame}. {FULL}")
    assert (grade.score, grade.status, grade.details["wrong_cause"]) == (0.0, "wrong_cause", "dns")


@pytest.mark.parametrize(
    "denial",
    [
        "It is not a DNS failure.",
        "This isn't caused by a DNS failure.",
        "DNS failure was ruled out.",
        "We ruled out DNS failure.",
        "No sign of a DNS failure.",
        "Neither the disk nor a DNS failure.",
        "DNS failure is not the cause.",
        "It is the kernel rather than DNS failure.",
        "排除了DNS故障。",
        "DNS 故障已排除。",
        "这不是DNS 故障。",
        "DNS故障与此无关。",
        "而非由DNS故障。",
        "The log does not show a DNS failure.",
        "This doesn't look like a DNS failure.",
        "DNS failure is a red herring.",
        "A DNS failure cannot explain this.",
        "It might look like a DNS failure, but it is not.",
        "DNS failure? No.",
        "DNS故障的可能性已排除。",
        "不太可能是DNS故障。",
        "没有证据表明存在DNS故障。",
        "不是磁盘问题或DNS故障。",
        "看似DNS故障，实则另有原因。",
        "与DNS故障没有关系。",
        "Not a network outage, DNS failure, or deadlock.",
        "Not the mailer, the disk, or a DNS failure.",
        "DNS failure and deadlock were ruled out.",
        "DNS failure, network outage and deadlock have been eliminated.",
        "Not a slow network, DNS failure or deadlock.",
        "DNS failure (ruled out).",
        "DNS failure, ruled out.",
        "Ruled out: network outage, DNS failure, deadlock.",
        "I don't think it is a DNS failure.",
        "I doubt it is a DNS failure.",
        "A DNS failure is impossible.",
        "DNS failure is out of the question.",
        "排除网络中断、DNS 故障和死锁。",
        "已排除死锁和DNS故障。",
        "DNS 故障和死锁均已排除。",
        "死锁、DNS故障（已排除）。",
        "DNS failure was considered but ruled out.",
        "A DNS failure was investigated and then dismissed.",
        "DNS failure is only a symptom.",
        "This is unrelated to the DNS failure.",
        "It has nothing to do with a DNS failure.",
        "DNS故障的可能性不大。",
        "DNS故障可能性较低。",
        "DNS故障只是表象。",
        "另有原因，与DNS故障无关。",
        "DNS failure excluded.",
        "DNS failure unlikely, deadlock ruled out.",
        "DNS failure not the cause.",
        "DNS failure is improbable.",
        "A DNS failure was not observed.",
        "The DNS failure warning is harmless.",
        "The DNS failure is resolved.",
        "Harmless warnings: DNS failure.",
        "Nothing points to a DNS failure.",
        "无害的告警：DNS故障。",
        "DNS故障告警无害。",
        "DNS故障已恢复。",
        "未观察到DNS故障。",
    ],
)
def test_a_denied_wrong_cause_does_no_harm(item: Item, denial: str) -> None:
    assert aiops.grade(item, f"Answer: {denial} {FULL}").score == 1


@pytest.mark.parametrize(
    "answer",
    [
        "It is not that the conntrack table is full, but something else",
        "conntrack table is full: ruled out? No. The conntrack table is full was ruled out",
        "连接跟踪表已满已被排除",
        "web-1: conntrack table full, ruled out",
        "conntrack table is full (excluded), web-1",
        "conntrack table full has been eliminated",
        "conntrack table full is impossible",
        "deadlock and full conntrack table were ruled out",
        "Not a deadlock, a DNS failure, or a full conntrack table on web-1",
        "排除死锁、连接跟踪表已满和DNS故障",
        "DNS 故障，以及连接跟踪表已满均已排除",
        "web-1 连接跟踪表已满只是症状",
        "a full conntrack table was suspected but ruled out",
    ],
)
def test_a_denied_right_cause_does_not_count(item: Item, answer: str) -> None:
    if "?" in answer:
        answer = answer.split("? ")[1]
    assert aiops.grade(item, f"Answer: {answer}").score == 0


@pytest.mark.parametrize(
    "answer",
    [
        "web-1 is not responding because the conntrack table is full",
        "web-1 could not send; the conntrack table is full",
        "无法连接 web-1，因为连接跟踪表已满",
        "没有回复：web-1 连接跟踪表已满",
        "web-1 does not show up because the conntrack table is full",
        "we cannot rule out that on web-1 the conntrack table is full",
        "不是磁盘问题，而是 web-1 连接跟踪表已满",
        "无法排除 web-1 连接跟踪表已满",
        "not a network outage, the conntrack table is full on web-1",
        "No doubt the conntrack table is full on web-1",
        "the conntrack table is full on web-1 and the deadlock was ruled out",
        "web-1: conntrack table full, ruled out: deadlock, network outage",
        "排除了死锁，web-1 连接跟踪表已满",
        "web-1 连接跟踪表已满，已排除死锁和网络中断",
        "web-1 连接跟踪表已满，与死锁无关",
        "不排除 web-1 连接跟踪表已满",
        "a full conntrack table on web-1 was suspected and confirmed",
        "web-1: conntrack table full: no new connections",
        "web-1: conntrack table full - DNS is fine",
        "web-1: conntrack table full yet memory is normal",
        "web-1: the cold start is harmless, the conntrack table is full",
        "web-1 连接跟踪表已满，其余正常",
    ],
)
def test_a_negation_elsewhere_in_the_sentence_denies_nothing(item: Item, answer: str) -> None:
    assert aiops.grade(item, f"Answer: {answer}").details["matched"] == ["cause", "component"]


def test_a_forbidden_phrase_inside_the_right_cause_does_no_harm(item: Item) -> None:
    assert aiops.grade(item, "Answer: the conntrack table is full").score == 0.25
    assert aiops.grade(item, "Answer: the mail table is full").status == "wrong_cause"


@pytest.mark.parametrize(
    ("phrase", "text", "is_said"),
    [
        ("disk ~ full", "the disk /data1 on web-1 is full", True),
        ("disk ~ full", "the disk writes are full", False),
        ("disk ~ full", "the disk is not full", False),
        ("磁盘~满", "磁盘 /data1 已经满了", True),
        ("磁盘~满", "磁盘未满", False),
        ("raise … limit", "raise the nofile limit", True),
        ("raise … limit", "raise it. The limit", False),
        ("限制…请求", "限制每秒请求", True),
        ("限制…请求", "限制过小. 根因:请求", False),
        ("[full/failing] disk", "a failing disk", True),
        (";healthy;", "all good, healthy.", True),
        (";healthy;", "the database is healthy.", False),
        ("[disk/volume] & [full/exhausted]", "free blocks of the data volume are exhausted", True),
        ("[disk/volume] & [full/exhausted]", "exhausted, as it seems, is the volume", False),  # another clause
        ("[disk/volume] & [full/exhausted]", "disk, volume, full", False),  # a list of keywords
        ("[disk/volume] & [full/exhausted]", "full is the data volume", True),
        ("[disk/volume] & [full/exhausted]", "the disk on web-1 is not full", False),
        ("[disk/volume] & [full/exhausted]", "a full disk was ruled out", False),
        ("[disk/volume] & [full/exhausted]", f"the disk {'on a host ' * 5}is full", False),  # too far apart
        ("[pool/threads] & [busy/blocked] & [HTTP/calls]", "all threads are blocked in outgoing calls", True),
        ("[pool/threads] & [busy/blocked] & [HTTP/calls]", "all threads are blocked", False),
        ("备库 & [滞后/落后]", "备库 web-1 的 WAL 回放严重滞后", True),
        ("备库 & [滞后/落后]", "备库没有滞后", False),
        ("备库 & [滞后/落后]", "主库写入正常。回放滞后", False),
    ],
)
def test_phrases_may_have_choices_gaps_clause_ends_and_parts(phrase: str, text: str, is_said: bool) -> None:
    assert bool(find([phrase], normalise(text))) == is_said


def test_passages_copied_from_the_log_do_not_count(item: Item) -> None:
    line = item["meta"]["problem"].splitlines()[0]
    assert len(line.split()) > QUOTE_WORDS
    assert aiops.grade(item, f"Answer: {line}").score == 0
    assert aiops.grade(item, "Answer: conntrack table is full, see: dropping packet").details["matched"] == [
        "cause",
        "evidence",
    ]


def test_of_a_longer_quotation_the_first_words_count(item: Item) -> None:
    quoted = "web-1 kernel: nf_conntrack: count 651 max 651, dropping packet"
    grade = aiops.grade(item, f"Answer: conntrack table is full; {quoted}; raise the limit")
    assert grade.details["matched"] == ["cause", "component", "remediation"]  # "dropping packet" is its end


@pytest.mark.parametrize(
    ("answer", "blamed"),
    [
        ("web-1: the conntrack table is full, so there is a DNS failure", None),
        ("web-1 的连接跟踪表已满，导致DNS 故障", None),
        (f"DNS failure, so {FULL}", "dns"),  # what comes first is the cause
        ("连接跟踪表已满。另外还有DNS 故障，导致超时", "dns"),
    ],
)
def test_what_the_right_cause_leads_to_is_an_effect(item: Item, answer: str, blamed: str | None) -> None:
    assert aiops.grade(item, f"Answer: {answer}").details["wrong_cause"] == blamed


@pytest.mark.parametrize("said", ["fills", "filled", "filling", "fill", "is used up", "uses up", "expired", "expiring"])
def test_a_part_takes_the_endings_of_a_verb(said: str) -> None:
    assert find(["disk & [fill/use up/expire]"], normalise(f"the disk {said}"))
