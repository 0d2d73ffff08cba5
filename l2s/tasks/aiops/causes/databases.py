"""Causes of trouble in databases."""

from l2s.tasks.aiops.records import Phrases, say

CAUSES: dict[str, Phrases] = {
    "connection_limit": say(
        "the database connection limit is reached|database connection limit|connection limit is reached|connection "
        "limit|connection slots exhausted|too many connections|max_connections reached|max_connections limit|ran out "
        "of connections|maximum connections|[max_connections/maximum connections/number of connections/connection "
        "limit/session limit/connection slots] ~ [reached/exceeded/exhausted/hit/full/used up/at the limit/at its "
        "limit/at the maximum/maxed out/too low/limit]|[out of/no more/no free/no remaining/no available] "
        "[connection slots/database connections/database sessions/backend slots]|too many [sessions/clients/idle "
        "connections/idle sessions/open connections/database connections/open sessions/database sessions/client "
        "connections/idle clients]|[connection/session/connection slot] [limit/slot exhaustion/exhaustion]|[hit/"
        "reached/exceeded/reaching/exceeding/hitting/at] ~ [connection limit/max_connections/maximum connections/"
        "session limit/connection maximum]|idle [sessions/connections] [exhaust/exhausting/use up/occupy/occupying/"
        "consume/fill/hold/holding] ~ [slots/connections/connection slots]|database connections ~ exhausted",
        "数据库连接数达到上限|连接数达到上限|连接数上限|连接数耗尽|连接数过多|连接数已满|达到最大连接数|[连接数/"
        "数据库连接数/连接槽/连接槽位/会话数/最大连接数/max_connections/数据库连接槽]~[上限/耗尽/过多/满/超限/用尽/"
        "限制/占满/过小/不足/用完]|[超过/超出/达到]~[最大连接数/连接数限制/max_connections/连接上限]|[会话/连接]过多|"
        "[空闲会话/空闲连接]~[过多/占满/耗尽/占用]|数据库连接~耗尽|连接上限",
    ),
    "index_missing": say(
        "a missing index|missing index|index is missing|lack of an index|no index|unindexed|full table scan|"
        "sequential scan|[missing/lacking/lacks/absent/without/has no/have no/lack of/absence of/needs] [index/an "
        "index/a suitable index/indexes/indices/a proper index/any index]|index ~ [missing/absent]|[no/missing] "
        "[index/suitable index/usable index/matching index/supporting index/appropriate index/database index]|[not "
        "indexed/isn't indexed/non-indexed/unindexed column/unindexed query]|[full/whole] [table scan/scan]|table "
        "scans|table scan|sequential scans",
        "缺少索引|索引缺失|没有索引|未建索引|无索引|全表扫描|[缺少/缺失/没有/缺乏/未建/无/未创建/未建立/未添加/"
        "缺]~索引|索引~[缺失/不存在/未建/没有/未创建]|未[走/命中/使用]索引|[顺序扫描/全表顺序扫描/没有走索引/"
        "未被索引/缺失的索引]",
    ),
    "long_transaction": say(
        "a long-running transaction holds locks|long-running transaction|long running transaction|long transaction|"
        "open transaction holds|idle transaction|uncommitted transaction|lock contention|abandoned transaction|[long/"
        "long-running/long running/long-lived/open/idle/uncommitted/abandoned/forgotten/stuck/hanging/unfinished/"
        "stale/blocking/unclosed/hung/stalled] transaction|[session/connection/client/transaction/backend] ~ idle in "
        "transaction|transaction ~ [left open/still open/kept open/never committed/not committed/uncommitted/not "
        "closed/never closed/idle/open too long/not ended]|[row lock/lock] [contention/blocking/congestion]|"
        "[blocking/lock-holding] session|[session/transaction/backend] ~ [holds/holding] ~ [lock/row lock/table "
        "lock]|[uncommitted/unfinished] [update/changes/work]|[missing/forgotten] commit",
        "长事务持有锁|长事务|未提交的事务|未提交事务|事务未提交|空闲事务|锁竞争|锁争用|[长/未提交/未提交的/空闲/"
        "未结束的/未结束/长时间未提交的/悬挂/悬挂的/遗留/遗留的/未关闭的/打开的/阻塞的/长时间运行的/长期未提交的/"
        "挂起的]事务|事务~[未提交/未结束/未关闭/没有提交/长时间未提交/长期未提交/一直未提交]|[持锁/锁]~未释放|"
        "长时间持有锁|长时间持锁|长期持锁|锁[阻塞/冲突]|[会话/事务]~[持有锁/持锁/持有~锁]|持有~锁~未[提交/释放]",
    ),
    "replica_lag": say(
        "replication lag|replica lag|lagging replica|replica is lagging|replica is behind|replica lags behind|"
        "replication delay|stale replica|[replication/replica/standby/secondary/follower/read replica/streaming "
        "replication] [lag/delay/latency/lagging]|[replica/standby/follower/secondary/replication/read replica/"
        "standby server/standby database/replica database] ~ [lagging/behind/delayed/stale/out of date/out of sync/"
        "lags/lags behind/lagging behind/slow/fallen behind/falling behind/outdated/not up to date/not caught up]|"
        "[lagging/stale/delayed/outdated/slow] [replica/standby/follower/secondary/read replica/replication]|lag [of/"
        "on/at] the [standby/replica/secondary/follower]|[falls/fell/fallen/falling/lags/lagging/far] behind [the "
        "primary/its primary/primary]|[replication/replica] ~ [behind/backlog]",
        "复制延迟|主从延迟|副本延迟|从库延迟|副本落后|从库落后|同步延迟|[复制/主从/副本/从库/备库/主备/数据同步/"
        "主从复制/主备复制/流复制/主从同步/只读副本]~[延迟/滞后/落后/延时/不同步]|[延迟/落后/滞后]的[副本/从库/备库]|"
        "复制[积压/过慢]",
    ),
    "wraparound": say(
        "impending transaction ID wraparound|transaction ID wraparound|transaction id exhaustion|xid wraparound|xid "
        "exhaustion|wraparound|vacuum is not keeping up|vacuum has fallen behind|[transaction ID/xid/txid] ~ "
        "[wraparound/wrap-around/wrapping around/exhaustion/exhausted/running out/overflow/used up/depletion/wrap/"
        "about to wrap around]|[wrap-around/wrap around]|[running/run/ran/runs] out of [transaction IDs/xids/"
        "transaction identifiers]|[vacuum/autovacuum] ~ [not keeping up/falling behind/fallen behind/behind/starved/"
        "starvation/unable to finish/prevented/never finishing/not finishing/blocked/failing to complete/overdue/not "
        "completing/cannot complete/cannot keep up/cannot finish/never completes/never finishes]|[overdue/missing/"
        "insufficient] [vacuum/freeze/vacuuming/freezing]|unfrozen [rows/tuples/transactions]|[too old/aging] "
        "transaction IDs",
        "事务 ID 即将回卷|事务 ID 回卷|事务ID回卷|事务号回卷|事务号耗尽|清理不及时|vacuum 滞后|[事务 ID/事务ID/"
        "事务号/XID/事务标识/事务编号]~[回卷/耗尽/环绕/溢出/用尽/回绕/即将耗尽/即将用尽]|[回卷/回绕]|[清理/vacuum/"
        "autovacuum/冻结]~[不及时/滞后/未完成/跟不上/无法完成/被阻止/未及时/受阻/未能完成]|未及时[冻结/清理/vacuum]",
    ),
    "old_credentials": say(
        "outdated credentials after a password rotation|outdated credentials|stale credentials|old credentials|"
        "outdated password|old password|stale password|wrong password|password rotation|wrong credentials|rotated "
        "password|[old/outdated/stale/wrong/expired/obsolete/previous/withdrawn/rotated/invalid/superseded/incorrect/"
        "revoked] [credential/credentials/password/database password/database credentials]|[old/outdated/stale/"
        "obsolete/previous/withdrawn/rotated/revoked/superseded] [secret/secret version/key]|[credential/credentials/"
        "password/secret] ~ [outdated/stale/old/expired/not updated/not refreshed/wrong/not reloaded/out of date/"
        "obsolete/revoked/rotated/not rotated/invalid/withdrawn/no longer valid]|[credential/credentials/password/"
        "secret] [rotation/mismatch/version mismatch/change]|[did not/does not/has not/failed to] [pick up/picked up/"
        "reload/reloaded/load/receive/use] the [new/current/rotated] [credentials/credential/password/secret]|"
        "[credential/credentials] version ~ outdated",
        "密码轮换后仍使用旧凭据|旧凭据|旧密码|凭据已过时|凭据过时|过期凭据|密码错误|凭据错误|密码轮换|[旧/过时/过期/"
        "失效/错误/无效/旧的/过时的/过期的/错误的/失效的/无效的/旧版][凭据/密码/凭证/口令]|[凭据/密码/凭证/"
        "口令]~[过时/过期/失效/未更新/错误/轮换/不匹配/更换/陈旧/没有更新/未刷新/已撤销/作废]|未更新~[凭据/密码/凭证/"
        "口令]|[凭据/密码/凭证]版本[不匹配/过旧/不一致/错误]|[旧/过时的/旧的/旧版]密钥",
    ),
}
