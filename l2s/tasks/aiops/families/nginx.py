"""Web servers: faults that show in nginx's access and error logs (info entries are access lines)."""

from l2s.tasks.aiops.records import Family, Harmless, RedHerring, Style, error, info, say, warn

FAMILIES = (
    Family(
        cause="upstream_down",
        component=say("{svc} at {ip}:{port}|{svc}|{ip}", "{ip}:{port} 上的 {svc}|{svc}|{ip}"),
        evidence=(
            say(
                "connect() to {ip}:{port} was refused|{ip}:{port}|connection refused|refused|error 111|errno 111",
                "连接 {ip}:{port} 被拒绝|{ip}:{port}|连接被拒绝|拒绝连接|111|被拒|refused",
            ),
            say(
                "clients get status 502|502|bad gateway|no live upstreams",
                "客户端收到 502|502|没有存活|无存活|no live upstreams",
            ),
        ),
        remediation=say(
            "restart it and check why it stopped|restart|start the service|bring it back|redeploy|[restarting/start "
            "it/start {svc}/bring up/bring {svc}/relaunch/recover/restore/revive/start the]|[check/investigate] … "
            "[crash/crashed/stopped/logs/process]|[restart/start/bring/relaunch/revive/recover/redeploy/restore] & "
            "[service/it/{svc}/process/backend/back/back up/upstream/app/application]",
            "重启并检查停止原因|重启|拉起|启动服务|重新部署|[重新启动/启动/恢复/重拉/拉起来]|[拉起/重启/启动/恢复/"
            "重新启动/重拉] & [服务/进程/{svc}/上游/后端/应用]",
        ),
        also=say(
            "[{svc}/{ip}:{port}] ~ [down/crashed/stopped/dead/offline/unavailable/unreachable/not running/not "
            "listening/has died/terminated/not up/not reachable]|[{svc}/service/process] [crashed/stopped/died/exited/"
            "went down/has gone down]|[upstream/backend] ~ [unavailable/unreachable/failed/failing]|[upstream/"
            "backend] failure|[nothing/no process/nobody] [listens/is listening/listening]|not listening|[service/"
            "process] ~ [down/stopped/crashed/not running/dead]",
            "[{svc}/{ip}:{port}]~[宕机/崩溃/停止/未运行/挂了/挂掉/停机/离线/下线/未启动/不可用/无法访问/退出/停止运行/"
            "没有运行/未监听/没有监听]|[上游/后端]~[不可用/无法访问/故障/失效]|[服务/进程]~[停止/崩溃/宕机/未运行/"
            "已停/挂了/退出]|没有进程监听|无进程监听",
        ),
        clues=(
            error(
                "*",
                "request {hex}: connect() failed (111: Connection refused) while connecting to {svc}, upstream: http:/"
                "/{ip}:{port}",
            ),
            error("*", "no live upstreams for group {svc}, last tried {ip}:{port}"),
        ),
        symptoms=(
            info("{ip2}", "GET /{page}/{n} 502 157 0.001"),
            info("{ip2}", "POST /{page} 502 157 0.002"),
            info("{ip2}", "GET /{page}?id={n} 502 157 0.001"),
            warn("*", "upstream server temporarily disabled while connecting to {svc}"),
        ),
    ),
    Family(
        cause="upstream_slow",
        component=say("{svc}", "{svc}"),
        evidence=(
            say(
                "reads from it time out after {secs} s|timed out|time out|timeout|{secs}|error 110|errno 110|response "
                "header",
                "读取响应在 {secs} 秒后超时|超时|{secs}|110|读取响应头|等待响应头",
            ),
            say("clients get status 504|504|gateway timeout", "客户端收到 504|504"),
        ),
        remediation=say(
            "profile and scale out the service|scale out|scale up|add instances|add replicas|more instances|optimise|"
            "optimize|profile|speed up|tune|[scaling/scaling out/autoscale/capacity/more replicas/more workers/more "
            "capacity/profiling/optimizing/optimising/tuning/cache/caching/speed up]|[increase/raise/adjust/extend] … "
            "[timeout/capacity/replicas/resources/instances]|[faster/optimise/optimize/speed up] … [query/queries/"
            "endpoint/report]|[make/run] … [asynchronous/asynchronously/in the background]|[optimise/optimize/profile/"
            "speed/speed up/tune/fix/cache/index/investigate] & [report/query/queries/service/endpoint/backend/"
            "performance/it]|[scale/add/more/extra] & [instances/replicas/service/workers/it/capacity/out]|async",
            "分析性能并扩容该服务|扩容|增加实例|增加副本|优化|性能分析|[扩展/伸缩/增加/扩充]…[实例/副本/容量/资源/"
            "节点]|[调优/性能优化/提升性能/加速/缓存/异步/排查性能/调大超时/增加超时/性能剖析]|[优化/分析/排查/调优/"
            "加速/提升] & [接口/查询/性能/服务/报表/慢查询]|[增加/加] & [实例/副本/节点]",
        ),
        also=say(
            "{svc} ~ [slow/too slow/very slow/overloaded/slow to respond/unresponsive/sluggish/responding slowly/"
            "responding too slowly/not responding in time]|{svc} [responds/answers/replies] [slowly/too slowly/too "
            "late]|[takes/took/taking] too long|[responds/responding] [slowly/too slowly]|slow [service/{svc}]|"
            "overloaded [service/{svc}]|[upstream/backend] [timeout/timed out/times out]|{svc} [performance/slowness/"
            "latency/overload]|does not respond in time",
            "{svc}~[过慢/缓慢/太慢/很慢/变慢/过载/超载/响应慢/响应过慢/响应缓慢/响应太慢/处理过慢/处理缓慢/性能不足/"
            "响应超时/处理慢]|[响应/处理][过慢/缓慢/太慢/很慢/时间过长]|[上游/后端]~超时|未及时响应|未能及时响应|"
            "性能[不足/瓶颈]",
        ),
        may_mention=("cluster_capacity", "rate_limited"),
        clues=(
            error("*", "(110) after {secs} s while reading response header from {svc}, request {n}"),
            info("{ip2}", "GET /{page}/report?id={n} 504 167 {secs}.001"),
        ),
        symptoms=(
            info("{ip2}", "GET /{page}/report?id={n} 504 167 {secs}.002"),
            info("{ip2}", "GET /{page}/export 499 0 {gave_up}.400"),
            info("{ip2}", "GET /{page}/list 200 {n} 28.700"),
            warn("*", "client {ip2} waits, {svc} has sent {n} bytes so far"),
        ),
    ),
    Family(
        cause="body_limit",
        component=say("nginx at {domain}|{domain}", "{domain} 的 nginx|{domain}"),
        evidence=(
            say("uploads are answered with 413|413|too large|entity too large", "上传返回 413|413|过大"),
            say("a body of {size} MB was sent|{size}", "发送了 {size} MB 的请求体|{size}"),
        ),
        remediation=say(
            "allow larger bodies for that path and reload nginx|allow larger|raise it|increase it|raise the limit|"
            "increase the limit|increase client_max|raise client_max|larger limit|[raise/increase/enlarge/raising/"
            "increasing/adjust/change/set/extend/larger/higher] … [limit/client_max_body_size/size/body size/maximum/"
            "it/upload]|[reload/reconfigure] nginx|allow … [larger/bigger] [bodies/uploads/body/files/requests]|"
            "client_max_body_size|[raise/increase/lift/enlarge/set/allow/larger] & [limit/size/body/uploads]|reload",
            "为该路径放宽限制并重载 nginx|放宽|调大|提高|增大|[调大/提高/增大/增加/放宽/调高/加大/修改/上调]|重载 "
            "nginx|client_max_body_size|[调大/提高/放宽/增大/加大/调整] & [限制/上限/大小]|reload|重载",
        ),
        also=say(
            "[1m/1 MB/1MB] limit|limit of [1m/1 MB/1MB]|limited to [1m/1 MB/1MB]|[allows only/only allows/allowing "
            "only] [1m/1 MB/1MB]|[limit/maximum] ~ [too small/too low/exceeded]|[body/upload/request/file/payload] ~ "
            "[too large/too big] for ~ [nginx/limit]",
            "[1m/1 MB/1MB] ~[限制/上限]|[限制/上限]~[过小/过低/太小]|[请求体/请求体大小/上传/上传大小/上传文件/文件/"
            "body]~[超过/超出]…[限制/上限]",
        ),
        may_mention=("bad_config",),
        clues=(
            error("*", "client {ip2} intended to send {size} MB to {domain}, directive allows 1m"),
            info("{ip2}", "PUT /{page}/upload 413 183 0.000"),
        ),
        symptoms=(
            info("{ip2}", "POST /{page}/upload 413 183 0.000"),
            info("{ip2}", "PUT /{page}/files/{n} 413 183 0.000"),
            info("{ip2}", "GET /{page}/upload?error=1 200 {n} 0.012"),
            info("{ip2}", "POST /{page}/attachments 413 183 0.001"),
        ),
        eval_only=True,
    ),
    Family(
        cause="worker_limit",
        component=say("nginx on {host}|{host}", "{host} 上的 nginx|{host}"),
        evidence=(
            say("{conns} of {conns} in use|{conns}", "已用 {conns}/{conns}|{conns}"),
            say(
                "new clients are not accepted|not accepted|accept paused|accept() paused|accept is paused|refuses new|"
                "paused|stopped accepting|no longer accept|[new clients/new connections/clients] & [refused/rejected/"
                "not accepted/cannot/can't/turned away/wait/waiting/time out]",
                "不再接受新客户端|不再接受|accept 暂停|暂停接受|拒绝新连接|accept & [暂停/停]|[新客户端/新连接/"
                "新请求] & [进不来/被拒/不接受/拒绝/无法/连不上]|暂停 accept",
            ),
        ),
        remediation=say(
            "raise worker_connections and shorten keep-alive|raise worker_connections|increase worker_connections|"
            "higher worker_connections|shorten keep-alive|shorten keepalive|reduce keepalive|more workers|"
            "worker_processes|[raise/increase/raising/increasing/higher/enlarge/larger/adjust/bump] … "
            "[worker_connections/limit/connections/slots/connection limit/workers/worker processes]|[shorten/reduce/"
            "lower/decrease/shortening/limit/reducing/cut] … [keep-alive/keepalive/keepalive_timeout/keep-alive "
            "timeout/idle connections/timeout]|[close/closing/drop] … [idle/keep-alive/keepalive] [connections/"
            "sockets]|add … workers|[raise/increase/more/allow/bump] & [worker_connections/connections/workers/slots/"
            "limit]|[shorten/shorter/cut/lower/reduce/decrease] & [keepalive/keep-alive/keepalive_timeout/timeout/"
            "keep-alive timeout]",
            "调大 worker_connections 并缩短 keep-alive|调大 worker_connections|提高 worker_connections|增大 "
            "worker_connections|缩短 keep-alive|缩短 keepalive|增加 worker|[调大/提高/增大/增加/调高/上调/"
            "扩大]…[worker_connections/连接数/上限/worker/工作进程/连接上限/限制]|[缩短/降低/减少/关闭/"
            "调低]…[keep-alive/keepalive/空闲连接/超时/长连接]|[调大/提高/增大/加大/调高] & [worker_connections/"
            "连接数/上限/worker]|[缩短/减少/降低/调小] & [keepalive/keep-alive/keepalive_timeout/长连接/超时/保持时间]",
        ),
        also=say(
            "all [slots/connections/connection slots/worker slots/{conns} slots] ~ [taken/used/in use/occupied/busy]|"
            "[slots/connection slots/connections] ~ [exhausted/used up/full/depleted]|[slot/connection slot/"
            "connection] exhaustion|[out of/no free/no more] [slots/connection slots/connections]|connection limit|"
            "too many [connections/open connections/keep-alive connections/keepalive connections/idle connections]|"
            "[limit/maximum] of {conns} ~ [connections/slots]|[idle keep-alive/keep-alive/keepalive/idle] "
            "[connections/sockets/clients] [exhaust/occupy/occupying/hold/holding/use up/fill/taking up/take up/"
            "exhausting/consume/exhausted]",
            "[连接/连接数/槽位/slot/连接槽]~[耗尽/用尽/占满/已满/上限/用完]|连接[过多/数过多]|[空闲/keep-alive/"
            "keepalive]~[连接/套接字]~[占满/占用/耗尽/过多]",
        ),
        may_mention=("connection_limit", "rate_limited"),
        clues=(
            error("*", "events: {conns} slots taken of {conns}, accept() paused"),
            warn("*", "idle keep-alive sockets held by worker {few}: {idle_conns}"),
        ),
        symptoms=(
            info("{ip2}", "GET /{page} 499 0 {few}.100"),
            info("{ip2}", "GET /{page}/{n} 200 512 9.800"),
            error("*", "could not reuse a slot for client {ip2}"),
            info("{ip2}", "GET /status 200 97 11.200"),
        ),
    ),
    Family(
        cause="traffic_flood",
        component=say("path /{page} hit from {ip}|/{page}|{ip}", "来自 {ip} 的 /{page} 请求|/{page}|{ip}"),
        evidence=(
            say(
                "{rps} requests a second from one address|{rps}|single address|one address|single IP|one IP|r/s|"
                "requests per second|[one/single] [address/IP/client/source]",
                "单一地址每秒 {rps} 次请求|{rps}|单一地址|同一地址|单个 IP|同一 IP|r/s|每秒|[单个/单一/同一][来源/IP/"
                "地址/客户端]",
            ),
            say(
                "excess over the zone limit|excess|status 429|429|limiting requests|{excess}|{allowed_rps}|[allowed/"
                "permitted/permits/zone] & [exceeded/excess/over/beyond/above/more]",
                "超过 zone 限额|excess|429|超出限额|{excess}|{allowed_rps}|[限额/限速/允许] & [超/超出/超过/远超]",
            ),
        ),
        remediation=say(
            "block the address at the firewall|block|ban|blacklist|deny|firewall|WAF|filter the|[blocking/banning/"
            "blocklist/blacklisting/denying/fail2ban/rate limit/rate limiting/rate-limit/throttle/captcha/drop]|"
            "[block/ban/limit/drop/reject/stop/throttle/deny/isolate] … [{ip}/client/address/IP/traffic/crawler/"
            "requests]|[tighten/stricter/lower] … [limit/limits/rate limit/zone]|[block/ban/deny/throttle/drop/"
            "blacklist/limit/filter/blackhole] & [{ip}/IP/address/client/it/source/crawler]|tighten",
            "在防火墙封禁该地址|封禁|屏蔽|拉黑|防火墙|WAF|[封锁/封/限流/限速/黑名单/阻断/拦截/禁止/限制/丢弃]|[收紧/"
            "加强]…限[流/速/额]|[封/封禁/拉黑/屏蔽/限制/拦截/阻断] & [{ip}/IP/地址/来源]",
        ),
        also=say(
            "[flooding/flooded/hammering/hammered/bombarding/bombarded/attack/attacking/abuse/abusing/scraping]|"
            "[excessive/abusive/massive/too many] requests [from/by] [one/a single/the same/{ip}]|abusive [requests/"
            "crawling]|[single/one] [client/address/IP/source] ~ [floods/sending/sends/flooding]|[client/address/IP/"
            "source] {ip} ~ [flooding/floods/sending/sends/hammering/attacking]|request [burst/storm/rate]|{ip} "
            "[floods/sends/is flooding/hammers]|[overload/load] from ~ {ip}",
            "[攻击/刷量/刷接口/高频请求/海量请求/密集请求/高频访问]|[单一/同一/单个]~[IP/地址/客户端]…[大量/频繁/"
            "高频]|{ip}~[攻击/刷/大量/频繁]",
        ),
        may_mention=("rate_limited", "intrusion", "upstream_slow"),
        clues=(
            warn("*", "zone perip: {ip} at {rps} r/s, allowed {allowed_rps} r/s, excess {excess}, uri /{page}"),
            info("{ip}", "GET /{page}?p={n} 429 162 0.000"),
        ),
        symptoms=(
            info("{ip}", "GET /{page}?p={n} 200 {big} 0.400"),
            info("{ip}", "GET /{page}?p={n} 429 162 0.000"),
            info("{ip}", "GET /{page}?p={n} 503 190 4.100"),
            info("{ip2}", "GET /home 200 {n} 7.300"),
        ),
    ),
)

