"""Databases: faults that show in a PostgreSQL server log."""

from l2s.tasks.aiops.records import Family, Harmless, RedHerring, Style, error, info, say, warn

FAMILIES = (
    Family(
        cause="connection_limit",
        component=say("{db}", "{db}"),
        evidence=(
            say("remaining slots are reserved|slots are reserved|reserved|53300", "剩余槽位被保留|被保留|槽位|53300"),
            say(
                "{sessions} sessions, most of them idle from {client}|{sessions}|{client}|{idle_sessions}",
                "{sessions} 个会话且多数为 {client} 的空闲会话|{sessions}|{client}|{idle_sessions}",
            ),
        ),
        remediation=say(
            "put a pooler in front and close idle sessions|pooler|pgbouncer|connection pooling|close idle|terminate "
            "idle|kill idle|raise max_connections|increase max_connections|[pool/pooling/connection pool/PgBouncer/"
            "pooled connections]|[close/closing/terminate/kill/drop/disconnect/reduce/limit/end/time out/release] … "
            "[idle/sessions/connections/session]|[raise/increase/raising/increasing/higher/larger] … [max_connections/"
            "limit/connection limit/maximum]|[idle timeout/idle_session_timeout]|idle timeout|pooling|[close/end/kill/"
            "terminate/drop/limit/reclaim] & [idle/sessions/connections/ones]",
            "在前端加连接池并关闭空闲会话|pgbouncer|加连接池|使用连接池|关闭空闲|终止空闲|调大 max_connections|提高 "
            "max_connections|[使用/引入/增加/加/部署/配置]…[连接池/pgbouncer/池化]|[关闭/终止/清理/断开/释放/限制/"
            "回收]…[空闲/会话/连接]|[调大/提高/增大/增加/调高]…[max_connections/连接数/上限/最大连接数]|空闲超时|"
            "连接池|[清/清理/终止/关闭/回收/断开/杀] & [空闲/会话/连接]",
        ),
        also=say(
            "[connections/connection slots/slots/sessions] ~ [exhausted/used/used up/full/maxed out/taken/in use/"
            "depleted]|[connection/slot] exhaustion|[no free/no available/out of/no remaining/no more] [connections/"
            "slots]|{db} ~ out of [connections/connection slots]|[limit/maximum] of {sessions} [connections/sessions]|"
            "[{sessions}/idle] [sessions/connections] [exhaust/occupy/hold/fill/use up/consume/exhausted/from "
            "{client}]|{client} [holds/keeps/leaks/leaves/holding/leaking] ~ [connections/sessions/idle sessions/idle "
            "connections/too many]",
            "连接~[耗尽/占满/用尽/用完/已满]|槽位~[耗尽/用尽/占满/已满]|[没有/无][可用/空闲/剩余]~[连接/槽位]|[连接/"
            "会话]过多|{client}~[占用/占满/耗尽]~[连接/会话]",
        ),
        may_mention=("pool_exhausted",),
        clues=(
            info("monitor@{db}", "sessions {sessions} of {max_sessions}, of these idle {idle_sessions} from {client}"),
            error("{client}@{db}", "FATAL 53300: remaining slots are reserved for superusers"),
        ),
        symptoms=(
            error("app@{db}", "FATAL 53300: startup packet of {ip} refused"),
            error("{svc}@{db}", "FATAL 53300: startup packet of {ip2} refused"),
            warn("monitor@{db}", "login probe waited {ms} ms"),
            info("monitor@{db}", "cpu 14%, longest query {n} ms"),
        ),
    ),
    Family(
        cause="index_missing",
        component=say("table {table}|{table}", "表 {table}|{table}"),
        evidence=(
            say(
                "Seq Scan over {big1} rows|Seq Scan|{big1}|full scan|full table scan|entire table|sequential scan",
                "Seq Scan 扫描 {big1} 行|Seq Scan|{big1}|顺序扫描|全表",
            ),
            say("the query filters on {column}|{column}", "查询按 {column} 过滤|{column}"),
        ),
        remediation=say(
            "create an index on {table}({column})|create an index|create index|add an index|add index|build an index|"
            "CREATE INDEX CONCURRENTLY|[create/add/build/creating/adding/introduce/define/need/needs] … [index/"
            "indexes/indices]|index [on/for] ~ {column}|index {column}|[CREATE INDEX/new index]|[create/add/build] & "
            "index",
            "在 {table}({column}) 上创建索引|创建索引|添加索引|增加索引|建立索引|建索引|加索引|[创建/添加/增加/建立/"
            "新建/建/加/补]…索引|[建/加/创建/添加] & 索引",
        ),
        also=say(
            "{column} ~ [not indexed/without an index/without index/lacks an index/has no index/unindexed/is not "
            "indexed]|{table} ~ [not indexed/lacks an index/has no index/without an index]|[unindexed/non-indexed] "
            "[{column}/column/filter/query]|[Seq Scan/full scan/scan] [caused by/due to/because of] [missing/no] "
            "index|inefficient query plan",
            "{column}~[没有/无/缺少/缺]~索引|[{table}/表 {table}]~[没有/缺少/缺]~索引|未[索引/建立索引/加索引]|"
            "{column}~未~索引",
        ),
        clues=(
            info("app@{db}", "duration {ms} ms: select * from {table} where {column} = $1"),
            info("app@{db}", "plan: Seq Scan on {table}, rows {big1}, filter {column}"),
        ),
        symptoms=(
            warn("monitor@{db}", "cpu 97%, {n} active queries"),
            error("app@{db}", "statement of {svc} canceled after {statement_timeout} ms"),
            info("app@{db}", "duration {ms} ms: select count(*) from {table}"),
            warn("monitor@{db}", "blocks read {big} in one minute"),
        ),
    ),
    Family(
        cause="long_transaction",
        component=say("session {spid} of {client}|{spid}|{client}", "{client} 的会话 {spid}|{spid}|{client}"),
        evidence=(
            say(
                "other sessions wait for ShareLock|ShareLock|waiting for a lock|wait for a lock|lock wait|waiting for "
                "lock|still waiting|[others/sessions/everyone/everybody/updates/waiters/queries] & [wait/waiting/"
                "queue/queues/blocked/blocks]",
                "其他会话等待 ShareLock|ShareLock|等待锁|锁等待|等锁|[其他/别人/进程/会话] & [等待/阻塞/堵/等]",
            ),
            say(
                "session {spid} idle for {minutes} min after BEGIN|{minutes} min|after BEGIN|BEGIN",
                "会话 {spid} 在 BEGIN 后空闲 {minutes} 分钟|{minutes} 分钟|BEGIN",
            ),
        ),
        remediation=say(
            "terminate session {spid} and set idle_in_transaction_session_timeout|terminate|pg_terminate_backend|kill|"
            "end the session|commit|idle_in_transaction_session_timeout|roll it back|[terminate/kill/end/abort/cancel/"
            "stop/terminating/killing/close/disconnect/commit/rollback/roll back] … [session/transaction/{spid}/it/"
            "backend/connection/process]|[set/add/use/configure] … timeout|[terminating/killing/abort/commit or roll "
            "back/transaction timeout]|[kill/terminate/end/cancel/commit/abort/roll back] & [it/session/backend/"
            "transaction/{spid}]",
            "终止会话 {spid} 并设置 idle_in_transaction_session_timeout|终止|pg_terminate_backend|杀掉|结束会话|提交|"
            "idle_in_transaction_session_timeout|[终止/杀掉/结束/关闭/中止/取消/断开/kill/提交/回滚/杀死]…[会话/事务/"
            "{spid}/连接/进程]|[设置/配置]…超时|[杀死/回滚/中止/尽快提交]|[终止/结束/杀/提交/回滚/断开] & [会话/事务/"
            "进程/{spid}]",
        ),
        also=say(
            "session {spid} ~ [holds/holding/blocks/blocking/keeps/idle in transaction/left open]|{spid} [holds/is "
            "holding/blocks/is blocking/keeps] … [lock/locks/ShareLock/others/sessions/row locks]|[holds/holding/"
            "held] ~ [lock/locks/row lock/row locks/ShareLock] ~ idle|lock ~ held by ~ {spid}|blocked by ~ {spid}|"
            "[left/leaves/kept/keeps/leaving/keeping] ~ transaction open|left open ~ transaction|idle [session/"
            "client] ~ [holds/holding] ~ [lock/locks]|[BEGIN/transaction/update] ~ [not committed/without commit/"
            "never committed/no commit]|[did not/does not/never/without] [commit/committing]",
            "{spid}~[持有锁/持锁/阻塞/占有锁/占用锁/持有 ShareLock]|[会话/事务]~[持有锁/持锁/未提交/阻塞]|"
            "被~{spid}~阻塞|[未提交/没有提交/未 COMMIT]|{spid}~持有~锁|持有锁~未[提交/释放]",
        ),
        clues=(
            info("monitor@{db}", "pid {spid} {client}: last statement BEGIN; UPDATE {table}, then idle {minutes} min"),
            info("app@{db}", "pid {pid} still waiting for ShareLock held by {spid} after {ms} ms"),
        ),
        symptoms=(
            error("app@{db}", "update of {table} canceled: lock_timeout, {statement_timeout} ms"),
            info("app@{db}", "pid {pid} still waiting for ShareLock held by {spid} after {ms} ms"),
            warn("monitor@{db}", "wait queue on {table}: {n}"),
            error("{svc}@{db}", "statement canceled on user request, row of {table}"),
        ),
    ),
    Family(
        cause="replica_lag",
        component=say("standby {host}|{host}|standby", "备库 {host}|{host}|备库"),
        evidence=(
            say("replay is {size} MB behind|{size}|replay", "回放落后 {size} MB|{size}|回放"),
            say(
                "readers see rows {secs} s old|{secs}|stale read|stale reads|old data|stale data|outdated data|[old/"
                "outdated/stale] & [rows/data/reads/readers]",
                "读到 {secs} 秒前的数据|{secs}|旧数据|过时数据|过时",
            ),
        ),
        remediation=say(
            "send critical reads to the primary and relieve the standby|reads to the primary|read from the primary|"
            "route reads|end the long query|cancel the long query|faster disk|add bandwidth|"
            "max_standby_streaming_delay|relieve|[route/send/redirect/direct/move/read/routing/serve/switch] … "
            "[primary/reads to the primary]|[reduce/relieve/lower/offload/lighten/reducing/spread/cancel/limit] … "
            "[load/standby/replica/queries/long query/read load/{host}/long queries]|[faster/more/add/increase/scale/"
            "upgrade/bigger] … [standby/replica/replicas/disk/hardware/bandwidth/resources]|[parallel replay/"
            "synchronous replication/hot_standby_feedback/rebuild the standby/catch up]|[read/reads/route/send/switch/"
            "direct] & primary|[unblock/cancel/relieve/reduce/faster/speed/give/optimise/optimize/kill] & [replay/"
            "standby/load/disks/disk/queries/query/replica/apply]",
            "将关键读请求发往主库并减轻备库负载|发往主库|读主库|从主库读|路由到主库|取消长查询|减轻备库|"
            "max_standby_streaming_delay|[发往/转到/路由到/改读/切到/切换到/走/指向/读取]~主库|[减轻/降低/减少/取消/"
            "限制/分流]…[负载/备库/从库/查询/压力]|[增加/提升/升级/扩容]…[备库/从库/带宽/磁盘/资源/副本/性能]|[读请求/"
            "关键读]…主库|[同步复制/重建备库]|[读/读请求/关键读/读流量/切/查询] & 主库|[优化/取消/减轻/提升/加快/"
            "结束] & [备库/长查询/回放/从库/负载]",
        ),
        also=say(
            "{host} ~ [lagging/behind/delayed/stale/lags/lags behind/lagging behind/fallen behind/out of date/out of "
            "sync/falling behind]|[lagging/delayed/stale/slow] {host}|[replay/WAL replay/wal apply] [lag/delay/"
            "lagging]|[slow/delayed/lagging] [replay/WAL replay]|behind the primary",
            "{host}~[延迟/落后/滞后]|[回放/WAL 回放]~[延迟/滞后/过慢]|落后主库|落后于主库",
        ),
        may_mention=("long_transaction",),
        clues=(
            info("walreceiver@{host}", "received {received}, replayed {replayed}, delta {size} MB"),
            warn("monitor@{host}", "now() - last replay timestamp = {secs} s"),
        ),
        symptoms=(
            error("{svc}@{host}", "order {n} not present, though committed on {db}"),
            warn("{client}@{host}", "read-your-writes check violated for {hex}"),
            error("{svc}@{host}", "canceling statement, snapshot too far in the past"),
            info("monitor@{db}", "primary fine: commit latency {n} ms"),
        ),
    ),
    Family(
        cause="wraparound",
        component=say("table {table}|{table}", "表 {table}|{table}"),
        evidence=(
            say(
                "only {xids_left} transactions left|{xids_left}|transactions left",
                "仅剩 {xids_left} 个事务|{xids_left}",
            ),
            say(
                "autovacuum is canceled again and again|autovacuum|[vacuum/freeze] & [cancelled/canceled/interrupted]",
                "autovacuum 反复被取消|autovacuum|[清理/VACUUM/冻结] & [取消/中断]",
            ),
        ),
        remediation=say(
            "run VACUUM FREEZE on {table}|VACUUM FREEZE|VACUUM|freeze|[run/running/execute/manual/perform/launch/"
            "start/finish/complete/allow/let/tune/aggressive] … [vacuum/freeze/autovacuum]|[freezing/vacuuming/manual "
            "vacuum]",
            "对 {table} 执行 VACUUM FREEZE|VACUUM FREEZE|VACUUM|冻结|[执行/运行/手动/手工/进行/完成/允许/"
            "调整]…[VACUUM/清理/冻结/autovacuum]",
        ),
        also=say(
            "{table} ~ [not frozen/unfrozen/not vacuumed/needs freezing/needs vacuum/never vacuumed/never frozen]|"
            "[vacuum/autovacuum] … [failing/cannot finish/prevented/blocked/not finishing/does not finish/"
            "interrupted]|[exhausting/exhausted/used up/running low on/nearly out of] transaction IDs|transactions ~ "
            "running out",
            "{table}~[未冻结/未清理/需要冻结/未被冻结/未 vacuum/未及时清理]|[autovacuum/清理]~[失败/中断/未完成/"
            "无法完成/受阻]|事务~[即将耗尽/耗尽/用尽]",
        ),
        clues=(
            warn("autovac@{db}", "{table} must be frozen within {xids_left} transactions"),
            info("autovac@{db}", "canceling autovacuum task on {table}, asked by pid {n}"),
        ),
        symptoms=(
            error("app@{db}", "no new commands accepted in {db} by single-user safeguard"),
            error("{svc}@{db}", "insert into {table} refused, hint {n}"),
            info("autovac@{db}", "canceling autovacuum task on {table}, asked by pid {n}"),
            warn("monitor@{db}", "age of relfrozenxid {xid_age}"),
        ),
        eval_only=True,
    ),
    Family(
        cause="old_credentials",
        component=say("{client}", "{client}"),
        evidence=(
            say(
                "login of {user} fails with 28P01|28P01|authentication failed|authentication failure|login fails|"
                "{user}",
                "{user} 登录失败 28P01|28P01|认证失败|登录失败|{user}",
            ),
            say(
                "version {rev2} is active, the client presents {rev}|{rev2}|{rev}",
                "当前版本为 {rev2} 而客户端出示 {rev}|{rev2}|{rev}",
            ),
        ),
        remediation=say(
            "reload it with the current credential|reload|update the secret|update the credential|update the password|"
            "restart it|restart the client|restart the service|refresh|distribute|[update/refresh/rotate/distribute/"
            "deploy/load/replace/renew/updating/refreshing/supply/provide/configure/push/switch/use/sync] … "
            "[credential/credentials/password/secret/version/{rev2}/version {rev2}]|[restart/reload/redeploy/"
            "restarting/reloading] … [client/{client}/service/it/application]|[new/current/latest/correct/active/"
            "rotated] [credential/credentials/password/secret/version]|[reload/hand/update/new/give/restart/refresh/"
            "distribute/supply/deploy/sync/current/switch] & [secret/secrets/credential/credentials/password/client/"
            "{client}/version]",
            "用当前凭据重新加载|重新加载|更新密钥|更新凭据|更新密码|重启客户端|重启服务|刷新|下发|[更新/刷新/轮换/"
            "下发/部署/加载/替换/同步/换用/重新加载/切换]…[凭据/密码/密钥/凭证/版本/{rev2}]|[重启/重新加载/重载/"
            "重新部署]…[客户端/{client}/服务/应用]|[新/最新/正确][凭据/密码/密钥/凭证/版本]|当前[凭据/密码/密钥/凭证]|"
            "[新/最新/当前/正确]的[凭据/密码/密钥/凭证/版本]|[更新/下发/同步/重启/重新加载/更换/换新/刷新] & "
            "[凭据/密码/密钥/{client}/客户端/版本]",
        ),
        also=say(
            "{client} ~ [uses/using/presents/presenting/still uses/still using/still presents/sends/sending] … [old/"
            "outdated/withdrawn/stale/previous/obsolete/expired] [version/one/secret/credential/password/credentials]|"
            "[old/outdated/withdrawn/stale/previous/obsolete] [version/version {rev}]|version [{rev}/mismatch] ~ "
            "[withdrawn/outdated/old/instead/obsolete/no longer valid]|[{rev}/version {rev}] instead of [{rev2}/"
            "version {rev2}]|version mismatch|[not/never] [updated/refreshed/reloaded/rotated]",
            "[旧/过时/已撤销/已撤回/作废/过期][版本/版本 {rev}]|[旧/过时/已撤销/已撤回/作废/过期]的[版本/版本 {rev}]|"
            "旧版[本/密钥]|[版本不匹配/版本不一致/版本过旧]|{client}~[仍/还]~使用~[旧/{rev}/版本 {rev}]|未[更新/刷新/"
            "重新加载]~[凭据/密码/密钥/凭证]|[旧/过时/错误]密钥|[旧/过时/错误]的密钥",
        ),
        may_mention=("bad_config", "library_conflict"),
        clues=(
            info("vault@{db}", "login role {user}: version {rev2} activated, {rev} withdrawn"),
            error("{user}@{db}", "FATAL 28P01: authentication failed, {client} presents version {rev}"),
        ),
        symptoms=(
            error("{user}@{db}", "FATAL 28P01: authentication failed for {ip}"),
            warn("monitor@{db}", "{n} refused logins in one minute"),
            error("{user}@{db}", "FATAL 28P01: authentication failed for {ip2}"),
            info("{svc}@{db}", "login with version {rev2} ok from {ip3}"),
        ),
    ),
)

