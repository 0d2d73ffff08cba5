"""Databases: faults that show in a PostgreSQL server log."""

from l2s.tasks.aiops.records import Family, Harmless, RedHerring, Style, error, info, say, warn

FAMILIES = (
    Family(
        cause="connection_limit",
        component=say("{db}", "{db}"),
        evidence=(
            say("remaining slots are reserved|slots are reserved|reserved|53300", "剩余槽位被保留|被保留|槽位|53300"),
            say(
                "{limit} sessions, most of them idle from {client}|{limit}|{client}",
                "{limit} 个会话且多数为 {client} 的空闲会话|{limit}|{client}",
            ),
        ),
        remediation=say(
            "put a pooler in front and close idle sessions|pooler|pgbouncer|connection pooling|close idle|"
            "terminate idle|kill idle|raise max_connections|increase max_connections",
            "在前端加连接池并关闭空闲会话|pgbouncer|加连接池|使用连接池|关闭空闲|终止空闲|调大 max_connections|"
            "提高 max_connections",
        ),
        may_mention=("pool_exhausted",),
        clues=(
            info("monitor@{db}", "sessions {limit}, of these idle {count} from {client}"),
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
            say("Seq Scan over {big1} rows|Seq Scan|{big1}", "Seq Scan 扫描 {big1} 行|Seq Scan|{big1}"),
            say("the query filters on {column}|{column}", "查询按 {column} 过滤|{column}"),
        ),
        remediation=say(
            "create an index on {table}({column})|create an index|create index|add an index|add index|build an index|"
            "CREATE INDEX CONCURRENTLY",
            "在 {table}({column}) 上创建索引|创建索引|添加索引|增加索引|建立索引|建索引|加索引",
        ),
        clues=(
            info("app@{db}", "duration {ms} ms: select * from {table} where {column} = $1"),
            info("app@{db}", "plan: Seq Scan on {table}, rows {big1}, filter {column}"),
        ),
        symptoms=(
            warn("monitor@{db}", "cpu 97%, {n} active queries"),
            error("app@{db}", "statement of {svc} canceled after {ms} ms"),
            info("app@{db}", "duration {ms} ms: select count(*) from {table}"),
            warn("monitor@{db}", "blocks read {big}, cache hits down"),
        ),
    ),
    Family(
        cause="long_transaction",
        component=say("session {spid} of {client}|{spid}|{client}", "{client} 的会话 {spid}|{spid}|{client}"),
        evidence=(
            say(
                "other sessions wait for ShareLock|ShareLock|waiting for a lock|wait for a lock|lock wait|"
                "waiting for lock|still waiting",
                "其他会话等待 ShareLock|ShareLock|等待锁|锁等待",
            ),
            say(
                "session {spid} idle for {minutes} min after BEGIN|{minutes} min|after BEGIN|BEGIN",
                "会话 {spid} 在 BEGIN 后空闲 {minutes} 分钟|{minutes} 分钟|BEGIN",
            ),
        ),
        remediation=say(
            "terminate session {spid} and set idle_in_transaction_session_timeout|terminate|pg_terminate_backend|kill|"
            "end the session|commit|idle_in_transaction_session_timeout|roll it back",
            "终止会话 {spid} 并设置 idle_in_transaction_session_timeout|终止|pg_terminate_backend|杀掉|结束会话|"
            "提交|idle_in_transaction_session_timeout",
        ),
        clues=(
            info("monitor@{db}", "pid {spid} {client}: last statement BEGIN; UPDATE {table}, then idle {minutes} min"),
            info("app@{db}", "pid {n} still waiting for ShareLock held by {spid} after {ms} ms"),
        ),
        symptoms=(
            error("app@{db}", "update of {table} canceled: lock_timeout, {ms} ms"),
            info("app@{db}", "pid {n} still waiting for ShareLock held by {spid} after {ms} ms"),
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
                "readers see rows {secs} s old|{secs}|stale read|stale reads|old data|stale data|outdated data",
                "读到 {secs} 秒前的数据|{secs}|旧数据|过时数据",
            ),
        ),
        remediation=say(
            "send critical reads to the primary and relieve the standby|reads to the primary|read from the primary|"
            "route reads|end the long query|cancel the long query|faster disk|add bandwidth|"
            "max_standby_streaming_delay|relieve",
            "将关键读请求发往主库并减轻备库负载|发往主库|读主库|从主库读|路由到主库|取消长查询|减轻备库|"
            "max_standby_streaming_delay",
        ),
        may_mention=("long_transaction",),
        clues=(
            info("walreceiver@{host}", "received 3A/9F000000, replayed 3A/11000000, delta {size} MB"),
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
            say("only {big1} transactions left|{big1}|transactions left", "仅剩 {big1} 个事务|{big1}"),
            say("autovacuum is canceled again and again|autovacuum", "autovacuum 反复被取消|autovacuum"),
        ),
        remediation=say(
            "run VACUUM FREEZE on {table}|VACUUM FREEZE|VACUUM|freeze",
            "对 {table} 执行 VACUUM FREEZE|VACUUM FREEZE|VACUUM|冻结",
        ),
        clues=(
            warn("autovac@{db}", "{table} must be frozen within {big1} transactions"),
            info("autovac@{db}", "canceling autovacuum task on {table}, asked by pid {n}"),
        ),
        symptoms=(
            error("app@{db}", "no new commands accepted in {db} by single-user safeguard"),
            error("{svc}@{db}", "insert into {table} refused, hint {n}"),
            info("autovac@{db}", "canceling autovacuum task on {table}, asked by pid {n}"),
            warn("monitor@{db}", "age of relfrozenxid {big}"),
        ),
        held_out=True,
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
            "restart it|restart the client|restart the service|refresh|distribute",
            "用当前凭据重新加载|重新加载|更新密钥|更新凭据|更新密码|重启客户端|重启服务|刷新|下发",
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
            info("{svc}@{db}", "login with version {rev2} ok from {ip2}"),
        ),
    ),
)

