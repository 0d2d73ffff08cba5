"""What counts for component, evidence and remedy of a fault beside the words of its family.

A component may be told by the other side that is to blame, evidence by another entry of the log that shows the same, a
remedy by another thing that stops the damage. Words that belong to the cause alone are left out: naming the cause must
not tell its evidence or remedy as well.
"""

from __future__ import annotations

from l2s.tasks.aiops.records import Phrases, say

NONE = Phrases((), ())

# For each cause its component, its one or two pieces of evidence and its remedy, in the order of the family.
EQUIVALENTS: dict[str, tuple[Phrases, ...]] = {
    # Hosts
    "disk_full": (
        say("{host}", "{host}"),
        say(
            "507|read-only|[write/journal/checkpoint/queue file] & [fail/error/abandon/reject/suspend]",
            "507|只读|[写/落盘/日志] & [失败/报错/被拒/中断/挂起]",
        ),
        say("[add/rotate/shorten/tighten] & [log/data/file/space/disk/retention/quota]", "[清/删/扩/腾/挪]"),
    ),
    "memory_exhausted": (
        say("{host}", "{host}"),
        say("swap|rss|{vm_kb}|kswapd|page allocation", "swap|交换|rss|kswapd|页分配|占用 {size}"),
        say("kill|signal 9|reset by peer|restart counter", "杀|SIGKILL|信号 9|kill|重启计数"),
        say(
            "[memory/RAM/swap/leak] & [add/more/raise/limit/cap/fix/tune/size/profile/reduce/find/hunt]",
            "[内存/swap] & [加/扩/限/查/降/调]|[修/查] & [泄漏/泄露/占用]",
        ),
    ),
    "clock_wrong": (
        say("{host}|NTP", "{host}|NTP"),
        say("offset|{drift_days}", "偏移量|{drift_days}"),
        say(
            "notBefore|Kerberos|krb5kdc|GSSAPI|corosync|timestamp|timestamps|iat|selectable",
            "notBefore|Kerberos|krb5|GSSAPI|corosync|时间戳|iat|票据|令牌|selectable",
        ),
        say(
            "[NTP/chrony/chronyd/clock/time/source/offset] & [fix/restore/step/correct/monitor/resync/reconnect]",
            "[校时/校准/步进/重新同步]|[恢复/修/重连/配/换] & [NTP/源/chronyd]",
        ),
    ),
    "disk_failing": (
        say("{host}", "{host}"),
        say("[sector/SMART/attribute 5] & [remap/reallocate/count/{count}]", "扇区|SMART|属性 5"),
        say(
            "EIO|I/O|read-only|DRDY|md0|RAID|degraded|[read/write/fsync] & [error/fail/slow]",
            "EIO|I/O|IO|只读|DRDY|md0|RAID|阵列|降级|[读/写/fsync] & [错/失败/慢/报]",
        ),
        say("[replace/swap/evacuate/migrate/back up/rebuild/retire]", "换|迁|备份|重建"),
    ),
    "conntrack_full": (
        NONE,
        NONE,
        say("[drop/refuse/reject/discard/retransmit]|SYN|timed out", "丢|拒|重传|超时"),
        say(
            "[raise/increase/enlarge/bump/double/tune/extend/shorten/lower/cut/reduce/notrack]",
            "调大|提高|增大|放大|扩|加大|上调|缩短|调小|降低",
        ),
    ),
    "descriptors_exhausted": (
        NONE,
        say(
            "accept|CLOSE_WAIT|[health check/listener/connection] & [refuse/pause/fail/reject]",
            "errno|EMFILE|accept|CLOSE_WAIT|[连接/健康检查/监听] & [拒/失败/暂停]",
        ),
        NONE,
        say("[restart/raise/lift/increase/fix/bump]", "重启|调大|提高|放宽|修|查"),
    ),
    # Services
    "pool_exhausted": (
        say("/export", "/export"),
        say("[active/used] & {pool}", "[空闲/idle] & 0"),
        say("waiting|acquire|503|time out|timed out|queue", "等待|排队|acquire|503|超时"),
        say(
            "[return/release/close] & [always/every/finally/after]|[fix/restart/reclaim/bounce]|leak detection",
            "修|重启|回收|调大|扩|泄漏检测|及时[还/归还/释放]",
        ),
    ),
    "certificate_expired": (
        NONE,
        say("expiry date", "有效期至"),
        say("alert 45|502|webhook|TLS ~ [fails/failed/errors]|verify", "code 10|502|TLS & [失败/断/拒]|webhook|不信任"),
        say("[renew/reissue/rotate/replace/swap/automate]", "重签|签发|自动续|换新"),
    ),
    "dns_broken": (
        NONE,
        say("lookup|i/o timeout|no host", "lookup|timeout|53"),
        say(
            "[address/IP/probe/direct/directly] & [ok/fine/work/answer/succeed/success/pass/reachable/healthy/up]|"
            "cached address",
            "[IP/地址/探测/直连] & [正常/ok/通/成功/可达/健康]|缓存地址",
        ),
        say(
            "[restart/repair/fix/restore/fail over/failover/switch/secondary/backup/redundant]",
            "重启|修|恢复|切|备用|冗余|拉起",
        ),
    ),
    "rate_limited": (
        say("{client}", "{client}"),
        NONE,
        say("own load|12%|retry|retries|retrying|queue depth", "剩余|12%|重试|窗口 {limit}|队列"),
        say(
            "[back off/backoff/slow down/honour/honor/respect/obey/wait/batch/cache/jitter/pace]",
            "退避|提额|合并|降频|降低|等待|缓存|节流",
        ),
    ),
    "bad_config": (
        NONE,
        NONE,
        say("loopback|ledger-main|0 requests", "本机|ledger-main|0 请求"),
        say("[roll back/rollback/revert/restore/fix/undo]", "回滚|回退|改回|修正|还原|撤回|纠正|改正"),
    ),
    "cache_stampede": (
        NONE,
        say("miss", "命中|miss"),
        say("loader run|same query|{queue}|cpu 99|queries shed", "同一批|同批|同一查询|{queue}|cpu 99"),
        say(
            "[jitter/stagger/spread/coalesce/single-flight/singleflight/warm/prewarm/pre-warm/randomise/randomize/"
            "collapse]",
            "抖动|打散|错开|合并|预热|互斥|随机|加锁|单飞",
        ),
    ),
    # Web servers
    "upstream_down": (
        NONE,
        say("111", "拒绝|被拒|拒连|refused"),
        say("no live|temporarily disabled", "无存活|no live"),
        say("[restart/bring/revive/redeploy/restore/recover/fail over/failover/relaunch]", "重启|拉起|重新部署|恢复"),
    ),
    "upstream_slow": (
        say("report", "报表"),
        say("110|response header", "110|响应头|字节"),
        say("499|{gave_up}|28.7", "499|{gave_up}|28.7"),
        say(
            "[speed/optimise/optimize/profile/scale/cache/async/asynchronous/background/tune/capacity/precompute/"
            "paginate]",
            "优化|加速|扩容|异步|缓存|排查|提速|索引|拆分",
        ),
    ),
    "body_limit": (
        say("nginx|{host}", "nginx|{host}"),
        NONE,
        say("intended|allows 1m|only 1m", "1m"),
        say("[raise/increase/lift/enlarge/chunk/bump]", "调大|提高|放宽|加大|增大|分片|上调|放开"),
    ),
    "worker_limit": (
        say("nginx", "nginx"),
        say("{idle_conns}|slots taken", "{idle_conns}"),
        say(
            "accept|499|reuse a slot|[new/client/connection] & [refuse/reject/wait/turn away]",
            "accept|499|停止接|不接|[新/客户端] & [拒/等/进不]",
        ),
        say("[raise/increase/shorten/lower/cut/reduce/bump]", "调大|提高|缩短|调短|增大|上调|缩"),
    ),
    "traffic_flood": (
        NONE,
        say("{rps}", "{rps}"),
        say("503|{allowed_rps}|7.3", "503|{allowed_rps}|7.3"),
        say(
            "[block/ban/throttle/drop/deny/blacklist/blackhole/firewall/WAF/filter/tighten]",
            "封|拉黑|屏蔽|拦|防火墙|WAF|禁|收紧|限流|限速",
        ),
    ),
    # Java
    "heap_leak": (
        NONE,
        say("heartbeat|heartbeats", "心跳"),
        say("top class|grew by", "实例数|增长"),
        say(
            "[dump/bound/evict/restart/cap/fix/analyse/analyze/profile]|weak reference",
            "dump|转储|修|淘汰|重启|分析|排查|设上限",
        ),
    ),
    "deadlock": (
        say("{cls2}|{svc}", "{cls2}|{svc}"),
        say("{lock}|{lock2}", "{lock}|{lock2}"),
        say(
            "[hold/want/wait/reverse/need] & [worker-{tid}/worker-{tid2}/{lock}/{lock2}]|no answer|60000|60 s|load "
            "0.02|0.02",
            "[持/等/反] & [worker-{tid}/worker-{tid2}/{lock}/{lock2}]|无应答|60000|60 秒|60s|0.02",
        ),
        say(
            "restart|tryLock|one lock|lock timeout|lock ordering rule|one [order/lock order]",
            "tryLock|重启|一把锁|[统一/固定/一致/规范] & [顺序/次序]",
        ),
    ),
    "thread_pool_full": (
        NONE,
        say("[reject/shed/drop] & [task/request/work]|503", "拒|503|丢弃"),
        say("{count}", "{count}"),
        say(
            "[breaker/bulkhead/async/isolate]|[check/fix/speed] & [downstream/remote/slow]",
            "熔断|隔离|异步|舱壁|[查/排查/修] & 下游",
        ),
    ),
    "library_conflict": (
        NONE,
        say("/encode|method missing|missing method|500", "/encode|缺方法|找不到方法|500"),
        NONE,
        say(
            "[pin/exclude/align/remove/drop/roll back/rollback/dedupe/unify/rebuild/delete/purge]",
            "统一|排除|剔|移除|删|锁定|固定|回滚|保留|去重|对齐|重打|重新打包",
        ),
    ),
    "schema_mismatch": (
        NONE,
        say("dead letter|dead letters|dead-letter", "序列化异常|死信"),
        say("lag|{minutes} min|seek back|build {rev}", "lag|{minutes} 分钟|积压|build {rev}|构建 {rev}"),
        say(
            "[upgrade/roll back/rollback/revert/registry/adapt/replay/teach]|[update/deploy] & [consumer/reader]|"
            "ship … [consumer/reader]",
            "回滚|回退|重放|适配|registry|[升级/更新] & [读/消费/模式/schema/解析]",
        ),
    ),
    "gc_pause": (
        NONE,
        say("{pause2}|7712|7805|7890|7931", "{pause2}|7712|7805|7890|7931"),
        say(
            "expire|expired|expires|lease|leases|silent|timed out|time out|stalled|suspected|leadership|ZooKeeper|ZK",
            "过期|租约|会话|ZK|ZooKeeper|超时|失联|心跳",
        ),
        say(
            "[tune/enlarge/bigger/more/switch/dump/fix/increase/reduce/raise/grow] & [heap/GC/collector/allocation/"
            "memory/ZGC/G1]|ZGC|Shenandoah|heap dump",
            "[加/调/换/扩/抓/修/减] & [堆/GC/回收器/收集器/dump/内存/泄漏]",
        ),
    ),
    # Kubernetes
    "image_missing": (
        NONE,
        say("manifest unknown", "manifest unknown"),
        say("ErrImagePull|ImagePullBackOff|BackOff|not ready|no ready", "ErrImagePull|ImagePullBackOff|BackOff|未就绪"),
        say("[push/publish/roll back/rollback/revert/upload/retag]", "回滚|回退|补推|重推|改回"),
    ),
    "memory_limit": (
        NONE,
        say("BackOff|OOMKilled", "BackOff|OOMKilled"),
        say("working set", "working set|工作集"),
        say("[raise/increase/bump/lift/profile]", "调高|提高|调大|放宽|上调|加内存|优化"),
    ),
    "cluster_capacity": (
        NONE,
        say("NotTriggerScaleUp", "NotTriggerScaleUp"),
        say("max size|maximum size", "{count}m|最大规模"),
        say(
            "[raise/bump/grow/extend/add/scale/lower/trim/cut/reduce/shrink/free up/evict/move] & [node/group/max/"
            "maximum/capacity/request/cluster/pool/CPU/workload]",
            "[调/加/降/减/缩/提高/放宽] & [节点/上限/请求/request/CPU/资源]",
        ),
    ),
    "probe_wrong": (
        NONE,
        say("refused", "被拒|拒绝|refused"),
        say("ready in|served|SIGTERM", "SIGTERM|就绪"),
        say(
            "[fix/correct/change/align/update] & [probe/port/check/{port2}]",
            "[改/修/对齐/更正/调] & [探针/端口/{port2}]",
        ),
    ),
    "secret_missing": (
        say("{secret}", "{secret}"),
        NONE,
        say(
            "not ready|no ready|mount [fails/failed/timeout/timeouts]|mount times out",
            "未就绪|没就绪|挂载[超时/失败]|起不来",
        ),
        say("[create/restore/roll back/rollback/revert/provision/recreate]", "补建|补上|新建|恢复|回滚|回退|改回|修正"),
    ),
    "volume_attached_elsewhere": (
        say("{node}", "{node}"),
        say("mount timeout|mount times out|no ready|timed out", "挂载超时|挂不上|无就绪"),
        say("kubelet|NotReady", "kubelet|NotReady"),
        say("[detach/delete/force/fence/drain/reboot]", "强制|删|隔离|解绑|摘除"),
    ),
    # Databases
    "connection_limit": (
        say("{client}", "{client}"),
        say(
            "startup packet|[login/logins/connection] & [refuse/reject/turn away]",
            "startup packet|[登录/连接] & [被拒/拒绝]",
        ),
        say("{max_sessions}|cpu 14", "{max_sessions}|cpu 14"),
        say(
            "[kill/terminate/close/cap/limit/shrink/reduce/cut/evict/reap] & [idle/pool/session/connection/{client}]",
            "[清/断/杀/缩/限/终止/收] & [池/空闲/会话/连接]",
        ),
    ),
    "index_missing": (
        say("{db}", "{db}"),
        say("cpu & 97|{ms} ms|rows", "cpu & 97|{ms}|慢查"),
        say(
            "{statement_timeout}|[statement/query] & [cancel/canceled/killed]",
            "{statement_timeout}|语句 & [取消/砍/超时]",
        ),
        say("[build/put] & index", "[建/加/补] & 索引"),
    ),
    "long_transaction": (
        NONE,
        say("waits|waiting|lock_timeout|queue|queued|waiters", "等锁|排队|lock_timeout|队列|等 {spid}"),
        say("{minutes}", "{minutes}|闲置"),
        say("[terminate/kill/abort/rollback/roll back]", "终止|杀|kill|terminate|回滚"),
    ),
    "replica_lag": (
        NONE,
        say("delta|WAL|{received}|{replayed}", "delta|WAL|{received}|{replayed}|重放"),
        say("stale|not present|read-your-writes|snapshot", "旧|读不到|查不到|read-your-writes|快照"),
        say(
            "[read/route/send/reroute/point/pin] & primary|[relieve/rebuild/resync/throttle/investigate/parallel/"
            "cancel]",
            "[读/切/走/转] & 主库|减轻|优化|提速|排查|重建",
        ),
    ),
    "wraparound": (
        say("{db}", "{db}"),
        say("{xid_age}|relfrozenxid|must be frozen", "{xid_age}|relfrozenxid"),
        say("refused|single-user|no new commands|safeguard", "被拒|拒绝|单用户|拒写"),
        NONE,
    ),
    "old_credentials": (
        NONE,
        say("authentication|[login/logins] & [refuse/reject/fail]", "认证|鉴权|[登录/登陆] & [失败/被拒/拒绝]"),
        say("v{rev2}|v{rev}", "{rev2} 版|{rev} 版"),
        say(
            "[reload/restart/redeploy/refresh/distribute/push/hand]",
            "重启|重载|下发|重新加载|[更新/更换/换新/换成/换用/同步/刷新/切] & [凭据/密码/密钥/凭证/口令/版本/{rev2}]",
        ),
    ),
}
