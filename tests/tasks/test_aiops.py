"""AIOps: what an item is made of, how an answer is scored, and that answers without understanding score little."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.tasks import aiops
from l2s.tasks.aiops.causes import CAUSES, NO_FAULT
from l2s.tasks.aiops.families import STYLES
from l2s.tasks.aiops.matching import find, normalise, occurrences
from l2s.tasks.aiops.records import Line
from l2s.tasks.aiops.scoring import MAX_WORDS, QUOTE_WORDS
from l2s.tasks.aiops.slots import Slots
from l2s.tasks.aiops.wording import QUESTIONS
from l2s.tasks.contamination import overlap
from l2s.tasks.types import Item

FAMILIES = [family for style in STYLES for family in style.families]


def faulty(item: Item) -> bool:
    return not item["meta"]["healthy"]


def literal(text: str) -> str:
    """The longest part of a line's text that is the same in every log."""
    return max(re.split(r"\{\w+\}|: |\n|\"", text), key=len)


@pytest.fixture(scope="module")
def train() -> list[Item]:
    return aiops.train_items(ExperimentConfig())


@pytest.fixture(scope="module")
def held_out() -> list[Item]:
    return aiops.eval_items(ExperimentConfig())


# The benchmark -------------------------------------------------------------------------------------------------------


def test_there_are_enough_families_styles_and_held_out_families() -> None:
    assert len(STYLES) >= 6
    assert len(FAMILIES) >= 25
    assert len({family.cause for family in FAMILIES}) == len(FAMILIES)
    assert sum(family.held_out for family in FAMILIES) / len(FAMILIES) == pytest.approx(0.2)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.cause)
def test_a_family_asks_for_three_to_five_concepts_and_may_mention_few_other_causes(family: Any) -> None:
    assert 3 <= 3 + len(family.evidence) <= 5
    assert set(family.may_mention) <= CAUSES.keys() - {family.cause, NO_FAULT}
    assert len(family.may_mention) <= 3
    assert len(family.clues) >= 2
    assert len(family.symptoms) >= 4


def test_sizes_shares_and_languages(train: list[Item], held_out: list[Item]) -> None:
    for items, size in ((train, 1000), (held_out, 100)):
        assert len(items) == len({item["id"] for item in items}) == size
        for share in ("healthy", "misleading"):
            assert sum(item["meta"][share] for item in items) == 0.15 * size
        assert Counter(item["meta"]["language"] for item in items) == {"en": size / 2, "zh": size / 2}
        assert not any(item["meta"]["healthy"] and item["meta"]["misleading"] for item in items)


def test_items_are_deterministic_in_the_seed(held_out: list[Item]) -> None:
    assert aiops.eval_items(ExperimentConfig()) == held_out
    other = aiops.eval_items(ExperimentConfig(seed=7))
    assert not {item["meta"]["problem"] for item in other} & {item["meta"]["problem"] for item in held_out}


def test_training_knows_neither_held_out_families_nor_held_out_wordings(
    train: list[Item], held_out: list[Item]
) -> None:
    assert not any(item["meta"]["held_out_family"] for item in train)
    assert {item["meta"]["family"] for item in held_out} - {item["meta"]["family"] for item in train} == {
        family.cause for family in FAMILIES if family.held_out
    }
    for wordings in QUESTIONS.values():
        kept = [question.split("{title}")[0] for question in wordings["eval"]]
        assert not any(item["messages"][0]["content"].startswith(tuple(kept)) for item in train)
    last_symptoms = {family.cause: literal(family.symptoms[-1].text) for family in FAMILIES}
    used = [last_symptoms[item["meta"]["family"]] in item["meta"]["problem"] for item in held_out if faulty(item)]
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


def test_the_cause_never_stands_in_the_log(train: list[Item], held_out: list[Item]) -> None:
    for item in chain(train, held_out):
        log = normalise(item["meta"]["problem"])
        cause = item["meta"]["concepts"][0]
        assert cause["role"] == "cause"
        if not item["meta"]["healthy"]:
            said = [log[start:end] for start, end in occurrences(cause["phrases"], log)]
            assert not said, (item["meta"]["family"], said)


