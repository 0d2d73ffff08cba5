"""AIOps: every cause is recognised in many natural words, and no answer counts for another fault."""

from __future__ import annotations

import pytest

from l2s.jsonl import load_jsonl
from l2s.tasks import aiops
from l2s.tasks.aiops.blind_answers import FAMILY_OF, FOLDER, STYLE_OF, answered_item
from l2s.tasks.aiops.equivalents import EQUIVALENTS
from l2s.tasks.aiops.records import Language

ENGLISH = {
    "disk_full": (
        "{mount} hit 100% and there is nowhere to write|{svc} cannot write because its disk has run "
        "out of room|logs ate all the space on {mount}|the volume has zero bytes free|no headroom "
        "left on {mount}"
    ),
    "memory_exhausted": (
        "{host} has no RAM or swap left|host memory and swap both hit zero|physical memory depleted|"
        "{svc} got OOM-killed|RAM plus swap fully used"
    ),
    "clock_wrong": (
        "{host}'s clock is {secs} s off|host lost NTP and its clock wandered|clock on {host} not disciplined "
        "for {drift_days} days|{host} time skewed because NTP is dead|NTP has been dead for {drift_days} "
        "days and the clock is off"
    ),
    "disk_failing": (
        "{disk} is physically dying|{disk} is wearing out|media defects on {disk}|the drive behind "
        "{disk} is breaking down|{disk} is dead"
    ),
    "conntrack_full": (
        "conntrack table hit its max|netfilter's state table overflowed|nf_conntrack_max reached|conntrack "
        "count reached the maximum|netfilter ran out of conntrack entries"
    ),
    "descriptors_exhausted": (
        "{svc} hit its open-file limit|{svc} leaks sockets until nofile is hit|{svc} can open no more "
        "files|fd table of {svc} is full|{svc} reached ulimit -n"
    ),
    "pool_exhausted": (
        "{svc}'s connection pool ran dry|the /export handler never gives its connection back|all {pool} "
        "connections are taken|pool starved by a leaked handle|pool drained by a leak"
    ),
    "certificate_expired": (
        "{svc}'s TLS cert ran out on {expired_on}|{svc} is serving an expired cert|cert validity ended "
        "{expired_on}|the x509 cert went past notAfter|stale certificate"
    ),
    "dns_broken": (
        "resolver {ip} does not answer|name lookups fail because resolver {ip} is dead|DNS resolver "
        "down|lookups against {ip} time out|resolver outage"
    ),
    "rate_limited": (
        "{client} burned through its quota at {svc}|{client} exceeds what {svc} lets it call|{client} "
        "used up its allowance of {limit}|{client} blew its quota|{client}'s window is exhausted"
    ),
    "bad_config": (
        "revision {rev} points ledger_url at localhost|{svc} posts to itself instead of the ledger|"
        "wrong ledger endpoint|{svc} talks to localhost because of revision {rev}|ledger_url misdirected "
        "to localhost"
    ),
    "cache_stampede": (
        "{count} cache keys expired at the same moment|stampede on {db} after the cache emptied|one "
        "loader run gave all keys one TTL, so they dropped out at once|bulk cache expiration|herd "
        "of misses"
    ),
    "upstream_down": (
        "{svc} isn't running|nothing is listening on {ip}:{port}|{svc} process is gone|the backend "
        "is dead|{svc} rejects connections on {port}"
    ),
    "upstream_slow": (
        "{svc} takes more than {secs} s to answer|backend response time exceeds {secs} s|{svc} is "
        "bogged down|{svc} is crawling|nginx gives up waiting for {svc}"
    ),
    "body_limit": (
        "client_max_body_size is 1m|nginx refuses bodies larger than 1m|file bigger than nginx allows|"
        "max body size left at 1m|payload above the limit"
    ),
    "worker_limit": (
        "nginx used all {conns} connection slots|no free slots in nginx|worker_connections too low|"
        "nginx cannot accept more clients, {conns} of {conns}|worker connection exhaustion"
    ),
    "traffic_flood": (
        "{ip} floods /{page}|a scraper at {ip} overloads the site|DoS from {ip}|an aggressive bot|"
        "excess traffic from {ip}"
    ),
    "heap_leak": (
        "{cls} objects pile up in the heap|{cls} is never garbage collected|{cls} instances hog the "
        "old generation|unbounded growth of {cls}|objects leak"
    ),
    "deadlock": (
        "two threads are deadlocked|lock cycle between {cls} and {cls2}|each worker holds the lock "
        "the other needs|moveTo and moveFrom lock in reverse order|{cls} and {cls2} locks are taken "
        "crosswise"
    ),
    "thread_pool_full": (
        "every thread of {svc}-exec hangs in HttpClient.send|{svc}-exec is out of threads|worker threads "
        "pinned in outbound HTTP|thread starvation in {svc}-exec|blocking HTTP sends use up the pool"
    ),
    "library_conflict": (
        "two {lib} jars on the class path|wrong {lib} version wins|class path carries both {version} "
        "and {version2} of {lib}|incompatible {lib}|build {rev} ships {lib} in two versions"
    ),
    "schema_mismatch": (
        "producer writes a field the consumer doesn't know|reader schema lacks {field}|the consumer's "
        "schema is behind the producer's|messages of {topic} no longer parse|consumer not prepared "
        "for {field}"
    ),
    "gc_pause": (
        "long full GCs freeze {svc}|GC thrashing|heap nearly full, so full GC after full GC|excessive "
        "garbage collection|collections that stop the process for {pause} s"
    ),
    "image_missing": (
        "tag {version} isn't in the registry|wrong image tag|the registry doesn't know {svc}:{version}|"
        "registry lacks the image|no manifest for that tag"
    ),
    "memory_limit": (
        "{svc} container hits its {size}Mi limit|memory limit too tight|working set reaches the limit "
        "and it is killed|container runs out of memory at {size}Mi|{svc} bumps into its memory limit"
    ),
    "cluster_capacity": (
        "no node can fit the pod|not enough allocatable CPU|node pool maxed out|insufficient cpu on "
        "all 6 nodes|CPU request too big for every node"
    ),
    "probe_wrong": (
        "liveness probe hits port {port} but the app listens on {port2}|liveness check aimed at {port}, "
        "app on {port2}|probe port mismatch|probe pointed at {port}|liveness probe looks at {port} "
        "instead of {port2}"
    ),
    "secret_missing": (
        "secret {secret} doesn't exist|missing secret {secret}|creds volume refers to an unknown secret|"
        "{secret} not in the namespace|credentials secret is lacking"
    ),
    "volume_attached_elsewhere": (
        "{volume} is still attached to dead {node}|RWO volume stuck on {node}|{volume} hangs on the "
        "lost node|{node} died holding {volume}|multi-attach: {node} owns {volume}"
    ),
    "connection_limit": (
        "{client} hogs all database connections|max_connections used up|{db} at its connection cap|"
        "database is out of connections|sessions pile up from {client}"
    ),
    "index_missing": (
        "no index on {table}.{column}|every query reads all of {table}|filter on {column} has no supporting "
        "index|lookups by {column} go through all {big1} rows|no suitable index"
    ),
    "long_transaction": (
        "session {spid} forgot to commit|{spid} sits idle in transaction|idle session keeps its lock|"
        "a stuck transaction holds the lock on {table}|BEGIN without COMMIT"
    ),
    "replica_lag": (
        "{host} is {size} MB behind|replay on {host} is lagging|replication is delayed by {secs} s|"
        "WAL apply is behind on {host}|{host} is {secs} seconds behind"
    ),
    "wraparound": (
        "{table} close to XID wraparound|{db} is about to wrap around|{table} hasn't been frozen|anti-wraparound "
        "vacuum keeps being interrupted|{db} stopped writes to avoid wraparound"
    ),
    "old_credentials": (
        "{client} still logs in with the old password|{client} presents stale credentials|{client} "
        "didn't pick up version {rev2}|{client} is stuck on credential v{rev}|{client} hasn't reloaded "
        "the new password"
    ),
}

