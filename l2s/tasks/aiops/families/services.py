"""Microservices: faults that show in JSON logs."""

from l2s.tasks.aiops.records import Family, Harmless, RedHerring, Style, error, info, say, warn

SERVICE = say("{svc}", "{svc}")

FAMILIES = (
    Family(
        cause="pool_exhausted",
        component=SERVICE,
        evidence=(
            say(
                "active={pool} idle=0|active={pool}|idle=0|{pool} active|no idle connections|all {pool} connections|"
                "idle 0|0 idle|no idle|none idle|nothing idle|{pool}",
                "active={pool} idle=0|active={pool}|idle=0|{pool} 个活动连接|没有空闲连接|空闲 0|空闲为 0|idle 0|"
                "无空闲|{pool}",
            ),
            say(
                "requests wait to acquire a connection|wait to acquire|acquire timeout|acquire timed out|waiting for "
                "a connection|waiting={waiting}|{waiting}|waiters|acquire timeouts|acquire ~ [timed out/timeout]|"
                "[requests/callers/threads/everybody/others] & [wait/waiting/waits/queue/queued/queues]|{minutes} min|"
                "not returned",
                "请求等待获取连接|等待获取连接|获取连接超时|等待连接|{waiting}|[请求/连接/获取] & [等待/排队]|"
                "{minutes} 分钟|未归还|没有归还",
            ),
        ),
        remediation=say(
            "release connections after use and enlarge the pool|release connections|return connections|close "
            "connections|enlarge the pool|increase the pool|increase pool size|larger pool|fix the leak|[release/"
            "return/close/returning/releasing/closing/reclaim/give back] … [connection/connections/handles/handle]|"
            "[enlarge/increase/raise/expand/increasing/raising/enlarging/bigger/larger/grow] … [pool/pool size/"
            "connections]|[fix/plug/find/repair/stop] … [leak/leaks]|leak detection|[return/release/close/give back/"
            "reclaim/fix/plug] & [connection/connections/handle/handles/leak/leaks]|[bigger/enlarge/larger/increase/"
            "raise/grow/tune] & pool",
            "用后归还连接并调大连接数|归还连接|释放连接|关闭连接|调大连接池|扩大连接池|增大连接池|修复泄漏|[归还/释放/"
            "关闭/回收]…[连接/句柄]|[调大/扩大/增大/提高/增加/扩充]…[连接池/连接数/池]|[修复/排查/解决]…[泄漏/泄露]|"
            "[归还/释放/关闭/回收/修复/修] & [连接/句柄/泄漏/泄露]|[调大/扩大/增大/提高] & [池/连接池/连接数]|借出超时",
        ),
        also=say(
            "[pool/pool of {svc}] ~ [exhausted/full/empty/used up/drained/depleted]|{svc} ~ out of [connections/"
            "database connections/pooled connections]|all [connections/pool connections/pooled connections/{pool} "
            "connections] ~ [in use/used/taken/busy/checked out/active]|no [free/idle/available] [connections/"
            "connection]|handle [leak/not returned]|leaked [handle/handles]|[handle/connection] ~ [never returned/not "
            "returned/not released]",
            "连接~[耗尽/用尽/用完/占满]|[没有/无][可用/空闲]连接|连接数~[耗尽/已满/用尽]|句柄~[未归还/泄漏]|"
            "连接~[没有归还/没有释放]",
        ),
        may_mention=("bad_config", "rate_limited"),
        clues=(
            warn("{svc}", "acquire took {ms} ms, active={pool} idle=0 waiting={waiting}"),
            warn("{svc}", "handle {hex} checked out {minutes} min ago by /export was not returned"),
        ),
        symptoms=(
            error("{svc}", "acquire timed out after 30000 ms, request {hex}"),
            error("{client}", "call to {svc} failed: 503 after {ms} ms"),
            error("{client}", "circuit {svc} opened after {n} failures"),
            warn("{svc}", "p99 latency {ms} ms over objective"),
            info("{db}", "cpu 11%, sessions steady, queries answered in 4 ms"),
        ),
    ),
    Family(
        cause="certificate_expired",
        component=SERVICE,
        evidence=(
            say(
                "notAfter {expired_on} is in the past|notAfter|{expired_on}",
                "notAfter {expired_on} 已过|notAfter|{expired_on}",
            ),
            say(
                "TLS handshakes fail|handshake fail|handshake error|handshakes failing|handshake failure|handshake|"
                "x509|verify code 10|code 10|verification error|verification fails|refuse to talk|alert 45|validation "
                "fails|[clients/client/peers] & [reject/rejects/refuse/refuses/distrust]",
                "TLS 握手失败|握手失败|握手错误|握手|x509|校验失败|校验不通过|校验错误|code 10|验证失败|alert 45",
            ),
        ),
        remediation=say(
            "renew it and reload the service|renew|reissue|rotate the cert|replace the cert|new certificate|[renewal/"
            "renewing/re-issue/reissuing]|[replace/update/rotate/issue/install/deploy/new/rotating/replacing/updating/"
            "reload] … [certificate/cert/certificates]|[renew/reissue/issue/replace/rotate/deploy/install/new/update/"
            "automate] & [cert/certificate/certificates/renewal]",
            "续期并重新加载服务|续期|续签|重新签发|更换证书|更新证书|[续订/续签/更新/更换/替换/重新签发/签发/换/轮换/"
            "部署]…证书|[续期/续订/重新颁发]|[续/续期/续签/换/更换/替换/签发/重新签发/更新/部署/重签] & 证书|换证",
        ),
        also=say(
            "[certificate/cert] of ~ {svc} ~ expired|expired on {expired_on}|{svc} ~ [certificate/cert] ~ expired|"
            "[certificate/cert] ~ [validity/notAfter] ~ [passed/ended/over/in the past]|[certificate/cert] ~ [past "
            "notAfter/past its notAfter]",
            "[{svc}/{svc}.internal]~证书~[过期/失效/到期]|证书~[于/已]~过期|证书~已过~[notAfter/有效期]",
        ),
        clues=(
            info("{svc}", "tls listener {hex} serves CN={svc}.internal notAfter={expired_on}T00:00:00Z"),
            error(
                "{client}", "x509 verify code 10 for {svc}.internal, trace {hex}, today is past notAfter={expired_on}"
            ),
        ),
        symptoms=(
            error("{client}", "tls handshake with {svc}.internal:8443 failed, request {hex}"),
            error("{svc}", "remote {ip} closed during handshake: alert 45"),
            error("{client}", "fallback for {svc} not configured, returning 502"),
            warn("{client}", "retry {attempt} of 5 to {svc} in {ms} ms"),
            error("{other}", "webhook via {svc} undelivered, id {hex}"),
        ),
    ),
    Family(
        cause="dns_broken",
        component=say("the resolver {ip}|{ip}", "解析器 {ip}|{ip}"),
        evidence=(
            say(
                "lookups on {ip} port 53 time out|port 53|{ip}:53|SERVFAIL|lookup times out|lookups time out|lookup "
                "timeout|lookup timed out|[lookup/lookups/query/queries/name lookups] & [time out/timed out/timeout/"
                "timeouts/fail/fails/failed/unanswered]",
                "对 {ip} 的 53 端口查询超时|53 端口|{ip}:53|SERVFAIL|查询超时|[查询/lookup/解析/域名查询] & [超时/"
                "失败/timeout]|timeout",
            ),
            say(
                "direct calls by address still work|by address|by IP|direct IP|IP address works|[by IP/by address/"
                "direct/IP access/probe/direct calls] & [work/works/ok/fine/succeeds/succeeded/success/answers/passes]",
                "按地址直接访问仍然正常|按地址|按 IP|直接访问 IP|直连 IP|[直连/直接访问/地址探测/IP 访问/IP 直连/"
                "按地址探测] & [正常/成功/可达/通/ok]|直连",
            ),
        ),
        remediation=say(
            "restart or fail over the resolver|restart the resolver|fail over|failover|restart CoreDNS|switch to "
            "another resolver|backup resolver|secondary resolver|restore the resolver|fix the resolver|[restart/"
            "restore/repair/fix/replace/reboot/restarting/fixing/recover/check] … [resolver/DNS/DNS server/DNS "
            "service/nameserver/{ip}]|[switch/fail over/change/point] … [resolver/DNS/DNS server/nameserver]|[another/"
            "alternative/secondary/backup/second/redundant/different] [resolver/DNS/DNS server/nameserver]|[failing "
            "over/failover]|[restart/repair/fix/restore/replace/fail over/failover/bounce/revive] & [resolver/DNS/DNS "
            "server/DNS service/it/nameserver]|[second/secondary/another/other/backup/spare/redundant] & [resolver/"
            "DNS/DNS server/nameserver]|[another/standby] [server/nameserver]",
            "重启或切换解析器|重启解析器|切换解析器|重启 CoreDNS|备用解析器|恢复解析器|修复解析器|[重启/修复/恢复/"
            "更换/切换/检查]…[解析器/DNS/域名服务器/解析服务]|[备用/其他/另一/冗余]…[解析器/DNS]|[故障转移/"
            "切换到备用]|[重启/恢复/修复/切换/更换/修] & [DNS/解析器/解析服务/域名服务器]|[备用/其他/第二/冗余] & "
            "[DNS/解析器]|[切换/改用/启用/切到] & 备用",
        ),
        also=say(
            "{ip} ~ [down/unreachable/not responding/unresponsive/not answering/failing/failed/broken/dead]|resolver "
            "{ip} ~ [down/unreachable/not responding/unresponsive/not answering/failing/failed/broken/dead/timing out]",
            "{ip}~[故障/无响应/不可用/宕机/没有响应/失效/超时]",
        ),
        may_mention=("bad_config",),
        clues=(
            error("{svc}", "lookup {client}.internal on {ip}:53: i/o timeout"),
            info("{svc}", "probe by address {ip2}:8080 ok in {n} ms"),
        ),
        symptoms=(
            error("{svc}", "no host for {client}.internal, request {hex} dropped"),
            error("{other}", "lookup {db}.internal on {ip}:53: SERVFAIL"),
            warn("{other}", "using cached address of {db}, {n} s old"),
            error("{client}", "registration heartbeat missed, {n} peers unknown"),
            error("{svc}", "GET http://{client}.internal/v1 failed after {ms} ms"),
        ),
    ),
    Family(
        cause="rate_limited",
        component=SERVICE,
        evidence=(
            say("answers with status 429|429|Retry-After|retry_after", "返回状态码 429|429|Retry-After|retry_after"),
            say(
                "allowance used {limit}/{limit}|{limit}|remaining=0|remaining 0|no [allowance/quota] left|used up",
                "额度已用 {limit}/{limit}|{limit}|remaining=0|剩余为 0|剩余 0|额度为 0|剩余额度",
            ),
        ),
        remediation=say(
            "back off between calls and ask for a higher allowance|back off|backoff|slow down|fewer requests|reduce "
            "the request rate|reduce request|higher quota|raise the quota|increase the quota|batch requests|[backing "
            "off/back-off/exponential backoff/slow down/throttle]|[reduce/lower/limit/reducing/decrease/cut] … [rate/"
            "requests/calls/frequency/request rate]|[raise/increase/higher/request/raising/increasing/larger/extend] "
            "… [quota/limit/allowance/rate limit]|[honour/honor/respect/obey/observe] … [Retry-After/retry_after/rate "
            "limit]|[batch/cache/queue/spread/batching/caching] … [requests/calls/responses]|[Retry-After/"
            "retry_after]|[back off/backoff/slow down/honour/honor/respect/batch/cache/space/spread/reduce/throttle] "
            "& [calls/requests/retry/retries/client/rate]|[ask/request/raise/bigger/higher/increase/larger/more] & "
            "[quota/limit/allowance/plan]",
            "退避重试并申请更高额度|退避|降低请求频率|减少请求|提高配额|申请更高|批量请求|[降低/减少/控制/限制/"
            "调低]…[频率/请求/调用/速率]|[提高/增加/申请/提升/调高/扩大]…[配额/额度/限额/上限]|[退避/遵守 Retry-After/"
            "指数退避/批量/合并请求/缓存]|[提/提高/申请/增加/提升/扩大] & [配额/额度/限额]|提额|[合并/降低/减少/批量/"
            "缓存] & [请求/频率/调用]",
        ),
        also=say(
            "{client} ~ [throttled/limited]|[hit/hits/hitting/exceeded/exceeds/exceeding/reached/used up] … [limit/"
            "allowance/window]|[limit/window] of {limit} [requests/calls/reached/exhausted]|too many [retries/"
            "requests]",
            "{client}~[限流/超限]|[超过/达到/超出]~[上限/限制/窗口限制/{limit}]|调用~过多",
        ),
        may_mention=("bad_config",),
        clues=(
            warn("{client}", "{svc} answered 429 retry_after={n}"),
            info("{svc}", "tenant {client} window used={limit} max={limit} remaining=0, own load 12%"),
        ),
        symptoms=(
            error("{client}", "import job {hex} stopped, {n} rows left"),
            warn("{client}", "retrying immediately, attempt {n}"),
            error("{other}", "stale prices shown, last sync {minutes} min ago"),
            error("{client}", "{svc} answered 429, request {hex}"),
            warn("{client}", "queue depth {count} and growing"),
        ),
    ),
    Family(
        cause="bad_config",
        component=SERVICE,
        evidence=(
            say(
                "errors start with revision {rev}|revision {rev}|rev {rev}|{rev}",
                "错误始于修订 {rev}|修订 {rev}|版本 {rev}|{rev}",
            ),
            say(
                "it points to localhost:{port}|localhost:{port}|localhost|{port}",
                "指向 localhost:{port}|localhost:{port}|localhost|{port}",
            ),
        ),
        remediation=say(
            "roll back the revision|roll back|rollback|revert|restore the previous|correct the endpoint|fix the "
            "endpoint|correct the setting|[rolling back/roll-back/reverting/restore/undo]|[correct/fix/change/update/"
            "set/repair/correcting/fixing] … [ledger_url/URL/endpoint/setting/settings/configuration/config/address]|"
            "[previous/last good/earlier] [revision/configuration/config/settings]|[revert/roll back/rollback/undo/"
            "restore/former/previous/prior/correct/fix/change/repair/set] & [revision/rev/settings/config/"
            "configuration/ledger_url/URL/address/it/endpoint]",
            "回滚该修订|回滚|恢复上一版本|还原|修正地址|修正设置|[修正/修复/更正/改正/改回/修改/纠正]…[配置/地址/设置/"
            "ledger_url/端点/URL]|[回退/撤销/还原/恢复]…[修订/配置/版本]|[回退/改回]|回退|[改回/改/修正/恢复/还原/"
            "更正/纠正/改成] & [地址/配置/ledger_url/版本/修订/URL]",
        ),
        also=say(
            "[points/pointing/pointed/set] ~ [localhost/wrong host/wrong address/wrong endpoint]|ledger_url ~ "
            "[localhost/points to localhost]|[configuration/config/settings/setting] [change/update]|revision {rev} ~ "
            "[wrong/faulty/bad/broken/misconfigured/incorrect]|[wrong/incorrect/bad] [value/port/host/target]|"
            "localhost instead of",
            "ledger_url…localhost|[配置/设置][变更/修订]|修订 {rev}~[错误/有误/配置错误]|指向错误|指向了错误|[错误地/"
            "误]指向|错误[设置/指向/配置]|被错误[设置/指向/配置]",
        ),
        clues=(
            info("{svc}", "settings revision {rev} loaded, ledger_url=http://localhost:{port}"),
            error("{svc}", "POST http://localhost:{port}/entries: refused"),
        ),
        symptoms=(
            error("{svc}", "entry {hex} not booked, parked for retry"),
            error("{client}", "{svc} answered 500, order {hex} on hold"),
            warn("{svc}", "parked entries: {count}"),
            error("{other}", "reconciliation differs by {count} entries"),
            info("ledger-main", "healthy, idle, 0 requests in the last {minutes} min", after="{minutes} min"),
        ),
        eval_only=True,
    ),
    Family(
        cause="cache_stampede",
        component=SERVICE,
        evidence=(
            say(
                "miss ratio jumps to {pct}%|miss ratio|{pct}%|cache miss|hit rate drop|misses|miss rate|hit ratio|hit "
                "rate",
                "未命中率升至 {pct}%|未命中率|{pct}%|命中率下降|miss|未命中|命中率",
            ),
            say(
                "{count} keys with the same ttl|same ttl|{count}|[identical/same/equal/common/one] & [ttl/expiry/"
                "expiration]",
                "{count} 个键 ttl 相同|ttl 相同|相同 ttl|{count}|[同一/相同/一样] & [ttl/过期时间]|同一批",
            ),
        ),
        remediation=say(
            "add jitter to the ttl and coalesce requests|jitter|randomise|randomize|coalesce|stagger|single flight|"
            "request coalescing|mutex|warm the cache|prewarm|pre-warm|[jitter/jittered/randomised/randomized/random/"
            "staggered/stagger/staggering/spread/spreading/vary/different] … [ttl/ttls/expiry/expiration/expirations/"
            "expiry times]|[lock/locking/mutex/singleflight/single-flight/coalescing/request collapsing]|[warming/"
            "pre-warming/prewarming/stale-while-revalidate/early refresh/background refresh]|[rebuild/refresh] … "
            "cache|[jitter/stagger/spread/randomise/randomize/vary] & [ttl/ttls/expiry/expiries/expiration/"
            "expirations]|single-flight|[warm/prewarm/preload/refresh] & [cache/keys]",
            "给 ttl 加随机抖动并合并请求|抖动|随机|合并请求|错开|互斥|预热|[分散/打散/随机化/错开/不同]…[ttl/过期时间/"
            "失效时间/过期]|[分散/打散/随机化/错开/不同的]…[ttl/过期时间/失效时间/过期]|[加锁/互斥锁/单飞/请求合并/"
            "预热/提前刷新/后台刷新/热点缓存]|[合并/互斥/加锁] & [回源/请求/重建]|限制~回源|打散",
        ),
        also=say(
            "{count} keys ~ [expired/expire/expiring] [simultaneously/together/at once/at the same time]|[all/many/"
            "thousands of] … keys ~ [expired/expire]|same ttl ~ expired|cache ~ [expired/emptied/invalidated]",
            "{count} 个键~[过期/失效/到期]|缓存~[过期/失效]",
        ),
        may_mention=("bad_config", "rate_limited", "upstream_slow"),
        clues=(
            info("{svc}", "ttl 3600 reached for {count} keys written by the same loader run"),
            warn("{svc}", "miss ratio {pct}% in the last 10 s, was 4%"),
        ),
        symptoms=(
            error("{db}", "queue full, {queue} queries shed"),
            error("{client}", "GET /catalog from {svc} took {ms} ms"),
            warn("{db}", "cpu 99%, the same query {hex} running {queue} times"),
            error("{client}", "timeout after {ms} ms waiting for {svc}"),
            info("{client}", "inbound requests steady at {rps} per second"),
        ),
    ),
)