def test_component_and_evidence_stand_in_every_prompt_with_a_fault(held_out: list[Item]) -> None:
    for item in held_out:
        prompt = normalise(item["messages"][0]["content"])
        for concept in item["meta"]["concepts"]:
            if concept["role"] in ("component", "evidence") and faulty(item):
                assert any(find(concept["phrases"], prompt)), (item["meta"]["family"], concept)


def test_a_fault_forbids_every_cause_that_it_may_not_mention(held_out: list[Item]) -> None:
    families = {family.cause: family for family in FAMILIES}
    for item in filter(faulty, held_out):
        family = families[item["meta"]["family"]]
        forbidden = {wrong["cause"] for wrong in item["meta"]["forbidden"]}
        assert CAUSES.keys() - forbidden <= {family.cause, *family.may_mention}
        assert family.cause not in forbidden


def test_every_forbidden_cause_beside_the_reference_zeroes_the_item(held_out: list[Item]) -> None:
    for item in held_out:
        for wrong in item["meta"]["forbidden"]:
            cause = CAUSES.get(wrong["cause"])
            for said in (cause.en[0], cause.zh[0]) if cause else wrong["phrases"][:1]:
                grade = aiops.grade(item, f"Answer: {said.strip(';')}. {item['reference']}")
                assert (grade.score, grade.status) == (0.0, "wrong_cause"), (item["id"], said)


@pytest.mark.parametrize("verdict", ["no fault", "Nothing is wrong, healthy", "没有故障", "一切正常"])
def test_no_fault_beside_the_reference_zeroes_a_fault(held_out: list[Item], verdict: str) -> None:
    for item in filter(faulty, held_out):
        grade = aiops.grade(item, f"Answer: {verdict}. {item['reference']}")
        assert grade.details["wrong_cause"] == NO_FAULT, item["id"]


@pytest.mark.parametrize("aside", ["no fault in the network", "the database is healthy", "网络没有故障", "数据库健康"])
def test_a_fault_may_be_said_to_lie_nowhere_else(held_out: list[Item], aside: str) -> None:
    for item in filter(faulty, held_out):
        assert aiops.grade(item, f"Answer: {aside}. {item['reference']}").score == 1, item["id"]


def test_a_misleading_log_is_loudest_about_a_forbidden_cause(train: list[Item], held_out: list[Item]) -> None:
    """At the loudest level of its style it has more entries of the red herring than clues, and no fewer than all of the
    fault's entries.
    """
    styles = {style.name: style for style in STYLES}
    families = {family.cause: family for family in FAMILIES}
    for item in filter(lambda item: item["meta"]["misleading"], chain(train, held_out)):
        family, log = families[item["meta"]["family"]], item["meta"]["problem"]
        forbidden = {wrong["cause"] for wrong in item["meta"]["forbidden"]}
        herrings = [red.lines for red in styles[item["meta"]["style"]].red_herrings if red.blames in forbidden]
        loudest = "error" if any(line.level == "error" for line in chain(*herrings)) else "warn"
        red = max(num_entries(log, lines, loudest) for lines in herrings)
        assert red > num_entries(log, family.clues, loudest), item["id"]
        assert red >= num_entries(log, (*family.clues, *family.symptoms), loudest), item["id"]


def num_entries(log: str, lines: Iterable[Line], level: str) -> int:
    """How many entries of `log` were written from those of `lines` that have this level."""
    texts = [re.split(r"\{\{|\}\}|\{\w+\}|\"|: ", line.text.split("\n")[0]) for line in lines if line.level == level]
    patterns = [re.compile(".+".join(map(re.escape, pieces))) for pieces in texts]
    return sum(any(pattern.search(entry) for pattern in patterns) for entry in log.splitlines())


def test_no_evaluation_log_is_a_training_log(train: list[Item], held_out: list[Item]) -> None:
    found = overlap(train, held_out)["aiops"]
    assert found.duplicates == []
    assert len(found.ngram) <= 0.05 * len(held_out)