CHINESE = {
    "disk_full": "{mount} 写满了|磁盘塞爆|{mount} 所在分区已无可用块|{mount} 爆盘|{mount} 空间告罄",
    "memory_exhausted": "主机内存被 {svc} 吃光|物理内存见底|系统内存不够|机器内存撑爆|整机内存枯竭",
    "clock_wrong": "{host} 时间偏了 {secs} 秒|长期没对时,时钟跑偏|时钟没有校准|时间同步断掉|授时源丢失",
    "disk_failing": "{disk} 盘坏了|磁盘硬件出问题|{disk} 物理损坏|磁盘老化失效|盘片损坏",
    "conntrack_full": "conntrack 表打满|跟踪表没有空位|netfilter 状态表满了|连接跟踪表溢出|防火墙连接表满",
    "descriptors_exhausted": (
        "{svc} 的 fd 用光了|文件句柄泄漏到上限|描述符被占光|socket 没关,把 fd 耗尽|进程描述符不够用"
    ),
    "pool_exhausted": "{svc} 连接池被借空|数据库连接泄漏|连接全被借走|池子空了|连接池枯竭",
    "certificate_expired": (
        "{svc} 证书 {expired_on} 就到期了|{svc} 用着过期证书|证书超出 notAfter|证书逾期|证书没及时更换"
    ),
    "dns_broken": "解析器 {ip} 挂了|内网 DNS 坏了|名字解析不出来|DNS 解析挂掉|主机名查不到",
    "rate_limited": (
        "{client} 把 {svc} 的配额用完了|{client} 超过调用额度|配额见底|请求量超配额|{client} 发得太猛超了额度"
    ),
    "bad_config": (
        "修订 {rev} 把 ledger_url 写成 localhost|配置改坏了|设置修订 {rev} 有误|错配 ledger_url|修订 {rev} 引入错误地址"
    ),
    "cache_stampede": "{count} 个键同时到期|缓存雪崩打垮数据库|ttl 一样导致集中过期|回源风暴|缓存键 ttl 一齐到点",
    "upstream_down": "{svc} 挂了|{ip}:{port} 没人监听|后端服务不在|端口 {port} 没有服务|应用没在跑",
    "upstream_slow": "{svc} 太慢|上游迟迟不返回|后端卡住|{svc} 报表跑太久|{svc} 半天不回",
    "body_limit": "上传文件超过 1m 限制|文件太大被 nginx 挡了|请求体过大|上传大小限制没调|{size} MB 的上传超过上限",
    "worker_limit": "nginx 连接槽用光|nginx 没有空闲连接|worker 连接用尽|worker_connections 不够|空闲连接霸占槽位",
    "traffic_flood": "{ip} 狂刷 /{page}|同一来源请求过量|单 IP 高频访问|恶意流量来自 {ip}|来自 {ip} 的 CC 攻击",
    "heap_leak": "{cls} 对象泄漏|{cls} 越积越多把堆撑爆|老年代塞满 {cls}|{cls} 堆积导致 OOM|对象没释放,堆满",
    "deadlock": "两个线程死锁|两线程互相卡死|锁顺序不一致|线程互等|锁成环",
    "thread_pool_full": "{svc}-exec 线程全占满|执行器没有空闲线程|线程池被慢调用拖满|线程池饱和|外部接口慢把线程占光",
    "library_conflict": "{lib} 版本冲突|依赖冲突|jar 包冲突|错误版本的 {lib} 被加载|加载到老版本 {lib}",
    "schema_mismatch": (
        "生产者加了字段 {field},消费者不认|schema 不兼容|生产端改格式,消费端没跟上|{field} 不在读模式里|"
        "消费者解析不了新格式"
    ),
    "gc_pause": "Full GC 停顿 {pause} 秒|长时间 STW|JVM 长停顿|堆快满反复 Full GC|JVM 被 GC 冻住",
    "image_missing": (
        "镜像 {svc}:{version} 不存在|镜像版本写错|引用了不存在的标签|{version} 镜像没发布|用了未发布的镜像"
    ),
    "memory_limit": "{svc} 容器内存超限|内存 limit 太小|容器内存用满|容器被 OOM 杀|内存上限设低了",
    "cluster_capacity": (
        "没有节点放得下|{svc} 请求的 CPU 太大|请求 {count}m 超过任何节点余量|没节点能满足 CPU 请求|节点都满了"
    ),
    "probe_wrong": "存活探针端口配错|liveness 端口不对|存活探针配置有误|liveness 探错端口|探活端口错误",
    "secret_missing": "{secret} 不存在|缺 {secret}|挂载的密钥没建|creds 指向的 Secret 不存在|prod 里没 {secret}",
    "volume_attached_elsewhere": (
        "{volume} 还挂在 {node} 上|卷被老节点占着|存储卷被占用|RWO 卷无法二次挂载|旧挂载没清理"
    ),
    "connection_limit": (
        "{client} 空闲会话占光连接|{client} 囤积会话|连接被 {client} 占完|空闲连接太多|{client} 开了太多连接"
    ),
    "index_missing": "{table} 的 {column} 没索引|没建索引导致扫全表|{column} 上无索引|{table} 全扫|查询没走索引",
    "long_transaction": "{spid} 事务一直没提交|事务挂着没结束|锁一直没放|长事务占锁|更新后没提交就闲着",
    "replica_lag": "{host} 落后主库 {size} MB|复制延迟 {secs} 秒|从库同步慢|主从不同步|读到的是旧数据,备库滞后",
    "wraparound": "事务号快用完|事务 ID 余量不足|{table} 迟迟未冻结|只剩 {xids_left} 个事务号|事务编号将尽",
    "old_credentials": (
        "{client} 还在用旧密码|凭据轮换后 {client} 没跟上|{client} 没换新密钥|密钥已轮换,客户端没重载|凭据版本落后"
    ),
}

