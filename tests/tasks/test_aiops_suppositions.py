"""AIOps: a cause that an answer only supposes, or did not find in the log, is not named."""

from __future__ import annotations

import re

import pytest

from l2s.tasks import aiops
from l2s.tasks.aiops.blind_answers import answered_item

SUPPOSED = {
    "disk_full": [
        "If the disk had been full we would see ENOSPC.", "Had the disk been full, writes would have failed.",
        "Were the disk full, writes would fail.", "Should the disk be full, writes fail",
        "Writes would fail if the disk were full.", "如果磁盘已满，则故障应该会在写入时出现，磁盘已满会被记录",
        "如果磁盘已满，应该会看到写入失败", "倘若磁盘已满，写入会失败",
    ],
    "memory_exhausted": [
        "If the host had run out of memory we would see the OOM killer.", "如果内存耗尽,应该会有OOM日志",
        "Unless the host ran out of memory, nothing explains this.",
    ],
    "certificate_expired": [
        "If the certificate had expired, TLS handshakes would fail.", "要是证书过期，握手会失败",
        "时钟正常；若证书过期，握手会失败",
    ],
    "dns_broken": [
        "If DNS had failed we would see lookup errors.", "It would have been a DNS failure if lookups had timed out.",
        "如果是DNS故障,应该会看到解析错误", "假如DNS服务器宕机，会出现解析失败",
        "Even if DNS were down, names would be cached.",
    ],
}  # fmt: skip
NOT_FOUND = {
    "disk_full": [
        "a full disk was not found", "磁盘已满的迹象未发现", "No disk full errors were found", "没有发现磁盘已满",
    ],
    "memory_exhausted": [
        "no OOM was found", "OOM was not found", "OOM was not detected.", "Memory exhaustion could not be found",
        "没有观察到内存耗尽", "没有检测到内存耗尽", "没有看到内存不足",
    ],
    "dns_broken": ["DNS failure was not found", "no DNS failure was found", "DNS 故障没有出现"],
}  # fmt: skip
CONTRASTED = {
    "disk_full": [
        "Rather than a full disk, it is a DNS failure.", "DNS failure instead of a full disk",
        "是内存不足而不是磁盘已满", "磁盘并非已满",
    ],
    "certificate_expired": ["a DNS failure rather than an expired certificate", "是 DNS 故障，并非证书过期"],
}  # fmt: skip
NAMED = {
    "disk_full": [
        "Writes fail if the disk is full, which it is.", "The disk is full, and if nothing is done the host will stop",
        "the disk is full because logs were not rotated; if needed, add space", "the disk is full, no OOM was found",
        "Even though memory would be enough, the disk is full", "If I read the log right, the disk is full",
        "the disk is full. Rotate logs; if OOM occurs, add RAM", "It should be noted that the disk is full",
        "If it were DNS, lookups would fail, but the disk is full", "The disk is full; a limit would have saved it.",
        "If the disk is full, delete old logs. The disk is full.", "The disk is full. If it fills again, extend it.",
        "No space left on device was found, so the disk is full", "OOM was not found; the disk is full",
        "Had DNS failed, we'd see lookups time out; the disk is full", "The disk is full rather than failing.",
        "Had a full disk; writes failed", "Had no space left, so writes failed", "You should check if the disk is full",
        "This might be a full disk, see if logs rotate", "Should be clear: the disk is full", "如果没看错是磁盘已满",
        "the full disk was not noticed", "如果是DNS故障，应该会有解析失败，但磁盘已满",
        "磁盘已满，若不清理将继续写入失败",
        "若不及时清理，服务会中断。磁盘已满", "磁盘已满，如果内存不足则另行扩容", "应该是磁盘已满",
        "是磁盘已满而不是内存不足",
    ],
    "dns_broken": [
        "host not found because resolver {ip} is down", "DNS lookups return host not found",
        "hostname not found: DNS is broken", "DNS resolver down rather than a slow network",
        "如果不是DNS故障，就不会有解析错误。所以是DNS故障。",
    ],
    "secret_missing": [
        "the missing secret {secret} is not found", "secret {secret} was not found", "no secret {secret} was found",
        "{secret} could not be found", "Secret {secret} 未找到",
    ],
    "image_missing": ["image {svc}:{version} not found", "the tag {version} could not be found in the registry",
                      "no image {svc}:{version} was found"],
    "healthy": [
        "Everything is healthy. If the disk had been full we would see errors.", "No errors were found.",
        "If anything had failed we would see errors; there is no fault.", "Healthy, no OOM was found.",
        "没有发现错误", "日志未显示任何异常", "系统健康，如果有故障应该会看到错误",
    ],
}  # fmt: skip


def named(family: str, answer: str) -> bool:
    language = "zh" if re.search("[\u3400-\u9fff]", answer) else "en"
    item, said = answered_item(family, language, answer, "syslog" if family == "healthy" else "")  # type: ignore[arg-type]
    return aiops.grade(item, f"Answer: {said}").status in ("correct", "partial")


@pytest.mark.parametrize("answers", [SUPPOSED, NOT_FOUND, CONTRASTED], ids=["supposed", "not found", "contrasted"])
def test_what_an_answer_does_not_state_is_not_named(answers: dict[str, list[str]]) -> None:
    assert [said for family, sayings in answers.items() for said in sayings if named(family, said)] == []


@pytest.mark.parametrize("family", NAMED)
def test_what_it_states_beside_that_is_named(family: str) -> None:
    assert [said for said in NAMED[family] if not named(family, said)] == []


def test_a_supposed_cause_is_not_blamed_beside_the_right_one() -> None:
    item, said = answered_item("disk_full", "en", "{mount} is full. Had DNS failed, lookups would time out.")
    assert aiops.grade(item, f"Answer: {said}").details["wrong_cause"] is None