# Scoring -------------------------------------------------------------------------------------------------------------


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
        ("Answer: " + "word " * MAX_WORDS + FULL, 0.0, "wrong"),  # beyond the bound
        (f"Answer: DNS failure. Wait.\nAnswer: {FULL}", 1.0, "correct"),  # the last one counts
        (f"Answer: {FULL}\n\n**Answer:**", 1.0, "correct"),  # but not an empty one
        (f"Answer: {FULL}\nAnswer: root cause; component; evidence; remedy", 1.0, "correct"),
        (f"答案：{FULL}\n答案：<根因>；<组件>；<证据>；<处置>。", 1.0, "correct"),
        (f"{FULL}\nAnswer:", 1.0, "correct"),
        ("Answer: root cause; component; evidence; remedy", 0.0, "no_answer"),
        ("word " * (MAX_WORDS + 1) + "Answer:", 0.0, "no_answer"),
    ],
)
def test_a_bounded_answer_scores_the_share_of_concepts_it_names(
    item: Item, response: str, score: float, status: str
) -> None:
    grade = aiops.grade(item, response)
    assert (grade.score, grade.status) == (score, status), grade
    assert grade.status in aiops.STATUSES
    assert grade.details["all_required"] == (status == "correct")


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
    ],
)
def test_phrases_may_have_choices_gaps_and_clause_ends(phrase: str, text: str, is_said: bool) -> None:
    assert bool(find([phrase], normalise(text))) == is_said


def test_passages_copied_from_the_log_do_not_count(item: Item) -> None:
    line = item["meta"]["problem"].splitlines()[0]
    assert len(line.split()) > QUOTE_WORDS
    assert aiops.grade(item, f"Answer: {line}").score == 0
    assert aiops.grade(item, "Answer: conntrack table is full, see: dropping packet").details["matched"] == [
        "cause",
        "evidence",
    ]