BACKGROUND = (
    info("checkpointer@{db}", "checkpoint complete: wrote {n} buffers in {ms} ms"),
    info("app@{db}", "duration {n} ms: select 1"),
    info("{other}@{db}", "connection authorized from {anyip}"),
    info("{other}@{db}", "disconnection: session time 0:00:{second}"),
    info("autovac@{db}", "automatic analyze of table events_{n}"),
    info("app@{db}", "duration {n} ms: insert into events_{n}"),
    info("archiver@{db}", "archived segment {segment}"),
    info("{other}@{db}", "duration {n} ms: commit"),
    info("monitor@{db}", "{n} MB of temporary files"),
    info("backup@{db}", "base backup part {part_no} sent"),
    info("{other}@{db}", "temporary file size {n} kB removed"),
    info("checkpointer@{db}", "recycled {few} WAL files"),
)

HARMLESS = (
    Harmless(
        say(
            "the duplicate key that was handled|duplicate key|unique constraint|23505",
            "已处理的重复键|重复键|主键冲突|键冲突|唯一约束|23505",
        ),
        (
            error("{bystander}@{db}", "23505: duplicate key for events_{part}, on conflict do nothing"),
            info("{bystander}@{db}", "conflict row of events_{part} skipped"),
        ),
    ),
    Harmless(
        say("the checkpoints that come often|checkpoint", "频繁的检查点|检查点|checkpoint"),
        (
            warn("checkpointer@{db}", "checkpoints {close_by} s apart during bulk load"),
            info("checkpointer@{db}", "interval normal again after bulk load"),
        ),
    ),
    Harmless(
        say(
            "the syntax error of an ad-hoc query|syntax error|ad-hoc|ad hoc|typo|42601",
            "临时查询的语法错误|语法错误|临时查询|42601",
        ),
        (
            error("analyst@{db}", "42601: syntax error near FORM, statement {n}"),
            error("analyst@{db}", "42601: syntax error near SELCT, statement {n}"),
        ),
    ),
    Harmless(
        say("the collation version notice|collation", "排序规则版本提示|排序规则|collation"),
        (
            warn("{other}@{db}", "collation version 153.{collation} recorded, 153.{collation2} provided, order kept"),
            warn("monitor@{db}", "collation notice seen {n} times"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "deadlock",
        (
            error("etl@{db}", "40P01: process {deadlocked} and process {deadlocked2} waited for each other"),
            error("etl@{db}", "40P01: process {deadlocked} rolled back by detector"),
            error("etl@{db}", "40P01: process {deadlocked} rolled back by detector"),
            error("etl@{db}", "load of part {part} interrupted"),
            info("etl@{db}", "load of part {part} repeated in order, done, no other table touched"),
        ),
    ),
    RedHerring(
        "disk_full",
        (
            error("dba@{db}", "53100: extend of scratch tablespace tmp_{part} refused"),
            error("dba@{db}", "53100: extend of scratch tablespace tmp_{part} refused"),
            error("dba@{db}", "create table scratch_{part} rolled back"),
            warn("dba@{db}", "scratch tablespace usage 100%"),
            info("dba@{db}", "scratch tablespace tmp_{part} is a practice area, dropped; data volume {db} at 38%"),
        ),
    ),
)

STYLE = Style(
    name="database",
    title=say("PostgreSQL log of {db}", "{db} 的 PostgreSQL 日志"),
    max_lines=24,
    background=BACKGROUND,
    harmless=HARMLESS,
    red_herrings=RED_HERRINGS,
    families=FAMILIES,
)
