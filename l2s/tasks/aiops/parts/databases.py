"""Faulty parts of a database, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "connection_limit": parts(
        "[connection slot/max_connections/connection limit/connection cap/database connection/slot/session slot/"
        "session limit/connection count/session/connection/backend] & <exhausted>|[max_connections/connection limit/"
        "connection cap/session limit/session cap] & [hit/reach/exceed/maximum/at/over]|[idle session/idle connection/"
        "idle/session/connection/slot] & [hog/occupy/fill/use up/use/hold/take/eat/ate/exhaust/too many/open/hundreds/"
        "pile up/hoard/park/keep/leak/starve/crowd out/oversize/sit on/monopolise/monopolize/squat] & [{client}/slot/"
        "connection/idle/login/server/{db}/everyone]|[slot/connection] & [gone/none left/run dry/no one else/left for]",
        "[连接数/槽/max_connections/数据库连接/库连接/可用连接/所有连接/全部连接/会话数/名额] & <exhausted>|[连接/"
        "会话]~[耗光/耗尽/用光/用完/占光/占完/占满/打满]|[会话/连接] & [占/过多/大量/太多/不放/不释放/堆积/囤/攥/霸/"
        "不还/挤/泄漏/闲置不/没关/不关]|大量[空闲会话/空闲连接]|{client} & [占/囤/霸/攥/耗] & [连接/会话/槽/名额]",
    ),
    "index_missing": parts(
        "[index/indices/indexing] & [no/missing/lack/without/absent/nonexistent/need/never created/not used/not use/"
        "cannot use/nothing/not exist/not have]|[not indexed/unindexed/un-indexed]|[nothing/no one/nobody] … indexes|"
        "[entire/whole/full/complete] table|[full/sequential] [scan/scans]|[every/all] … [row/rows] … [read/scanned/"
        "visited/scan]|[reads/scans/scan/read/reading/scanning/visits/through/walks/goes through] … [every/all/whole/"
        "entire] … [row/rows/{table}/{big1}]|{table} & [fully scan/in full/end to end/from start to end/completely/"
        "row by row/table scan]|table & [end to end/in full/row by row] |[{column}/column/filter/where] & [not cover/"
        "not index/no index/without index/not be served]",
        "索引 & [没/缺/无/未/走不到/漏/少]|未建索引|全表|[整表/整张表]|[{table}/{column}/查询/表] & [全扫/顺扫/顺序扫/"
        "全部扫/整体扫/逐行]",
    ),
    "long_transaction": parts(
        "[transaction/{spid}/BEGIN/row lock/lock/its lock/update/session/{client}] & [uncommitted/never commit/not "
        "commit/without commit/without committing/forgot to commit/forget to commit/forgot the commit/left open/open "
        "transaction/hold/held/hang/forgotten/long-running/long running/stuck/block/never end/dangling/unfinished/"
        "abandon/never finish/not finished/not end/still open/left hanging/never closed/not closed/keep its lock/"
        "keeps the lock/locks kept/locks held/no commit/stay open] & [{spid}/{client}/transaction/lock/commit/"
        "committing/other/table/{table}/BEGIN/everyone/update/session/in transaction]|transaction & [open/uncommitted/"
        "never commit/not commit/left open/hang/hanging/forgotten/stuck/never end/dangling/unfinished/abandon/never "
        "finish/block/hold]|[{spid}/{client}] & [inside/in] … transaction|[forgot/forgotten/forgets/forget/missing] … "
        "commit|[not/never/without/no] [commit/committing/committed/commits]|BEGIN without COMMIT|lock & [hold/held/"
        "keep/kept/not release/never release] & [idle/{spid}/{client}]",
        "[事务/{spid}/锁/{client}] & [未提交/不提交/没有提交/没提交/忘提交/忘了提交/漏提交/一直没/不放/未释放/"
        "没有释放/没释放/没放/持有/持锁/堵/占着/占住/占锁/霸/挂着/悬/迟迟/不结束/未结束/没结束/没关/未关/忘记提交/"
        "空闲事务/阻塞/握/拿着锁/卡住]|长事务|[没/未/忘/忘了/忘记/漏/不/没有]~[提交/COMMIT/commit]|空闲事务",
    ),
    "replica_lag": parts(
        "[standby/replica/replication/{host}/slave/secondary/follower/replay/WAL replay/WAL apply/apply WAL/WAL] & "
        "<late>",
        "[备库/从库/备机/副本/复制/主从/回放/WAL/standby/应用日志/重放/{host}] & <late>|从库~[收到/接收]…[来不及/"
        "未应用/没应用]",
    ),
    "wraparound": parts(
        "[xid/transaction ID/txid/transaction counter/transaction number/{db}/transaction/ID space/{xids_left}] & "
        "[wrap/wraparound/wrap around/running out/run out/ran out/exhaust/exhaustion/use up/nearly/almost used/limit/"
        "overflow/deplete/left before/never frozen/not frozen/unfrozen/aging/ageing] & [xid/transaction/ID/wrap/"
        "wraparound/freeze/vacuum/left/around]|[xid/transaction ID/txid/transaction counter] & [wrap/wraparound/"
        "running out/run out/ran out/exhaust/exhaustion/use up/nearly/almost/limit/overflow/deplete/left/remain/close "
        "to/aging/old]|[freeze/freezing/frozen/vacuum/autovacuum] & [never complete/never finish/cannot finish/not "
        "finish/overdue/not done/keeps being cancelled/keep being canceled/keep getting/keeps getting/not completed/"
        "not complete/cannot complete/interrupt/block/not freeze/never freeze/cancel/canceled/cancelled/fail/not "
        "frozen/starve/prevent/never ran/thwart] & [freeze/frozen/freezing/xid/transaction/wraparound/again/keep/"
        "repeatedly/always/every/constantly/over and over]|[freeze/vacuum] & [cannot finish/not finish/never finish/"
        "not complete/never complete/overdue/never get/not done]|{table} & [not/never] & [freeze/frozen/vacuum]|"
        "wraparound",
        "[事务 ID/事务号/xid/事务标识/事务编号/事务 id/个事务] & [回卷/耗/用完/用光/用尽/将尽/逼近/环绕/卷绕/绕回/"
        "溢出/快到/上限/不足/告急/见底/不多/余量/仅剩/只剩]|[只剩/仅剩/剩余]~{xids_left}|[冻结/freeze/清理/vacuum/"
        "autovacuum] & [未完成/没有完成/没完成/做不完/完不成/一直没/迟迟/不了/不成/没法/无法/打断/中断/取消/没做/未做/"
        "没跑完/被停/欠/未/没]|回卷|防回卷",
    ),
    "old_credentials": parts(
        "[credential/password/secret/version {rev}/v{rev}/login/login secret/key/{rev}/{client}] & [old/former/"
        "outdated/stale/previous/withdrawn/withdraw/revoke/expire/rotate/rotation/not updated/not update/not been "
        "updated/obsolete/supersede/retire/no longer valid/left with/not refresh/not reload/not picked up/not pick up/"
        "not pick/older/out of date/unrotated/missed/change/not told/stuck on/still on/still send/still use/still "
        "present/cached/never got/not given/never given/not handed/not receive/never received/lag behind] & "
        "[credential/password/secret/version/v{rev}/{rev}/rotation/login/key/{rev2}]|{client} & [old/stale/outdated/"
        "withdrawn/revoked] ~ [password/secret/credential/credentials/version]|{client} & {rev2} & [not/miss/never/"
        "without]",
        "[凭据/密码/密钥/凭证/口令/版本/{rev}/登录/{client}] & [旧/过期/作废/撤销/撤回/轮换/未更新/没更新/没有更新/"
        "没有同步/没同步/未同步/失效/过时/老/上一版/未刷新/没刷新/没换/未换/没重载/没跟上/落后/没拿到/吊销/停用/废] & "
        "[凭据/密码/密钥/凭证/口令/版/{rev}/{rev2}]|{client} & [仍/还] & [持/用/拿/带/出示] & {rev}|[凭据/密码/密钥/"
        "凭证/口令] & [旧/过期/作废/撤销/撤回/轮换/没更新/未更新/没同步/未同步/失效/过时/老/没换/未换/没重载/落后/"
        "吊销/停用]|[轮换/换密] & [没有同步/未同步/没同步/未更新/没更新/没有更新/没跟上]",
    ),
}