ALL_IS_WELL: dict[Language, str] = {
    "en": (
        "nothing is at fault|nothing at fault|no component is at fault|everything is normal|everything is fine|"
        "no anomalies|no actual fault|no real incident|no significant problem|no sign of a fault|"
        "no evidence of a failure|there isn't any fault|nothing has failed|nothing is broken|nothing went wrong|"
        "nothing unusual|normal operation|the services are running fine|the system operates as expected"
    ),
    "zh": (
        "未发现故障|未发现任何异常|没有发现故障|没有任何故障|无任何异常|不存在故障|未见异常|未见明显异常|没有真正的故障|未检测到异常|"
        "没有发生故障|无事故|没故障|系统整体正常"
    ),
}


@pytest.mark.parametrize("family", FAMILY_OF)
@pytest.mark.parametrize(("language", "wordings"), [("en", ENGLISH), ("zh", CHINESE)])
def test_natural_wordings_of_a_cause_count(family: str, language: Language, wordings: dict[str, str]) -> None:
    for seed, wording in enumerate(wordings[family].split("|")):
        item, answer = answered_item(family, language, wording, seed=seed)
        assert aiops.grade(item, f"Answer: {answer}").details["matched"][:1] == ["cause"], answer


@pytest.mark.parametrize("wordings", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_naming_the_cause_alone_tells_no_remedy(wordings: dict[str, str]) -> None:
    told = 0
    for family, said in wordings.items():
        for wording in said.split("|"):
            item, answer = answered_item(family, "en", wording)
            told += "remediation" in aiops.grade(item, f"Answer: {answer}").details["matched"]
    assert told <= 0.1 * len(wordings) * 5


@pytest.mark.parametrize("family", FAMILY_OF)
@pytest.mark.parametrize(("language", "remedy"), [("en", "Remedy:"), ("zh", "处置：")])
def test_a_reference_without_its_remedy_tells_none(family: str, language: Language, remedy: str) -> None:
    item, _ = answered_item(family, language, "", seed=1)
    matched = aiops.grade(item, f"Answer: {item['reference'].partition(remedy)[0]}").details["matched"]
    assert matched == [concept["role"] for concept in item["meta"]["concepts"]][:-1]


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        ("cluster_capacity", "no node has enough CPU; request 4245m; only 712m free CPU"),
        ("probe_wrong", "the liveness probe checks port {port}; the container listens on {port2}"),
        ("old_credentials", "密码已轮换，{client} 仍使用旧密码；当前版本 {rev2}"),
    ],
)
def test_evidence_tells_no_remedy(family: str, answer: str) -> None:
    item, said = answered_item(family, "en", answer)
    matched = aiops.grade(item, f"Answer: {said}").details["matched"]
    assert matched[:1] == ["cause"]
    assert "remediation" not in matched


