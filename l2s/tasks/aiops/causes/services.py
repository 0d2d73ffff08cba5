"""Causes of trouble in services."""

from l2s.tasks.aiops.records import Phrases, say

CAUSES: dict[str, Phrases] = {
    "pool_exhausted": say(
        "the connection pool is exhausted|connection pool is exhausted|connection pool exhausted|connection pool "
        "exhaustion|exhausted connection pool|pool exhaustion|connection leak|leaked connections|connections leaked|"
        "connection pool is full|[connection pool/pool of connections] ~ [exhausted/full/empty/depleted/saturated/"
        "used up/drained/ran out/run out/too small]|[connection pool/pool] [exhaustion/depletion/saturation/"
        "starvation]|[exhausted/depleted/saturated/full/empty] connection pool|exhausted ~ connection pool|"
        "[connection/connections] [leak/leakage]|[leaked/leaking/leaks/unreleased/unreturned] [connection/"
        "connections]|connections ~ [leaked/not returned/never returned/not released/never released/not closed]|[not "
        "returning/not releasing/never returns/never releases/does not return/does not release/failing to return/"
        "failing to release] connections|no [free/available/idle] connections in the pool|out of pooled connections",
        "连接池耗尽|连接池已满|连接池用尽|连接池被占满|连接泄漏|连接泄露|[连接池/连接池连接/连接池中的连接]~[耗尽/满/"
        "用尽/用完/占满/枯竭/不足/饱和]|连接池[没有/无][可用/空闲]连接|连接~[泄漏/泄露/未归还/未释放/没有归还/"
        "没有释放/未关闭]|[未归还的/未释放的]连接",
    ),
    "certificate_expired": say(
        "an expired certificate|expired certificate|expired TLS certificate|expired SSL certificate|certificate "
        "expired|certificate has expired|certificate is expired|certificate expiry|certificate expiration|"
        "[certificate/cert/TLS certificate] ~ [expired/lapsed/out of date/outdated/no longer valid/past its expiry/"
        "past its expiry date/past its validity/not renewed]|[expired/lapsed/outdated] [x509 certificate/server "
        "certificate/internal certificate/cert/TLS cert/certificates]|[certificate/cert] [expiry/expiration/expires/"
        "lapsed/not renewed/was not renewed/validity ended]|[expiry/expiration] of ~ [certificate/cert]|[certificate/"
        "cert] validity ~ [expired/ended/over]",
        "证书已过期|证书过期|证书失效|TLS 证书过期|证书~[过期/失效/到期/超过有效期/超出有效期/未续期/未更新]|[过期/"
        "到期/失效]的[证书/TLS 证书]|过期证书|证书有效期~[过/结束/已过]",
    ),
    "dns_broken": say(
        "DNS resolution failure|DNS failure|DNS outage|DNS problem|DNS issue|DNS resolution|name resolution failure|"
        "name resolution fails|DNS server is down|DNS is down|[DNS/resolver/name resolution/name server/nameserver] "
        "~ [down/failing/failed/broken/unavailable/unreachable/unresponsive/not responding/not answering/not working/"
        "not reachable/dead/faulty/out of service]|[DNS/resolver/DNS server/name server/nameserver/DNS resolver] "
        "[failure/outage/problem/issue/error/timeout/fault/breakdown/failures/timeouts/crash]|[DNS/name] [lookup/"
        "query/queries/resolution] ~ [failure/fail/fails/failing/failed/timeout/time out/timing out/timed out/"
        "problem/error]|[failing/failed/broken/faulty/dead/unresponsive] [DNS/resolver/name resolution/DNS server/"
        "DNS resolver/nameserver]|[cannot/unable to/failure to/failing to/could not] resolve ~ [names/host names/"
        "hostnames/hosts/domain names/internal names]",
        "DNS 解析失败|DNS解析失败|DNS 故障|DNS故障|域名解析失败|域名解析故障|[DNS/DNS 服务器/DNS 服务/DNS 解析/"
        "域名解析/名称解析/解析器/域名服务器/主机名解析]~[故障/失败/失效/异常/不可用/无响应/超时/宕机/中断/无法访问/"
        "没有响应/不响应/瘫痪]|无法解析[域名/主机名/名称]|域名无法解析",
    ),
    "rate_limited": say(
        "requests are being rate limited|rate limit|rate limits|rate limited|rate-limited|rate limiting|throttled|"
        "throttling|quota exceeded|quota exhausted|exceeded quota|[rate/request rate/API/call/request] limit|"
        "rate-limit|[rate/request] limiting|too many [requests/API calls/calls]|[quota/request quota/API quota/"
        "allowance/request allowance/rate allowance] ~ [exceeded/exhausted/used up/spent/consumed/depleted]|"
        "[exceeded/exceeds/exceeding/exhausted/exhausts/exhausting/used up/over/hit/reached] ~ [quota/allowance/rate "
        "limit/rate limits/request limit/request quota]|quota [exhaustion/limit]|[throttled/throttles/throttle]",
        "请求被限流|限流|限速|速率限制|配额耗尽|配额超限|超出配额|[请求/调用/访问]~[过于频繁/频率过高/频率超限/超限]|"
        "[配额/额度/请求配额/调用额度/限额]~[耗尽/用尽/用完/超限/超出]|[超出/超过/用尽/耗尽]~[配额/额度/限额/"
        "速率限制/频率限制]|[频率限制/请求过多/节流/速率受限/频率受限]",
    ),
    "bad_config": say(
        "a wrong configuration|wrong configuration|misconfiguration|misconfigured|bad configuration|incorrect "
        "configuration|configuration error|configuration mistake|config error|bad config|wrong config|faulty "
        "configuration|[wrong/incorrect/bad/faulty/invalid/broken] [setting/config/configuration/configuration "
        "revision/settings revision/revision/URL/endpoint/address/ledger_url]|[configuration/config/settings/setting/"
        "ledger_url/ledger URL/URL/endpoint/parameter] ~ [wrong/incorrect/misconfigured/invalid/faulty/mistaken/"
        "wrongly set]|[wrongly/incorrectly/badly] configured|configured [wrongly/incorrectly/badly]|[configuration/"
        "config/settings] [fault/issue/problem/mistake/error/bug]|misconfigured ~ [URL/endpoint]|faulty config",
        "配置错误|错误的配置|错误配置|配置有误|配置变更错误|配置不当|[配置/设置/参数/地址/端点/ledger_url/URL/"
        "配置项]~[错误/有误/不正确/不当/出错/不对/失误]|[错误/不正确/有误]的[配置/设置/地址/参数/端点/ledger_url/"
        "配置修订/配置版本]|误配置|配错|配置[问题/异常/缺陷]",
    ),
    "cache_stampede": say(
        "a cache stampede|cache stampede|thundering herd|cache avalanche|mass cache expiry|simultaneous cache expiry|"
        "cache keys expired at once|cache entries expired together|cache [miss storm/breakdown/expiry storm/"
        "expiration storm/invalidation storm/stampeding]|stampede|dog-pile|dogpile|dogpiling|[keys/entries/cache] ~ "
        "[expired/expire/expiring] [simultaneously/at the same time/at once/together/all at once]|[simultaneous/mass/"
        "synchronized/synchronised/concurrent] [cache/key/ttl] [expiry/expiration]|[simultaneous/mass/synchronized/"
        "synchronised/concurrent] [expiry/expiration] of ~ [keys/entries/cache/cache keys/cache entries]|"
        "[simultaneous/mass/synchronized/synchronised] [expiry/expiration]",
        "缓存雪崩|缓存击穿|缓存集中失效|缓存同时失效|缓存大面积失效|惊群|[缓存/键]…[同时/集中/大量/大面积/批量][过期/"
        "失效]|[同时/集中/大量/大面积/批量]失效|缓存[风暴/踩踏]|缓存集中过期",
    ),
    "third_party_down": say(
        "a third-party outage|third-party outage|third party outage|external provider outage|provider outage|"
        "provider is down|third-party provider failure|payment provider|[third-party/third party/external] [provider/"
        "service] ~ [down/failing/failed/unavailable]|[external/third-party] service [outage/failure]",
        "第三方服务中断|第三方故障|外部供应商故障|支付渠道故障|第三方服务故障|[第三方/外部][服务/接口/供应商]~[故障/"
        "中断/不可用/异常]",
    ),
    "database_down": say(
        "a database outage|database outage|database is down|database failure|database crash|database crashed|"
        "database server is down|database is unavailable|[database/database server/DB] ~ [down/crashed/unavailable/"
        "unreachable/offline/failing/failed/stopped]|[DB/database server] [outage/failure/crash]",
        "数据库宕机|数据库故障|数据库崩溃|数据库不可用|数据库~[宕机/故障/崩溃/不可用/中断/停止]",
    ),
    "bad_release": say(
        "a faulty release|faulty release|bad deployment|bad release|buggy release|code bug|software bug|regression "
        "in the release|application bug|[faulty/bad/buggy/broken] [release/deployment/build/code]|[code/software/"
        "application] [defect/bugs/error]|bug in the [code/release/build/application]",
        "发布版本有缺陷|错误发布|代码缺陷|程序缺陷|代码 bug|版本缺陷|[发布/版本/代码/程序]~缺陷|[有缺陷/错误]的[版本/"
        "发布/代码]",
    ),
}
