"""AIOps: ordinary wordings of every cause count, and the rest of a right answer blames nothing."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from l2s.tasks.aiops.causes import CAUSES
from l2s.tasks.aiops.families import STYLES
from l2s.tasks.aiops.matching import find, named_causes, normalise
from l2s.tasks.aiops.slots import Slots

FAMILIES = [family for style in STYLES for family in style.families]

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


# One right answer for each fault, with its effects, as people write them.
ANSWERS = {
    "disk_full": (
        "The disk {mount} on {host} is full, so writes fail with ENOSPC and {svc} switched to read-only mode; clients "
        "get 507. Delete old logs and expand the volume."
    ),
    "memory_exhausted": (
        "{host} ran out of memory, so the OOM killer killed {svc}, which is down and resets connections; add RAM and "
        "fix the memory leak."
    ),
    "clock_wrong": (
        "The clock of {host} has drifted by {secs} s since chronyd lost its NTP sources, so Kerberos tickets are not "
        "yet valid and logins fail. Restore NTP."
    ),
    "disk_failing": (
        "{disk} is failing: SMART shows {count} reallocated sectors and I/O errors; the file system went read-only and "
        "the RAID is degraded. Replace the drive."
    ),
    "conntrack_full": (
        "The conntrack table on {host} is full ({tracked} of {tracked}) because of too many connections, so packets "
        "are dropped and connections time out. Increase nf_conntrack_max."
    ),
    "descriptors_exhausted": (
        "{svc} ran out of file descriptors (EMFILE), probably a socket leak as many are in CLOSE_WAIT, so health "
        "checks are refused. Raise the nofile limit and fix the connection leak."
    ),
    "pool_exhausted": (
        "The connection pool of {svc} is exhausted because a handler does not return connections; requests time out "
        "with 503 while the database is healthy. Fix the leak and enlarge the pool."
    ),
    "certificate_expired": (
        "The TLS certificate of {svc} expired on {expired_on}, so handshakes fail and clients get 502. "
        "Renew the certificate."
    ),
    "dns_broken": (
        "The DNS resolver {ip} is not responding, lookups on port 53 time out while access by IP works; restart the "
        "resolver or fail over to another."
    ),
    "rate_limited": (
        "{client} exceeded its quota at {svc} and gets 429, retrying immediately made it worse; back off."
    ),
    "bad_config": (
        "Settings revision {rev} of {svc} set ledger_url to localhost:{port}, a wrong URL, so bookings are refused "
        "while the ledger service is healthy. Roll back the revision."
    ),
    "cache_stampede": (
        "{count} keys with the same ttl expired at the same time, miss ratio {pct}%, so the database was overloaded "
        "with the same query. Add jitter."
    ),
    "upstream_down": (
        "{svc} at {ip}:{port} is down, connections are refused and nginx returns 502. Restart the service."
    ),
    "upstream_slow": (
        "{svc} responds too slowly, nginx times out after {secs} s and returns 504. Optimize the report query and "
        "scale out."
    ),
    "body_limit": (
        "The client_max_body_size of 1m is too small for the {size} MB upload, nginx answers 413. Raise the limit."
    ),
    "worker_limit": (
        "nginx ran out of worker connections ({conns}), keep-alive clients hold the slots and new ones time out. "
        "Increase worker_connections."
    ),
    "traffic_flood": (
        "A flood of requests from {ip} to /{page} exceeds the rate limit with 429 and slows down the site for others. "
        "Block the IP."
    ),
    "heap_leak": (
        "{cls} objects leak: {count} instances are retained, the heap is full and an OutOfMemoryError is thrown. Take "
        "a heap dump and fix the leak."
    ),
    "deadlock": (
        "worker-{tid} and worker-{tid2} are in a deadlock on {cls} and {cls2}, both BLOCKED, requests get no answer. "
        "Use a consistent lock order."
    ),
    "thread_pool_full": (
        "All {limit} threads of {svc}-exec wait for a slow HTTP call without timeout, so tasks are rejected with "
        "RejectedExecutionException and 503. Set timeouts."
    ),
    "library_conflict": (
        "Two versions of {lib} on the class path after the deployment cause NoSuchMethodError. Exclude one version."
    ),
    "schema_mismatch": (
        "The new producer build added the field {field} which the consumer of {topic} does not know: incompatible "
        "schema; it is stuck at offset {big1} and lag grows. Upgrade the consumer."
    ),
    "gc_pause": (
        "Full GC pauses of {secs} s stop the JVM of {svc}, so sessions and leases expire and calls time out. Increase "
        "the heap and tune GC."
    ),
    "image_missing": (
        "The image {svc}:{version} does not exist in the registry (manifest unknown), pods are in ImagePullBackOff. "
        "Push the image or fix the tag."
    ),
    "memory_limit": (
        "The container of {svc} hit its memory limit of {size}Mi and was OOM killed (exit code 137); it restarts. "
        "Raise the memory limit."
    ),
    "cluster_capacity": (
        "No node has enough free CPU for the request of {count}m, so the pod stays Pending and the service is slow. "
        "Add nodes."
    ),
    "probe_wrong": (
        "The liveness probe uses port {port} while the container listens on {port2}, so the kubelet kills a healthy "
        "container. Fix the probe port."
    ),
    "secret_missing": (
        "The secret {secret} does not exist, the volume cannot be mounted and the pod hangs in ContainerCreating. "
        "Create the secret."
    ),
    "volume_attached_elsewhere": (
        "Volume {volume} is still attached to the failed node {node}, which is down: Multi-Attach error. Force detach "
        "by deleting the VolumeAttachment."
    ),
    "connection_limit": (
        "{db} reached max_connections: {sessions} sessions, most idle, from {client}, which leaks connections; "
        "remaining slots are reserved. Use pgbouncer."
    ),
    "index_missing": (
        "There is no index on {column} of {table}, so a Seq Scan reads {big1} rows and CPU is at 97%. Create an index."
    ),
    "long_transaction": (
        "Session {spid} of {client} left a transaction open after BEGIN for {minutes} min, holding locks others wait "
        "for (ShareLock). Terminate the session."
    ),
    "replica_lag": (
        "The standby {host} lags {size} MB behind the primary, so readers see stale data {secs} s old. Send reads to "
        "the primary."
    ),
    "wraparound": (
        "{table} is about to hit transaction ID wraparound, {big1} transactions left, because autovacuum was canceled "
        "again and again; the database refuses writes. Run VACUUM FREEZE."
    ),
    "old_credentials": (
        "{client} still uses the old password version {rev} after rotation, {rev2} is active, so authentication failed "
        "(28P01). Restart the client with new credentials."
    ),
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.cause)
def test_a_right_answer_in_plain_words_names_the_cause_and_a_remedy_and_blames_nothing_else(family: Any) -> None:
    slots = Slots(random.Random(0))
    answer = normalise(ANSWERS[family.cause].format_map(slots))
    assert set(named_causes(answer)) <= {family.cause, *family.may_mention}
    for phrases in ((*CAUSES[family.cause].all, *family.also.all), family.remediation.all):
        assert find([phrase.format_map(slots) for phrase in phrases], answer)