def test_a_right_answer_to_one_fault_hardly_ever_counts_for_another_of_its_style() -> None:
    rows = [row for row in load_jsonl(FOLDER / "mend.jsonl") if row["family"] != "healthy"][::3]
    counted = []
    for row in rows:
        siblings = [family.cause for family in STYLE_OF[row["family"]].families]
        other = siblings[(siblings.index(row["family"]) + 1) % len(siblings)]
        item, answer = answered_item(other, row["language"], row["answer"])
        if aiops.grade(item, f"Answer: {answer}").score:
            counted.append((row["family"], other, answer))
    assert len(counted) <= 0.02 * len(rows), counted


@pytest.mark.parametrize(("language", "verdicts"), ALL_IS_WELL.items())
def test_a_healthy_log_may_be_called_so_in_other_words(language: Language, verdicts: str) -> None:
    for seed, verdict in enumerate(verdicts.split("|")):
        item, answer = answered_item("healthy", language, verdict, "services", seed)
        assert aiops.grade(item, f"Answer: {answer}").details["matched"] == ["cause"], answer


@pytest.mark.parametrize(
    "answer", ["no disk fault", "something is at fault", "no root cause can be told", "没有磁盘故障"]
)
def test_other_words_call_no_log_healthy(answer: str) -> None:
    item, _ = answered_item("healthy", "en", "", "services")
    assert aiops.grade(item, f"Answer: {answer}").score == 0