BACKGROUND = (
    info("{other}", "request {hex} done in {n} ms"),
    info("{client}", "request {hex} done in {n} ms"),
    info("{svc}", "heartbeat ok, uptime {uptime} s"),
    info("{other}", "consumed {n} messages, lag 0"),
    info("{other}", "feature flags refreshed, {n} active"),
    info("auth", "token {hex} issued for {user}, expires in {n} s"),
    info("{client}", "order {hex} accepted"),
    info("gateway", "GET /v1/items 200 {n} ms trace {hex}"),
    info("{other}", "snapshot {n} uploaded in {ms} ms"),
    info("scheduler", "job cleanup-{job_no} finished"),
    info("gateway", "POST /v1/orders 201 {n} ms trace {hex}"),
    info("{other}", "leader is {host}, term {n}"),
    info("metrics", "scraped {n} targets in {ms} ms"),
    info("auth", "session of {user} refreshed"),
)

HARMLESS = (
    Harmless(
        say("the single retry that succeeded|retry|retried", "一次成功的重试|重试"),
        (
            warn("{bystander}", "publish {ref} failed once, retry in 50 ms"),
            info("{bystander}", "publish {ref} ok at retry 1"),
        ),
    ),
    Harmless(
        say(
            "the slow start of a worker|slow start|cold start|warm-up|warmup",
            "工作进程启动较慢|启动较慢|启动慢|冷启动|预热",
        ),
        (
            warn("{bystander}", "cold start took {cold_ms} ms, expected 500"),
            info("{bystander}", "warm-up complete, ready"),
        ),
    ),
    Harmless(
        say("the deprecated API version|deprecated|deprecation|old API", "弃用的 API 版本|弃用|旧版 API"),
        (
            warn("gateway", "trace {hex}: client calls deprecated API v1, supported until {future_day}"),
            warn("gateway", "deprecated header X-Trace seen {n} times"),
        ),
    ),
    Harmless(
        say(
            "the malformed input of a client|malformed|validation|bad request|400",
            "客户端的错误输入|格式错误|校验失败|错误输入|400",
        ),
        (
            warn("gateway", "trace {hex}: 400 for {user}, malformed field postcode"),
            warn("gateway", "trace {hex}: 400 for {user}, malformed field phone"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "third_party_down",
        (
            error("mailer", "provider sendfast answered 500, mail {hex} queued"),
            error("mailer", "provider sendfast answered 500, mail {hex} queued"),
            error("mailer", "provider sendfast answered 502, {mails} mails queued"),
            error("mailer", "provider sendfast unreachable, {more_mails} mails queued"),
            info("mailer", "provider sendfast answers again, queue of {more_mails} delivered"),
        ),
    ),
    RedHerring(
        "bad_release",
        (
            error("beta-ui", "canary build {canary}: render exception {hex}"),
            error("beta-ui", "canary build {canary}: render exception {hex}"),
            error("beta-ui", "canary build {canary}: unhandled promise {hex}"),
            error("beta-ui", "canary build {canary}: render exception {hex}"),
            info("deployer", "canary build {canary} withdrawn, it served only staff accounts"),
        ),
    ),
)

STYLE = Style(
    name="services",
    title=say("JSON log of several services", "多个服务的 JSON 日志"),
    max_lines=24,
    background=BACKGROUND,
    harmless=HARMLESS,
    red_herrings=RED_HERRINGS,
    families=FAMILIES,
)
