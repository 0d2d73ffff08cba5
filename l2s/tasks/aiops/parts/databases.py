"""Faulty parts of a database, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "connection_limit": parts(
        "[connection slots/connection slot/max_connections/connection limit/database connections/session slots/"
        "connection count] & <exhausted>|[max_connections/connection limit] & [hit/reached/reaches/exceeded/maximum]|"
        "[idle sessions/idle connections] & [hog/hogging/occupy/occupying/fill/filling/use up/using up/hold/holding/"
        "take/taking/eat/eating/exhaust/exhausting/too many/open/hundreds/pile up]",
        "[连接数/槽位/连接槽/连接槽位/max_connections/数据库连接/数据库连接数/允许的连接/所有连接/全部连接/可用连接] "
        "& <exhausted>|[空闲会话/空闲连接] & [占/过多/大量/太多/不放/不释放/堆积]|大量[空闲会话/空闲连接]",
    ),
    "index_missing": parts(
        "[index/indexes/indices/indexing] & [no/missing/lacks/lacking/lack/without/absent/nonexistent/needs/needed/"
        "never created/not used]|[not indexed/unindexed/un-indexed]|[entire/whole/full/complete] table|[full/"
        "sequential] [scan/scans]|[every/all] [row/rows] … [read/scanned/visited]|[reads/scans] [every/all] [row/rows]",
        "索引 & [没/缺/无/没有/缺少/缺失/未建/没建/未命中/走不到]|未建索引|全表[扫描/扫]|全表",
    ),
    "long_transaction": parts(
        "[transaction/transactions/{spid}/BEGIN/row lock/row locks/locks/its locks] & [open/uncommitted/never "
        "committed/not committed/without commit/without committing/without a commit/left open/holds/holding/hangs/"
        "forgotten/long-running/long running/stuck/blocks/blocking/never ended/dangling/unfinished/abandoned/never "
        "commits/not commit]|[{spid}/{client}] & idle-in-transaction",
        "[事务/{spid}/行锁/锁] & [未提交/不提交/没有提交/没提交/一直没/不放/未释放/没有释放/持有/持锁/堵/占着/挂着/"
        "悬挂/迟迟/不结束/未结束/没结束/忘记提交/空闲]|长事务",
    ),
    "replica_lag": parts(
        "[standby/replica/replicas/replication/{host}/slave/secondary/follower/replay/WAL replay/WAL apply/applies "
        "WAL] & <late>",
        "[备库/从库/备机/副本/复制/主从/回放/WAL/WAL 回放/standby/应用日志/重放] & <late>|从库~[收到/接收]…[来不及/"
        "未应用/没应用]",
    ),
    "wraparound": parts(
        "[xid/xids/transaction ID/transaction IDs/transaction id/transaction ids/txid/transaction counter] & [wrap/"
        "wraps/wrapping/wraparound/wrap around/running out/run out/runs out/exhausted/exhaustion/used up/nearly/"
        "almost/limit/overflow/depleted/left/remaining]|[freeze/freezing/frozen/vacuum/autovacuum] & [never completes/"
        "never completed/never finishes/never finished/cannot finish/can't finish/overdue/not done/keeps being "
        "cancelled/keeps being canceled/keeps getting cancelled/keeps getting canceled/not completed/cannot complete/"
        "interrupted/blocked]|wraparound",
        "[事务 ID/事务号/xid/事务标识/事务 id] & [回卷/耗尽/用完/快用完/逼近/环绕/卷绕/溢出/用尽/快到/上限/不足/告急]|"
        "[冻结/freeze] & [未完成/没有完成/没完成/做不完/一直没/迟迟]|回卷",
    ),
    "old_credentials": parts(
        "[credential/credentials/password/passwords/secret/secrets/version {rev}/v{rev}/login/login secret/key] & "
        "[old/former/outdated/stale/previous/withdrawn/revoked/expired/rotated/rotation/not updated/obsolete/"
        "superseded/retired/no longer valid/left with/not refreshed/not reloaded/older/out of date/unrotated]|"
        "{client} & [old/stale/outdated/withdrawn/revoked] ~ [password/secret/credential/credentials/version]",
        "[凭据/密码/密钥/凭证/口令/版本 {rev}/{rev} 版/登录凭据] & [旧/过期/作废/撤销/轮换/未更新/没更新/没有更新/"
        "没有同步/未同步/失效/过时/老的/上一版/未刷新/吊销/停用]|[轮换/换密] & [没有同步/未同步/没同步/未更新/没更新/"
        "没有更新]",
    ),
}
