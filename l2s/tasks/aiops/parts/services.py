"""Faulty parts between services, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "pool_exhausted": parts(
        "[pool/pooled connection/pooled database connection/db connection/database connection] & <exhausted>|[pool/"
        "connection pool] & [leak/empty/emptied/nothing left/none free/none left/no free/no connection]|[handle/"
        "checkout] & [leak/never given back/not given back/never give back/not released/never released/never returned/"
        "unreturned/forgotten]|[connection/borrow] & [leak/never given back/not given back/never give back/never "
        "gives/never give/not released/never released/not release/never release/never close/not close/not closed/not "
        "returned/never returned/not return/never return/checked out/unreturned/unclosed/forgot to/forget to/"
        "forgotten/hold on to/held forever/never come back/not come back/never came back]|all … connections & [taken/"
        "used/in use/busy/checked out/borrowed/lent out/gone]|no … [connection/connections] … [left/free/available] & "
        "pool|/export & [hold/keep/leak] & [connection/handle]",
        "[连接池/池] & <exhausted>|[连接/句柄/借出] & [泄漏/泄露/不还/未归还/没有归还/不归还/没归还/未还/没还/漏还/"
        "忘还/忘了还/不肯还/有借无还/未释放/没有释放/不释放/不放/没放回/未关闭/没关/借走/被借/借出去/漏光/借光]|[漏还/"
        "未还/不还]…连接|{pool} & 连接 & [全/都] & [在用/占/借]|[拿不到/取不到/借不到]…连接 & 池",
    ),
    "certificate_expired": parts(
        "[certificate/cert/x509] & [expire/expiry/expiration/past/lapse/out of date/outdated/no longer valid/invalid/"
        "overdue/ran out/run out/end/over/stale/was valid until/valid only until/too old/age out/dead/die/elapse/out "
        "of validity/not valid/gone]|past its notAfter|[certificate/cert] & [not renew/never renew/not renewed/never "
        "renewed/unrenewed/not rotated/not replaced]|[nobody/no one/forgot/forgotten/missed/failed/not] … [renewed/"
        "renew/renewing/replaced/replace/rotated/rotate] & [certificate/cert]|[certificate/cert] & [renewal/rotation] "
        "& [miss/forget/forgot/forgotten/fail/overdue/late]",
        "[证书/cert/notAfter/x509] & [过期/失效/到期/逾期/超期/已过/过了/不再有效/截至/止于/失去效力/作废/超出/超过/"
        "不在有效期/结束/晚于/早于今天]|[证书/cert] & [未续/没续/没有续/忘续/忘了续/忘记续/漏续/未更新/没更新/没有更新/"
        "没及时/未及时/没换/未换/未更换/没更换/未轮换]",
    ),
    "dns_broken": parts(
        "[DNS/resolver/nameserver/name server/name resolution/name service/resolution] & <not_responding>|[name "
        "lookup/lookup/{ip}:53/port 53/{ip}] & [down/dead/die/broken/unresponsive/not answer/not respond/not reply/"
        "silent/unreachable/fail/time out/timing out/hang/hung/out/stop/crash/unanswered/no answer/no reply]|[name/"
        "hostname/host name/host/domain name/address] … [cannot/not/no longer] … [resolve/resolved/resolving/looked "
        "up]|[cannot/unable to/not] … resolve|[host/hostname/host name/domain/domain name] not found",
        "[DNS/解析/域名/名称服务/{ip}/名字/主机名] & <not_responding>|[无法/不能/没法]~解析|[主机名/域名/名字/名称] & "
        "[解析不/查不到/解不/解析失败]",
    ),
    "rate_limited": parts(
        "[quota/allowance/budget/request window/rate window/window/plan limit/request limit] & <exhausted>|[quota/"
        "allowance/budget/request limit/call limit/window/request cap/rate cap] & [exceed/spent/spend/gone/over/"
        "beyond/burn/hit/outrun/outran/blow/blew/blown/zero/run through/ran through/above/more than/at its]|[{client}/"
        "{svc}/requests/calls/tenant/caller/client] & [throttle/rate-limit/rate limit/limited by/rejected with 429]|"
        "[{client}/{svc}/tenant/caller] & [call/request/ask/send/hammer/poll] & [too often/too much/too fast/too many/"
        "more than/beyond/above/faster than/over its/over the]|[{client}/caller/tenant] & exceed & [allow/let/permit/"
        "limit/may]|[rate/request] limiter|[rate/request/call] [limit/cap]",
        "[配额/额度/限额/窗口/调用次数/请求次数] & <exhausted>|[配额/额度/限额/上限/窗口] & [超/用掉/花掉/突破/触/到]|"
        "[调用/请求/租户/{client}/{svc}/速率/频率] & [限流/被限/限频/限速/超频/超额/超限/超速/超量/过快/太快/太猛/太多/"
        "太频繁/过于频繁/过频]|[触到/触发/触及/撞到/碰到]~[速率/频率/限流]",
    ),
    "bad_config": parts(
        "[config/configuration/setting/settings/revision/rev/ledger_url/ledger URL/ledger address/ledger endpoint/"
        "endpoint/URL/address/parameter] & <wrong>|[config/configuration/settings/revision/rev/ledger_url/ledger URL/"
        "ledger address/ledger/endpoint/URL/address/{svc}/bookings/entries] & [localhost/loopback/itself/local host/"
        "own host/local port/own machine/127.0.0.1] & [point/set/send/sent/direct/change/switch/aim/refer/instead/now/"
        "ship/talk/call/give/gave/make/made/use/to/at/as/go/went/became/into/because/write]|localhost & [instead of/"
        "rather than/in place of]",
        "[配置/设置/修订/版本 {rev}/{rev} 版/ledger_url/账本/地址/URL/端点/参数] & <wrong>|[配置/设置/修订/{rev}/"
        "ledger_url/账本/地址/URL/端点/{svc}/入账/记账] & [localhost/本机/回环/本地/自己/127.0.0.1] & [指/设/配/改/写/"
        "变/成/发/打/连/误/错/填/切/去]|[指/设/配/改/写/变成/误/错] & [localhost/本机/回环/本地] & [账本/地址/"
        "ledger_url/端点/URL]",
    ),
    "cache_stampede": parts(
        "[cache/cached/key/entry/entries/TTL/expiry/expiration/item] & [together/simultaneous/simultaneously/at once/"
        "at the same time/same time/same moment/same second/same instant/one moment/one instant/stampede/herd/"
        "avalanche/en masse/mass/in one go/one go/in one stroke/collectively/synchronise/synchronize/storm/dog-pile/"
        "dogpile/bulk/all gone/went cold/wiped/as one/in lockstep/in unison/wholesale]|[expire/lapse/drop out/time "
        "out] & [together/simultaneously/at once/at the same time/all/as one/in one]|[herd/stampede/dogpile/storm] & "
        "[cache/miss/key/{db}]|thundering herd",
        "[缓存/键/key/ttl/热点/{count} 个] & [同时/一起/集中/同一时刻/同一时间/同一秒/同一批/同刻/批/大量过期/大量失效/"
        "大面积/雪崩/击穿/穿透/集体/扎堆/一齐/同步过期/整体/一下子/瞬间/全没/全失效/齐刷刷/踩踏/一次性]|雪崩|惊群|"
        "回源[风暴/洪峰/暴增]|缓存…没了",
    ),
}