ORDINARY = {
    "disk_full": "{mount} is full|no space left on device|{mount} has run out of space|The filesystem {mount} is full|"
    "The disk {mount} on {host} is full|磁盘 {mount} 已满|{mount} 空间不足|磁盘空间已耗尽",
    "memory_exhausted": "{host} is running out of memory|The memory of the host is exhausted|主机内存已用尽",
    "clock_wrong": "The clock of {host} has drifted|time on {host} is wrong|系统时钟发生偏移|NTP 同步失败",
    "disk_failing": "{disk} is failing|The drive {disk} on {host} is dying|硬盘 {disk} 已损坏",
    "conntrack_full": "The conntrack table on {host} is full|nf_conntrack table is at its maximum|连接跟踪表达到上限",
    "descriptors_exhausted": "{svc} has exhausted its file descriptors|too many open sockets|文件描述符已用完",
    "pool_exhausted": "all connections in use, none returned|the pool of {svc} is exhausted|连接未归还导致连接池已耗尽",
    "certificate_expired": "The certificate of {svc} has expired|the cert is no longer valid|{svc} 的证书已过期",
    "dns_broken": "the resolver {ip} is not responding|DNS lookups time out|DNS server {ip} is down|解析器 {ip} 无响应",
    "rate_limited": "{client} exceeded its quota at {svc}|too many requests|{client} 的请求配额已用尽",
    "bad_config": "wrong ledger_url in the settings|ledger_url points to localhost|ledger_url 配置错误",
    "cache_stampede": "{count} keys expired at the same time|the cache entries expired together|大量缓存键同时过期",
    "upstream_down": "{svc} is down|{svc} has crashed|nothing listens on {ip}:{port}|{svc} 已停止|上游服务 {svc} 宕机",
    "upstream_slow": "{svc} responds too slowly|{svc} is overloaded|the backend {svc} is slow|{svc} 响应缓慢",
    "body_limit": "client_max_body_size is too small|the upload size is limited to 1m|上传大小超过限制",
    "worker_limit": "all connection slots are taken|worker_connections exhausted|worker_connections 已耗尽",
    "traffic_flood": "{ip} is flooding /{page}|a flood of requests from one client|{ip} 的恶意请求",
    "heap_leak": "{cls} leaks memory|the Java heap is exhausted|{cls} 实例未释放",
    "deadlock": "two threads block each other|locks taken in opposite order|两个线程相互阻塞",
    "thread_pool_full": "all threads of {svc}-exec are busy|the executor is saturated|线程池 {svc}-exec 已满",
    "library_conflict": "conflicting versions of {lib}|two versions of {lib}|{lib} 版本冲突",
    "schema_mismatch": "the message schema changed|incompatible message format of {topic}|消息格式发生变更",
    "gc_pause": "JVM stalls in full GC|the JVM is paused by garbage collection|GC 停顿时间过长",
    "image_missing": "{svc}:{version} was never pushed|tag {version} does not exist|镜像 {svc}:{version} 不存在",
    "memory_limit": "the container exceeds its memory limit|The container of {svc} ran out of memory|容器内存超限",
    "cluster_capacity": "no node has enough free CPU|not enough CPU in the cluster|集群没有足够的 CPU",
    "probe_wrong": "the probe checks the wrong port|the liveness probe points to a wrong port|探针配置了错误的端口",
    "secret_missing": "{secret} does not exist|the secret {secret} is missing|缺少 {secret}|密钥 {secret} 不存在",
    "volume_attached_elsewhere": "{volume} is still attached to {node}|the volume was not detached|卷仍挂载在 {node}",
    "connection_limit": "all connection slots are used|max_connections reached|{db} 的连接已耗尽",
    "index_missing": "{column} is not indexed|no index on {table}({column})|{table} 的 {column} 没有索引",
    "long_transaction": "session {spid} holds locks|a transaction was left open|会话 {spid} 持有锁未提交",
    "replica_lag": "{host} lags behind|the replica is behind|the standby {host} is behind|备库 {host} 延迟",
    "wraparound": "running out of transaction IDs|{table} was not frozen|事务 ID 即将耗尽",
    "old_credentials": "{client} still uses the old password|outdated credentials|{client} 仍使用旧密码",
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.cause)
def test_ordinary_wordings_of_the_right_cause_count(family: Any) -> None:
    slots = Slots(random.Random(0))
    cause = CAUSES[family.cause]
    phrases = [phrase.format_map(slots) for phrase in (*cause.all, *family.also.all)]
    assert set(ORDINARY) == {family.cause for family in FAMILIES}
    for wording in ORDINARY[family.cause].split("|"):
        assert find(phrases, normalise(wording.format_map(slots))), wording


def test_nothing_stands_open_in_a_phrase() -> None:
    """A name may hold a slash, which separates choices; no choice may be empty."""
    for family in FAMILIES:
        for phrase in (*CAUSES[family.cause].all, *family.also.all, *family.remediation.all):
            for choices in re.findall(r"\[(.*?)\]", phrase):
                assert "{mount}" not in choices
                assert all(choices.split("/"))


# Controls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [42, 1])
def test_references_score_one_and_controls_under_fifteen_percent(seed: int) -> None:
    scores = aiops.controls(aiops.eval_items(ExperimentConfig(seed=seed)))
    assert scores.pop("gold") == 1.0
    assert set(scores) == {"log_echo", "keyword_stuffing", "majority_answer", "another_items_answer", "hedging"}
    assert max(scores.values()) < 0.15, scores


def test_every_training_reference_scores_one_as_it_stands_and_delimited(train: list[Item]) -> None:
    for item in train:
        for response in (item["reference"], f"Answer: {item['reference']}", f"答案：{item['reference']}"):
            assert aiops.grade(item, response).status == "correct", item["id"]


def test_calling_a_fault_healthy_and_a_good_day_faulty_scores_nothing(held_out: list[Item]) -> None:
    healthy = [item for item in held_out if item["meta"]["healthy"]]
    faulty = [item for item in held_out if not item["meta"]["healthy"]]
    for item in faulty:
        assert aiops.grade(item, healthy[0]["reference"]).score == 0
    for item in healthy:
        assert aiops.grade(item, faulty[0]["reference"]).status == "wrong_cause"
    assert NO_FAULT in CAUSES
