"""Faulty parts between services, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "pool_exhausted": parts(
        "[connection pool/pooled connections/pooled database connections/DB pool/database pool] & <exhausted>|[pool/"
        "connection pool] & [leak/leaks/leaked/drained/empty/dry/nothing left/none free/none left/no free]|[handle/"
        "handles] & [leak/leaks/leaking/leaked/never given back/not given back/never gives/gives its/not released/"
        "never released/not closed]|[connection/connections] & [leak/leaks/leaking/leaked/not returned/never returned/"
        "not given back/never given back/checked out/not released/never released/not closed]",
        "[连接池/数据库连接池] & <exhausted>|[连接/句柄/借出] & [泄漏/泄露/不还/未归还/没有归还/不归还/没归还/未释放/"
        "没有释放/不释放]",
    ),
    "certificate_expired": parts(
        "[certificate/cert/TLS certificate/certificates/x509] & [expired/expires/expiry/expiration/past/lapsed/out of "
        "date/outdated/no longer valid/invalid/overdue/ran out/ended/not renewed/over/stale/was valid until/valid "
        "only until/too old/unrenewed]",
        "[证书/TLS 证书] & [过期/失效/到期/逾期/超期/已过/过了/不再有效/截至/止于/失去效力/未续/没续/没有续/未更新/"
        "作废]",
    ),
    "dns_broken": parts(
        "[DNS/resolver/nameserver/name server/DNS server/name resolution/name service/lookups/host names/hostnames/"
        "domain names/resolution] & <not_responding>|[names/hostnames/host names] … [cannot/can't/do not/don't/no "
        "longer] be? resolve|[cannot/can't/unable to] resolve",
        "[DNS/解析/解析器/域名/域名解析/名称解析/域名服务器/DNS 服务器] & <not_responding>|无法解析",
    ),
    "rate_limited": parts(
        "[quota/allowance/budget/request budget/call budget/request window/rate window/plan limit] & <exhausted>|"
        "[quota/allowance/budget] & [exceeded/exceeds/spent/gone/over/burned/burnt/hit]|[tenant/caller/client/"
        "{client}/requests/calls] & [throttled/throttling/rate-limited/rate limited/limited by/over quota/over its "
        "quota/over its limit]|[rate/request] limiter|[rate/request/call] limit",
        "[配额/额度/限额/调用额度/请求额度/窗口配额/窗口] & <exhausted>|[配额/额度/限额] & [超/被用掉/用掉/花光]|"
        "[调用/请求/租户/{client}] & [限流/被限/限频/限速/超频/超额]",
    ),
    "bad_config": parts(
        "[config/configuration/setting/settings/revision/rev/revision {rev}/rev {rev}/ledger_url/ledger URL/ledger "
        "address/ledger endpoint/endpoint/URL/address/parameter] & <wrong>|[config/configuration/settings/revision/"
        "rev/ledger_url/ledger URL/ledger address/ledger/endpoint/URL/address] & [points/point/pointing/pointed/set/"
        "sets/setting/sends/sending/directs/directed/changed/switched/aims/aimed/refers/instead of/to/at/as/now/gone] "
        "& [localhost/loopback/itself/local host/own host]",
        "[配置/设置/修订/修订 {rev}/版本 {rev}/ledger_url/账本地址/账本/地址/URL/端点/参数] & <wrong>|[配置/设置/修订/"
        "ledger_url/账本地址/账本/地址/URL/端点] & [指向/指到/设成/设为/配成/改成/改为/写成/变成/成了/发往/发到/打到/"
        "误] & [localhost/本机/回环/本地]",
    ),
    "cache_stampede": parts(
        "[cache/cached/cache keys/keys/cache entries/entries/TTL/TTLs] & [together/simultaneously/simultaneous/at "
        "once/at the same time/same time/same moment/same instant/one moment/stampede/herd/avalanche/en masse/mass/in "
        "one go/collectively/synchronised/synchronized/lapsed/storm/dog-pile/dogpile/bulk/in bulk]|[expire/expired/"
        "expires/expiring/lapse/lapsed] & [together/simultaneously/at once/at the same time/all]|[thundering herd/"
        "stampede/dogpile]",
        "[缓存/缓存键/键/key/ttl/热点] & [同时/一起/集中/同一时刻/同一时间/批量/大量过期/大面积/雪崩/击穿/穿透/集体/"
        "扎堆/同批/一齐/成批]|雪崩|惊群",
    ),
}