@pytest.mark.parametrize(
    "verdict",
    ["not a fault", "nothing unusual", "normal operation", "no signs of failure", "nothing went wrong", "没有实际问题",
     "不是故障", "正常运行", "没有什么问题", "no errors found", "no errors in the log", "未发现错误", "未显示异常"],
)  # fmt: skip
def test_no_log_is_both_healthy_and_faulty(verdict: str) -> None:
    healthy, said = answered_item("healthy", "en", verdict, "services")
    faulty, _ = answered_item("disk_full", "en", "")
    assert aiops.grade(healthy, f"Answer: {said}").score > 0
    assert aiops.grade(faulty, f"Answer: {verdict}; {faulty['reference']}").details["wrong_cause"] == "no_fault"


@pytest.mark.parametrize("part", ["the network works normally", "no problem of the network", "网络正常运行"])
def test_what_is_well_beside_a_fault_may_be_said(part: str) -> None:
    faulty, _ = answered_item("disk_full", "en", "")
    assert aiops.grade(faulty, f"Answer: {part}; {faulty['reference']}").score == 1


def test_every_fault_has_equivalents_for_each_of_its_concepts() -> None:
    assert {cause: len(said) for cause, said in EQUIVALENTS.items()} == {
        cause: 2 + len(family.evidence) for cause, family in FAMILY_OF.items()
    }
    assert all(phrase for said in EQUIVALENTS.values() for phrases in said for phrase in phrases.all)