BACKGROUND = (
    info("checkpointer@{db}", "checkpoint complete: wrote {n} buffers in {ms} ms"),
    info("app@{db}", "duration {n} ms: select 1"),
    info("{other}@{db}", "connection authorized from {anyip}"),
    info("{other}@{db}", "disconnection: session time 0:00:{n}"),
    info("autovac@{db}", "automatic analyze of table events_{n}"),
    info("app@{db}", "duration {n} ms: insert into events_{n}"),
    info("archiver@{db}", "archived segment {hex}"),
    info("{other}@{db}", "duration {n} ms: commit"),
    info("monitor@{db}", "cache hit ratio 99.{n}"),
    info("backup@{db}", "base backup part {n} sent"),
    info("{other}@{db}", "temporary file size {n} kB removed"),
    info("checkpointer@{db}", "checkpoint starting: time, id {n}"),
)

HARMLESS = (
    Harmless(
        say(
            "the duplicate key that was handled|duplicate key|unique constraint|23505",
            "已处理的重复键|重复键|唯一约束|23505",
        ),
        (
            error("{other}@{db}", "23505: duplicate key for events_{n}, on conflict do nothing"),
            info("{other}@{db}", "conflict row {n} merged"),
        ),
    ),
    Harmless(
        say("the checkpoints that come often|checkpoint", "频繁的检查点|检查点|checkpoint"),
        (
            warn("checkpointer@{db}", "checkpoints {n} s apart during bulk load"),
            info("checkpointer@{db}", "interval normal again after bulk load {n}"),
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
            warn("{other}@{db}", "collation version 2.{n} recorded, 2.{n} provided, order verified"),
            warn("monitor@{db}", "collation notice seen {n} times"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "deadlock",
        (
            error("etl@{db}", "40P01: process {n} and process {n} waited for each other"),
            error("etl@{db}", "40P01: process {n} rolled back by detector"),
            error("etl@{db}", "40P01: process {n} rolled back by detector"),
            error("etl@{db}", "load of part {n} interrupted"),
            info("etl@{db}", "load of part {n} repeated in order, done, before the complaints began"),
        ),
    ),
    RedHerring(
        "disk_full",
        (
            error("dba@{db}", "53100: extend of scratch tablespace tmp_{n} refused"),
            error("dba@{db}", "53100: extend of scratch tablespace tmp_{n} refused"),
            error("dba@{db}", "create table scratch_{n} rolled back"),
            warn("dba@{db}", "scratch tablespace usage 100%"),
            info("dba@{db}", "scratch tablespace tmp_{n} is a practice area, dropped; data volume {db} at 38%"),
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