BACKGROUND = (
    info("{anyip}", "GET / 200 {n} 0.004"),
    info("{anyip}", "GET /static/app.{hex}.js 200 {big} 0.001"),
    info("{anyip}", "GET /static/site.{hex}.css 304 0 0.000"),
    info("{anyip}", "GET /favicon.ico 200 1150 0.000"),
    info("{anyip}", "GET /healthz 200 {n} {rt}"),
    info("{anyip}", "POST /login 302 {n} {rt}"),
    info("{anyip}", "GET /account 200 {n} 0.032"),
    info("{anyip}", "GET /images/{hex}.webp 200 {big} 0.003"),
    info("{anyip}", "GET /blog/{n} 200 {big} 0.021"),
    info("{anyip}", "POST /feedback 201 {n} 0.055"),
    info("{anyip}", "GET /sitemap.xml 200 {n} 0.002"),
    info("{anyip}", "GET /terms 304 0 0.000"),
)

HARMLESS = (
    Harmless(
        say("the missing robots.txt|robots.txt", "缺少 robots.txt|robots.txt"),
        (
            error("*", "open() /var/www/robots.txt failed (2), client: {visitor}"),
            info("{visitor}", "GET /robots.txt?v={hex} 404 153 0.000"),
        ),
    ),
    Harmless(
        say("the buffered response|buffered|temporary file|temp file|buffer|buffering", "响应被缓冲|缓冲|临时文件"),
        (
            warn("*", "a response of {document} bytes for {visitor} is buffered to a temporary file"),
            info("{visitor}", "GET /manual.pdf 200 {document} 0.201"),
        ),
    ),
    Harmless(
        say(
            "the closed keep-alive connections|keep-alive|keepalive|closed by client|client closed",
            "关闭的 keep-alive 连接|keep-alive|keepalive|客户端关闭|长连接",
        ),
        (
            warn("*", "client {anyip} closed keepalive connection (104)"),
            warn("*", "client {anyip} closed keepalive connection (104)"),
        ),
    ),
    Harmless(
        say(
            "the probes for PHP pages|PHP|scanner|scans|probe|wp-login|WordPress",
            "对 PHP 页面的探测|PHP|扫描|探测|wp-login",
        ),
        (
            info("{visitor}", "GET /wp-login.php?r={hex} 404 153 0.000"),
            info("{visitor}", "GET /index.php?x={hex} 404 153 0.000"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "certificate_expired",
        (
            error("*", "SSL_do_handshake() failed for old.{domain}, client {anyip}"),
            error("*", "SSL_do_handshake() failed for old.{domain}, client {anyip}"),
            error("*", "SSL_do_handshake() failed for old.{domain}, client {anyip}"),
            error("*", "OCSP response of old.{domain} not obtained"),
            warn("*", "old.{domain} was switched off on {past_day}, name kept for redirects only"),
        ),
    ),
    RedHerring(
        "bad_config",
        (
            error("*", "directive proxy_cachee unknown in draft.conf:{conf_line}"),
            error("*", "test of draft.conf not passed"),
            error("*", "directive listn unknown in draft.conf:{conf_line2}"),
            error("*", "test of draft.conf not passed"),
            warn("*", "draft.conf is not included, running files unchanged since {past_day}"),
        ),
    ),
)

STYLE = Style(
    name="nginx",
    title=say("nginx access and error log of {domain} on {host}", "{host} 上 {domain} 的 nginx 访问与错误日志"),
    max_lines=22,
    background=BACKGROUND,
    harmless=HARMLESS,
    red_herrings=RED_HERRINGS,
    families=FAMILIES,
)
